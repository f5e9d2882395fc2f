"""AWS signatures: the published vectors, credentials that are fetched once for all, a clock that is wrong."""

import asyncio
import logging
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import PhaseLimits
from core.llm.common.wire import HttpCall
from core.llm.testing import FakeClock
from core.llm.testing.bedrock_signature import Account, signature_problem
from core.llm.transport.aws_signing import (
    AwsCredentials,
    ChainCredentials,
    ServerTime,
    SigningTransport,
    StaticCredentials,
    find_region,
    sign,
)

pytest.importorskip("botocore", reason="the extra `bedrock` is not installed")

ACCOUNT = Account()
PUBLISHED = AwsCredentials(ACCOUNT.access_key, ACCOUNT.secret_key)
AT = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwt"
    "hAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVX"
    "AkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
UNRESERVED = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
VECTORS = {
    "get-vanilla": (
        HttpCall("GET", "/"), None, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    "post-vanilla": (
        HttpCall("POST", "/"), None, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    "get-vanilla-query-order-key-case": (
        HttpCall("GET", "/?Param2=value2&Param1=value1"), None,
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
    "post-x-www-form-urlencoded": (
        HttpCall("POST", "/", b"Param1=value1", FORM), None,
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"),
    "get-utf8": (
        HttpCall("GET", "/\u1234"), None, "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    "get-space": (
        HttpCall("GET", "/example space/"), None, "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"),
    "get-relative-relative": (
        HttpCall("GET", "/example1/example2/../.."), None,
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    "get-vanilla-with-session-token": (
        HttpCall("GET", "/"), "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267",
        "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8"),
    # The suite writes this query unencoded, which is never put on the wire here: the transport refuses it.
    "get-vanilla-utf8-query": (
        HttpCall("GET", "/?%E1%88%B4=bar"), None, "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"),
    "get-slash": (
        HttpCall("GET", "//"), None, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    "get-unreserved": (
        HttpCall("GET", f"/{UNRESERVED}"), None, "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"),
    "get-vanilla-query-unreserved": (
        HttpCall("GET", f"/?{UNRESERVED}={UNRESERVED}"), None,
        "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"),
    "get-vanilla-empty-query-key": (
        HttpCall("GET", "/?Param1=value1"), None, "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"),
    "get-vanilla-query-order-key": (
        HttpCall("GET", "/?Param1=value2&Param1=Value1"), None,
        "eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1"),
    "get-vanilla-query-order-value": (
        HttpCall("GET", "/?Param1=value2&Param1=value1"), None,
        "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694"),
    "get-vanilla-query-order-encoded": (
        HttpCall("GET", "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1"), None,
        "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac"),
    "get-relative": (
        HttpCall("GET", "/example/.."), None, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    "get-slash-dot-slash": (
        HttpCall("GET", "/./"), None, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    "get-slash-pointless-dot": (
        HttpCall("GET", "/./example"), None, "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5"),
    "get-slashes": (
        HttpCall("GET", "//example//"), None, "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"),
    "get-special-character": (
        HttpCall("GET", "/example/$delete"), None, "a853c9b21b528b19643d00910d35b83a10c366a10833ceefb45edd6c80e40f27"),
    "post-vanilla-query": (
        HttpCall("POST", "/?Param1=value1"), None, "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"),
    "post-x-www-form-urlencoded-parameters": (
        HttpCall("POST", "/", b"Param1=value1", {"Content-Type": "application/x-www-form-urlencoded; charset=utf8"}),
        None, "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe"),
    "post-sts-header-before": (
        HttpCall("POST", "/"), TOKEN, "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"),
}  # fmt: skip


@pytest.mark.parametrize("name", VECTORS)
def test_the_published_vectors_hold(name):
    """AWS's own test suite for Signature Version 4, as far as it speaks of headers that we sign.

    The cases about `My-Header1` do not apply: only host, content type and `x-amz-*` are signed.
    """
    call, token, signature = VECTORS[name]
    credentials = AwsCredentials(PUBLISHED.access_key, PUBLISHED.secret_key, token)
    url = f"https://example.amazonaws.com{call.path}"
    signed = sign(call, url, credentials, region="us-east-1", service="service", at=AT)
    assert signed.headers["authorization"].endswith(f"Signature={signature}")
    assert signed.headers.get("x-amz-security-token") == token
    assert signed.body is call.body


def test_an_encoded_path_is_encoded_once_more_for_the_signature():
    """The service reads a model's ARN as one segment and signs what stood in the request line, quoted again."""
    call = HttpCall(
        "POST", "/model/arn%3Aaws%3Abedrock%3A%3A%3Ax%2Fy/converse", b"{}", {"content-type": "application/json"}
    )
    url = f"https://bedrock-runtime.us-east-1.amazonaws.com{call.path}"
    signed = sign(call, url, PUBLISHED, region="us-east-1", service="bedrock", at=AT)
    headers = {**signed.headers, "host": "bedrock-runtime.us-east-1.amazonaws.com"}
    assert signature_problem(ACCOUNT, "POST", call.path, "", headers, b"{}", AT) is None
    assert signature_problem(ACCOUNT, "POST", call.path, "", headers, b"[]", AT) is not None


def test_nothing_secret_is_logged_while_signing(caplog):
    """Botocore's own way of signing writes the session token to the debug log."""
    caplog.set_level(logging.DEBUG)
    credentials = AwsCredentials("AKIDEXAMPLE", "secret-of-the-key", "secret-session-token")
    signed = sign(HttpCall("GET", "/"), "https://x.amazonaws.com/", credentials, region="r", service="s", at=AT)
    assert "secret" not in caplog.text + repr(credentials) + repr(signed)


class FakeChain:
    """What botocore hands out: credentials that may have to be fetched again."""

    def __init__(self, seconds_left: float = float("inf")) -> None:
        self.seconds_left = seconds_left
        self.reads = 0
        self.gate = threading.Event()
        self.gate.set()
        self.failure: Exception | None = None

    def refresh_needed(self, refresh_in: int | None = None) -> bool:
        return self.seconds_left < (900 if refresh_in is None else refresh_in)

    def get_frozen_credentials(self) -> AwsCredentials:
        self.gate.wait(5)
        if self.failure is not None:
            raise self.failure
        self.reads += 1
        return AwsCredentials(f"key-{self.reads}", "secret")


async def test_many_calls_fetch_credentials_once():
    """However many wait, one thread is busy; afterwards nobody waits."""
    chain, loads = FakeChain(), []
    chain.gate.clear()
    source = ChainCredentials(lambda: loads.append(1) or chain)
    waiting = [asyncio.create_task(source.credentials()) for _ in range(50)]
    await asyncio.sleep(0)
    chain.gate.set()
    assert {one.access_key for one in await asyncio.gather(*waiting)} == {"key-1"}
    assert (await source.credentials()).access_key == "key-1"
    assert (len(loads), chain.reads) == (1, 1)


async def test_a_cancelled_call_leaves_the_fetch_to_the_others():
    """The first to ask is not the owner."""
    chain = FakeChain()
    chain.gate.clear()
    source = ChainCredentials(lambda: chain)
    first, second = asyncio.create_task(source.credentials()), asyncio.create_task(source.credentials())
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.wait([first])
    chain.gate.set()
    assert (await second).access_key == "key-1"
    assert first.cancelled()


async def test_credentials_that_expire_soon_are_used_while_new_ones_are_fetched():
    """Nobody waits before it is necessary; when it is, everybody does."""
    chain = FakeChain()
    source = ChainCredentials(lambda: chain)
    await source.credentials()
    chain.seconds_left = 800
    chain.gate.clear()
    assert (await source.credentials()).access_key == "key-1"
    chain.seconds_left = 30
    waiting = asyncio.create_task(source.credentials())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    chain.gate.set()
    assert (await waiting).access_key == "key-2"


@pytest.mark.parametrize(
    ("failure", "code"), [(RuntimeError("the secret is hunter2"), "credentials"), (None, "no_credentials")]
)
async def test_credentials_that_cannot_be_had_are_an_authentication_error(failure, code):
    """It says what to do, and nothing of what was read; the next call tries again."""
    chain = FakeChain()
    chain.failure = failure
    source = ChainCredentials(lambda: chain if failure else None)
    for _ in range(2):
        with pytest.raises(ProviderError) as caught:
            await source.credentials()
        assert (caught.value.type, caught.value.code, caught.value.retryable) == ("authentication", code, False)
        assert "hunter2" not in str(caught.value)
    chain.failure = None
    if failure:
        assert (await source.credentials()).access_key == "key-1"


async def test_closing_ends_the_wait_of_calls_with_an_error_of_ours():
    """A call that waits for credentials is not cancelled behind its caller's back."""
    chain = FakeChain()
    chain.gate.clear()
    source = ChainCredentials(lambda: chain)
    waiting = asyncio.create_task(source.credentials())
    await asyncio.sleep(0.01)
    await source.close()
    with pytest.raises(ProviderError, match="stopping"):
        await waiting
    chain.gate.set()


async def test_forgotten_credentials_are_read_anew():
    """After the service has said that they have expired."""
    chains = iter([FakeChain(), FakeChain()])
    source = ChainCredentials(lambda: next(chains))
    await source.credentials()
    source.forget()
    await source.credentials()
    assert next(chains, None) is None


async def test_the_profile_of_the_configuration_is_read(tmp_path, monkeypatch):
    """A real credentials file, read by botocore's real chain."""
    (tmp_path / "credentials").write_text("[work]\naws_access_key_id = AKIDWORK\naws_secret_access_key = s3\n")
    (tmp_path / "config").write_text("[profile work]\nregion = eu-central-1\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    assert (await ChainCredentials.of_profile("work").credentials()).access_key == "AKIDWORK"
    assert await find_region("work") == "eu-central-1"
    assert await find_region("work", {"AWS_REGION": "us-west-2"}) == "us-west-2"
    with pytest.raises(ProviderError) as caught:
        await ChainCredentials.of_profile("nobody").credentials()
    assert caught.value.code == "credentials"


class FakeReply:
    def __init__(self, status: int, headers: dict[str, str]) -> None:
        self.status = status
        self.headers = headers


class FakeTransport:
    def __init__(self, *replies: FakeReply) -> None:
        self.calls: list[HttpCall] = []
        self._replies = list(replies)

    async def send(self, call: HttpCall, limits: PhaseLimits) -> FakeReply:
        self.calls.append(call)
        return self._replies.pop(0) if self._replies else FakeReply(200, {})

    async def close(self) -> None:
        raise AssertionError("the pool is somebody else's")


def signing(inner: FakeTransport, source=None, clock=None) -> SigningTransport:
    time = ServerTime(clock or FakeClock())
    return SigningTransport(
        inner,
        base_url="http://127.0.0.1:1/",
        region="us-east-1",
        source=source or StaticCredentials(PUBLISHED),
        time=time,
    )


@pytest.mark.parametrize("minutes", [-600, -5, 5, 600])
async def test_a_wrong_clock_is_corrected_after_one_answer(minutes):
    """F165: the refusal carries the right time, and the next attempt is signed with it."""
    clock = FakeClock()
    right = clock.now() + timedelta(minutes=minutes)
    inner = FakeTransport(FakeReply(403, {"date": format_datetime(right, usegmt=True)}))
    transport = signing(inner, clock=clock)
    call = HttpCall("GET", "/foundation-models")
    for _ in range(2):
        await transport.send(call, PhaseLimits())
    first, second = (
        datetime.strptime(c.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) for c in inner.calls
    )
    assert abs(first - clock.now()) < timedelta(seconds=2)
    assert abs(second - right) < timedelta(seconds=2)


@pytest.mark.parametrize("date", ["", "yesterday", "Fri, 99 Nov 2026 12:00:00 GMT", "now", None])
def test_a_date_that_is_none_teaches_nothing(date):
    """Proxies write what they like."""
    time = ServerTime(FakeClock())
    time.learn(date)
    assert time.offset == timedelta(0)


def test_small_differences_are_left_alone():
    """Two clocks always differ by something, and AWS allows five minutes."""
    clock = FakeClock()
    time = ServerTime(clock)
    time.learn(format_datetime(clock.now() + timedelta(minutes=3), usegmt=True))
    assert time.offset == timedelta(0)


async def test_a_call_that_has_a_credential_is_not_signed():
    """An API key goes as it is; the credentials are not even read."""

    class Never(StaticCredentials):
        async def credentials(self) -> AwsCredentials:
            raise AssertionError("nobody asked for a signature")

    inner = FakeTransport()
    await signing(inner, Never(PUBLISHED)).send(
        HttpCall("GET", "/", headers={"authorization": "Bearer x"}), PhaseLimits()
    )
    assert inner.calls[0].headers == {"authorization": "Bearer x"}


async def test_expired_credentials_are_forgotten():
    """The next call reads what a login has renewed in the meantime."""
    forgotten = []

    class Noting(StaticCredentials):
        def forget(self) -> None:
            forgotten.append(1)

    inner = FakeTransport(FakeReply(403, {"x-amzn-errortype": "ExpiredTokenException:http://x"}), FakeReply(403, {}))
    transport = signing(inner, Noting(PUBLISHED))
    await transport.send(HttpCall("GET", "/"), PhaseLimits())
    await transport.send(HttpCall("GET", "/"), PhaseLimits())
    assert forgotten == [1]
