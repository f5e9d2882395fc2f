"""A server that speaks the OpenAI format, with its quirks."""

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

    async def resolve_default_model(self) -> str | None:
        """The only model of a server that offers exactly one, as most servers of one's own do.

        Raises:
            ProviderError: the server cannot be reached.
        """
        models = await self.list_models()
        return models[0].name if len(models) == 1 else None
