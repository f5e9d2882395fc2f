"""Access tokens of Microsoft Entra ID, from a service principal, a managed identity or whoever is logged in.

`azure-identity` is imported by the first call that needs a token.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from typing import Any, Final, Protocol

from core.llm.common.clock import Clock
from core.llm.common.exceptions import ProviderError
from core.llm.transport.access_token import AccessTokens, IssuedToken

SCOPE: Final = "https://cognitiveservices.azure.com/.default"

_REQUEST_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class EntraIdentity:
    """Who asks. Without a secret it is the managed identity, or whoever is logged in on this machine."""

    tenant_id: str | None = None
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    scope: str = SCOPE


class Identity(Protocol):
    """What is used of a credential of `azure-identity`."""

    def get_token(self, *scopes: str) -> Any:
        """A token with `token` and `expires_on` (seconds since 1970), perhaps a remembered one; blocks."""

    def close(self) -> None:
        """Close its connections."""


class EntraCredentials:
    """A credential that does not hand out its last token again when it is asked for another."""

    def __init__(self, scope: str, open_identity: Callable[[], Identity]) -> None:
        self._scope = scope
        self._open = open_identity
        self._identity: Identity | None = None
        self._last: str | None = None

    def issue(self) -> IssuedToken:
        """Fetch a token; blocks, and raises whatever azure-identity and the libraries below it raise."""
        found = self._fetch()
        if found.token == self._last:
            # It was remembered, and it is asked for anew because it was refused.
            self._forget()
            found = self._fetch()
        self._last = found.token
        return IssuedToken(found.token, datetime.fromtimestamp(found.expires_on, UTC))

    def _fetch(self) -> Any:
        if self._identity is None:
            self._identity = self._open()
        return self._identity.get_token(self._scope)

    def _forget(self) -> None:
        identity, self._identity = self._identity, None
        if identity is not None:
            identity.close()


def is_available() -> bool:
    """Whether `azure-identity` is installed."""
    return find_spec("azure") is not None and find_spec("azure.identity") is not None


def open_identity(who: EntraIdentity) -> Identity:
    """The credential for *who*; opens no connection."""
    from azure.identity import (  # noqa: PLC0415 - only a host that uses Entra ID pays for it
        ClientSecretCredential,
        DefaultAzureCredential,
    )

    # One owner of retries: the pipeline.
    patience: dict[str, Any] = {
        "retry_total": 0,
        "connection_timeout": _REQUEST_SECONDS,
        "read_timeout": _REQUEST_SECONDS,
    }
    opened: Identity
    if who.client_secret is not None and who.tenant_id is not None and who.client_id is not None:
        opened = ClientSecretCredential(who.tenant_id, who.client_id, who.client_secret, **patience)
    else:
        named = {"managed_identity_client_id": who.client_id, "workload_identity_client_id": who.client_id}
        opened = DefaultAzureCredential(**(named if who.client_id else {}), **patience)
    return opened


def entra_tokens(
    clock: Clock, who: EntraIdentity, open_with: Callable[[EntraIdentity], Identity] = open_identity
) -> AccessTokens:
    """The tokens of *who*, fetched when they are needed and shared by every call."""
    return AccessTokens(clock, EntraCredentials(who.scope, partial(open_with, who)).issue, _error_of)


def _error_of(error: Exception) -> ProviderError:
    match type(error).__name__:
        case "CredentialUnavailableError":
            return ProviderError(
                "authentication",
                "there is no identity for Entra ID: run `az login`, give the machine a managed identity, or set "
                "tenant_id, client_id and client_secret under entra_id",
                code="no_credentials",
            )
        case "ServiceRequestError" | "ServiceResponseError" | "ServiceRequestTimeoutError":
            return ProviderError(
                "network_error",
                "the token endpoint of Entra ID cannot be reached",
                code="token_endpoint",
                billing="none",
            )
        case kind:
            return ProviderError(
                "authentication", f"Entra ID gave no access token ({kind}): check entra_id", code="token_refused"
            )
