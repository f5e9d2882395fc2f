"""The providers of the matrix: each with its strict server, how that is told what to say, and where its requests lie."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from core.llm.common.messages import ToolCall
from core.llm.testing.anthropic_script import AnthropicAnswer
from core.llm.testing.anthropic_server import AnthropicServer
from core.llm.testing.bedrock_frames import bedrock_usage, converse_answer, event_frame, tool_frames
from core.llm.testing.bedrock_server import BedrockAnswer, BedrockServer
from core.llm.testing.gemini_server import GeminiAnswer, GeminiModelSpec, GeminiServer
from core.llm.testing.lm_studio_server import LMStudioModelSpec, LMStudioServer
from core.llm.testing.localai_server import LocalAIModelSpec, LocalAIServer
from core.llm.testing.ollama_script import OllamaAnswer, OllamaModelSpec
from core.llm.testing.ollama_server import OllamaServer
from core.llm.testing.openai_answers import OpenAIAnswer
from core.llm.testing.openai_server import OpenAIServer
from core.llm.testing.scripted_openai import OpenAIAnswer as LocalAnswer

KEY = "a-key-of-no-worth"
TOOL = "weather"


@dataclass(frozen=True)
class Said:
    """What a model says to one request."""

    text: str = ""
    thinking: str = ""
    cities: Sequence[str] = ()
    """One call of the tool for each."""


@dataclass
class Place:
    """One configured provider in front of one running server."""

    name: str
    model: str
    config: Mapping[str, Any]
    says: Callable[[Said, bool], None]
    """Script the next answer; the second argument says whether it will be streamed."""
    sent: Callable[[], Sequence[Any]]
    """Bodies of the chat requests so far."""
    secrets: list[str] = field(default_factory=list)
    """Signatures and encrypted thinking that this server has handed out."""

    @property
    def ref(self) -> str:
        return f"{self.name}/{self.model}"


def _json(text: str) -> str:
    return '{"city":"' + text + '"}'


def _calls(said: Said, identifier: Callable[[int], str]) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(identifier(n), TOOL, {"city": city}) for n, city in enumerate(said.cities))


@asynccontextmanager
async def openai_chat() -> AsyncIterator[Place]:
    """Chat Completions."""
    async with OpenAIServer(api_key=KEY) as server:

        def says(said: Said, stream: bool) -> None:
            server.script(OpenAIAnswer(said.text, _calls(said, lambda n: f"call_{n}aBcDeFgHiJkLmNoPqRsTuVw")))

        config = {"type": "openai", "base_url": server.url, "api_key": KEY, "api": "chat"}
        yield Place("openai_chat", "gpt-4.1", config, says, lambda: [call.body for call in server.calls])


@asynccontextmanager
async def openai_responses() -> AsyncIterator[Place]:
    """Responses, with encrypted reasoning, and ids longer than Chat Completions takes."""
    async with OpenAIServer(api_key=KEY) as server:

        def says(said: Said, stream: bool) -> None:
            calls = _calls(said, lambda n: f"call_{n}" + "x" * 58)
            server.script(
                OpenAIAnswer(said.text, calls, reasoning=said.thinking, phase="commentary" if calls else None)
            )

        config = {"type": "openai", "base_url": server.url, "api_key": KEY, "api": "responses"}
        yield Place("openai_responses", "gpt-6-luna", config, says, lambda: [call.body for call in server.calls])


@asynccontextmanager
async def azure_openai() -> AsyncIterator[Place]:
    """A deployment at the older addresses."""
    async with OpenAIServer(api_key=KEY, deployments={"ours": "gpt-4.1"}) as server:

        def says(said: Said, stream: bool) -> None:
            server.script(OpenAIAnswer(said.text, _calls(said, lambda n: f"call_azure{n}")))

        config = {
            "type": "azure_openai", "base_url": server.root, "api_key": KEY, "api": "chat",
            "api_version": "2024-10-21", "models": {"ours": {"base_model": "gpt-4.1"}},
        }  # fmt: skip
        yield Place("azure_openai", "ours", config, says, lambda: [call.body for call in server.calls])


@asynccontextmanager
async def anthropic() -> AsyncIterator[Place]:
    """A model that always thinks and refuses to continue answers; prompts are marked for the cache."""
    async with AnthropicServer(api_key=KEY) as server:

        def says(said: Said, stream: bool) -> None:
            calls = _calls(said, lambda n: f"toolu_01{n}AbCdEfGhIjKlMnOpQrS")
            redacted = f"redacted:{said.thinking}" if said.thinking else ""
            server.script(AnthropicAnswer(said.text, said.thinking, redacted, calls))

        config = {
            "type": "anthropic", "base_url": server.url, "api_key": KEY,
            "prompt_cache": {"at": ["tools", "system", -1]},
        }  # fmt: skip
        sent = lambda: [call.body for call in server.calls]  # noqa: E731 - as short as its neighbours
        yield Place("anthropic", "claude-opus-5-5", config, says, sent)


def _google(server: GeminiServer, name: str, place: str, config: Mapping[str, Any]) -> Place:
    made: list[str] = []

    def signature(*of: object) -> str:
        text = f"{place}{len(made)}{''.join(map(str, of))}".encode().hex()
        made.append(text + "A" * (-len(text) % 4))
        return made[-1]

    def says(said: Said, stream: bool) -> None:
        parts: list[dict[str, Any]] = []
        if said.thinking:
            parts.append({"text": said.thinking, "thought": True})
        if said.text:
            parts.append({"text": said.text, "thoughtSignature": signature("text")})
        for number, city in enumerate(said.cities):
            call: dict[str, Any] = {"functionCall": {"name": TOOL, "args": {"city": city}}}
            # Of parallel calls only the first is signed.
            parts.append(call if number else {**call, "thoughtSignature": signature("call")})
        server.will_answer(GeminiAnswer(parts=parts))

    return Place(name, "gemini-3-flash", config, says, lambda: [call.body for call in server.calls], made)


@asynccontextmanager
async def gemini() -> AsyncIterator[Place]:
    """The Gemini API: calls without ids, signatures demanded."""
    async with GeminiServer(GeminiModelSpec("gemini-3-flash", signatures=True), api_key=KEY) as server:
        yield _google(server, "gemini", "studio", {"type": "gemini", "base_url": server.url, "api_key": KEY})


@asynccontextmanager
async def vertex() -> AsyncIterator[Place]:
    """Vertex AI, whose server knows nothing of the signatures of the other."""
    async with GeminiServer(GeminiModelSpec("gemini-3-flash", signatures=True), api_key=KEY) as server:
        config = {"type": "gemini", "base_url": server.url, "api_key": KEY, "vertex": {"project": "p"}}
        yield _google(server, "vertex", "cloud", config)


@asynccontextmanager
async def bedrock() -> AsyncIterator[Place]:
    """Claude on Bedrock, with marks for the prompt cache."""
    async with BedrockServer(api_key=KEY) as server:
        made: list[str] = []

        def says(said: Said, stream: bool) -> None:
            blocks: list[dict[str, Any]] = []
            if said.thinking:
                made.append(f"bedrocksig{len(made)}==")
                blocks.append({"reasoningContent": {"reasoningText": {"text": said.thinking, "signature": made[-1]}}})
            if said.text:
                blocks.append({"text": said.text})
            for n, city in enumerate(said.cities):
                call = {"toolUseId": f"tooluse_{n}-Ab_c", "name": TOOL, "input": {"city": city}}
                blocks.append({"toolUse": call})
            finish = "tool_use" if said.cities else "end_turn"
            message = {"message": {"role": "assistant", "content": blocks}}
            whole = BedrockAnswer(converse_answer("", finish=finish, output=message))
            server.will(BedrockAnswer(frames=list(_frames(blocks, finish))) if stream else whole)

        config = {
            "type": "bedrock", "base_url": server.url, "api_key": KEY, "region": "us-east-1", "prompt_cache": {},
        }  # fmt: skip
        model = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
        sent = lambda: [request.body for request in server.requests]  # noqa: E731 - as short as its neighbours
        yield Place("bedrock", model, config, says, sent, made)


def _frames(blocks: Sequence[Mapping[str, Any]], finish: str) -> Sequence[bytes]:
    frames = [event_frame("messageStart", {"role": "assistant"})]
    for index, block in enumerate(blocks):
        place = {"contentBlockIndex": index}
        if "toolUse" in block:
            call = block["toolUse"]
            frames += tool_frames(index, call["toolUseId"], call["name"], [_json(call["input"]["city"])])
            continue
        if "text" in block:
            deltas: list[Mapping[str, Any]] = [{"text": block["text"]}]
        else:
            thought = block["reasoningContent"]["reasoningText"]
            deltas = [{"reasoningContent": {key: thought[key]}} for key in ("text", "signature")]
        frames += [event_frame("contentBlockDelta", {**place, "delta": delta}) for delta in deltas]
        frames.append(event_frame("contentBlockStop", place))
    frames.append(event_frame("messageStop", {"stopReason": finish}))
    return [*frames, event_frame("metadata", {"usage": bedrock_usage(3), "metrics": {"latencyMs": 5}})]


@asynccontextmanager
async def ollama() -> AsyncIterator[Place]:
    """A version whose tool calls have no ids yet."""
    spec = OllamaModelSpec("qwen3:8b", ("completion", "tools", "vision", "thinking"))
    async with OllamaServer(spec) as server:

        def says(said: Said, stream: bool) -> None:
            calls = [(TOOL, {"city": city}) for city in said.cities]
            server.script(OllamaAnswer(said.text, said.thinking, calls, tool_ids=False))

        config = {"type": "ollama", "base_url": server.url}
        yield Place("ollama", "qwen3:8b", config, says, lambda: [call.body for call in server.calls_to("/api/chat")])


@asynccontextmanager
async def lm_studio() -> AsyncIterator[Place]:
    """Ids that are plain numbers."""
    async with LMStudioServer(LMStudioModelSpec("gemma", vision=True, reasoning=True)) as server:
        yield _local(server, "lm_studio", "gemma")


@asynccontextmanager
async def localai() -> AsyncIterator[Place]:
    """The same at LocalAI."""
    spec = LocalAIModelSpec("gemma", ("chat", "completion", "vision"))
    async with LocalAIServer(spec) as server:
        yield _local(server, "localai", "gemma")


def _local(server: LMStudioServer | LocalAIServer, kind: str, model: str) -> Place:
    def says(said: Said, stream: bool) -> None:
        server.script(LocalAnswer(said.text, said.thinking, [(TOOL, _json(city)) for city in said.cities]))

    sent = lambda: [call.body for call in server.calls_to("/v1/chat/completions")]  # noqa: E731 - as its neighbours
    return Place(kind, model, {"type": kind, "base_url": server.url}, says, sent)


@asynccontextmanager
async def mistral() -> AsyncIterator[Place]:
    """A compatible service that takes ids of nine characters only."""
    async with OpenAIServer(api_key=KEY) as server:

        def says(said: Said, stream: bool) -> None:
            server.script(OpenAIAnswer(said.text, _calls(said, lambda n: f"D681Pevk{n}")))

        config = {"type": "openai_compatible", "base_url": server.url, "api_key": KEY, "preset": "mistral"}
        yield Place("mistral", "mistral-large", config, says, lambda: [call.body for call in server.calls])


PLACES = {
    place.__name__: place
    for place in (
        openai_chat, openai_responses, azure_openai, anthropic, gemini, vertex, bedrock, ollama, lm_studio, localai,
        mistral,
    )
}  # fmt: skip


@asynccontextmanager
async def places(*names: str) -> AsyncIterator[dict[str, Place]]:
    """Those of *names*, running; each once."""
    async with AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(PLACES[name]()) for name in dict.fromkeys(names)}
