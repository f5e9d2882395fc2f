"""Access tokens: fetched once for all, off the loop, early enough, and not in a rush after a failure."""

import asyncio
import json
import threading
from datetime import UTC, timedelta
from typing import Any

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.testing import FakeClock
from core.llm.transport.access_token import AccessTokens
from core.llm.transport.google_token import google_tokens, load_credentials

SECRET = "ya29.canary-token"


class FakeCredentials:
    """Credentials as google-auth has them, with a counter in the token."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.token: str | None = None
        self.expiry: Any = None
        self.quota_project_id = "payer"
        self.refreshes = 0
        self.failure: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.threads: set[int] = set()

    def refresh(self, request: Any) -> None:
        self.threads.add(threading.get_ident())
        assert self.gate.wait(5)
        self.refreshes += 1
        if self.failure is not None:
            raise self.failure
        self.token = f"{SECRET}-{self.refreshes}"
        self.expiry = (self.clock.now() + timedelta(hours=1)).astimezone(UTC).replace(tzinfo=None)


class RefreshError(Exception):
    """Named like google-auth's."""


class TransportError(Exception):
    """Named like google-auth's."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def credentials(clock: FakeClock) -> FakeCredentials:
    return FakeCredentials(clock)


@pytest.fixture
def tokens(clock: FakeClock, credentials: FakeCredentials) -> AccessTokens:
    return google_tokens(clock, None, load=lambda _: credentials, request=object)


async def test_f135_a_hundred_calls_fetch_one_token(tokens: AccessTokens, credentials: FakeCredentials) -> None:
    """F135: and not on the thread of the loop."""
    found = await asyncio.gather(*(tokens.token() for _ in range(100)))
    assert {token.value for token in found} == {f"{SECRET}-1"}
    assert (credentials.refreshes, found[0].quota_project) == (1, "payer")
    assert threading.get_ident() not in credentials.threads
    assert SECRET not in repr(found[0])


async def test_a_token_is_replaced_before_it_ends(
    tokens: AccessTokens, credentials: FakeCredentials, clock: FakeClock
) -> None:
    """And used until then."""
    await tokens.token()
    await clock.advance(3000)
    assert (await tokens.token()).value == f"{SECRET}-1"
    await clock.advance(500)
    assert (await tokens.token()).value == f"{SECRET}-2"


async def test_a_token_that_is_still_good_survives_a_failed_refresh(
    tokens: AccessTokens, credentials: FakeCredentials, clock: FakeClock
) -> None:
    """Until its own end."""
    await tokens.token()
    credentials.failure = TransportError()
    await clock.advance(3500)
    assert (await tokens.token()).value == f"{SECRET}-1"
    await clock.advance(200)
    with pytest.raises(ProviderError):
        await tokens.token()


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (RefreshError(SECRET), "authentication"),
        (TransportError(SECRET), "network_error"),
        (OSError(SECRET), "authentication"),
    ],
)
async def test_f135_a_failure_reaches_everybody_and_is_not_repeated_in_a_rush(
    tokens: AccessTokens, credentials: FakeCredentials, clock: FakeClock, failure: Exception, kind: str
) -> None:
    """F135: the next try comes after a second, the one after that after two; nothing of a secret is told."""
    credentials.failure = failure
    found = await asyncio.gather(*(tokens.token() for _ in range(10)), return_exceptions=True)
    assert {error.type for error in found if isinstance(error, ProviderError)} == {kind}
    assert len({id(error) for error in found}) == 10
    for error in found:
        chain: BaseException | None = error if isinstance(error, BaseException) else None
        while chain is not None:
            assert SECRET not in f"{chain} {chain!r}"
            chain = chain.__context__
    for seconds, refreshes in ((0.9, 1), (0.2, 2), (1.5, 2), (0.6, 3)):
        await clock.advance(seconds)
        with pytest.raises(ProviderError):
            await tokens.token()
        assert credentials.refreshes == refreshes
    credentials.failure = None
    await clock.advance(5)
    assert (await tokens.token()).value == f"{SECRET}-4"


async def test_f136_a_refused_token_is_replaced_once(tokens: AccessTokens, credentials: FakeCredentials) -> None:
    """F136: however many calls were refused with it."""
    refused = await tokens.token()
    found = await asyncio.gather(*(tokens.renew(refused) for _ in range(20)))
    assert {token.value for token in found} == {f"{SECRET}-2"}
    assert (await tokens.renew(refused)).value == f"{SECRET}-2"
    assert credentials.refreshes == 2


async def test_a_caller_who_leaves_takes_the_token_from_nobody(
    tokens: AccessTokens, credentials: FakeCredentials
) -> None:
    """The fetch goes on for the others."""
    credentials.gate.clear()
    first, second = (asyncio.ensure_future(tokens.token()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    credentials.gate.set()
    assert (await second).value == f"{SECRET}-1"


async def test_closing_ends_the_wait(tokens: AccessTokens, credentials: FakeCredentials) -> None:
    """With an error of its own kind."""
    credentials.gate.clear()
    waiting = asyncio.ensure_future(tokens.token())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await tokens.close()
    credentials.gate.set()
    with pytest.raises(ProviderError) as caught:
        await waiting
    assert caught.value.type == "cancelled"


@pytest.mark.parametrize("text", [None, "{", "[]", "{}", '{"type": "external_account"}'])
def test_a_file_that_cannot_be_used_is_named_as_the_reason(tmp_path: Any, text: str | None) -> None:
    """Without any of its contents."""
    file = tmp_path / "key.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ProviderError, match="credentials_file") as caught:
        load_credentials(str(file))
    assert caught.value.type == "authentication"


def test_a_service_account_is_read_from_its_file(tmp_path: Any) -> None:
    """By google-auth itself, for the scope of Google Cloud."""
    pytest.importorskip("google.auth", reason="google-auth is an optional extra: pip install 'core-llm[vertex]'")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization", reason="makes the key")
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    account = {
        "type": "service_account", "private_key": pem, "client_email": "a@b.iam.gserviceaccount.com",
        "token_uri": "http://127.0.0.1:1/token", "project_id": "p",
    }  # fmt: skip
    file = tmp_path / "key.json"
    file.write_text(json.dumps(account))
    loaded: Any = load_credentials(str(file))
    assert loaded.service_account_email == account["client_email"]
    assert loaded.scopes == ["https://www.googleapis.com/auth/cloud-platform"]
