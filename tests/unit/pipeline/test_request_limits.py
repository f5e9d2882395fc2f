"""What a single request may ask for: size, tokens, length, money, and calls of one user at once."""

import asyncio
import threading
from decimal import Decimal
from typing import Any

import pytest

from core.llm.common.decisions import CallRefused
from core.llm.common.events import Event, EventBus
from core.llm.common.exceptions import LLMError, RateLimited, RequestError
from core.llm.common.messages import ImagePart, Message, TextPart, ToolCall
from core.llm.common.types import ModelFacts
from core.llm.pipeline import request_limits as module
from core.llm.pipeline.handler import Call, Reply
from core.llm.pipeline.preflight import prepared
from core.llm.pipeline.request_limits import UserSlots, bound, request_limits
from core.llm.providers.config.models.limits import RequestLimitOptions
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.routing.tokens import estimate_text
from tests.unit.pipeline.support import Scripted, a_call, a_target, answered


class Rig:
    """The layer around a scripted handler."""

    def __init__(self, *outcomes: Any, alias: dict[str, Any] | None = None, **limits: Any) -> None:
        config: dict[str, Any] = {"request_limits": limits}
        if alias is not None:
            config["models"] = {"special": {"use": "alpha/m", "limits": alias}}
        self.users = UserSlots()
        self.inner = Scripted(*outcomes)
        self.config = LLMServiceConfig.model_validate(config)
        self.handler = request_limits(self.config, self.users)(self.inner)

    async def refused(self, call: Call) -> LLMError:
        with pytest.raises(LLMError) as caught:
            await self.handler(call)
        assert self.inner.calls == 0
        return caught.value


@pytest.mark.parametrize(
    ("content", "bytes_"),
    [
        ("x" * 100, 100),
        ("é" * 50, 100),
        ("語" * 30 + "x" * 10, 100),
        ([TextPart("x" * 60), ImagePart(data=b"y" * 40)], 100),
    ],
)
async def test_S65_a_request_that_is_too_large_is_refused_by_its_bytes(content: Any, bytes_: int) -> None:
    """Text and attachments together, to the byte."""
    call = a_call(messages=[Message("user", content)])
    await Rig(max_input_bytes=bytes_).handler(call)
    error = await Rig(max_input_bytes=bytes_ - 1).refused(call)
    assert isinstance(error, RequestError)
    assert f"max_input_bytes is {bytes_ - 1}" in str(error)


async def test_S65_tool_calls_and_texts_to_embed_count_as_well() -> None:
    """Whatever is sent is counted."""
    history = [Message("user", "hi"), Message("assistant", "", tool_calls=(ToolCall("1", "f", {"a": "x" * 100}),))]
    await Rig(max_input_bytes=100).refused(a_call(messages=history))
    await Rig(max_input_bytes=100).refused(a_call("embed", inputs=("x" * 60, "y" * 60)))


async def test_S65_size_is_looked_at_before_a_single_token_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too large is not worth the work; so is what has too many tokens by its length alone."""

    def never(*_: Any) -> Any:
        raise AssertionError("tokens were counted")

    monkeypatch.setattr(module, "estimate_request", never)
    monkeypatch.setattr(module, "estimate_text", never)
    await Rig(max_input_bytes=1000, max_input_tokens=5).refused(a_call(messages="x" * 1001))
    await Rig(max_input_tokens=100).refused(a_call(messages="x" * 2_000_000))


async def test_S65_many_characters_are_counted_in_slices_outside_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However long and odd the text is: other calls go on, and counting stops at what is too many."""
    seen: list[tuple[int, int]] = []
    count = estimate_text

    def watched(text: str) -> int:
        seen.append((threading.get_ident(), len(text)))
        return count(text)

    monkeypatch.setattr(module, "estimate_text", watched)
    text = "語a" * 400_000
    assert isinstance(await Rig(max_input_tokens=200_000).refused(a_call(messages=text)), RequestError)
    assert threading.get_ident() not in {thread for thread, _ in seen}
    assert max(length for _, length in seen) == module.AT_ONCE
    assert len(seen) < len(text) // module.AT_ONCE
    seen.clear()
    await Rig(max_input_tokens=10_000_000).handler(a_call(messages=text))
    assert sum(length for _, length in seen) == len(text)


@pytest.mark.parametrize("mode", ["generate", "embed"])
async def test_a_prompt_with_too_many_tokens_is_refused(mode: Any) -> None:
    """By the estimate that is also used for costs."""
    options: dict[str, Any] = {"inputs": ("word " * 100,)} if mode == "embed" else {"messages": "word " * 100}
    error = await Rig(max_input_tokens=20).refused(a_call(mode, **options))
    assert "max_input_tokens is 20" in str(error)
    await Rig(max_input_tokens=400).handler(a_call(mode, **options))


async def test_a_refusal_is_an_event() -> None:
    """It says why, and holds nothing of the request."""
    seen: list[Event] = []
    events = EventBus()
    events.subscribe(seen.append, CallRefused)
    await Rig(max_input_bytes=5).refused(a_call(events=events, messages="a secret text"))
    assert [type(event) for event in seen] == [CallRefused]
    assert "secret" not in str(seen)


async def test_the_limits_of_an_alias_stand_instead_of_the_general_ones() -> None:
    """In both directions."""
    rig = Rig(alias={"max_input_bytes": 1000}, max_input_bytes=10)
    await rig.handler(a_call(messages="x" * 500, model="special"))
    with pytest.raises(RequestError):
        await rig.handler(a_call(messages="x" * 500, model="other"))


async def test_S64_one_user_has_so_many_calls_in_flight_and_no_more() -> None:
    """Others are not touched; a call that ends makes room, however it ends; nothing is kept afterwards."""
    gate = asyncio.Event()

    async def waits(call: Call) -> Reply:
        await gate.wait()
        return Reply(call)

    rig = Rig(waits, waits, waits, RequestError("wrong"), max_concurrency=2)
    running = [asyncio.ensure_future(rig.handler(a_call(user=user))) for user in ("ann", "ann", "bob")]
    await asyncio.sleep(0)
    with pytest.raises(RateLimited, match="2 calls in flight"):
        await rig.handler(a_call(user="ann"))
    assert len(rig.users) == 2
    gate.set()
    replies = [await one for one in running]
    with pytest.raises(RateLimited):
        await rig.handler(a_call(user="ann"))
    await replies[0].end("cancelled")
    with pytest.raises(RequestError):
        await rig.handler(a_call(user="ann"))
    await answered(rig.handler, a_call(user="ann"))
    for reply in replies:
        await reply.end("answered")
    assert len(rig.users) == 0


async def test_S63_users_do_not_pile_up() -> None:
    """Only who has a call in flight is remembered."""
    rig = Rig(max_concurrency=1)
    for number in range(1000):
        await answered(rig.handler, a_call(user=f"user {number}"))
    assert len(rig.users) == 0


@pytest.mark.parametrize(
    ("asked", "limit", "model", "sent", "warned"),
    [
        (None, None, 50, None, False),
        (None, 100, None, 100, False),
        (None, 100, 50, 100, False),
        (40, 100, 50, 40, False),
        (200, 100, None, 100, True),
        (200, 100, 50, 50, True),
        (200, None, 50, 50, True),
    ],
)
def test_S64_the_length_of_an_answer_is_capped_and_the_response_says_so(
    asked: int | None, limit: int | None, model: int | None, sent: int | None, warned: bool
) -> None:
    """By the limit and by what the model can do; where nothing was asked for, the limit is what is sent."""
    call = a_call()
    call.limits = RequestLimitOptions(max_output_tokens=limit)
    target = a_target(facts=ModelFacts(max_output_tokens=model))
    found = prepared(a_call(max_tokens=asked).request, target, call)
    assert found.request.max_tokens == sent
    assert [warning.code for warning in found.warnings] == (["clamped"] if warned else [])


def test_a_default_of_the_configuration_is_capped_like_what_the_caller_asks_for() -> None:
    """And it is not overruled by the cap where it is smaller."""
    call = a_call()
    call.limits = RequestLimitOptions(max_output_tokens=100)
    for default, sent in ((50, 50), (500, 100)):
        target = a_target(models={"m": {"defaults": {"max_tokens": default}}})
        assert prepared(call.request, target, call).request.max_tokens == sent


@pytest.mark.parametrize(
    ("limit", "asked", "found"), [(None, None, None), (None, 0.5, "0.5"), ("0.2", None, "0.2"), ("0.2", 0.5, "0.2")]
)
def test_S67_the_lower_of_the_two_limits_of_money_holds(
    limit: str | None, asked: float | None, found: str | None
) -> None:
    """The configuration's, and the caller's own."""
    call = a_call(cost_limit=asked)
    bound(call, LLMServiceConfig.model_validate({"request_limits": {"max_cost": limit} if limit else {}}))
    assert call.cost_limit == (None if found is None else Decimal(found))
