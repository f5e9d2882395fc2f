"""Access tokens for Google Cloud, from a service account or from the application-default credentials."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol, cast

from core.llm.common.clock import Clock
from core.llm.common.exceptions import ProviderError
from core.llm.transport.access_token import AccessTokens, IssuedToken

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"

_REQUEST_SECONDS: Final = 20.0


class Credentials(Protocol):
    """What is used of `google.auth.credentials.Credentials`."""

    token: str | None
    expiry: datetime | None
    """Naive, in UTC."""

    def refresh(self, request: Any) -> None:
        """Fetch a new token; blocks."""


def is_available() -> bool:
    """Whether `google-auth`, and `requests` for its traffic, are installed."""
    return all(find_spec(name) is not None for name in ("google", "requests")) and find_spec("google.auth") is not None


class GoogleCredentials:
    """One set of credentials, loaded when the first token is asked for."""

    def __init__(self, load: Callable[[], Credentials], request: Callable[[], Any]) -> None:
        self._load = load
        self._request = request
        self._credentials: Credentials | None = None

    def issue(self) -> IssuedToken:
        """Fetch a token; blocks, and raises whatever google-auth and the libraries below it raise."""
        credentials = self._credentials or self._load()
        self._credentials = credentials
        credentials.refresh(self._request())
        if not credentials.token:
            raise ProviderError("authentication", "Google gave no access token", code="no_token")
        expiry = credentials.expiry
        return IssuedToken(
            credentials.token,
            expiry.replace(tzinfo=UTC) if expiry else None,
            getattr(credentials, "quota_project_id", None),
        )


def load_credentials(file: str | None) -> Credentials:
    """The credentials in *file*, or the application-default ones; blocks.

    Raises:
        ProviderError: `authentication`: the file cannot be used.
    """
    if file is None:
        import google.auth  # noqa: PLC0415 - only a host that uses Vertex AI pays for it

        default: Any = google.auth.default
        return cast("Credentials", default(scopes=[SCOPE])[0])
    try:
        info = json.loads(Path(file).expanduser().read_text(encoding="utf-8"))
        kind = info["type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unusable(f"cannot be read ({type(error).__name__})") from None
    if kind == "service_account":
        from google.oauth2 import service_account  # noqa: PLC0415 - see above

        service: Any = service_account.Credentials
        return cast("Credentials", service.from_service_account_info(info, scopes=[SCOPE]))
    if kind == "authorized_user":
        from google.oauth2 import credentials  # noqa: PLC0415 - see above

        user: Any = credentials.Credentials
        return cast("Credentials", user.from_authorized_user_info(info, scopes=[SCOPE]))
    raise _unusable(
        "is of another kind than service_account and authorized_user: name it in GOOGLE_APPLICATION_CREDENTIALS instead"
    )


def google_request() -> Any:
    """What google-auth sends its own requests by."""
    from google.auth.transport.requests import Request  # noqa: PLC0415 - needs `requests`, see load_credentials

    return partial(Request(), timeout=_REQUEST_SECONDS)


def google_tokens(
    clock: Clock,
    file: str | None,
    *,
    load: Callable[[str | None], Credentials] = load_credentials,
    request: Callable[[], Any] = google_request,
) -> AccessTokens:
    """The tokens of the credentials in *file*, or of the application-default ones. Reads nothing yet."""
    return AccessTokens(clock, GoogleCredentials(partial(load, file), request).issue, _error_of)


def _error_of(error: Exception) -> ProviderError:
    kind = type(error).__name__
    match kind:
        case "DefaultCredentialsError":
            return ProviderError(
                "authentication",
                "there are no application-default credentials: run `gcloud auth application-default login`, set "
                "GOOGLE_APPLICATION_CREDENTIALS, or name a credentials_file",
                code="no_credentials",
            )
        case "TransportError":
            return ProviderError(
                "network_error", "Google's token endpoint cannot be reached", code="token_endpoint", billing="none"
            )
        case _:
            return ProviderError(
                "authentication", f"Google gave no access token ({kind}): check the credentials", code="token_refused"
            )


def _unusable(reason: str) -> ProviderError:
    return ProviderError("authentication", f"credentials_file {reason}", code="no_credentials")
