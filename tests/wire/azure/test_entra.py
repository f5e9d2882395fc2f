"""Tokens of Entra ID: fetched once for all calls, off the loop, and once more where one is refused."""

import asyncio
import threading
from dataclasses import dataclass

import pytest

from core.llm.common.exceptions import ConfigError, ProviderError
from core.llm.common.types import PhaseLimits
from core.llm.common.wire import HttpCall
from core.llm.providers.azure_openai import provider as azure
from core.llm.providers.azure_openai.config import AzureOpenAIConfig
from core.llm.providers.azure_openai.provider import AzureOpenAIProvider
from core.llm.testing import FakeClock, provider_services
from core.llm.transport.bearer import BearerTransport
from core.llm.transport.entra_token import SCOPE, EntraIdentity, entra_tokens, open_identity
from tests.wire.openai.fake_transport import FakeTransport

WHO = EntraIdentity("tenant", "client", "very-secret-value")
CALL = HttpCall("POST", "/chat/completions", b"{}")


@dataclass
class Token:
    token: str
    expires_on: float


class Directory:
    """Hands out numbered tokens, each remembered by the credential it was given to, as azure-identity does."""

    def __init__(self, clock: FakeClock, lifetime: float = 3600) -> None:
        self.clock = clock
        self.lifetime = lifetime
        self.opened = 0
        self.issued = 0
        self.asked = 0
        self.threads: set[int] = set()
        self.failure: Exception | None = None

    def open(self, who: EntraIdentity) -> "Credential":
        assert who is WHO
        self.opened += 1
        return Credential(self)


class Credential:
    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.remembered: Token | None = None

    def get_token(self, *scopes: str) -> Token:
        directory = self.directory
        directory.asked += 1
        directory.threads.add(threading.get_ident())
        assert scopes == (SCOPE,)
        if directory.failure is not None:
            raise directory.failure
        now = directory.clock.now().timestamp()
        if self.remembered is None or now > self.remembered.expires_on - 300:
            directory.issued += 1
            self.remembered = Token(f"token-{directory.issued}", now + directory.lifetime)
        return self.remembered

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def directory(clock: FakeClock) -> Directory:
    return Directory(clock)


@pytest.fixture
def wire() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def transport(clock: FakeClock, directory: Directory, wire: FakeTransport) -> BearerTransport:
    return BearerTransport(wire, entra_tokens(clock, WHO, directory.open))


def tokens_of(wire: FakeTransport) -> list[str]:
    """What was sent as credential."""
    return [call.headers["authorization"] for call in wire.calls]


async def test_many_calls_at_once_fetch_one_token(
    transport: BearerTransport, directory: Directory, wire: FakeTransport
) -> None:
    """In a thread of its own, so that the event loop goes on."""
    for _ in range(8):
        wire.will_answer({})
    await asyncio.gather(*(transport.send(CALL, PhaseLimits()) for _ in range(8)))
    assert (directory.asked, directory.issued) == (1, 1)
    assert set(tokens_of(wire)) == {"Bearer token-1"}
    assert threading.get_ident() not in directory.threads


async def test_a_token_is_replaced_before_it_ends(
    transport: BearerTransport, directory: Directory, wire: FakeTransport, clock: FakeClock
) -> None:
    """So that no answer begins with one that has just run out."""
    for seconds in (0, 3000, 590):
        await clock.advance(seconds)
        wire.will_answer({})
        await transport.send(CALL, PhaseLimits())
    assert tokens_of(wire) == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]


async def test_a_refused_token_is_replaced_once(
    transport: BearerTransport, directory: Directory, wire: FakeTransport
) -> None:
    """By a really new one, although the credential still remembers the old; a second refusal is the answer."""
    wire.will_answer({}, status=401)
    wire.will_answer({}, status=200)
    assert (await transport.send(CALL, PhaseLimits())).status == 200
    assert tokens_of(wire) == ["Bearer token-1", "Bearer token-2"]
    assert wire.replies[0].closed
    wire.will_answer({}, status=401)
    wire.will_answer(b"no token-3 here", status=401)
    refused = await transport.send(CALL, PhaseLimits())
    assert refused.status == 401
    assert b"token-3" not in await refused.read()
    assert directory.issued == 3


async def test_without_an_identity_the_error_says_what_to_do(transport: BearerTransport, directory: Directory) -> None:
    """And quotes nothing of what the library said."""
    from azure.identity import CredentialUnavailableError

    directory.failure = CredentialUnavailableError(message="very-secret-value")
    with pytest.raises(ProviderError) as caught:
        await transport.send(CALL, PhaseLimits())
    assert (caught.value.type, caught.value.code) == ("authentication", "no_credentials")
    assert "az login" in str(caught.value)
    assert "very-secret-value" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_secret_makes_a_service_principal_and_nothing_the_default_chain() -> None:
    """Neither connects to anything."""
    pytest.importorskip("azure.identity", reason="the extra core-llm[azure] is not installed")
    assert type(open_identity(WHO)).__name__ == "ClientSecretCredential"
    assert type(open_identity(EntraIdentity())).__name__ == "DefaultAzureCredential"
    assert "very-secret-value" not in repr(WHO)


async def test_the_provider_wraps_its_connections(wire: FakeTransport) -> None:
    """And sends no key."""
    config = AzureOpenAIConfig.model_validate({"resource": "acme", "entra_id": True})
    made = AzureOpenAIProvider(config, provider_services("azure"))
    await made.start()
    assert isinstance(made.transport, BearerTransport)
    assert "api-key" not in made.authorise(CALL, None).headers
    await made.close()


async def test_a_missing_library_is_named_when_the_provider_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with the first call."""
    monkeypatch.setattr(azure, "is_available", lambda: False)
    config = AzureOpenAIConfig.model_validate({"resource": "acme", "entra_id": True})
    with pytest.raises(ConfigError) as caught:
        await AzureOpenAIProvider(config, provider_services("azure")).start()
    assert "core-llm[azure]" in str(caught.value)
