"""What can be configured for an LM Studio server."""

import pytest
from pydantic import ValidationError

from core.llm.providers.lm_studio.config import LMStudioConfig


@pytest.mark.parametrize(
    ("written", "used"),
    [
        ("gpu-box", "http://gpu-box:1234"),
        ("gpu-box:9", "http://gpu-box:9"),
        ("[::1]", "http://[::1]:1234"),
        ("https://lm.example.com/", "https://lm.example.com"),
    ],
)
def test_an_address_may_be_written_short(written, used):
    """The scheme and the port have defaults."""
    assert LMStudioConfig(base_url=written).base_url == used


@pytest.mark.parametrize("written", ["http://localhost:1234/v1", "http://localhost:1234/api/v1/", ""])
def test_an_address_is_the_servers(written):
    """It has several APIs beside each other, so none of their paths belongs to it."""
    with pytest.raises(ValidationError, match="base_url is"):
        LMStudioConfig(base_url=written)


def test_load_options_are_merged_one_by_one():
    """Those of a model over those of the provider."""
    config = LMStudioConfig(
        options={"context_length": 8192, "flash_attention": True},
        models={"a": {"options": {"context_length": 4096}}, "b": None, "c": {"keep_alive": "1m"}},
    )

    assert config.options_of("a") == {"context_length": 4096, "flash_attention": True}
    assert config.options_of("b") == config.options_of("x") == {"context_length": 8192, "flash_attention": True}
    assert (config.options_of("c"), config.ttl_of("c")) == ({}, 60)


def test_a_time_to_live_is_in_whole_seconds():
    """Rounded up, so that it is never zero."""
    config = LMStudioConfig(
        keep_alive="5m", models={"a": {"keep_alive": "500ms"}, "b": {"options": {"num_experts": 2}}}
    )

    assert [config.ttl_of(model) for model in ("x", "a", "b")] == [300, 1, None]
    assert LMStudioConfig().ttl_of("x") is None


@pytest.mark.parametrize(
    "settings",
    [
        {"keep_alive": "5m", "options": {"context_length": 1}},
        {"models": {"a": {"keep_alive": "5m", "options": {"context_length": 1}}}},
    ],
)
def test_a_time_to_live_and_load_options_exclude_each_other(settings):
    """LM Studio gives a time to live only to models that it loads by itself, and those with its own options."""
    with pytest.raises(ValidationError, match="exclude each other"):
        LMStudioConfig(**settings)


def test_an_unknown_load_option_is_a_mistake():
    """LM Studio would refuse the load, or ignore it."""
    with pytest.raises(ValidationError):
        LMStudioConfig(options={"n_ctx": 4096})
