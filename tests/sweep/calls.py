"""The scenarios of the cancel sweep that use a running application."""

import asyncio
from contextlib import aclosing

from pydantic import BaseModel

from core.llm import CallFinished, LLMStream
from core.llm.chat_model import ChatModel
from core.llm.providers.ollama.models import requests as api
from tests.sweep.public import sweeps
from tests.sweep.world import JSON_TEXT, Application

HELLO = [api.ChatMessage(role="user", content="hello there")]


class Word(BaseModel):
    """What the objects of these calls look like."""

    word: str = ""


@sweeps("LLMService.generate")
async def generate(app: Application, number: int) -> None:
    await app.llm.generate(**app.chat(number))


@sweeps("ChatModel.generate", "ChatModel.stream")
async def chat_model(app: Application, number: int) -> None:
    model = ChatModel(app.llm, "fast")
    await model.generate(**app.chat(number))
    async with model.stream("hello", timeout=30) as events:
        await anext(events)


@sweeps("ChatModel.embed", "LLMService.embed")
async def embed(app: Application, number: int) -> None:
    await ChatModel(app.llm, "ollama/embedder").embed(["a", "b"], user=f"embeds {number}")


@sweeps("LLMClient.get_response")
async def client(app: Application, number: int) -> None:
    options = app.chat(number)
    await app.client.get_response(options.pop("request"), **options)


@sweeps("LLMService.stream", "LLMStream.__aenter__", "LLMStream.__aexit__", "LLMStream.__anext__", "LLMStream.response")
async def stream(app: Application, number: int) -> None:
    async with app.llm.stream(**app.chat(number)) as events:
        async for _ in events:
            await asyncio.sleep(0)
        await events.response()


@sweeps("LLMStream.open", "LLMStream.aclose")
async def stream_left(app: Application, number: int) -> None:
    events = await app.llm.stream(**app.chat(number)).open()
    try:
        await anext(events)
        await anext(events)
    finally:
        await events.aclose()


@sweeps("LLMService.stream_generate")
async def plain_iterator(app: Application, number: int) -> None:
    events = app.llm.stream_generate(**app.chat(number))
    assert isinstance(events, LLMStream)
    async with aclosing(events):
        async for _ in events:
            await asyncio.sleep(0)


@sweeps("LLMService.generate_object", "ChatModel.generate_object")
async def an_object(app: Application, number: int) -> None:
    app.scripts["objects"].will_answer(JSON_TEXT)
    app.scripts["objects"].will_answer(JSON_TEXT)
    await app.llm.generate_object("go", Word, model="objects/m", timeout=30)
    await ChatModel(app.llm, "objects/m").generate_object("go", Word, timeout=30)


@sweeps(
    "LLMService.stream_object", "ChatModel.stream_object", "ObjectStream.__aenter__", "ObjectStream.__aexit__",
    "ObjectStream.__anext__", "ObjectStream.aclose", "ObjectStream.response",
)  # fmt: skip
async def objects(app: Application, number: int) -> None:
    app.scripts["objects"].will_stream(JSON_TEXT[:9], JSON_TEXT[9:])
    app.scripts["objects"].will_stream(JSON_TEXT[:9], JSON_TEXT[9:])
    async with app.llm.stream_object("go", Word, model="objects/m", timeout=30) as stream:
        async for _ in stream:
            await asyncio.sleep(0)
        await stream.response()
    second = ChatModel(app.llm, "objects/m").stream_object("go", Word, timeout=30)
    try:
        await anext(second)
    finally:
        await second.aclose()


@sweeps("LLMService.count_tokens")
async def count_tokens(app: Application, number: int) -> None:
    await app.llm.count_tokens("hello there", model="host/m")


@sweeps("LLMService.list_models", "ModelManager.survey")
async def looks(app: Application, number: int) -> None:
    await app.llm.list_models("ollama")
    await app.models.survey()


@sweeps(
    "LLMService.load_model", "LLMService.unload_model", "LLMService.model_status",
    "ModelManager.load", "ModelManager.unload", "ModelManager.status",
)  # fmt: skip
async def load(app: Application, number: int) -> None:
    await app.llm.load_model("host/m")
    await app.llm.model_status("host/m")
    await app.llm.unload_model("host/m")


@sweeps("ModelManager.lease", "ModelManager.pin", "ModelManager.unpin")
async def lease(app: Application, number: int) -> None:
    async with app.models.lease("host/m"):
        await asyncio.sleep(0)
    await app.models.pin("host/m")
    await app.models.unpin("host/m")


@sweeps("LLMService.swap_model", "ModelManager.swap")
async def swap(app: Application, number: int) -> None:
    await app.llm.swap_model("local", "host/n")
    await app.llm.swap_model("local", "host/m")


@sweeps("LLMService.pull_model", "ModelManager.pull", "ModelManager.ensure_model_available")
async def pull(app: Application, number: int) -> None:
    await app.llm.pull_model("ollama/pulled")
    await app.models.ensure_model_available("ollama/pulled")


@sweeps("ModelManager.events", "EventBus.stream")
async def listen(app: Application, number: int) -> None:
    async with aclosing(app.events.stream(CallFinished)) as heard, aclosing(app.models.events()) as models:
        waiting = asyncio.ensure_future(anext(models))
        try:
            first = asyncio.ensure_future(anext(heard))
            try:
                await asyncio.sleep(0)
                await app.llm.generate(**app.chat(number))
                await first
            finally:
                first.cancel()
                await asyncio.wait([first])
        finally:
            waiting.cancel()
            await asyncio.wait([waiting])


@sweeps("HealthMonitor.check_all")
async def check_health(app: Application, number: int) -> None:
    await app.health.check_all()


@sweeps("UsageLedger.rows", "UsageLedger.totals", "UsageLedger.budgets")
async def read_ledger(app: Application, number: int) -> None:
    await app.ledger.rows()
    await app.ledger.totals()
    await app.ledger.budgets()


@sweeps("ProviderConfigManager.reload", "ProviderConfigManager.replace")
async def reconfigure(app: Application, number: int) -> None:
    current = app.manager.current
    retry = current.retry.model_copy(update={"max_retries": 1 + (current.retry.max_retries % 2)})
    await app.manager.replace(current.model_copy(update={"retry": retry}))
    await app.manager.reload()


@sweeps(
    "OllamaClient.chat", "OllamaClient.chat_stream", "OllamaClient.generate", "OllamaClient.generate_stream",
    "OllamaClient.embed", "OllamaClient.embeddings",
)  # fmt: skip
async def ollama_infer(app: Application, number: int) -> None:
    ollama = app.ollama_client
    await ollama.chat(api.ChatRequest(model="tiny", messages=HELLO))
    async with aclosing(ollama.chat_stream(api.ChatRequest(model="tiny", messages=HELLO))) as lines:
        async for _ in lines:
            pass
    await ollama.generate(api.GenerateRequest(model="tiny", prompt="hi"))
    async with aclosing(ollama.generate_stream(api.GenerateRequest(model="tiny", prompt="hi"))) as lines:
        async for _ in lines:
            pass
    await ollama.embed(api.EmbedRequest(model="embedder", input=["a"]))
    await ollama.embeddings(api.EmbeddingsRequest(model="embedder", prompt="a"))


@sweeps(
    "OllamaClient.tags", "OllamaClient.ps", "OllamaClient.show", "OllamaClient.version", "OllamaClient.status",
    "OllamaClient.blob_exists", "OllamaClient.upload_blob",
)  # fmt: skip
async def ollama_look(app: Application, number: int) -> None:
    ollama = app.ollama_client
    await ollama.tags()
    await ollama.ps()
    await ollama.show(api.ShowRequest(model="tiny"))
    await ollama.version()
    await ollama.status()
    digest = await ollama.upload_blob(app.a_file)
    await ollama.blob_exists(digest)


@sweeps("OllamaClient.copy", "OllamaClient.delete", "OllamaClient.pull", "OllamaClient.push", "OllamaClient.create")
async def ollama_change(app: Application, number: int) -> None:
    ollama = app.ollama_client
    await ollama.copy(api.CopyRequest(source="tiny", destination=f"copy{number}"))
    await ollama.delete(api.DeleteRequest(model=f"copy{number}"))
    for transfer in (
        ollama.pull(api.PullRequest(model="pulled")),
        ollama.push(api.PushRequest(model="tiny")),
        ollama.create(api.CreateRequest(**{"model": "made", "from": "tiny"})),
    ):
        async with aclosing(transfer):
            async for _ in transfer:
                pass
