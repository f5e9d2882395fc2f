"""Turn what pydantic complains about into issues with a place, a path, plain words and advice. Never a value."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from core.llm.common.exceptions import ConfigIssue
from core.llm.providers.config.fields import field_at, models_at
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
_WORDS: Final = {
    "extra_forbidden": "unknown key",
    "missing": "is missing",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "decimal_type": "must be a number",
    "decimal_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "mapping_type": "must be a mapping",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "frozen_set_type": "must be a list",
    "finite_number": "must be a finite number",
}
_MAPPING_TYPES: Final = frozenset({"model_type", "model_attributes_type", "dict_type", "mapping_type"})
_NUMBERS: Final = frozenset({"int_type", "int_parsing", "int_from_float", "float_type", "float_parsing"})
_LISTS: Final = frozenset({"list_type", "tuple_type", "frozen_set_type"})


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
    found: dict[tuple[Path, str], ConfigIssue] = {}
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
        found.setdefault((path, "" if kind != "missing" else message), issue)
    return list(found.values())


def _describe(detail: dict[str, Any], node: Node, root: type[BaseModel], path: Path) -> tuple[str, str | None]:
    kind: str = detail["type"]
    context: dict[str, Any] = detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _WORDS[kind], suggest_key(str(path[-1]), known_keys(root, path[:-1]))
    if kind == "missing":
        name = detail["loc"][-1]
        what = field_at(root, path)
        meaning = f" ({what.description.rstrip('.')})" if what is not None and what.description else ""
        return f"`{printable_key(name)}` is missing", f"add `{printable_key(name)}: …`{meaning}"
    if isinstance(node.value, bool | int | float) and (kind == "string_type" or kind in _MAPPING_TYPES):
        return "must be text, but YAML reads it as a number or boolean", "quote this value"
    if kind in _MAPPING_TYPES:
        return "must be a mapping", "write `key: value` lines indented below it"
    if kind in _LISTS:
        return _WORDS[kind], "write it as [a, b]"
    if kind == "literal_error":
        options = str(context.get("expected", ""))
        names = options.replace("'", "").replace(" or ", ", ").split(", ")
        close = get_close_matches(str(node.value), names, 1, 0.5)
        return f"must be one of {options}", f"did you mean `{close[0]}`?" if close else _default_advice(root, path)
    message = _WORDS.get(kind) or str(detail["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    advice = _default_advice(root, path)
    if kind in _NUMBERS:
        advice = "write digits only" if "whole" in message else "write a number such as 0.5"
    return message[:1].lower() + message[1:], advice


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


def _default_advice(root: type[BaseModel], path: Path) -> str | None:
    info = field_at(root, path)
    if info is not None and info.default is None:
        return "leave it out for no limit" if "limit" in str(path) else "leave it out where it is not needed"
    if info is None or info.default is PydanticUndefined or not isinstance(info.default, str | int | float):
        return "see docs/configuration.md"
    default = f"{info.default:g}" if isinstance(info.default, float) else info.default
    return f"leave it out for the default, {default}"
