"""What is known about the models of one server: which are installed, what they can do, how long their context is."""

import asyncio
from dataclasses import replace
from typing import Final

from core.llm.common.clock import Clock
from core.llm.common.exceptions import ProviderError
from core.llm.common.types import Capability, ModelFacts
from core.llm.providers.ollama.client import OllamaClient
from core.llm.providers.ollama.config import OllamaConfig
from core.llm.providers.ollama.models.catalogue import InstalledModel, ShowResponse
from core.llm.providers.ollama.models.requests import ShowRequest
from core.llm.providers.ollama.naming import canonical_name

LIST_SECONDS: Final = 10.0
"""How long a list of installed models is believed."""
_AT_ONCE: Final = 4

_CAPABILITIES: Final[dict[str, tuple[Capability, ...]]] = {
    "completion": ("chat", "stream", "json", "json_schema"),
    "tools": ("tools", "parallel_tools"),
    "vision": ("vision",),
    "audio": ("audio",),
    "thinking": ("thinking",),
    "embedding": ("embeddings",),
}


class OllamaCatalogue:
    """Asks the server, and remembers: the list for seconds, a model's facts for as long as its digest is the same."""

    def __init__(self, client: OllamaClient, config: OllamaConfig, clock: Clock) -> None:
        self._client = client
        self._config = config
        self._clock = clock
        self._installed: tuple[InstalledModel, ...] = ()
        self._listed_at = float("-inf")
        self._shown: dict[str, tuple[str | None, ShowResponse]] = {}
        self._facts: dict[str, ModelFacts] = {}

    def facts(self, model: str) -> ModelFacts:
        """What is known without asking; the same object until something more is learnt."""
        facts = self._facts.get(model)
        if facts is None:
            pinned = self._config.options_of(model).get("num_ctx")
            window = pinned if isinstance(pinned, int) and pinned > 0 else None
            _, shown = self._shown.get(canonical_name(model), (None, None))
            facts = ModelFacts(context_window=window) if shown is None else facts_of(shown, window)
            if self._config.prompt_format_of(model) is not None:
                # The prompt is ours to the last character; whether a template goes on from an answer nobody can say.
                facts = replace(facts, quirks={**facts.quirks, "prefill": True})
            self._facts[model] = facts
        return facts

    async def installed(self) -> tuple[InstalledModel, ...]:
        """The installed models, the most recently changed first; at most ten seconds old."""
        now = self._clock.monotonic()
        if now - self._listed_at >= LIST_SECONDS:
            self._installed = (await self._client.tags()).models
            self._listed_at = self._clock.monotonic()
        return self._installed

    def forget(self) -> None:
        """Believe nothing that was listed: a model was pulled or has gone, or the server was away."""
        self._listed_at = float("-inf")

    async def learn(self, model: str, digest: str | None = None) -> ModelFacts:
        """Ask for the facts of *model* unless they are known for *digest*.

        Raises:
            ProviderError: the server is away, or does not know the model.
        """
        name = canonical_name(model)
        known = self._shown.get(name)
        if known is None or (digest is not None and known[0] != digest):
            self._shown[name] = (digest, await self._client.show(ShowRequest(model=model)))
            self._facts.clear()
        return self.facts(model)

    async def learn_all(self, models: tuple[InstalledModel, ...]) -> None:
        """Ask for the facts of *models*; a model that cannot be shown stays unknown."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(entry: InstalledModel) -> None:
            async with slots:
                await self._learn_quietly(entry.name, entry.digest)

        await asyncio.gather(*(one(entry) for entry in models))

    async def learn_configured(self) -> None:
        """Ask for the facts of the configured models that are not known yet."""
        for model in self._config.models:
            if canonical_name(model) not in self._shown:
                await self._learn_quietly(model, None)

    async def first_chat_model(self) -> str | None:
        """The most recently changed installed model that can chat and runs on the server itself."""
        for entry in await self.installed():
            # Forwarding a prompt to somebody's cloud must be asked for by name.
            if entry.remote_host or entry.remote_model:
                continue
            facts = await self._learn_quietly(entry.name, entry.digest)
            if facts is not None and not facts.lacks("chat"):
                return entry.name
        return None

    async def _learn_quietly(self, model: str, digest: str | None) -> ModelFacts | None:
        try:
            return await self.learn(model, digest)
        except ProviderError as error:
            if error.type == "network_error":
                raise
            return None


def facts_of(shown: ShowResponse, num_ctx: int | None) -> ModelFacts:
    """The facts in an answer of `/api/show`, for a model that is loaded with *num_ctx* (`None`: not pinned)."""
    longest = shown.context_length
    preset = shown.parameter("num_ctx")
    window = num_ctx or (int(preset) if preset and preset.isdigit() else None) or longest
    if window is not None and longest is not None:
        window = min(window, longest)
    capabilities: set[Capability] = set()
    for word in shown.capabilities or ():
        capabilities.update(_CAPABILITIES.get(word, ()))
    return ModelFacts(context_window=window, capabilities=frozenset(capabilities))
