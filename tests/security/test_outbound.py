"""Where requests may go and what goes with them: S8, S19-S22, S25-S27, S29, seen from a host application."""

import ssl

import pytest

from core.container import Container
from core.llm import (
    ConfigError,
    ImagePart,
    LLMRequest,
    LLMService,
    Message,
    ProviderError,
    ProviderModule,
    RequestError,
    TextPart,
)
from core.llm.testing import WireServer
from core.llm.testing.wire_dialects import openai_answer
from core.llm.testing.wire_steps import answer
from core.llm.transport import http
from tests.architecture.rules import unsafe_arguments
from tests.architecture.source import sources

KEY = "sk-canary-0123456789abcdef"


def module(url: str, **options: object) -> ProviderModule:
    """One OpenAI-compatible server, asked once per call."""
    provider = {"type": "openai_compatible", "base_url": url, "models": ["m"], "api_key": KEY, **options}
    config = {"default_model": "far/m", "providers": {"far": provider}, "retry": {"max_retries": 0}}
    return ProviderModule({"llm_service": config}, env={})


async def failure(server: WireServer, **options: object) -> ProviderError:
    """How a call ends that the server does not answer properly."""
    async with Container([module(server.url, **options)]) as container:
        with pytest.raises(ProviderError) as caught:
            await container.get(LLMService).generate("hi")
    return caught.value


async def test_S8_nothing_of_the_http_library_is_behind_an_error():
    """Neither as cause nor as context: its errors hold request headers."""
    async with WireServer() as server:
        server.otherwise(answer(b"<html>no</html>", headers={"content-type": "text/html"}))
        wrong_type = await failure(server)
        server.otherwise(answer(b'{"error": {"message": "broken"}}', 500))
        broken = await failure(server)
        url = server.url
    async with Container([module(url)]) as container:
        with pytest.raises(ProviderError) as refused:
            await container.get(LLMService).generate("hi")
    for error in (wrong_type, broken, refused.value):
        assert (error.__cause__, error.__context__) == (None, None)
        assert KEY not in repr(error) + str(error) + repr(error.args)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_S19_a_redirect_takes_neither_key_nor_prompt_anywhere(status):
    """The other server hears nothing."""
    async with WireServer() as victim, WireServer() as server:
        victim.otherwise(answer(openai_answer("stolen")))
        server.otherwise(answer(b"", status, {"Location": f"{victim.url}/v1/chat/completions"}))
        error = await failure(server, headers={"x-api-key": KEY, "api-key": KEY, "x-goog-api-key": KEY})
        assert (error.type, error.code) == ("protocol", "redirect")
        assert victim.requests == []


def test_S19_S21_S22_no_line_of_code_follows_redirects_or_skips_a_check():
    """No `allow_redirects=True`, `ssl=False`, `verify=False` or `trust_env=True` in any source."""
    found = [source.at(line) for source in sources() for line, _ in unsafe_arguments(source.tree, source.module)]
    assert found == []


async def test_S20_a_cookie_is_forgotten():
    async with WireServer() as server:
        server.otherwise(answer(openai_answer("hi"), headers={"Set-Cookie": "session=1; Path=/"}))
        async with Container([module(server.url.replace("127.0.0.1", "localhost"))]) as container:
            for _ in range(3):
                await container.get(LLMService).generate("hi")
        assert all("cookie" not in request.headers for request in server.requests)


async def test_S21_proxies_and_passwords_of_the_environment_are_not_used(monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login thief password thief\n")
    async with WireServer() as proxy, WireServer() as server:
        monkeypatch.setenv("NETRC", str(netrc))
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        server.otherwise(answer(openai_answer("hi")))
        async with Container([module(server.url)]) as container:
            assert (await container.get(LLMService).generate("hi")).content == "hi"
        assert proxy.requests == []
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_S22_tls_is_1_2_or_newer_with_names_checked():
    """Read off the context that the transport makes."""
    contexts = [value for value in vars(http).values() if isinstance(value, ssl.SSLContext)]
    context = contexts[0] if contexts else ssl.create_default_context()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("field", ["base_url", "api_base", "api_key", "proxy", "headers", "ca_file", "organization"])
def test_S25_a_request_has_no_say_in_where_it_goes(field):
    """CVE-2024-6587: addresses, keys and headers come from the configuration only."""
    with pytest.raises((RequestError, ValueError)):
        LLMRequest(messages="hi", **{field: "http://evil.example"})


async def test_S25_raw_fields_of_a_request_stay_in_its_body():
    """`extra` is for the body: no name in it changes address, headers or key."""
    extra = {"far": {"base_url": "http://evil.example", "api_key": "x", "headers": {"authorization": "Bearer x"}}}
    async with WireServer() as server:
        server.otherwise(answer(openai_answer("hi")))
        async with Container([module(server.url)]) as container:
            await container.get(LLMService).generate("hi", extra=extra)
        request = server.requests[0]
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.json()["base_url"] == "http://evil.example"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/a.png",
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:127.0.0.1]/a.png",
        "http://2130706433/a.png",
        "http://0x7f.1/a.png",
        "http://localhost./a.png",
    ],
)
async def test_S26_S27_the_address_of_a_picture_is_passed_on_and_never_opened(url):
    """There is no fetcher that could be led astray: the provider opens it, or nobody."""
    async with WireServer() as victim, WireServer() as server:
        victim.otherwise(answer(b"picture"))
        server.otherwise(answer(openai_answer("a picture")))
        address = url.replace(":1/", f":{victim.port}/")
        async with Container([module(server.url)]) as container:
            message = Message("user", (TextPart("what is it?"), ImagePart(url=address)))
            await container.get(LLMService).generate([message])
        assert victim.requests == []
        assert address in server.requests[0].body.decode()


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "gopher://127.0.0.1/x", "ftp://host/x", "/etc/passwd", "\\\\host\\x"]
)
def test_S27_a_picture_has_an_ordinary_address_or_none(url):
    """Whoever serves the model may run on this machine: no address may name its files."""
    with pytest.raises(ValueError, match="give its path"):
        ImagePart(url=url)
    with pytest.raises(ValueError, match="give its path"):
        LLMRequest(messages=[{"role": "user", "content": [{"type": "image", "url": url}]}])


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\x00b", "caf\u00e9", "a\x7fb"])
async def test_S29_a_header_that_would_break_the_request_is_refused_at_load(value):
    """With its place and without its value; nothing is sent."""
    async with WireServer() as server:
        with pytest.raises(ConfigError) as caught:
            async with Container([module(server.url, headers={"x-team": value})]):
                pytest.fail("the service started")
        assert server.requests == []
    assert "headers" in str(caught.value)
    assert value not in str(caught.value)
