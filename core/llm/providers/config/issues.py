"""Turn what pydantic complains about into issues with a place, a path, plain words and advice. Never a value."""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from core.llm.common.exceptions import ConfigIssue
from core.llm.providers.config.allowed import Place, allowed, choices, found, places_at, shown_default
from core.llm.providers.config.fields import field_at, is_secret, models_at
from core.llm.providers.config.tree import Node, Path, printable_key

MAX_ISSUES: Final = 100
"""Mistakes that are told at once; nobody reads more."""

# What other tools call it. Only names that are too far from ours to be found by likeness.
_ELSEWHERE: Final = {
    "url": "base_url",
    "endpoint": "base_url",
    "host": "base_url",
    "key": "api_key",
    "token": "api_key",
    "timeout": "timeouts",
    "rpm": "requests_per_minute",
    "tpm": "tokens_per_minute",
    "concurrency": "max_concurrency",
    "target": "use",
    "targets": "use",
    "aliases": "models",
    "default": "default_model",
    "fallbacks": "fallback",
    "budget": "monthly_budget",
    "retries": "max_retries",
    "context_length": "context_window",
    "kind": "type",
}
_OURS: Final = {
    r"a valid (?:dictionary(?: or instance of \w+)?|mapping)": "a mapping",
    r"a valid (?:list|tuple|set|frozenset)": "a list",
    r"a valid string": "text",
    r"a valid integer.*": "a whole number",
    r"a valid (?:number|decimal).*": "a number",
    r"a valid boolean.*": "true or false",
}
"""What pydantic calls it, and what people do."""
_OF_VALIDATORS: Final = frozenset({"value_error", "assertion_error"})
"""Messages that a validator of ours has written: they say more than the type."""


def located(tree: Node, loc: Sequence[int | str]) -> tuple[Path, Node, bool]:
    """The path and node that a pydantic location means, and whether it is there in full.

    Elements that the tree does not have (tags of unions, `[key]`, parts of a shorthand) are passed over.
    """
    path: list[str | int] = []
    node, complete = tree, True
    for position, step in enumerate(loc):
        child = _child(node, step, loc[position + 1 : position + 2])
        if child is not None:
            path.append(step)
            node, complete = child, True
        elif isinstance(node.value, list):
            # A list that was turned into a mapping: its items are the keys.
            index = next((i for i, item in enumerate(node.value) if str(item.value) == str(step)), None)
            if index is None:
                complete = False
            else:
                path.append(index)
                node = node.value[index]
        else:
            complete = False
    return tuple(path), node, complete


def _child(node: Node, step: int | str, following: Sequence[int | str]) -> Node | None:
    if isinstance(node.value, dict):
        child: Node | None = node.value.get(step)
        return child
    if isinstance(node.value, list) and isinstance(step, int) and step < len(node.value) and "[key]" not in following:
        item: Node = node.value[step]
        return item
    return None


def validation_issues(
    error: ValidationError, tree: Node, root: type[BaseModel], prefix: Path = ()
) -> list[ConfigIssue]:
    """Every error of *error*, which came from validating *tree* as a *root*; *prefix* is the path of *tree*."""
    issues: dict[tuple[Path, str], ConfigIssue] = {}
    for detail in error.errors(include_input=False, include_url=False)[:MAX_ISSUES]:
        path, node, _ = located(tree, detail["loc"])
        kind = detail["type"]
        origin = node.at
        if kind == "missing" and isinstance(node.value, dict):
            path = (*path, detail["loc"][-1])
        elif kind == "extra_forbidden":
            origin = node.key_origin
        message, suggestion = _describe(dict(detail), node, root, path)
        issue = origin.issue(message, (*prefix, *path), suggestion=suggestion)
        # Every member of a union complains by itself; the first says enough.
        issues.setdefault((path, "" if kind != "missing" else message), issue)
    return list(issues.values())


def _describe(detail: dict[str, Any], node: Node, root: type[BaseModel], path: Path) -> tuple[str, str | None]:
    """What is wrong with *node*: what may stand there, and what does; and what to do next."""
    kind: str = detail["type"]
    if kind == "extra_forbidden":
        return "unknown key", suggest_key(str(path[-1]), known_keys(root, path[:-1]))
    if kind == "missing":
        name = detail["loc"][-1]
        what = field_at(root, path)
        meaning = f" ({what.description.rstrip('.')})" if what is not None and what.description else ""
        return f"`{printable_key(name)}` is missing", f"add `{printable_key(name)}: …`{meaning}"
    # A key that is wrong is found at its value: the mapping that it stands in says which keys there may be.
    if detail["loc"][-1:] == ("[key]",):
        names = _expected(detail)
        return f"must be one of {', '.join(names)}", suggest_name(str(path[-1]), names, "allowed")
    places = places_at(root, path)
    wanted, default = allowed(places), _default_advice(root, path, places)
    if kind in {"too_short", "string_too_short"}:
        return "must not be empty", default
    shape = "list" if isinstance(node.value, list) else "mapping" if isinstance(node.value, dict) else ""
    fits = any(place.wants(shape) for place in places)
    if not wanted or fits or (kind in _OF_VALIDATORS and not any(place.wants("quantity") for place in places)):
        return plain_words(str(detail["msg"])), default
    if kind == "string_pattern_mismatch":
        return f"must {_pattern(detail, field_at(root, path))}", default
    message = f"must be {wanted}, not {found(node.value, secret=node.secret or is_secret(root, path))}"
    return message, _better_advice(node.value, places) or default


def _pattern(detail: Mapping[str, Any], info: FieldInfo | None) -> str:
    example = info.examples[0] if info is not None and info.examples else None
    return f"be text such as {example}" if example else f"match the pattern `{detail['ctx']['pattern']}`"


def _better_advice(value: object, places: Sequence[Place]) -> str | None:
    """How *value*, which is of the wrong kind, is written so that it fits."""
    close = get_close_matches(value, choices(places), 1, 0.5) if isinstance(value, str) else []
    if close:
        return f"did you mean `{close[0]}`?"
    if isinstance(value, bool | int | float) and any(place.wants("text") for place in places):
        return "quote this value"
    if any(place.wants("quantity", "boolean") for place in places):
        return None
    for form, advice in (("list", "write it as [a, b]"), ("mapping", "write `key: value` lines indented below it")):
        if any(place.wants(form) for place in places):
            return advice
    return None


def _expected(detail: Mapping[str, Any]) -> list[str]:
    return str(detail.get("ctx", {}).get("expected", "")).replace("'", "").replace(" or ", ", ").split(", ")


def plain_words(message: str) -> str:
    """What a validator has said, as it stands behind the path of its field."""
    text = message.removeprefix("Value error, ").replace("Input should be", "must be")
    for theirs, ours in _OURS.items():
        text = re.sub(theirs, ours, text)
    return text[:1].lower() + text[1:]


def known_keys(root: type[BaseModel], path: Path) -> list[str]:
    """The keys that may stand below *path*."""
    return list(dict.fromkeys(name for model in models_at(root, path) for name in model.model_fields))


def suggest_key(key: str, known: Sequence[str]) -> str | None:
    """Which of the *known* keys was probably meant, or what there is."""
    if not known:
        return None
    close = get_close_matches(key.lower().replace("-", "_"), known, 1, 0.6)
    elsewhere = _ELSEWHERE.get(key.lower())
    if elsewhere is not None and elsewhere in known:
        close = [elsewhere]
    if close:
        return f"did you mean `{close[0]}`?"
    shown = ", ".join(known[:14])
    return f"known here: {shown}{', …' if len(known) > 14 else ''}"


def suggest_name(name: str, known: Iterable[str], what: str = "known") -> str:
    """Which of the *known* names was probably meant, or what there is."""
    names = sorted(known)
    close = get_close_matches(name, names, 1, 0.5)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"{what}: {', '.join(names[:20])}" if names else f"{what}: none"


def _default_advice(root: type[BaseModel], path: Path, places: Sequence[Place]) -> str | None:
    info = field_at(root, path)
    if path and (isinstance(path[-1], int) or info is None):
        return "correct it, or take it out"
    if info is None or info.is_required():
        return "see docs/configuration.md"
    if info.default is None:
        return "leave it out for no limit" if "limit" in str(path) else "leave it out where it is not needed"
    if not isinstance(info.default, str | int | float) or info.default == "":
        return "leave it out where it is not needed"
    return f"leave it out for the default, {shown_default(info.default, places)}"
