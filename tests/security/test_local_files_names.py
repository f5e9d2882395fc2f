"""S36: what models on servers may be called, and which hosts a server may be told to download from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.llm.common.exceptions import ProviderError
from core.llm.providers.base.model_source import check_model_name, check_source, source_of
from core.llm.providers.lm_studio.config import LMStudioConfig
from core.llm.providers.lm_studio.provider import LMStudioProvider
from core.llm.providers.localai.config import LocalAIConfig
from core.llm.providers.localai.provider import LocalAIProvider
from core.llm.providers.ollama.config import OllamaConfig
from core.llm.providers.ollama.provider import OllamaProvider
from core.llm.testing.services import provider_services

GOOD = [
    "qwen3", "qwen3:8b-q4_K_M", "nomic-embed-text:latest", "user/model:tag", "hf.co/bartowski/Llama-3.2-1B-GGUF:Q4_K_M",
    "registry.example.com:5000/team/model:v1.2", "localhost:5000/m", "qwen/qwen3-4b@q4_k_m", "localai@qwen3-8b",
    "https://huggingface.co/lmstudio-community/x-GGUF", "github:mudler/LocalAI/gallery/index.yaml@master",
    "huggingface://owner/repo/file.gguf", "a.b-c_d+e~1",
]  # fmt: skip

BAD = [
    "", " ", "../etc/passwd", "a/../../b", "a/..", "..", "/abs", "a b", "a\nb", "a\0b", "a\\b", "a?x=1", "a#b", "a%2e%2e",
    "file:///etc/passwd", "ftp://host/x", "http:///x", "https://", "-flag", "--help", "a//b", "x" * 301, "a;rm", "$(id)",
    "a'b", 'a"b', "мodel", "https://host/../x", "https://user:pass word@host/x", "javascript:alert(1)//x", ":tag", "@x",
]  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_s36_usual_names_are_fine(name):
    """Of all three servers, with registries, tags and addresses."""
    check_model_name(name)


@pytest.mark.parametrize("name", BAD)
def test_s36_what_is_no_name_is_refused(name):
    """Nothing climbs, nothing ends a line, nothing is a query or a scheme of its own."""
    with pytest.raises(ProviderError, match="is no name of a model") as caught:
        check_model_name(name)
    assert (caught.value.type, caught.value.code) == ("invalid_request", "model_name")
    assert "\n" not in str(caught.value)


@given(st.text(max_size=40))
def test_s36_whatever_passes_is_harmless(name):
    """In a path, a log line, a command or a query."""
    try:
        check_model_name(name)
    except ProviderError:
        return
    assert not set(name) & set(" \t\r\n\0\\?#%\"'`$;&|<>")
    assert ".." not in name.split("/")


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("qwen3:8b", None),
        ("user/model", None),
        ("localai@qwen3", None),
        ("hf.co/a/b", "hf.co"),
        ("HF.co/a/b", "hf.co"),
        ("registry.example.com:5000/a", "registry.example.com:5000"),
        ("localhost/a", "localhost"),
        ("localhost:5000/a", "localhost:5000"),
        ("https://huggingface.co/a/b", "huggingface.co"),
        ("https://hf.co@evil.example/a", "hf.co@evil.example"),
        ("github:owner/repo/x.yaml", "github.com"),
        ("huggingface://owner/repo", "huggingface.co"),
    ],
)
def test_s36_the_host_of_a_name_is_seen(name, host):
    """Also where somebody has hidden it; `None` is the server's own registry."""
    assert source_of(name) == host


def test_s36_only_hosts_on_the_list_are_downloaded_from():
    """Another port is another host."""
    allowed = ("hf.co", "registry.example.com:5000")
    for fine in ("qwen3", "hf.co/a/b", "https://hf.co/a", "registry.example.com:5000/a"):
        check_source(fine, allowed)
    for wrong in (
        "evil.example/a",
        "https://hf.co@evil.example/a",
        "registry.example.com/a",
        "hf.co.evil.example/a",
        "hf.co:99/a",
    ):
        with pytest.raises(ProviderError, match="`pull_from` allows") as caught:
            check_source(wrong, allowed)
        assert caught.value.code == "pull_source"


SERVERS = [(OllamaConfig, OllamaProvider), (LMStudioConfig, LMStudioProvider), (LocalAIConfig, LocalAIProvider)]


@pytest.mark.parametrize(("config_class", "provider_class"), SERVERS)
async def test_s36_the_server_is_not_even_asked(config_class, provider_class):
    """There is none at that address: a request would be a network error."""
    config = config_class(base_url="http://127.0.0.1:9", pull_from=["registry.example.com"])
    provider = provider_class(config, provider_services("server"))
    await provider.start()
    try:
        for call in (provider.load_model, provider.unload_model, provider.pull_model):
            with pytest.raises(ProviderError) as caught:
                await call("../../etc/passwd")
            assert caught.value.code == "model_name"
        with pytest.raises(ProviderError) as caught:
            await provider.pull_model("hf.co/owner/model")
        assert caught.value.code == "pull_source"
        with pytest.raises(ProviderError) as caught:
            await provider.pull_model("registry.example.com/owner/model")
        assert caught.value.type == "network_error"
    finally:
        await provider.close()


@pytest.mark.parametrize("host", ["https://hf.co", "hf.co/", "", "a b", "*.example.com", "host:port", "-x", "a..b"])
@pytest.mark.parametrize("config_class", [config for config, _ in SERVERS])
def test_s36_what_is_no_host_is_refused_in_the_configuration(config_class, host):
    """A name, with a port where it has one."""
    with pytest.raises(ValidationError, match="is no host"):
        config_class(pull_from=[host])
