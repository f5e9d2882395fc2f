"""Check, without creating anything, that every binding can be satisfied.

injector finds a missing binding when somebody asks for the object, one at a time and without the way that led there.
This check finds all of them before the first constructor runs.
"""

import inspect
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args, get_origin

from injector import AssistedBuilder, ClassAssistedBuilder, Injector, ProviderOf, get_bindings

from core.exceptions import ContainerError, describe_key
from core.injection import Recipe, explicit_bindings, is_bound, map_keys, recipes

Problem = Literal[
    "missing", "constructor", "annotation", "abstract", "async_provider", "value", "duplicate", "circular"
]


@dataclass(frozen=True, slots=True)
class GraphError:
    """One thing that is wrong with the bindings."""

    problem: Problem
    path: tuple[Any, ...]
    """From a key that nothing else needs down to the key in question."""
    reason: str

    @property
    def key(self) -> Any:
        """The key in question."""
        return self.path[-1]

    def __str__(self) -> str:
        return f"{' -> '.join(map(describe_key, self.path))}: {self.reason}"


class GraphCheckFailed(ContainerError):
    """The bindings cannot work. Nothing was created and no hook ran; ``errors`` holds every problem found."""

    def __init__(self, errors: Iterable[GraphError]) -> None:
        self.errors = tuple(errors)
        super().__init__(self.errors)

    def __str__(self) -> str:
        count = len(self.errors)
        lines = [f"{count} problem{'s' if count > 1 else ''} in the bindings; nothing was created or started.", ""]
        return "\n".join([*lines, *_draw(self.errors)])


@dataclass(slots=True)
class _Node:
    needs: dict[Any, str] = field(default_factory=dict)
    """Key -> who asks for it. Their objects must exist first."""
    later: dict[Any, str] = field(default_factory=dict)
    """The same for ProviderOf and AssistedBuilder: resolved when used, so they may close a circle."""
    problems: list[tuple[Problem, str]] = field(default_factory=list)


def check_graph(injector: Injector, roots: Iterable[Any] = ()) -> list[GraphError]:
    """Return everything that would fail when the bound keys and *roots* are created; an empty list is a pass."""
    roots = list(roots)
    nodes = {key: _inspect(key, provider) for key, provider in explicit_bindings(injector).items()}
    paths = _paths(nodes, roots)
    errors = [
        GraphError("missing", (root,), "not bound; it is named in roots=[...]")
        for root in roots
        if not is_bound(injector, root)
    ]
    for key, node in nodes.items():
        errors += [GraphError(problem, paths[key], reason) for problem, reason in node.problems]
        errors += [
            GraphError("missing", (*paths[key], needed), f"not bound; needed by {asker}{_similar(needed, nodes)}")
            for needed, asker in {**node.needs, **node.later}.items()
            if not is_bound(injector, needed)
        ]
    return errors + [
        GraphError("circular", cycle, "needs itself; inject ProviderOf[...] in one place, or split a class")
        for cycle in _cycles(nodes)
    ]


def _inspect(key: Any, provider: Any) -> _Node:
    node = _Node()
    for recipe in recipes(provider):
        name = describe_key(key)
        node.needs |= dict.fromkeys(recipe.needs, name)
        if recipe.calls is not None:
            _inspect_call(node, recipe, recipe.calls)
        elif _is_wrong_value(key, recipe.value):
            node.problems.append(("value", f"bound to {type(recipe.value).__name__}, which is not a {name}"))
    repeated = [name for name, count in Counter(map_keys(provider)).items() if count > 1]
    if repeated:
        node.problems.append(("duplicate", f"bound more than once for {', '.join(map(repr, repeated))}; the last wins"))
    return node


def _inspect_call(node: _Node, recipe: Recipe, function: Callable[..., Any]) -> None:
    name = recipe.owner.__name__ if recipe.owner else getattr(function, "__qualname__", repr(function))
    if recipe.owner and (inspect.isabstract(recipe.owner) or getattr(recipe.owner, "_is_protocol", False)):
        node.problems.append(("abstract", "abstract: bind it to a class that implements it"))
        return
    if inspect.iscoroutinefunction(function):
        node.problems.append(("async_provider", f"{name} is async; create the object here, do the I/O in its start()"))
    try:
        injected = get_bindings(function)
    except Exception as error:  # noqa: BLE001 - evaluating annotations runs any code; the failure becomes a finding
        node.problems.append(("annotation", f"annotations of {name} cannot be read at run time: {error}"))
        return
    for parameter, needed in injected.items():
        if get_origin(needed) in (ProviderOf, AssistedBuilder):
            node.later[get_args(needed)[0]] = f"parameter {parameter!r} of {name}"
        elif get_origin(needed) is not ClassAssistedBuilder:
            node.needs[needed] = f"parameter {parameter!r} of {name}"
    unfilled = [parameter for parameter in _required(function, recipe) if parameter not in injected]
    if unfilled:
        hint = "annotate it or bind a value" if injected else "is @inject missing?"
        node.problems.append(("constructor", f"{name} is not given {', '.join(map(repr, unfilled))}; {hint}"))


def _required(function: Callable[..., Any], recipe: Recipe) -> list[str]:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # some built-in constructors have no signature
        return []
    return [
        parameter.name
        for parameter in parameters[1 if recipe.owner else 0 :]
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]


def _is_wrong_value(key: Any, value: Any) -> bool:
    """Tell whether a plain value stands where a class is promised; other objects may be doubles of the class."""
    if key is float and isinstance(value, int):
        return False
    return isinstance(value, str | bytes | int | float) and isinstance(key, type) and not isinstance(value, key)


def _similar(missing: Any, nodes: dict[Any, _Node]) -> str:
    """Name bindings that were perhaps meant."""
    bare = get_args(missing)[0] if get_origin(missing) is Annotated else missing
    names = []
    for key in nodes:
        other = get_args(key)[0] if get_origin(key) is Annotated else key
        if other is bare or (isinstance(other, type) and bare in other.__mro__):
            names.append(describe_key(key))
    return f" (bound: {', '.join(names[:5])})" if names else ""


def _edges(node: _Node | None) -> Iterator[Any]:
    if node:
        yield from node.needs
        yield from node.later


def _paths(nodes: dict[Any, _Node], roots: list[Any]) -> dict[Any, tuple[Any, ...]]:
    """Return a shortest path to each key, from a root or from a key that nothing needs."""
    needed = {target for key, node in nodes.items() for target in _edges(node) if target != key}
    paths: dict[Any, tuple[Any, ...]] = {}
    # The last group holds the keys that can be reached from no top: members of circles.
    for tops in (roots, [key for key in nodes if key not in needed], list(nodes)):
        queue = deque(key for key in tops if key not in paths)
        paths |= {key: (key,) for key in queue}
        while queue:
            key = queue.popleft()
            for target in _edges(nodes.get(key)):
                if target not in paths:
                    paths[target] = (*paths[key], target)
                    queue.append(target)
    return paths


def _cycles(nodes: dict[Any, _Node]) -> list[tuple[Any, ...]]:
    cycles: list[tuple[Any, ...]] = []
    done: set[Any] = set()

    def visit(key: Any, trail: tuple[Any, ...]) -> None:
        if key in trail:
            cycles.append((*trail[trail.index(key) :], key))
        elif key not in done and key in nodes:
            for target in nodes[key].needs:
                visit(target, (*trail, key))
            done.add(key)

    for key in nodes:
        visit(key, ())
    return cycles


def _draw(errors: Iterable[GraphError]) -> Iterator[str]:
    """Draw all paths as one tree, the reasons beside the keys they concern."""
    tree: dict[Any, Any] = {}
    reasons: dict[tuple[Any, ...], list[str]] = {}
    for error in errors:
        branch = tree
        for key in error.path:
            branch = branch.setdefault(key, {})
        reasons.setdefault(error.path, []).append(error.reason)

    def lines(branch: dict[Any, Any], path: tuple[Any, ...], indent: str) -> Iterator[str]:
        for number, (key, below) in enumerate(branch.items(), start=1):
            here = (*path, key)
            last = number == len(branch)
            mark = ("└─ " if last else "├─ ") if path else ""
            note = "; ".join(reasons.get(here, ()))
            yield f"{indent}{mark}{describe_key(key)}{f'   <- {note}' if note else ''}"
            yield from lines(below, here, indent + (("   " if last else "│  ") if path else ""))

    return lines(tree, (), "  ")
