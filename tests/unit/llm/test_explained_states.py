"""What `explain` says first is where the call then goes, in whatever state its candidates are: nothing is ever wrong."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.llm.common.exceptions import LLMError
from core.llm.common.types import ModelRef
from core.llm.pipeline.breaker import Breaker
from core.llm.pipeline.upstream import Upstream
from core.llm.providers.config.models.limits import SlowCallOptions
from core.llm.testing import FakeClock
from tests.unit.llm.support import World, serving

NAMES: Final = ("alpha", "beta", "gamma")
TIMEOUT: Final = 120.0
LONG: Final = "word " * 200

State = Callable[[Upstream, FakeClock], None]


def _opens(breaker: Breaker, clock: FakeClock) -> None:
    for _ in range(Breaker.CONSECUTIVE):
        breaker.admit(clock.monotonic())
        breaker.failed(clock.monotonic(), random.Random(0), "call")
    # As failing checks do: only a call out of turn comes before that.
    breaker.hold(clock.monotonic() + 60.0)


def _provider_open(upstream: Upstream, clock: FakeClock) -> None:
    _opens(upstream.breaker, clock)


def _model_open(upstream: Upstream, clock: FakeClock) -> None:
    _opens(upstream.breaker.model("m"), clock)


def _probe_is_out(upstream: Upstream, clock: FakeClock) -> None:
    _opens(upstream.breaker, clock)
    upstream.breaker.try_soon(clock.monotonic())
    assert upstream.breaker.admit(clock.monotonic()) == "probe"


def _just_back(upstream: Upstream, clock: FakeClock) -> None:
    _probe_is_out(upstream, clock)
    upstream.breaker.succeeded(clock.monotonic(), "probe")
    for _ in range(Breaker.PROBES_TO_CLOSE - 1):
        upstream.breaker.admit(clock.monotonic())
        upstream.breaker.succeeded(clock.monotonic(), "probe")
    for _ in range(Breaker.RAMP_LEAST):
        assert upstream.breaker.admit(clock.monotonic()) == "call"


def _rests(seconds: float, kind: Any = "rate_limit", *, refused: bool = False) -> State:
    def state(upstream: Upstream, clock: FakeClock) -> None:
        upstream.keys.of(None).rest(clock.monotonic() + seconds, "told so", kind, refused=refused)

    return state


def _slow(upstream: Upstream, clock: FakeClock) -> None:
    breaker, options = upstream.breaker.model("m"), SlowCallOptions(answer=1.0, calls=1)
    assert breaker.timed(clock.monotonic(), random.Random(0), "call", options, 1.0, late=True)


def _well(upstream: Upstream, clock: FakeClock) -> None:
    """Nothing is known against it."""


STATES: Final[dict[str, State]] = {
    "well": _well,
    "open": _provider_open,
    "model_open": _model_open,
    "probe_is_out": _probe_is_out,
    "just_back": _just_back,
    "slow": _slow,
    "rests_a_moment": _rests(0.5),
    "rests": _rests(5.0),
    "rests_longer": _rests(30.0),
    "rests_too_long": _rests(200.0),
    "refused": _rests(50.0, "authentication", refused=True),
    "quota": _rests(50.0, "quota_exceeded"),
}
LIMITS: Final[dict[str, dict[str, Any]]] = {
    "none": {},
    "slow": {"requests_per_minute": 6},
    "patient": {"requests_per_minute": 6, "max_wait": "20s"},
    "no_queue": {"requests_per_minute": 6, "queue": 0},
    "too_small": {"tokens_per_minute": 10},
    "daily": {"requests_per_day": 1},
}
FACTS: Final[dict[str, dict[str, Any]]] = {
    "unknown": {},
    "small": {"context_window": 50},
    "plain": {"capabilities": ["chat", "stream"]},
    "dear": {"price": {"input": 1000, "output": 1000}},
}


async def went_to(world: World, clock: FakeClock, *, stream: bool, **request: Any) -> ModelRef | None:
    """Where a call was sent; `None` where nothing was."""
    before = {name: len(world.scripts[name].requests) for name in NAMES}

    async def call() -> None:
        if stream:
            await world.service.stream(**request).response()
        else:
            await world.service.generate(**request)

    task = asyncio.ensure_future(call())
    await clock.settle()
    while not task.done():
        await clock.advance(0.5)
    if task.exception() is not None:
        assert isinstance(task.exception(), LLMError), task.exception()
    sent = [name for name in NAMES if len(world.scripts[name].requests) > before[name]]
    assert len(sent) <= 1
    return ModelRef(sent[0], "m") if sent else None


async def agree(
    states: Sequence[str], limits: Sequence[str], facts: Sequence[str], used: Sequence[bool], **request: Any
) -> None:
    """Bring each candidate into its state, ask, and call."""
    clock = FakeClock()
    count = len(states)
    names = NAMES[:count]
    providers = {
        name: {"models": {"m": FACTS[facts[index]]}, "rate_limits": LIMITS[limits[index]]}
        for index, name in enumerate(names)
    }
    alias = {"use": [f"{name}/m" for name in names], "fallback": []}
    stream, later = request.pop("stream"), request.pop("later")
    config: dict[str, Any] = {"models": {"a": alias}, "providers": providers, "retry": {"max_retry_after": "60s"}}
    async with serving(*NAMES, clock=clock, **config) as world:
        for index, name in enumerate(names):
            if used[index] and limits[index] != "too_small":
                await went_to(world, clock, stream=False, request="hi", model=f"{name}/m", timeout=TIMEOUT)
        for index, name in enumerate(names):
            STATES[states[index]](world.holder.current.state.upstream(name), clock)
        await clock.advance(later)
        request |= {"model": "a", "timeout": TIMEOUT}
        told = world.service.explain(stream=stream, **request)
        assert await went_to(world, clock, stream=stream, **request) == told.first, f"{states} {limits} {used}:\n{told}"


@pytest.mark.parametrize("later", [0.0, 12.0])
@pytest.mark.parametrize("second", [None, *STATES])
@pytest.mark.parametrize("first", list(STATES))
async def test_every_pair_of_states_is_explained_as_it_then_happens(
    first: str, second: str | None, later: float
) -> None:
    """Left alone, asked out of turn, just back, told to wait a little or for long, refused: alone and beside another."""
    states = [first] if second is None else [first, second]
    count = len(states)
    nothing: dict[str, Any] = {"limits": ["none"] * count, "facts": ["unknown"] * count, "used": [False] * count}
    await agree(states, **nothing, later=later, stream=False, request="hi")


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_snapshot_is_explained_as_it_then_happens(data: st.DataObject) -> None:
    """States, limits that are used up or too small, facts and requests, at random."""
    count = data.draw(st.integers(1, 3))

    def some(choices: Any) -> list[Any]:
        return data.draw(st.lists(st.sampled_from(sorted(choices)), min_size=count, max_size=count))

    request: dict[str, Any] = {"request": data.draw(st.sampled_from(["hi", LONG]))}
    if data.draw(st.booleans()):
        request["tools"] = [{"name": "f"}]
    if data.draw(st.booleans()):
        request["cost_limit"] = 0.01
    states, limits = some(STATES), some(LIMITS)
    for index, state in enumerate(states):
        if state != "well" and limits[index] != "too_small":
            # Whoever waits for a limit there finds another state at the end of the wait.
            limits[index] = "none"
    asyncio.run(
        agree(
            states,
            limits,
            some(FACTS),
            data.draw(st.lists(st.booleans(), min_size=count, max_size=count)),
            stream=data.draw(st.booleans()),
            later=data.draw(st.sampled_from([0.0, 12.0])),
            **request,
        )
    )
