"""A server that speaks the OpenAI format, with its quirks."""

from core.llm.common.types import ModelFacts
from core.llm.dialects.openai_completions import OpenAICompletionsDialect
from core.llm.providers.base.provider import ProviderServices
from core.llm.providers.openai_compatible.config import OpenAICompatibleConfig
from core.llm.providers.openai_style import OpenAIStyleProvider


class OpenAICompatibleProvider(OpenAIStyleProvider):
    """One such server."""

    def __init__(self, config: OpenAICompatibleConfig, services: ProviderServices) -> None:
        super().__init__(
            config,
            services,
            base_url=config.url,
            quirks=config.wire,
            batch_size=config.embedding_batch_size,
            api=config.api,
        )
        if config.prompt_format is not None:
            self.dialect = OpenAICompletionsDialect(config.wire, config.prompt_format)

    def packaged_facts(self, model: str) -> ModelFacts:  # noqa: ARG002 - what is known is known of the server
        """What is known about *model*: whether it goes on from the beginning of an answer."""
        prefill = self.config.prompt_format is not None or self.config.wire.prefill != "none"
        return ModelFacts(quirks={"prefill": True} if prefill else {})

    async def resolve_default_model(self) -> str | None:
        """The only model of a server that offers exactly one, as most servers of one's own do.

        Raises:
            ProviderError: the server cannot be reached.
        """
        models = await self.list_models()
        return models[0].name if len(models) == 1 else None
