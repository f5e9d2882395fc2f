"""Who may call: API keys, signatures, session tokens, wrong clocks; and that no secret shows when it fails."""

import json
import traceback
from datetime import timedelta

import pytest
from pydantic import ValidationError

from core.container import Container
from core.llm import LLMService, ProviderModule
from core.llm.common.exceptions import ConfigError, ProviderError
from core.llm.providers.bedrock.access import ambient_key
from core.llm.providers.bedrock.config import BedrockConfig
from core.llm.testing import FakeClock
from core.llm.testing.bedrock_frames import bedrock_error
from core.llm.testing.bedrock_server import BedrockAnswer, BedrockServer
from core.llm.testing.bedrock_signature import Account
from core.llm.testing.wire_server import WireServer
from core.llm.testing.wire_steps import answer
from tests.wire.bedrock.support import CLAUDE, KEY, chat

ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0"


@pytest.fixture(autouse=True)
def no_ambient_credentials(monkeypatch, tmp_path):
    """Nothing of this machine takes part."""
    for name in (
        "AWS_BEARER_TOKEN_BEDROCK",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


@pytest.fixture
def _botocore():
    pytest.importorskip("botocore", reason="the extra `bedrock` is not installed")


async def failure(provider, **options) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await provider.generate(chat(provider, **options))
    return caught.value


@pytest.mark.usefixtures("_botocore")
@pytest.mark.parametrize("model", [CLAUDE, ARN, "a b/ü?x=1"])
async def test_signatures_are_accepted(server, make, signed, model):
    """Whatever has to be encoded in the path, whole and streamed, lists, and bodies that are hashed in a thread."""
    provider = await make(**signed, headers={"x-amzn-trace": "abc", "other": "x"})
    await provider.generate(chat(provider, "x" * 200_000, model=model))
    _ = [event async for event in provider.stream_generate(chat(provider, model=model, stream=True))]
    await provider.list_models()
    assert server.refusals == []
    assert "x-amzn-trace" in server.requests[-1].headers["authorization"]


@pytest.mark.usefixtures("_botocore")
async def test_temporary_credentials_send_their_token(make):
    """From the configuration, and from the environment through botocore's chain."""
    account = Account(token="session-token-0123456789")
    async with BedrockServer(account) as server:
        keys = {"access_key_id": account.access_key, "secret_access_key": account.secret_key}
        provider = await make(clock=server.clock, base_url=server.url, **keys, session_token=account.token)
        assert (await provider.generate(chat(provider))).content == "Hello"
        without = await make(clock=server.clock, base_url=server.url, **keys)
        assert (await failure(without)).type == "authentication"


@pytest.mark.usefixtures("_botocore")
async def test_the_chain_of_the_machine_is_used(server, make, monkeypatch):
    """Nothing in the configuration: what the AWS CLI would use."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.account.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.account.secret_key)
    provider = await make()
    assert (await provider.generate(chat(provider))).content == "Hello"


@pytest.mark.usefixtures("_botocore")
async def test_no_credentials_at_all_say_what_to_do(make):
    """An error of the credentials, before anything is sent."""
    error = await failure(await make())
    assert (error.type, error.code) == ("authentication", "no_credentials")
    assert "access_key_id" in error.message


async def test_an_api_key_comes_from_the_environment(server, make, monkeypatch):
    """By the name that AWS's SDKs use, unless the configuration names credentials."""
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", KEY)
    provider = await make()
    await provider.generate(chat(provider))
    assert server.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    assert (await provider.health_check()).healthy
    server.will(BedrockAnswer(bedrock_error(f"what is {KEY}?"), status=400, error="ValidationException"))
    assert KEY not in str(await failure(provider))
    assert ambient_key(BedrockConfig(profile="p"), {"AWS_BEARER_TOKEN_BEDROCK": KEY}) is None


async def test_no_key_shows_where_the_list_of_models_is_refused(make, monkeypatch):
    """A proxy quotes what it refuses, a key that looks like nothing else: that of the environment, or a header's."""
    key, ticket = "plain0words1of2mine3", "ticket4of5the6proxy7"
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", key)
    async with WireServer() as control:
        control.otherwise(answer(json.dumps({"message": f"who are you, {key} with {ticket}?"}), 400))
        provider = await make(control_url=control.url, headers={"x-ticket": ticket})
        detail = (await provider.health_check()).detail
        with pytest.raises(ProviderError) as caught:
            await provider.list_models()
    assert "who are you" in detail
    for text in (detail, str(caught.value)):
        assert key not in text
        assert ticket not in text


async def test_a_wrong_api_key_is_an_authentication_error(make):
    """AWS answers 403 and AccessDenied, as it does for a model one has no access to."""
    error = await failure(await make(api_key="x"), key="wrong-key-0123456789")
    assert (error.type, error.code) == ("authentication", "AccessDeniedException")


@pytest.mark.usefixtures("_botocore")
async def test_a_wrong_secret_shows_nothing(server, make):
    """AWS explains a bad signature with the whole request it should have been, session token included."""
    token = "session-token-0123456789"
    server.account = Account(token=token)
    provider = await make(access_key_id=server.account.access_key, secret_access_key="wrong", session_token=token)
    error = await failure(provider)
    assert (error.type, error.code) == ("authentication", "InvalidSignatureException")
    assert "does not match" in error.message
    shown = "".join(traceback.format_exception(error)) + repr(error.__dict__)
    assert token not in shown
    assert token in server.refusals[-1]


@pytest.mark.usefixtures("_botocore")
async def test_a_wrong_clock_costs_one_attempt(server, make, signed):
    """F165: the refused attempt is an error that may be tried again, and the next one is signed with AWS's time."""
    provider = await make(clock=FakeClock(now=server.clock.now() - timedelta(hours=3)), **signed)
    error = await failure(provider)
    assert (error.code, error.retryable, error.billing, error.scope) == ("clock_skew", True, "none", "request")
    assert (await provider.generate(chat(provider))).content == "Hello"


@pytest.mark.usefixtures("_botocore")
async def test_the_pipeline_tries_again_with_the_right_time(server):
    """F165 as a caller sees it: an answer, after two attempts."""
    account = server.account
    faulty = {"type": "bedrock", "region": "us-east-1", "base_url": server.url, "access_key_id": account.access_key,
              "secret_access_key": account.secret_key, "models": [CLAUDE]}  # fmt: skip
    config = {
        "llm_service": {
            "providers": {"bedrock": faulty},
            "retry": {"initial_delay": 0.001},
            "health_check": {"enabled": False},
        }
    }
    # The server lives in another month than this machine.
    async with Container([ProviderModule(config, watch=False, env={})]) as container:
        response = await container.get(LLMService).generate("hi", model=f"bedrock/{CLAUDE}")
    assert response.content == "Hello"
    assert [attempt.decision for attempt in response.trace.attempts] == ["retry", "answered"]


async def test_starting_twice_takes_one_share(make):
    """And closing gives everything back."""
    provider = await make(api_key=KEY)
    transport = provider.transport
    await provider.start()
    assert provider.transport is transport
    # The address serves both, so both pools are one.
    assert provider.services.resources.open == 1
    await provider.close()
    assert provider.services.resources.open == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"access_key_id": "a"},
        {"secret_access_key": "s"},
        {"session_token": "t"},
        {"region": "us east"},
        {"region": "x/y"},
    ],
)
def test_half_a_credential_is_refused(wrong):
    """When the file is read, not when the first call fails."""
    with pytest.raises(ValidationError):
        BedrockConfig(**wrong)


async def test_without_botocore_only_an_api_key_works(make, monkeypatch):
    """And the message says what to install."""
    monkeypatch.setattr("core.llm.providers.bedrock.access.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"core-llm\[bedrock\]"):
        await make(access_key_id="a", secret_access_key="b")
    assert await make(api_key=KEY)
