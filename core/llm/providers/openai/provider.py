"""OpenAI as a provider: the format that is its own, its account headers, and the packaged facts about its models."""

from dataclasses import replace

from core.llm.common.types import ModelFacts
from core.llm.data.facts import model_facts
from core.llm.dialects.openai_quirks import OPENAI
from core.llm.providers.base.provider import ProviderServices
from core.llm.providers.openai.config import OpenAIConfig
from core.llm.providers.openai_style import OpenAIStyleProvider


class OpenAIProvider(OpenAIStyleProvider):
    """One OpenAI account."""

    def __init__(self, config: OpenAIConfig, services: ProviderServices) -> None:
        headers = {"openai-organization": config.organization, "openai-project": config.project}
        super().__init__(
            config,
            services,
            base_url=config.base_url,
            quirks=OPENAI,
            batch_size=config.embedding_batch_size,
            api=config.api,
            headers={name: value for name, value in headers.items() if value},
        )

    def packaged_facts(self, model: str) -> ModelFacts:
        """The row of *model* in the packaged table, or of the model it was tuned from; empty where it is not known."""
        if model.startswith("ft:"):
            # A tuned model can do what its base can, for a price of its own.
            return replace(model_facts("openai", model.split(":")[1]), price=None)
        return model_facts("openai", model)
