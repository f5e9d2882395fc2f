"""Azure as a provider: OpenAI's format at the addresses of deployments, with a key or with tokens of Entra ID."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

from core.llm.common.exceptions import ConfigError, ConfigIssue, ProviderError
from core.llm.common.types import ModelFacts
from core.llm.common.wire import HttpCall
from core.llm.data.facts import model_facts
from core.llm.dialects.errors import read_error
from core.llm.dialects.openai_embeddings import encode_embeddings
from core.llm.dialects.openai_endpoints import OpenAIEndpoints
from core.llm.dialects.openai_quirks import OPENAI
from core.llm.providers.azure_openai.config import AzureOpenAIConfig
from core.llm.providers.base.provider import ProviderServices
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest
from core.llm.providers.openai_style import OpenAIStyleProvider
from core.llm.transport.access_token import AccessTokens
from core.llm.transport.bearer import BearerTransport
from core.llm.transport.entra_token import EntraIdentity, entra_tokens, is_available

_DATES: Final = frozenset({"shut_down", "replaced_by"})
_OF_OTHERS: Final = ModelFacts(quirks={"token_cap": "max_tokens"})
"""Models of other makers know the older name only."""


class AzureEndpoints(OpenAIEndpoints):
    """Both chat endpoints, at the addresses of one resource."""

    __slots__ = ("_is_legacy", "_version")

    def __init__(self, config: AzureOpenAIConfig) -> None:
        super().__init__(OPENAI, config.api)
        self._is_legacy = config.is_legacy
        self._version = f"?api-version={config.api_version}" if config.api_version else ""

    def encode(self, request: ChatRequest) -> HttpCall:
        """The HTTP call for *request*."""
        return self.placed(super().encode(request), request.model)

    def placed(self, call: HttpCall, deployment: str) -> HttpCall:
        """*call* at its address: in the older scheme all but Responses lie below their deployment."""
        path = call.path
        if self._is_legacy and path not in {OPENAI.responses_path, OPENAI.models_path}:
            path = f"/deployments/{quote(deployment, safe='')}{path}"
        return replace(call, path=path + self._version)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """The error that an answer with *status* stands for; of a blocked prompt it says what was found in it."""
        error = super().error(status, headers, body)
        if error.type == "content_filter" and (found := _found_by_filter(read_error(body).value)):
            error.message += f" (found: {', '.join(found)})"
            error.args = (error.message,)
        return error


class AzureOpenAIProvider(OpenAIStyleProvider):
    """One resource. What other providers call a model is a deployment here."""

    def __init__(self, config: AzureOpenAIConfig, services: ProviderServices) -> None:
        super().__init__(
            config, services, base_url=config.url, quirks=OPENAI, batch_size=config.embedding_batch_size, api=config.api
        )
        self._endpoints = AzureEndpoints(config)
        self.dialect = self._endpoints
        self._tokens = self._entra_tokens(config)

    def _entra_tokens(self, config: AzureOpenAIConfig) -> AccessTokens | None:
        who = config.entra_id
        if who is None:
            return None
        secret = who.client_secret.get_secret_value() if who.client_secret is not None else None
        return entra_tokens(self.services.clock, EntraIdentity(who.tenant_id, who.client_id, secret, who.scope))

    async def start(self) -> None:
        """Take a share in the connection pool; connects to nothing.

        Raises:
            ConfigError: Entra ID is asked for, and its library is not installed.
        """
        if self._tokens is not None and not is_available():
            text = "needs azure-identity: install it with `pip install 'core-llm[azure]'`"
            raise ConfigError([ConfigIssue(text, f"providers.{self.name}.entra_id")])
        await super().start()
        if self._tokens is not None:
            self.transport = BearerTransport(self.transport, self._tokens)

    async def close(self) -> None:
        """Give the share back."""
        if self._tokens is not None:
            await self._tokens.close()
        await super().close()

    def authorise(self, call: HttpCall, api_key: str | None) -> HttpCall:
        """*call* with the key in Azure's own header; tokens are added by the transport."""
        if call.path == OPENAI.models_path:
            call = self._endpoints.placed(call, "")
        return replace(call, headers={**call.headers, "api-key": api_key}) if api_key else call

    def packaged_facts(self, model: str) -> ModelFacts:
        """The facts of the model behind the deployment *model*, which may be named after it."""
        deployed = self.config.models.get(model)
        base: str | None = deployed.base_model if deployed is not None else None
        facts = model_facts("openai", base or model)
        if "shut_down" in facts.quirks:
            # Azure keeps its own calendar, and a deployment may be called after a model that it never was.
            facts = replace(facts, quirks={key: value for key, value in facts.quirks.items() if key not in _DATES})
        return _OF_OTHERS if base is not None and facts == ModelFacts() else facts

    def embedding_call(self, request: EmbeddingRequest, inputs: Sequence[str]) -> HttpCall:
        """The HTTP call for *inputs*."""
        return self._endpoints.placed(encode_embeddings(request, inputs, OPENAI), request.model)


def _found_by_filter(value: Any) -> list[str]:
    """What Azure's filter objects to in a prompt: `violence: high`."""
    error = value.get("error") if isinstance(value, Mapping) else None
    inner = error.get("innererror") if isinstance(error, Mapping) else None
    results = inner.get("content_filter_result") if isinstance(inner, Mapping) else None
    return [
        f"{name}: {result['severity']}" if isinstance(result.get("severity"), str) else str(name)
        for name, result in (results.items() if isinstance(results, Mapping) else ())
        if isinstance(result, Mapping) and result.get("filtered") is True
    ]
