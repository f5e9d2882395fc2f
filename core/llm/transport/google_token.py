"""Access tokens for Google Cloud, from a service account or from the application-default credentials.

Everything of `google-auth` blocks, reading files and asking the metadata server included, so it runs in a thread.
However many calls need a token, one of them fetches it.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol, cast

from core.llm.common.clock import Clock
from core.llm.common.exceptions import ProviderError

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"

_EARLY: Final = 225.0
"""Seconds before its end at which a token is replaced: half of them are enough for the slowest answer to begin."""
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
_REQUEST_SECONDS: Final = 20.0
_LIFETIME: Final = 3600.0


@dataclass(frozen=True, slots=True)
class AccessToken:
    """One token."""

    value: str
    expires_at: float
    """On the monotonic clock."""
    quota_project: str | None = None
    """The project that is charged with the requests, where it is not the one they are sent to."""

    def __repr__(self) -> str:
        """Without the token."""
        return f"AccessToken(expires_at={self.expires_at})"


class Credentials(Protocol):
    """What is used of `google.auth.credentials.Credentials`."""

    token: str | None
    expiry: datetime | None
    """Naive, in UTC."""

    def refresh(self, request: Any) -> None:
        """Fetch a new token; blocks."""


Load = Callable[[], Credentials]


def is_available() -> bool:
    """Whether `google-auth`, and `requests` for its traffic, are installed."""
    return all(find_spec(name) is not None for name in ("google", "requests")) and find_spec("google.auth") is not None


class GoogleTokens:
    """The tokens of one set of credentials, fetched when they are needed and shared by every call."""

    def __init__(self, clock: Clock, load: Load, request: Callable[[], Any] | None = None) -> None:
        self._clock = clock
        self._load = load
        self._request = request or _google_request
        self._credentials: Credentials | None = None
        self._token: AccessToken | None = None
        self._fetching: asyncio.Task[AccessToken] | None = None
        self._failure: ProviderError | None = None
        self._not_before = 0.0
        self._pause = _FIRST_PAUSE

    async def token(self) -> AccessToken:
        """A token that is good for a while.

        Raises:
            ProviderError: `authentication`: there are no credentials, or they are refused. The next try to get one is
                made after a pause that doubles up to a minute; until then everybody gets the same error at once.
        """
        token = self._token
        if token is not None and self._clock.monotonic() < token.expires_at - _EARLY:
            return token
        try:
            return await self._fetch()
        except ProviderError:
            if token is not None and self._token is token and self._clock.monotonic() < token.expires_at:
                return token
            raise

    async def renew(self, refused: AccessToken) -> AccessToken:
        """A token other than *refused*, which was valid by its dates and was not accepted."""
        token = self._token
        if token is not None and token.value != refused.value:
            return token
        self._token = None
        return await self._fetch()

    async def close(self) -> None:
        """Stop fetching. A thread that is waiting for Google ends by itself."""
        fetching, self._fetching = self._fetching, None
        if fetching is not None:
            fetching.cancel()
            await asyncio.wait([fetching])

    async def _fetch(self) -> AccessToken:
        if self._fetching is None:
            if self._failure is not None and self._clock.monotonic() < self._not_before:
                raise _copy(self._failure)
            self._fetching = asyncio.get_running_loop().create_task(self._refresh(), name="google token")
            self._fetching.add_done_callback(self._fetched)
        fetching = self._fetching
        try:
            # The caller may be cancelled; the token is still wanted by the others.
            return await asyncio.shield(fetching)
        except ProviderError as error:
            failure = _copy(error)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not fetching.cancelled() or (task is not None and task.cancelling()):
                raise
            failure = ProviderError("cancelled", "no token: the provider is closing", code="stopped")
        raise failure

    def _fetched(self, task: "asyncio.Task[AccessToken]") -> None:
        if self._fetching is task:
            self._fetching = None
        if not task.cancelled():
            # Marks the error as seen, also where every caller has gone.
            task.exception()

    async def _refresh(self) -> AccessToken:
        try:
            self._token = await asyncio.to_thread(self._refresh_in_thread)
        except ProviderError as error:
            self._failure = error
            self._not_before = self._clock.monotonic() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            raise
        self._failure, self._pause = None, _FIRST_PAUSE
        return self._token

    def _refresh_in_thread(self) -> AccessToken:
        failure: ProviderError | None = None
        try:
            credentials = self._credentials or self._load()
            self._credentials = credentials
            credentials.refresh(self._request())
        except ProviderError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - google-auth and what lies below it raise of every kind
            failure = _error_of(error)
        if failure is not None:
            # Raised out here: their texts may hold parts of a key, and must not hang on ours as a context.
            raise failure
        if not credentials.token:
            raise ProviderError("authentication", "Google gave no access token", code="no_token")
        expiry = credentials.expiry
        lifetime = (expiry.replace(tzinfo=UTC) - self._clock.now()).total_seconds() if expiry else _LIFETIME
        return AccessToken(
            credentials.token, self._clock.monotonic() + lifetime, getattr(credentials, "quota_project_id", None)
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


def google_tokens(clock: Clock, file: str | None) -> GoogleTokens:
    """The tokens of the credentials in *file*, or of the application-default ones. Reads nothing yet."""
    return GoogleTokens(clock, partial(load_credentials, file))


def _google_request() -> Any:
    from google.auth.transport.requests import Request  # noqa: PLC0415 - needs `requests`, see load_credentials

    return partial(Request(), timeout=_REQUEST_SECONDS)


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


def _copy(error: ProviderError) -> ProviderError:
    # One error raised by many waiters would collect all their tracebacks.
    copy = ProviderError(error.type, error.message)
    copy.__dict__.update(error.__dict__)
    return copy
