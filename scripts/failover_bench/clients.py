"""The clients, each with a primary and a fallback, two retries and the same limit per attempt.

Each is set up as its documentation says. Where a client can bound the first token or recover a
broken stream, it is told to.
"""

import contextlib
import os
from importlib.metadata import version
from typing import Any

from core.llm.testing.fault_dialects import OPENAI, WireDialect
from scripts.failover_bench.run import Setup
from scripts.failover_bench.situations import Got, Times

PROMPT = "Tell me about failover."
PRIMARY, SPARE = "primary-model", "spare-model"
_KEY = "sk-failover-0123456789"
RETRIES = 2


def versions() -> dict[str, str]:
    """What is measured."""
    ours = {"core-llm": version("core-llm")} if _installed("core-llm") else {"core-llm": "this one"}
    return {**ours, **{name: version(name) for name in ("openai", "litellm", "langchain-core", "langchain-openai")}}


def _installed(name: str) -> bool:
    try:
        version(name)
    except ModuleNotFoundError:
        return False
    return True


def core_llm(dialect: WireDialect = OPENAI, *, mid_stream: str = "restart", **service: Any) -> Setup:
    """This library: one alias with a fallback; broken streams begin again elsewhere."""

    async def setup(primary: str, spare: str, times: Times) -> Any:
        from core.container import Container
        from core.llm import ProviderModule

        limits = {
            "connect": times.first_token, "first_token": times.first_token, "idle": times.first_token,
            "progress": times.timeout, "total": times.timeout,
        }  # fmt: skip

        def provider(url: str, model: str, window: int) -> dict[str, Any]:
            facts = {"context_window": window, "max_output_tokens": 1000}
            return {**dialect.provider, "base_url": url, "models": {model: facts}, "timeouts": limits}

        config = {
            "default_model": "chat",
            "models": {"chat": {"use": f"primary/{PRIMARY}", "fallback": [f"spare/{SPARE}"], "mid_stream": mid_stream}},
            "providers": {
                "primary": provider(primary, PRIMARY, 8000),
                "spare": provider(spare, SPARE, 200_000),
            },
            "timeout": times.hang(),
            "retry": {"max_retries": RETRIES},
            **service,
        }
        container = Container([ProviderModule({"llm_service": config}, watch=False, env={})])
        await container.start()
        return _CoreLLM(container)

    return setup


class _CoreLLM:
    def __init__(self, container: Any) -> None:
        from core.llm import LLMService

        self.container = container
        self.llm = container.get(LLMService)

    async def call(self, *, stream: bool) -> Got:
        from core.llm import LLMError, ProviderError

        got = Got()
        try:
            if stream:
                async with self.llm.stream(PROMPT) as events:
                    async for event in events:
                        # A recovered stream says that what came before no longer counts.
                        got.text = "" if type(event).__name__ == "StreamReset" else got.text + event.text
                    response = await events.response()
                assert response.content == got.text
            else:
                response = await self.llm.generate(PROMPT)
        except LLMError as error:
            got.error = type(error).__name__
            if isinstance(error, ProviderError):
                got.error, got.content_error = error.type, error.type == "content_filter"
                got.delivered = error.partial.text if error.partial is not None else ""
            return got
        got.text, got.model = response.content, response.model
        got.usage = (response.usage.input_total, response.usage.output_total)
        return got

    async def close(self) -> None:
        await self.container.stop()


def openai() -> Setup:
    """The SDK alone, which knows one server: it shows what retries can do without a fallback."""

    async def setup(primary: str, _: str, times: Times) -> Any:
        from openai import AsyncOpenAI

        client = AsyncOpenAI(base_url=primary, api_key=_KEY, max_retries=RETRIES, timeout=times.timeout)
        return _OpenAI(client)

    return setup


class _OpenAI:
    def __init__(self, client: Any) -> None:
        self.client = client

    async def close(self) -> None:
        await self.client.close()

    async def call(self, *, stream: bool) -> Got:
        asked: Any = {"model": PRIMARY, "messages": [{"role": "user", "content": PROMPT}]}
        create = self.client.chat.completions.create
        if stream:
            return await _streamed(lambda: create(**asked, stream=True, stream_options={"include_usage": True}))
        return await _whole(lambda: create(**asked))


def litellm() -> Setup:
    """LiteLLM's Router with a fallback group."""

    async def setup(primary: str, spare: str, times: Times) -> Any:
        os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
        import litellm as library

        library.suppress_debug_info = True
        library.turn_off_message_logging = True

        def deployment(group: str, model: str, url: str) -> dict[str, Any]:
            return {
                "model_name": group,
                "litellm_params": {"model": f"openai/{model}", "api_base": url, "api_key": _KEY},
            }

        router = library.Router(
            model_list=[deployment("chat", PRIMARY, primary), deployment("spare", SPARE, spare)],
            fallbacks=[{"chat": ["spare"]}],
            context_window_fallbacks=[{"chat": ["spare"]}],
            num_retries=RETRIES,
            timeout=times.timeout,
            stream_timeout=times.timeout,
        )
        return _LiteLLM(router)

    return setup


class _LiteLLM:
    def __init__(self, router: Any) -> None:
        self.router = router

    async def close(self) -> None:
        self.router.discard()

    async def call(self, *, stream: bool) -> Got:
        asked: Any = {"model": "chat", "messages": [{"role": "user", "content": PROMPT}]}
        if stream:
            return await _streamed(
                lambda: self.router.acompletion(**asked, stream=True, stream_options={"include_usage": True})
            )
        return await _whole(lambda: self.router.acompletion(**asked))


def langchain() -> Setup:
    """LangChain's ChatOpenAI `with_fallbacks`."""

    async def setup(primary: str, spare: str, times: Times) -> Any:
        from langchain_openai import ChatOpenAI

        def model(name: str, url: str) -> Any:
            return ChatOpenAI(
                model=name, base_url=url, api_key=_KEY, max_retries=RETRIES, timeout=times.timeout, stream_usage=True
            )

        return _LangChain(model(PRIMARY, primary).with_fallbacks([model(SPARE, spare)]))

    return setup


class _LangChain:
    def __init__(self, chain: Any) -> None:
        self.chain = chain

    async def close(self) -> None:
        pass

    async def call(self, *, stream: bool) -> Got:
        got = Got()
        try:
            if stream:
                whole: Any = None
                async for chunk in self.chain.astream(PROMPT):
                    got.text += chunk.text if isinstance(chunk.text, str) else chunk.text()
                    whole = chunk if whole is None else whole + chunk
            else:
                whole = await self.chain.ainvoke(PROMPT)
                got.text = whole.content
        except Exception as error:  # noqa: BLE001 - whatever a client raises is its answer
            return _failed(got, error)
        if whole is not None:
            got.model = whole.response_metadata.get("model_name")
            used = whole.usage_metadata
            got.usage = (used["input_tokens"], used["output_tokens"]) if used else None
        return got


async def _whole(create: Any) -> Got:
    got = Got()
    try:
        answer = await create()
        got.text, got.model = answer.choices[0].message.content, answer.model
        got.usage = (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    except Exception as error:  # noqa: BLE001 - whatever a client raises is its answer
        return _failed(got, error)
    return got


async def _streamed(create: Any) -> Got:
    got = Got()
    try:
        async for chunk in await create():
            if chunk.choices:
                got.text += chunk.choices[0].delta.content or ""
            got.model = chunk.model or got.model
            used = getattr(chunk, "usage", None)
            if used is not None:
                got.usage = (used.prompt_tokens, used.completion_tokens)
    except Exception as error:  # noqa: BLE001 - whatever a client raises is its answer
        return _failed(got, error)
    return got


def _failed(got: Got, error: Exception) -> Got:
    got.error = type(error).__name__
    with contextlib.suppress(Exception):
        code = getattr(error, "code", None) or (getattr(error, "body", None) or {}).get("code")
        words = f"{type(error).__name__} {code} {error}".lower()
        got.content_error = "content_policy" in words or "contentpolicy" in words or "content policy" in words
    return got


CLIENTS = {"core-llm": core_llm, "openai": openai, "litellm": litellm, "langchain": langchain}
