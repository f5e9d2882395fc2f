"""Strategies and classifiers of the host's own: given to the module by name, or found at `package.module:function`."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from core.llm.routing.strategies.contract import Classifier, Strategy, StrategySpec
from core.llm.routing.strategies.registry import STRATEGIES


class UnknownFunction(Exception):
    """There is no such function. The text says why, `advice` what to do; neither repeats what foreign code says."""

    def __init__(self, message: str, advice: str | None = None) -> None:
        super().__init__(message)
        self.advice = advice


@dataclass(frozen=True, slots=True)
class RoutingFunctions:
    """What the host has brought."""

    strategies: Mapping[str, Strategy] = field(default_factory=dict)
    classifiers: Mapping[str, Classifier] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.strategies:
            if name in STRATEGIES:
                raise ValueError(f"a strategy named {name!r} comes with the library: give yours another name")
        for name, function in (*self.strategies.items(), *self.classifiers.items()):
            try:
                _callable(function)
            except UnknownFunction as error:
                raise ValueError(f"{name!r} {error}") from None

    def strategy(self, name: str) -> StrategySpec:
        """The strategy that *name* stands for.

        Raises:
            UnknownFunction: there is none.
        """
        spec = STRATEGIES.get(name)
        if spec is not None:
            return spec
        function = _found(name, self.strategies, (*STRATEGIES, *self.strategies), "strategy")
        return StrategySpec(function, measures=True, own=True)

    def classifier(self, name: str) -> Classifier:
        """The classifier that *name* stands for.

        Raises:
            UnknownFunction: there is none.
        """
        classify: Classifier = _found(name, self.classifiers, tuple(self.classifiers), "classifier")
        return classify


NO_FUNCTIONS = RoutingFunctions()
"""The library's own strategies only."""


def _found(name: str, given: Mapping[str, Callable[..., Any]], known: tuple[str, ...], kind: str) -> Callable[..., Any]:
    function = given.get(name)
    if function is not None:
        return function
    module, colon, attribute = name.partition(":")
    if not colon:
        close = get_close_matches(name, known, 1)
        advice = (
            f"did you mean `{close[0]}`?" if close else f"known: {', '.join(known) or 'none'}; or write `module:name`"
        )
        raise UnknownFunction(f"`{name}` is no {kind}", advice)
    try:
        found: Any = import_module(module)
        for step in attribute.split("."):
            found = getattr(found, step)
    except AttributeError:
        raise UnknownFunction(f"module `{module}` has no `{attribute}`", "name a function of it") from None
    except Exception as error:  # noqa: BLE001 - whatever the import of a foreign module raises refuses the edit
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        why = f"there is no module `{missing}`" if missing else f"importing it raised {type(error).__name__}"
        raise UnknownFunction(f"`{name}` cannot be used: {why}", "correct `package.module:function`") from None
    _callable(found)
    return found  # type: ignore[no-any-return]  # found by name; `_callable` has looked at it


def _callable(function: object) -> None:
    if not callable(function):
        raise UnknownFunction("is no function", "name one that can be called")
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):
        raise UnknownFunction("is asynchronous, and routing does not wait", "write it with `def`")
