"""Anthropic as a provider: the Messages format, its credentials, token counting, model list and packaged facts."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

from core.llm.common.exceptions import UnsupportedFeature
from core.llm.common.types import ModelFacts
from core.llm.common.wire import HttpCall
from core.llm.data.facts import model_facts
from core.llm.dialects.anthropic_cache import PromptCache
from core.llm.dialects.anthropic_chat import AnthropicDialect
from core.llm.dialects.anthropic_decode import decode_count
from core.llm.dialects.anthropic_models import ListedClaude, ModelPage, models_from_anthropic
from core.llm.dialects.anthropic_quirks import AnthropicQuirks
from core.llm.providers.anthropic.config import AnthropicConfig
from core.llm.providers.base.http_provider import HttpProvider
from core.llm.providers.base.provider import HealthReport, ModelInfo, ProviderServices
from core.llm.providers.base.request import ChatRequest

_PAGE: Final = 1000
_MAX_PAGES: Final = 50


class AnthropicProvider(HttpProvider):
    """One account at Anthropic."""

    def __init__(self, config: AnthropicConfig, services: ProviderServices) -> None:
        hint = config.prompt_cache
        self.quirks = AnthropicQuirks(
            betas=config.betas,
            structured=config.structured,
            signatures=config.signatures,
            prompt_cache=PromptCache(hint.at, hint.ttl) if hint is not None else None,
        )
        self._messages = AnthropicDialect(self.quirks)
        # Every path begins with the version, which people like to write into the address too.
        base_url = config.base_url.rstrip("/").removesuffix("/v1")
        super().__init__(config, services, self._messages, base_url=base_url)
        self._facts: dict[str, ModelFacts] = {}

    def authorise(self, call: HttpCall, api_key: str | None) -> HttpCall:
        """*call* with the key, and the version of the API."""
        headers: dict[str, str] = {**call.headers, "anthropic-version": self.config.version}
        if self.quirks.betas and "anthropic-beta" not in headers:
            headers["anthropic-beta"] = ",".join(self.quirks.betas)
        if api_key:
            if self.config.auth == "bearer":
                headers["authorization"] = f"Bearer {api_key}"
            else:
                headers["x-api-key"] = api_key
        return HttpCall(call.method, call.path, call.body, headers, call.streaming, call.idempotent)

    def facts(self, model: str) -> ModelFacts:
        """What is known about *model*; the same object until something more is learnt."""
        facts = self._facts.get(model)
        if facts is None:
            facts = self._facts[model] = model_facts("anthropic", model)
        return facts

    async def count_tokens(self, request: ChatRequest) -> int:
        """Prompt tokens of *request* as the API counts them; costs nothing.

        Raises:
            ProviderError: the API refuses or cannot be reached.
            UnsupportedFeature: this server cannot count.
        """
        path = self.quirks.count_path
        if path is None:
            raise UnsupportedFeature(f"{self.name} cannot count tokens")
        if request.api_key is None:
            request = replace(request, api_key=self._first_key())
        headers, body = await self.call_json(self._messages.encode_count(request, path), request)
        with self.located(request.model):
            return decode_count(headers, body)

    async def list_models(self) -> Sequence[ModelInfo]:
        """The models the account may use, with their sizes where the API tells them.

        Raises:
            ProviderError: the API cannot be reached or refuses.
        """
        listed: list[ListedClaude] = []
        after: str | None = None
        for _ in range(_MAX_PAGES):
            page = await self._page(_PAGE, after)
            listed.extend(page.models)
            after = page.after
            if after is None:
                break
        for entry in listed:
            self._learn(entry)
        return [ModelInfo(entry.name, self.facts(entry.name), detail=entry.title) for entry in listed]

    async def health_check(self) -> HealthReport:
        """Ask for one entry of the model list, which costs no tokens."""
        return await self.report_of(self._sign_of_life())

    async def _sign_of_life(self) -> tuple[str, None]:
        await self._page(1, None)
        return "answers", None

    async def _page(self, limit: int, after: str | None) -> ModelPage:
        behind = f"&after_id={quote(after, safe='')}" if after else ""
        return await self.ask(f"{self.quirks.models_path}?limit={limit}{behind}", models_from_anthropic)

    def _learn(self, entry: ListedClaude) -> None:
        """Fill in what the packaged table does not know about a model."""
        facts = self.facts(entry.name)
        changes: dict[str, Any] = {}
        if facts.context_window is None and entry.max_input_tokens is not None:
            changes["context_window"] = entry.max_input_tokens
        if facts.max_output_tokens is None and entry.max_output_tokens is not None:
            changes["max_output_tokens"] = entry.max_output_tokens
        if entry.retires is not None and facts.quirks.get("shut_down") != entry.retires:
            changes["quirks"] = {**facts.quirks, "shut_down": entry.retires}
        if changes:
            self._facts[entry.name] = replace(facts, **changes)
