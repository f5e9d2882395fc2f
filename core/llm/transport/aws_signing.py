"""AWS Signature Version 4: credentials by botocore's chain, signatures by botocore's signer, neither on the event loop.

Reading credentials may read files, start a process or ask a metadata service, so it happens in a thread, once for all
calls that wait for it. Signing takes a tenth of a millisecond; only large bodies are hashed in a thread.

The signature holds the time. A clock that is wrong is noticed by the `Date` of the answers: the next signature is made
with the server's time.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Final, Protocol

from core.llm.common.clock import Clock
from core.llm.common.exceptions import ProviderError
from core.llm.common.types import PhaseLimits
from core.llm.common.wire import HttpCall, HttpReply, Transport

BEARER_VARIABLE: Final = "AWS_BEARER_TOKEN_BEDROCK"
"""The environment variable that AWS's own SDKs read an API key for Bedrock from."""
TOLERATED_SKEW: Final = timedelta(minutes=4)
"""AWS refuses signatures that are five minutes off."""

_TIMESTAMP: Final = "%Y%m%dT%H%M%SZ"
_HASHED_HERE: Final = 128 * 2**10
# The time within which botocore insists on new credentials; before that, old ones do while new ones are fetched.
_MANDATORY_SECONDS: Final = 600


class MissingBotocore(Exception):
    """The optional dependency is not installed."""

    def __init__(self) -> None:
        super().__init__("AWS signatures need botocore: install core-llm[bedrock], or configure an API key as api_key")


@dataclass(frozen=True, slots=True)
class AwsCredentials:
    """One set of credentials at one moment."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


class CredentialSource(Protocol):
    """Where credentials come from."""

    async def credentials(self) -> AwsCredentials:
        """Valid credentials.

        Raises:
            ProviderError: `authentication`: there are none, or they cannot be had.
        """

    def forget(self) -> None:
        """The service says that the credentials are no longer valid: read them anew next time."""

    async def close(self) -> None:
        """Stop fetching."""


class StaticCredentials:
    """Credentials from the configuration."""

    def __init__(self, credentials: AwsCredentials) -> None:
        self._credentials = credentials

    async def credentials(self) -> AwsCredentials:
        """The same, always."""
        return self._credentials

    def forget(self) -> None:
        """Nothing: there are no others."""

    async def close(self) -> None:
        """Nothing to stop."""


class ChainCredentials:
    """Botocore's chain: environment, profiles, SSO, web identity, process, container and instance metadata.

    However many calls need credentials at once, they are fetched once. A call that is cancelled leaves the fetch to
    the others.
    """

    def __init__(self, load: Callable[[], Any]) -> None:
        self._load = load
        self._chain: Any = None
        self._frozen: AwsCredentials | None = None
        self._fetch: asyncio.Task[AwsCredentials] | None = None

    @staticmethod
    def of_profile(profile: str | None) -> "ChainCredentials":
        """The chain of *profile*, or of the default one."""
        return ChainCredentials(lambda: _session(profile).get_credentials())

    async def credentials(self) -> AwsCredentials:
        """Valid credentials; those that expire soon are still used while new ones are fetched."""
        if self._frozen is not None and not self._expires_within(None):
            return self._frozen
        fetch = self._fetch
        if fetch is None:
            fetch = self._fetch = asyncio.create_task(asyncio.to_thread(self._read), name="aws credentials")
            fetch.add_done_callback(self._fetched)
        if self._frozen is not None and not self._expires_within(_MANDATORY_SECONDS):
            return self._frozen
        try:
            return await asyncio.shield(fetch)
        except asyncio.CancelledError:
            if self._fetch is not None or not fetch.cancelled():
                raise
            # Nobody wants this call to end: it was `close` that gave up the fetch.
            raise ProviderError(
                "network_error", "the provider is stopping or was replaced", code="transport_closed", retryable=False
            ) from None
        except MissingBotocore as error:
            raise ProviderError("authentication", str(error), code="no_botocore") from None
        except ProviderError as error:
            # Shared by every call that waits: each gets one of its own.
            raise ProviderError(error.type, error.message, code=error.code) from None
        except Exception as error:  # noqa: BLE001 - botocore's chain raises dozens of kinds, urllib3's among them
            # The text of a foreign exception may hold what it read, hence only its type.
            raise ProviderError(
                "authentication",
                f"the AWS credentials cannot be read ({type(error).__name__}): check the profile, the metadata service "
                "or the process that provides them",
                code="credentials",
            ) from None

    def forget(self) -> None:
        """Read the chain anew for the next call."""
        self._chain = self._frozen = None

    async def close(self) -> None:
        """Wait for nothing: a thread that is still reading ends by itself."""
        fetch, self._fetch = self._fetch, None
        if fetch is not None:
            fetch.cancel()

    def _expires_within(self, seconds: int | None) -> bool:
        """Whether the credentials expire within *seconds*; `None` is botocore's own limit for fetching new ones."""
        refresh_needed = getattr(self._chain, "refresh_needed", None)
        return bool(refresh_needed is not None and refresh_needed(seconds))

    def _read(self) -> AwsCredentials:
        chain = self._chain
        if chain is None:
            chain = self._load()
        if chain is None:
            raise ProviderError(
                "authentication",
                "no AWS credentials were found: set api_key, or access_key_id and secret_access_key, or profile, or "
                "make them available to the AWS CLI on this machine",
                code="no_credentials",
            )
        frozen = chain.get_frozen_credentials()
        self._chain = chain
        return AwsCredentials(frozen.access_key, frozen.secret_key, frozen.token)

    def _fetched(self, fetch: "asyncio.Task[AwsCredentials]") -> None:
        if self._fetch is fetch:
            self._fetch = None
        if not fetch.cancelled() and fetch.exception() is None:
            self._frozen = fetch.result()


def _session(profile: str | None) -> Any:
    try:
        from botocore.session import Session  # noqa: PLC0415 - an optional dependency, and slow to import
    except ImportError:
        raise MissingBotocore from None
    return Session(profile=profile)


async def find_region(profile: str | None, environ: Mapping[str, str] | None = None) -> str | None:
    """The region that the environment or the profile names, read in a thread; `None` where neither does."""
    environ = os.environ if environ is None else environ
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    if region:
        return region

    def from_profile() -> str | None:
        try:
            found: str | None = _session(profile).get_config_variable("region")
        except MissingBotocore:
            return None
        return found

    return await asyncio.to_thread(from_profile)


def sign(call: HttpCall, url: str, credentials: AwsCredentials, *, region: str, service: str, at: datetime) -> HttpCall:
    """*call* with the headers of a signature made at *at*; *url* is the whole address it goes to.

    Raises:
        MissingBotocore: botocore is not installed.
    """
    try:
        from botocore.auth import SigV4Auth  # noqa: PLC0415 - an optional dependency, and slow to import
        from botocore.awsrequest import AWSRequest  # noqa: PLC0415 - see above
    except ImportError:
        raise MissingBotocore from None
    signed = {name: value for name, value in call.headers.items() if _is_signed(name)}
    request = AWSRequest(method=call.method, url=url, headers=signed, data=call.body or b"")
    request.context["timestamp"] = stamp = at.strftime(_TIMESTAMP)
    request.headers["X-Amz-Date"] = stamp
    if credentials.token:
        request.headers["X-Amz-Security-Token"] = credentials.token
    # Botocore's `add_auth` takes the local time and logs the session token.
    signer = SigV4Auth(credentials, service, region)
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    names = signer.signed_headers(signer.headers_to_sign(request))
    headers = {
        **call.headers,
        "x-amz-date": stamp,
        "authorization": f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, SignedHeaders={names}, "
        f"Signature={signature}",
    }
    if credentials.token:
        headers["x-amz-security-token"] = credentials.token
    return replace(call, headers=headers)


def _is_signed(name: str) -> bool:
    # What a proxy may change is left out; AWS insists on its own headers.
    lower = name.lower()
    return lower in {"content-type", "host"} or lower.startswith("x-amz")


class ServerTime:
    """What time it is for the service: the local clock, corrected where the service's answers disagree with it."""

    __slots__ = ("_clock", "offset")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.offset = timedelta(0)
        """What must be added to the local time; zero while the two agree well enough."""

    def now(self) -> datetime:
        """The time to sign with, in UTC."""
        return self._clock.now() + self.offset

    def learn(self, date: str | None) -> None:
        """Compare with the `Date` of an answer; texts that are no date teach nothing."""
        if not date:
            return
        try:
            told = parsedate_to_datetime(date)
        except (ValueError, TypeError, IndexError, OverflowError):
            return
        if told.tzinfo is None:
            told = told.replace(tzinfo=UTC)
        if abs(told - self.now()) > TOLERATED_SKEW:
            self.offset = told - self._clock.now()


class SigningTransport:
    """Another transport, which it does not own, with a signature on every call that has no credential yet."""

    def __init__(
        self,
        inner: Transport,
        *,
        base_url: str,
        region: str,
        source: CredentialSource,
        time: ServerTime,
        service: str = "bedrock",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._inner = inner
        self._base = base_url.rstrip("/")
        self._region = region
        self._service = service
        self._source = source
        self._time = time
        self._warm = False
        # Headers that the pool adds later would otherwise not be part of the signature.
        self._headers = {name.lower(): value for name, value in (headers or {}).items() if _is_signed(name)}

    async def send(self, call: HttpCall, limits: PhaseLimits) -> HttpReply:
        """Send *call*; see `core.llm.common.wire.Transport`.

        Raises:
            ProviderError: also `authentication`, where there are no credentials to sign with.
        """
        if "authorization" in call.headers:
            return await self._inner.send(call, limits)
        credentials = await self._source.credentials()
        call = replace(call, headers={**self._headers, **call.headers})
        work = partial(
            sign,
            call,
            self._base + call.path,
            credentials,
            region=self._region,
            service=self._service,
            at=self._time.now(),
        )
        large = isinstance(call.body, bytes) and len(call.body) > _HASHED_HERE
        try:
            # The first signature imports botocore, which takes as long as a thousand signatures.
            signed = await asyncio.to_thread(work) if large or not self._warm else work()
            self._warm = True
        except MissingBotocore as error:
            raise ProviderError("authentication", str(error), code="no_botocore") from None
        reply = await self._inner.send(signed, limits)
        self._time.learn(reply.headers.get("date"))
        if reply.status == 403 and "ExpiredToken" in reply.headers.get("x-amzn-errortype", ""):
            self._source.forget()
        return reply

    async def close(self) -> None:
        """Nothing: the pool belongs to whoever lent it."""
