"""Acme as a provider: its settings, its credential, its health. Everything else is inherited."""

from dataclasses import replace
from typing import ClassVar

from acme_provider.wire import AcmeDialect
from core.llm.common.exceptions import ProviderError
from core.llm.common.types import PhaseLimits
from core.llm.common.wire import HttpCall
from core.llm.providers.base.http_provider import HttpProvider
from core.llm.providers.base.provider import HealthReport, ProviderServices
from core.llm.providers.base.request import EmbeddingRequest
from core.llm.providers.config.models.provider import ProviderConfig


class AcmeConfig(ProviderConfig):
    """Nothing but an address beside what every provider has."""

    needs_key: ClassVar[bool] = True
    base_url: str = "https://api.acme.example/v1"


class AcmeProvider(HttpProvider):
    """One account at Acme."""

    def __init__(self, config: AcmeConfig, services: ProviderServices) -> None:
        super().__init__(config, services, AcmeDialect(), base_url=config.base_url)

    def authorise(self, call: HttpCall, api_key: str | None) -> HttpCall:
        """*call* with the key, which is chosen for every attempt anew."""
        return replace(call, headers={**call.headers, "acme-key": api_key or ""})

    async def health_check(self) -> HealthReport:
        """Ask for something that costs no tokens."""
        try:
            await self.call_json(HttpCall("GET", "/health"), EmbeddingRequest(self.name, "", (), PhaseLimits()))
        except ProviderError as error:
            return HealthReport(False, str(error))
        return HealthReport(True, "answers")
