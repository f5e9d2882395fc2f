"""A gateway is four lines of YAML: its address is enough, and what is special about known servers is data."""

from typing import Any

import pytest
from pydantic import ValidationError

from core.llm.dialects.openai_quirks import OpenAIQuirks
from core.llm.providers.config.loader import load_config
from core.llm.providers.config.resolving import ProviderTypes
from core.llm.providers.openai_compatible.config import OpenAICompatibleConfig
from core.llm.providers.openai_compatible.presets import PLAIN, preset_names, preset_url, quirks_of
from core.llm.providers.openai_compatible.provider import OpenAICompatibleProvider
from core.llm.testing import provider_services
from tests.unit.dialects.chat import body_of, chat
from tests.wire.openai.fake_transport import FakeTransport


def config(**fields: Any) -> OpenAICompatibleConfig:
    """A configuration as the loader makes it."""
    return OpenAICompatibleConfig.model_validate(fields)


def test_the_address_is_enough() -> None:
    """An unknown server gets the plain format, also without a key."""
    plain = config(base_url="http://10.0.0.5:8000/v1")
    assert (plain.wire, plain.url) == (OpenAIQuirks(), "http://10.0.0.5:8000/v1")


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_valid_data(name: str) -> None:
    """And a known address is recognised without naming the preset."""
    url = preset_url(name)
    chosen = config(preset=name, base_url=url or "http://localhost:8000/v1", quirks=dict.fromkeys(()))
    assert chosen.wire == quirks_of(name, {})
    if url is not None:
        assert config(preset=name).url == url
        assert config(base_url=url).wire == chosen.wire
        assert config(base_url=url, preset=PLAIN).wire == OpenAIQuirks()


def test_a_request_to_mistral_is_in_mistrals_words() -> None:
    """The row of the table changes exactly what differs there."""
    request = chat(seed=7, top_k=3, tools=[{"name": "f"}], tool_choice="required", stream=True)
    names = OpenAIQuirks.__dataclass_fields__
    quirks = config(preset="mistral").wire
    sent = body_of(request, **{name: getattr(quirks, name) for name in names})
    assert (sent["random_seed"], sent["tool_choice"]) == (7, "any")
    assert not {"seed", "top_k", "stream_options"} & sent.keys()


def test_own_quirks_win_over_the_preset() -> None:
    """Field by field."""
    wire = config(preset="groq", quirks={"token_cap": "max_tokens"}).wire
    assert (wire.token_cap, wire.rejects) == ("max_tokens", frozenset({"top_k", "name"}))


@pytest.mark.parametrize(
    ("fields", "where", "says"),
    [
        ({}, (), "base_url is missing"),
        ({"preset": "grok"}, ("preset",), "did you mean 'groq'"),
        ({"preset": "zzz"}, ("preset",), "known are plain"),
        ({"base_url": "http://x/v1", "quirks": {"tokn_cap": "x"}}, ("quirks",), "unknown quirk 'tokn_cap'"),
        ({"base_url": "http://x/v1", "quirks": {"token_cap": "x"}}, ("quirks",), "token_cap"),
        ({"base_url": "http://x/v1", "quirks": {"rejects": "top_k"}}, ("quirks",), "is a list"),
    ],
)
def test_mistakes_are_named_at_their_field(fields: dict[str, Any], where: tuple[str, ...], says: str) -> None:
    """With what to write instead."""
    with pytest.raises(ValidationError) as caught:
        config(**fields)
    error = caught.value.errors()[0]
    assert error["loc"] == where
    assert says in error["msg"]


@pytest.mark.parametrize(("models", "wanted"), [(["only"], "only"), (["a", "b"], None), ([], None)])
async def test_a_server_with_one_model_needs_no_model_name(models: list[str], wanted: str | None) -> None:
    """With several there is nothing to guess."""
    provider = OpenAICompatibleProvider(config(base_url="http://localhost:1/v1"), provider_services("acme"))
    provider.transport = transport = FakeTransport()
    transport.will_answer({"data": [{"id": name} for name in models]})
    assert await provider.resolve_default_model() == wanted
    assert "authorization" not in transport.calls[0].headers


@pytest.mark.parametrize(
    ("fields", "needed"),
    [
        ({"preset": "groq"}, True),
        ({"base_url": "https://api.groq.com/openai/v1"}, True),
        ({"preset": "groq", "base_url": "https://gateway.acme.example/groq"}, False),
        ({"preset": "plain", "base_url": "https://api.groq.com/openai/v1"}, False),
        ({"preset": "vllm", "base_url": "http://10.0.0.5:8000/v1"}, False),
        ({"base_url": "http://10.0.0.5:8000/v1"}, False),
    ],
)
def test_a_service_needs_a_key_and_a_server_of_ones_own_does_not(fields: dict[str, Any], needed: bool) -> None:
    """A gateway in front of a service may hold the key itself."""
    assert config(**fields).key_needed is needed


def test_a_service_without_its_key_is_off_and_says_why() -> None:
    """Before anything is sent; the server next to it works."""
    known = {"openai_compatible": OpenAICompatibleConfig}
    loaded = load_config(
        {
            "llm_service": {
                "providers": {
                    "groq": {"type": "openai_compatible", "preset": "groq"},
                    "own": {"type": "openai_compatible", "base_url": "http://localhost:8000/v1"},
                }
            }
        },
        {},
        ProviderTypes(known.get, lambda: known),
    )
    assert loaded.disabled == {"groq": "it has no api_key"}
