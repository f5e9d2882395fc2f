"""What an `ollama` provider can be told."""

import pytest
from pydantic import ValidationError

from core.llm.providers.ollama.config import OllamaConfig


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("http://localhost:11434", "http://localhost:11434"),
        ("http://localhost:11434/", "http://localhost:11434"),
        ("localhost", "http://localhost:11434"),
        ("gpu-box:9999", "http://gpu-box:9999"),
        ("[::1]", "http://[::1]:11434"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("https://ollama.example.com", "https://ollama.example.com"),
    ],
)
def test_the_address_may_be_written_as_for_the_ollama_command(written, url):
    """`OLLAMA_HOST=gpu-box` works there, so it works here."""
    assert OllamaConfig(base_url=written).base_url == url


@pytest.mark.parametrize("written", ["http://localhost:11434/v1", "http://localhost:11434/api/", " "])
def test_an_address_with_a_path_of_another_api_is_refused(written):
    """Every call would end in a 404 that explains nothing."""
    with pytest.raises(ValidationError, match="base_url"):
        OllamaConfig(base_url=written)


def test_options_of_a_model_go_over_those_of_the_provider():
    """ML-19: one set of load options per model, the same for every call."""
    config = OllamaConfig(
        options={"num_ctx": 8192, "num_gpu": 99},
        keep_alive="5m",
        models={"big": {"options": {"num_ctx": 32768}, "keep_alive": "never"}, "small": None},
    )

    assert dict(config.options_of("big")) == {"num_ctx": 32768, "num_gpu": 99}
    assert dict(config.options_of("small")) == {"num_ctx": 8192, "num_gpu": 99}
    assert dict(config.options_of("unlisted")) == {"num_ctx": 8192, "num_gpu": 99}
    assert (config.keep_alive_of("big"), config.keep_alive_of("small")) == ("never", 300.0)


@pytest.mark.parametrize(("listed", "asked"), [("llama", "llama:latest"), ("llama:latest", "llama")])
def test_latest_is_the_same_model_as_no_tag(listed, asked):
    """Two names of one model with two sets of options would load it again with every change of name."""
    config = OllamaConfig(models={listed: {"options": {"num_ctx": 1234}}})

    assert dict(config.options_of(asked)) == {"num_ctx": 1234}


def test_models_may_be_a_plain_list():
    assert list(OllamaConfig(models=["a", "b:1b"]).models) == ["a", "b:1b"]


def test_the_first_token_may_take_as_long_as_a_cold_start():
    """F147: sixty seconds of loading are normal, and are no failure."""
    config = OllamaConfig(timeouts={"idle": "10s"})

    assert config.timeouts.first_token == 300
    assert config.timeouts.idle == 10


def test_a_misspelt_key_is_refused():
    with pytest.raises(ValidationError, match="keepalive"):
        OllamaConfig(keepalive="5m")
