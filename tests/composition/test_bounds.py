"""S63: whatever callers, upstreams and editors of the configuration name, nothing that is remembered grows for ever."""

import asyncio
import importlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from types import FunctionType, MethodType, ModuleType

import pytest

from core.llm.accounting.ledger import UsageLedger
from core.llm.common.exceptions import LLMError, ProviderError
from core.llm.limiting.upstream import UpstreamLimits
from core.llm.pipeline.provider_breaker import ProviderBreaker
from tests.unit.llm.support import World, serving, settings

BOUNDS = (
    ("core.llm.limiting.upstream", "_SCOPES_KEPT"),
    ("core.llm.pipeline.hedge_timing", "_KEPT"),
    ("core.llm.pipeline.hedge_timing", "_PLACES"),
    ("core.llm.pipeline.key_states", "_MODELS_KEPT"),
    ("core.llm.pipeline.provider_breaker", "_MODELS_KEPT"),
    ("core.llm.routing.arms", "_ALIASES"),
    ("core.llm.routing.arms", "_ARMS"),
    ("core.llm.routing.arms", "_CALLS"),
    ("core.llm.routing.router", "_PLANS_KEPT"),
    ("core.llm.runtime.runtime", "_TARGETS_KEPT"),
    ("core.llm.runtime.state", "_MODELS_KEPT"),
    ("core.llm.runtime.state", "_REMOVED_KEPT"),
    ("core.llm.state.memory", "KEPT"),
    ("core.llm.state.memory", "_NAMES_KEPT"),
)
"""Every number that bounds what is remembered by name. A memory without one is found by `containers`."""
SMALL = 40
NAMES = 400
_PLAIN = (str, bytes, int, float, complex, type, ModuleType, FunctionType, MethodType)
_OF_THE_TEST = {"script"}
_DEPTH = 14


def containers(root: object) -> dict[str, int]:
    """The size of everything with a length that *root* holds, by the way that leads there."""
    seen: set[int] = set()
    found: dict[str, int] = {}

    def walk(value: object, path: str, depth: int) -> None:
        if value is None or isinstance(value, _PLAIN) or depth > _DEPTH or id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, Collection) and not type(value).__module__.startswith("core."):
            found[path] = max(found.get(path, 0), len(value))
            for item in list(value.values() if isinstance(value, Mapping) else value):
                walk(item, f"{path}[]", depth + 1)
        elif type(value).__module__.startswith("core."):
            for name, item in _fields(value):
                walk(item, f"{path}.{name}", depth + 1)

    walk(root, type(root).__name__, 0)
    return found


def _fields(value: object) -> Iterator[tuple[str, object]]:
    names = set(getattr(value, "__dict__", ()))
    for kind in type(value).__mro__:
        slots = getattr(kind, "__slots__", ())
        names.update((slots,) if isinstance(slots, str) else slots)
    for name in sorted(names - _OF_THE_TEST):
        found = getattr(value, name, None)
        if found is not None:
            yield name, found


def assert_bounded(world: World, most: int) -> None:
    """Nothing that the service can reach holds more than *most* of anything, the breaker's window of results aside."""
    for root in (world.service, world.container.get(UsageLedger)):
        grown = {path: size for path, size in containers(root).items() if size > most and "_window" not in path}
        assert grown == {}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a test can reach."""
    for module, name in BOUNDS:
        monkeypatch.setattr(importlib.import_module(module), name, SMALL)


async def test_S63_names_that_callers_make_up_are_forgotten() -> None:
    """Models, users, aliases that do not exist, requests to be cached: each by the hundred."""
    models = {"fast": {"use": ["alpha/m", "beta/m"], "strategy": "latency", "hedge": True}}
    cache = {"enabled": True, "max_entries": SMALL}
    async with serving(models=models, cache=cache, request_limits={"max_concurrency": 3}) as world:
        for number in range(NAMES):
            if number % 2:
                world.alpha.will_raise(ProviderError("permission", "not for you", scope="model"))
            with suppress(ProviderError):
                await world.service.generate(f"say {number}", model=f"alpha/m{number}", user=f"user {number}")
            await world.service.generate(f"say {number}", model="fast")
            for attempt in (
                world.service.generate("hi", model=f"nothing{number}"),
                world.service.swap_model(f"nothing{number}", "alpha/m"),
            ):
                with pytest.raises(LLMError):
                    await attempt
        assert_bounded(world, 2 * SMALL)


async def test_S63_limits_that_upstreams_name_are_forgotten() -> None:
    """A server that tells of a limit with every model that somebody makes up."""
    limits = UpstreamLimits()
    for number in range(NAMES):
        assert limits.learn(("key", f"m{number}"), "requests_per_minute", 10, 5, float(number))
    assert len(limits.status(0.0).limits) <= SMALL


async def test_S63_breakers_of_models_that_keep_failing_are_forgotten() -> None:
    """Also where all of them are open."""
    breaker = ProviderBreaker()
    for number in range(NAMES):
        one = breaker.model(f"m{number}")
        one.state, one.open_until = "open", 1e9
    assert len(breaker.models) <= SMALL


async def test_S63_a_configured_model_keeps_its_breaker_and_its_target() -> None:
    """Names that pass by push nobody out who is in use."""
    async with serving() as world:
        await world.service.generate("hi", model="alpha/m")
        runtime = world.holder.current
        kept = next(target for ref, target in runtime._targets.items() if ref.model == "m")
        for number in range(NAMES):
            await world.service.generate("hi", model=f"alpha/m{number}")
        assert runtime.known_target(kept.ref) is kept


async def test_S63_five_hundred_edits_with_new_names_leave_no_more_than_one() -> None:
    """Providers, keys and aliases come and go while calls run; old configurations are gone, and so are their names."""
    async with serving("alpha", "beta") as world:

        async def edit(number: int) -> None:
            alias = {
                "use": ["alpha/m", f"p{number}/m"], "strategy": "round_robin", "hedge": True, "mid_stream": "restart",
                "shadow": {"model": "beta/m", "fraction": 1}, "limits": {"max_concurrency": 2},
            }  # fmt: skip
            extra = {"type": "scripted", "models": [f"m{number}", "m"], "api_keys": [f"key-{number}", f"old-{number}"]}
            limits = {"requests_per_minute": 1000 + number, "max_concurrency": 5}
            config = settings(
                world.scripts,
                models={f"alias{number}": alias},
                default_model=f"alias{number}",
                cache={"enabled": number % 2 == 0, "max_entries": SMALL},
                providers={
                    "alpha": {"rate_limits": limits, "api_key": f"k{number}"},
                    f"p{number}": {**extra, "rate_limits": limits},
                },
            )
            await world.manager.replace(config)

        for number in range(500):
            await edit(number)
            running = [asyncio.create_task(world.service.generate(f"say {number} {i}", user="u")) for i in range(2)]
            async with world.service.stream(f"stream {number}") as events:
                await anext(events)
            await asyncio.gather(*running)
        async with asyncio.timeout(30):
            while len(world.holder.live) > 1 or len(world.holder.current.state.memory.shadows):
                await asyncio.sleep(0.01)
        assert set(world.holder.current.state._upstreams) == {"alpha", "beta", "p499"}
        assert_bounded(world, 2 * SMALL)
