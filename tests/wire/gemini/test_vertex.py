"""Gemini on Vertex AI: addresses, tokens from a service account's file, and what differs from the Gemini API."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import pytest
from aiohttp import web
from pydantic import ValidationError

from core.llm.common.exceptions import ConfigError, ProviderError
from core.llm.common.types import PhaseLimits
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest, LLMRequest
from core.llm.providers.gemini import provider as provider_module
from core.llm.providers.gemini.config import GeminiConfig
from core.llm.providers.gemini.provider import GeminiProvider
from core.llm.testing import GeminiServer, provider_services
from core.llm.testing.gemini_server import GeminiAnswer, GeminiModelSpec
from core.llm.testing.services import SimpleResources

needs_google_auth = pytest.mark.skipif(
    not provider_module.is_available(),
    reason="google-auth is an optional extra of the library: pip install 'core-llm[vertex]'",
)
MODELS = (
    GeminiModelSpec("gemini-3-flash-preview", signatures=True),
    GeminiModelSpec("gemini-embedding-001", embeds=True),
    GeminiModelSpec("gemini-embedding-2", embeds=True),
)


class TokenEndpoint:
    """Gives tokens to whoever presents a signed assertion, as Google's does."""

    def __init__(self, server: GeminiServer) -> None:
        self.server = server
        self.given = 0
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/token", self._give)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}/token"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.runner.cleanup()

    async def _give(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        assert str(form["assertion"]).count(".") == 2
        self.given += 1
        token = self.server.token = f"ya29.token-{self.given}"
        return web.json_response({"access_token": token, "expires_in": 3600, "token_type": "Bearer"})


@pytest.fixture
async def server() -> AsyncIterator[GeminiServer]:
    async with GeminiServer(*MODELS, token="nobody-has-this-one") as server:
        yield server


@pytest.fixture
async def endpoint(server: GeminiServer) -> AsyncIterator[TokenEndpoint]:
    async with TokenEndpoint(server) as endpoint:
        yield endpoint


@pytest.fixture
def credentials_file(endpoint: TokenEndpoint, tmp_path: Path) -> str:
    """The key file of a service account whose tokens come from the local endpoint."""
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization", reason="makes the key")
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    file = tmp_path / "account.json"
    account = {"type": "service_account", "private_key": pem, "client_email": "a@b.example", "token_uri": endpoint.url}
    file.write_text(json.dumps(account))
    return str(file)


def config(server_url: str, **vertex: Any) -> GeminiConfig:
    """A project on Vertex AI behind *server_url*."""
    fields = {"project": "my-project", "location": "europe-west4", **vertex}
    return GeminiConfig.model_validate({"type": "gemini", "base_url": server_url, "vertex": fields})


@pytest.fixture
async def provider(server: GeminiServer, credentials_file: str) -> AsyncIterator[GeminiProvider]:
    provider = GeminiProvider(config(server.url, credentials_file=credentials_file), provider_services("vertex"))
    await provider.start()
    yield provider
    await provider.close()


def chat(provider: GeminiProvider, *, stream: bool = False) -> ChatRequest:
    """A short request."""
    asked = LLMRequest(messages=[{"role": "system", "content": "s"}, {"role": "user", "content": "u"}])
    model = "gemini-3-flash-preview"
    return ChatRequest("vertex", model, asked, asked.messages, provider.facts(model), PhaseLimits(), stream=stream)


@needs_google_auth
async def test_f135_many_calls_share_one_token(
    provider: GeminiProvider, server: GeminiServer, endpoint: TokenEndpoint
) -> None:
    """F135: fetched by google-auth itself, with the key of the service account."""
    answers = await asyncio.gather(*(provider.generate(chat(provider)) for _ in range(20)))
    assert {answer.content for answer in answers} == {"OK"}
    assert endpoint.given == 1
    root = "/v1beta1/projects/my-project/locations/europe-west4/publishers/google/models/gemini-3-flash-preview"
    assert {call.path for call in server.calls} == {f"{root}:generateContent"}
    assert "x-goog-api-key" not in server.calls[0].headers


@needs_google_auth
@pytest.mark.parametrize("stream", [False, True])
async def test_f136_a_revoked_token_is_replaced_once(
    provider: GeminiProvider, server: GeminiServer, endpoint: TokenEndpoint, stream: bool
) -> None:
    """F136: the call goes out once more with a new one, unseen by the caller."""
    await provider.generate(chat(provider))
    server.token = "revoked-meanwhile"
    if stream:
        text = "".join([event.text async for event in provider.stream_generate(chat(provider, stream=True))])
    else:
        text = (await provider.generate(chat(provider))).content
    assert (text, endpoint.given, len(server.calls)) == ("OK", 2, 3)


@needs_google_auth
async def test_f136_a_second_refusal_is_final(
    provider: GeminiProvider, server: GeminiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F136: and nothing of the token is in the error."""
    await provider.generate(chat(provider))
    monkeypatch.setattr(GeminiServer, "token", property(lambda _: "never", lambda _, value: None), raising=False)
    with pytest.raises(ProviderError) as caught:
        await provider.generate(chat(provider))
    assert (caught.value.type, caught.value.status_code, len(server.calls)) == ("authentication", 401, 3)
    assert "ya29" not in f"{caught.value} {caught.value.__dict__}"


@needs_google_auth
async def test_lists_counts_and_vectors_have_their_own_shapes(provider: GeminiProvider, server: GeminiServer) -> None:
    """Vertex AI counts the plain request, and asks older models for vectors through `predict`."""
    assert await provider.count_tokens(chat(provider)) > 0
    assert server.calls[-1].body.keys() == {"contents", "systemInstruction"}
    assert "gemini-embedding-2" in {model.name for model in await provider.list_models()}
    assert server.calls[-1].path == "/v1beta1/publishers/google/models"
    for model, method, count in (("gemini-embedding-001", "predict", 2), ("gemini-embedding-2", "embedContent", 2)):
        server.calls.clear()
        found = await provider.embed(EmbeddingRequest("vertex", model, ("a", "bb"), PhaseLimits(), dimensions=4))
        assert [len(vector) for vector in found] == [4, 4]
        assert [call.path.rpartition(":")[2] for call in server.calls] == [method] * count
        assert found.usage.input == 6


@needs_google_auth
async def test_tokens_survive_a_reload_and_are_closed_with_the_last_provider(
    server: GeminiServer, endpoint: TokenEndpoint, credentials_file: str
) -> None:
    """Like connection pools."""
    resources = SimpleResources()
    settings = config(server.url, credentials_file=credentials_file)
    old, new = (GeminiProvider(settings, provider_services("vertex", resources=resources)) for _ in range(2))
    await old.start()
    await old.generate(chat(old))
    await new.start()
    await old.close()
    await new.generate(chat(new))
    assert endpoint.given == 1
    await new.close()
    assert resources.open == 0


async def test_an_api_key_needs_no_project_and_no_google_auth(
    server: GeminiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vertex AI's express mode."""
    monkeypatch.setattr(provider_module, "is_available", lambda: False)
    server.token, server.api_key = None, "k-express"
    settings = GeminiConfig.model_validate({"base_url": server.url, "api_key": "k-express", "vertex": {}})
    provider = GeminiProvider(settings, provider_services("vertex"))
    await provider.start()
    server.will_answer(GeminiAnswer("hi"))
    request = chat(provider)
    request.api_key = "k-express"
    assert (await provider.generate(request)).content == "hi"
    assert server.calls[0].path == "/v1beta1/publishers/google/models/gemini-3-flash-preview:generateContent"
    await provider.close()


async def test_without_google_auth_the_configuration_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that helps."""
    monkeypatch.setattr(provider_module, "is_available", lambda: False)
    provider = GeminiProvider(config("http://127.0.0.1:1"), provider_services("vertex"))
    with pytest.raises(ConfigError, match=r"core-llm\[vertex\]"):
        await provider.start()


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("global", "https://aiplatform.googleapis.com"),
        ("us", "https://aiplatform.us.rep.googleapis.com"),
        ("eu", "https://aiplatform.eu.rep.googleapis.com"),
        ("europe-west4", "https://europe-west4-aiplatform.googleapis.com"),
    ],
)
def test_every_location_has_its_address(location: str, host: str) -> None:
    """Global, multi-regional, regional."""
    settings = GeminiConfig.model_validate({"vertex": {"project": "p", "location": location}})
    assert settings.url == host
    wanted = f"/v1beta1/projects/p/locations/{location}/publishers/google/models/m:generateContent"
    assert settings.endpoint.path("m", "generateContent") == wanted


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"vertex": {}}, "needs a project"),
        ({"vertex": {"project": "a/b"}}, "letters, digits"),
        ({"vertex": {"project": "p", "location": "x.evil.example/"}}, "letters, digits"),
        ({"api_version": "../x"}, "a version such as"),
        ({"vertex": {"project": "p"}, "base_url": "http://proxy.example"}, "unencrypted"),
    ],
)
def test_mistakes_are_named(fields: dict[str, Any], says: str) -> None:
    """Before anything is opened, and so that no part of an address is made up of them."""
    with pytest.raises(ValidationError, match=says):
        GeminiConfig.model_validate(fields)


def test_a_key_is_needed_unless_there_is_a_project() -> None:
    """Without one the provider is off."""
    assert GeminiConfig.model_validate({}).needs_key is True
    assert GeminiConfig.model_validate({"vertex": {"project": "p"}}).needs_key is False
    assert GeminiConfig.model_validate({"base_url": "https://proxy.example/x/v1/"}).url == "https://proxy.example/x"
