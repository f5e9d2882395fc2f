"""What this library exports that can be cancelled, found by looking; and the table of scenarios that do so."""

import importlib
import inspect
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

MODULES = ("core.llm", "core.container", "core.lifecycle")
_SPECIAL = frozenset({"__aenter__", "__aexit__", "__anext__"})
_WAITED_FOR = ("AsyncIterator", "LLMStream", "ObjectStream", "Awaitable[")

CONTRACTS = {
    "BaseLLMProvider": "what providers implement; every call below runs one",
    "Clock": "what clocks implement",
    "Guardrail": "what a host implements; awaited within a call",
    "PiiMasking": "checks without waiting",
    "Startable": "what components implement; every start below runs them",
    "Stoppable": "what components implement; every stop below runs them",
    "SystemClock": "sleeps as asyncio does; every call below waits by a clock",
    "UsageLedger.begin": "called within every call below",
}
"""What has no sweep of its own, with the reason."""

Scenario = Callable[[Any, int], Coroutine[Any, Any, Any]]
TABLE: dict[str, Scenario] = {}
"""The scenario that sweeps each public coroutine, by `Class.method`."""


def sweeps(*names: str) -> Callable[[Scenario], Scenario]:
    """The decorated scenario runs *names*."""

    def note(scenario: Scenario) -> Scenario:
        for name in names:
            assert name not in TABLE, f"{name} has two scenarios"
            TABLE[name] = scenario
        return scenario

    return note


def public_coroutines() -> Iterator[str]:
    """`Class.method` of everything exported that is awaited, iterated or entered asynchronously."""
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for exported in module.__all__:
            found = getattr(module, exported)
            if inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found):
                yield exported
            if inspect.isclass(found):
                yield from (f"{exported}.{name}" for name in _awaited(found))


def _awaited(kind: type) -> Iterator[str]:
    for name, member in inspect.getmembers(kind, callable):
        if name.startswith("_") and name not in _SPECIAL:
            continue
        function = inspect.unwrap(member)
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            yield name
        elif inspect.isfunction(function):
            returns = str(function.__annotations__.get("return", ""))
            if any(word in returns for word in _WAITED_FOR):
                yield name
