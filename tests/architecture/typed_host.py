"""A host application as a developer with a type checker writes it; `test_types_for_hosts` checks it and never runs it."""

from collections.abc import Sequence
from typing import Annotated, Any, assert_type

from injector import Injector, inject
from pydantic import BaseModel

import core.llm
import core.llm.testing
from core.container import Container
from core.lifecycle import Lifecycle, LifecycleModule
from core.llm import (
    BudgetAlert,
    CallFinished,
    ChatModel,
    ClientResponse,
    Event,
    EventBus,
    ImagePart,
    LLMClient,
    LLMRequest,
    LLMResponse,
    LLMService,
    LLMServiceConfig,
    Message,
    Named,
    ObjectStream,
    OllamaClient,
    ProviderModule,
    TextPart,
    ToolDefinition,
    ToolResultPart,
)
from core.llm.providers.ollama.models.requests import ChatRequest


class Invoice(BaseModel):
    """What is read out of a text."""

    number: str


class Weather(BaseModel):
    """A tool."""

    city: str


class Service:
    """Asks in every way there is."""

    @inject
    def __init__(self, llm: LLMService, fast: Annotated[ChatModel, Named("fast")], client: LLMClient) -> None:
        self.llm = llm
        self.fast = fast
        self.client = client

    async def requests(self) -> None:
        """Requests of every shape."""
        await self.llm.generate(LLMRequest(messages="hi"))
        await self.llm.generate(
            LLMRequest(messages=[{"role": "user", "content": "hi"}], model="smart", temperature=0.2)
        )
        await self.llm.generate(LLMRequest(messages=[Message("user", "hi")], stop="END", tools=[Weather], extra={}))
        await self.llm.generate([Message("user", [TextPart("what is this?"), ImagePart(path="a.png")])])
        await self.llm.generate([Message("user", [{"type": "text", "text": "hi"}])])
        await self.llm.generate([Message("tool", [ToolResultPart("call_1", "no such city", is_error=True)])])
        await self.llm.generate("hi", thinking=1000, tool_choice="Weather", tools=[Weather, ToolDefinition("add"), {}])
        await self.llm.generate("hi", response_format=Invoice, cache="refresh", metadata={"tab": 7}, timeout=3)
        options: dict[str, Any] = {"temperature": 0.1}
        await self.llm.generate("hi", **options)
        await self.llm.generate_object("hi", Invoice, **options)

    async def answers(self, messages: Sequence[Message]) -> None:
        """What comes back has the type that was asked for."""
        assert_type(await self.llm.generate(messages), LLMResponse)
        assert_type((await self.llm.generate_object("hi", Invoice, max_tokens=5)).object, Invoice)
        assert_type((await self.llm.generate_object("hi", Invoice, tools=[Weather])).object, Invoice | None)
        assert_type((await self.fast.generate_object("hi", Invoice)).object, Invoice)
        assert_type(await self.client.get_response("hi", Invoice), ClientResponse[Invoice])
        assert_type((await self.client.get_response("hi", Invoice)).object, Invoice | None)
        assert_type(self.llm.stream_object("hi", Invoice), ObjectStream[Invoice])
        async with self.fast.stream_object("hi", Invoice, temperature=0) as stream:
            assert_type(stream.object, Invoice)
        plain: LLMResponse = await self.llm.generate_object("hi", Invoice)
        assert_type(plain.message, Message)

    async def traces(self, events: EventBus) -> None:
        """A whole answer has its story; subscribers get what they asked for."""
        print((await self.llm.generate("hi")).trace.describe(), (await self.llm.embed("hi")).trace.attempts)

        def finished(event: CallFinished) -> None: ...
        def either(event: CallFinished | BudgetAlert) -> None: ...
        def anything(event: Event) -> None: ...

        events.subscribe(finished, CallFinished)
        events.subscribe(either, CallFinished, BudgetAlert)
        events.subscribe(anything)
        events.subscribe(anything, CallFinished)
        events.subscribe(lambda alert: print(alert.budget), BudgetAlert).close()
        async for event in events.stream(CallFinished):
            assert_type(event, CallFinished)
        async for one in events.stream():
            assert_type(one, Event)
        events.subscribe(finished, BudgetAlert)  # type: ignore[arg-type]  # it takes another event

    async def classes_with_many_fields(self, ollama: OllamaClient) -> None:
        """Fields that have a default may be left out, without pydantic's plugin too."""
        LLMServiceConfig(default_model="fast")
        await ollama.chat(ChatRequest(model="tiny", messages=()))

    async def mistakes(self) -> None:
        """What a checker has to find; each line is an error."""
        await self.llm.generate("hi", temprature=0.2)  # type: ignore[call-arg]  # misspelt
        await self.llm.generate("hi", max_tokens="many")  # type: ignore[arg-type]  # no number
        self.llm.stream("hi", thinking="hard")  # type: ignore[arg-type]  # no such level
        core.llm.LLMServise  # type: ignore[attr-defined]  # noqa: B018 - looking it up is the mistake
        core.llm.testing.FakeClok  # type: ignore[attr-defined]  # noqa: B018 - as above
        LLMRequest(messages="hi", modle="fast")  # type: ignore[call-arg]  # misspelt
        LLMRequest(model="fast")  # type: ignore[call-arg]  # no messages
        await self.fast.generate("hi", temprature=0.2)  # type: ignore[call-arg]  # misspelt
        await self.client.get_response("hi", temprature=0.2)  # type: ignore[call-overload]  # misspelt


async def main() -> None:
    """Both ways of holding the service."""
    async with Container([ProviderModule("llm.yaml")]) as container:
        assert_type(container.get(LLMService), LLMService)
    injector = Injector([LifecycleModule(), ProviderModule({"default_model": "fast"})])
    assert_type(injector.get(Lifecycle), Lifecycle)
