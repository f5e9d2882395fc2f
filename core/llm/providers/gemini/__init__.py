"""Google's Gemini models, on the Gemini API with a key or on Vertex AI with Google Cloud credentials."""

from core.llm.providers.base.spec import ProviderSpec

PROVIDER = ProviderSpec(
    name="gemini",
    config="core.llm.providers.gemini.config:GeminiConfig",
    provider="core.llm.providers.gemini.provider:GeminiProvider",
    summary="Google's Gemini models, by API key or on Vertex AI",
    extra="vertex",
)
