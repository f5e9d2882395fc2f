"""Models on an Ollama server: load, unload, pull, status."""

from contextlib import aclosing

from core.llm.common.exceptions import ProviderError
from core.llm.providers.base.model_manager import ManagerLimits, ServerModelManager
from core.llm.providers.base.provider import ModelStatus, Progress, ProviderServices
from core.llm.providers.base.single_flight import Tell
from core.llm.providers.ollama.client import OllamaClient
from core.llm.providers.ollama.config import OllamaConfig
from core.llm.providers.ollama.disk import DiskCheck
from core.llm.providers.ollama.keep_alive import keep_alive_to_wire
from core.llm.providers.ollama.keep_alives import KeepAlives
from core.llm.providers.ollama.models.requests import EmbedRequest, GenerateRequest, PullRequest
from core.llm.providers.ollama.naming import canonical_name
from core.llm.providers.ollama.progress import PullTotals


class OllamaModelManager(ServerModelManager):
    """The models of one Ollama server."""

    def __init__(
        self,
        client: OllamaClient,
        config: OllamaConfig,
        services: ProviderServices,
        keep_alives: KeepAlives | None = None,
    ) -> None:
        limits = ManagerLimits(config.load_timeout, config.unload_timeout)
        super().__init__(services, limits, unload_on_stop=config.unload_on_stop, pull_from=config.pull_from)
        self._client = client
        self._config = config
        self._keep_alives = keep_alives or KeepAlives(config)

    def key(self, model: str) -> str:
        """*model* with its tag: `tiny` and `tiny:latest` are one."""
        return canonical_name(model)

    async def find(self, model: str) -> ModelStatus | None:
        """Whether the server lists *model* as running, and until when."""
        name = canonical_name(model)
        for running in (await self._client.ps()).models:
            if name in {canonical_name(running.name), canonical_name(running.model)}:
                detail = f"until {running.expires_at}" if running.expires_at else ""
                return ModelStatus(model, "ready", running.size, detail)
        return None

    async def already_there(self, model: str) -> None:
        """Never: a model in memory may have other options, and loading it again prolongs its stay."""

    async def ask_to_load(self, model: str) -> str:
        """Load *model* with the same options that its calls send."""
        options = dict(self._config.options_of(model)) or None
        # Zero would unload the model right away; the call that uses it sends its own keep_alive.
        keep_alive = keep_alive_to_wire(self._keep_alives.of(model)) or None
        request = GenerateRequest(model=model, options=options, keep_alive=keep_alive, shift=self._config.shift)
        try:
            await self._client.generate(request)
        except ProviderError as error:
            if error.code != "unsupported":
                raise
            # A model that only embeds cannot generate, not even nothing; an empty list of inputs loads it.
            await self._client.embed(EmbedRequest(model=model, input=[], options=options, keep_alive=keep_alive))
        return ""

    async def ask_to_unload(self, model: str) -> None:
        """Tell the server to let *model* go; running answers end first."""
        await self._client.generate(GenerateRequest(model=model, keep_alive=0))

    async def download(self, model: str, report: Tell) -> Progress:
        """Download *model*; returns after the server has verified the digest. What has arrived can be resumed."""
        totals = PullTotals()
        disk = DiskCheck(self._config.base_url, self._config.models_dir)
        async with aclosing(self._client.pull(PullRequest(model=model))) as lines:  # type: ignore[type-var]  # an async generator, which has aclose
            async for line in lines:
                await disk.look(model, line)
                progress = totals.add(line)
                if not line.succeeded:
                    report(progress)
        if not totals.verified:
            raise ProviderError(
                "protocol",
                f"the server says that {model!r} is complete and has not checked its digests; pull it again",
                code="unverified",
            )
        return totals.finished()
