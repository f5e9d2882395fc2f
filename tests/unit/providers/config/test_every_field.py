"""Whatever stands in whatever field: a configuration, or one message that says where, what, and what instead."""

import re
from pathlib import Path
from typing import Final

import pytest
import yaml
from jsonschema import Draft202012Validator

from core.llm.common.exceptions import ConfigError, ConfigIssue
from core.llm.providers.config.loader import load_config
from core.llm.providers.config.resolving import ProviderTypes
from core.llm.providers.config.schema import build_schema
from tests.unit.providers.config.every_field import TYPES, FieldPlace, every_place

PLACES: Final = tuple(every_place())
SCHEMA: Final = Draft202012Validator(build_schema(TYPES))
SECRET: Final = "xylophone-tuner-0815"
VALUES: Final = {
    "a word": SECRET,
    "empty text": '""',
    "nothing": "null",
    "a list": f'["{SECRET}"]',
    "an empty list": "[]",
    "a list of lists": '[[{"a": [1]}]]',
    "a mapping": f'{{"{SECRET}": 1}}',
    "an empty mapping": "{}",
    "a negative number": "-1",
    "zero": "0",
    "a fraction": "3.7",
    "a huge number": "1e300",
    "a huge whole number": "9" * 30,
    "no number": ".nan",
    "infinity": ".inf",
    "true": "true",
    "a wrong unit": '"5 parsecs"',
}
_OF_LIBRARIES: Final = re.compile(
    r"\bInput\b|validation|pydantic|unable to|valid (?:string|dictionary|integer)|\bregex\b"
)
_SPOKEN_OF: Final = re.compile(
    r"must|is |are |name|needs|unknown|give|write|holds?\b|stands?\b|lists?\b|belong|version|has "
)


def issues_of(path: Path, text: str) -> tuple[ConfigIssue, ...]:
    """What is wrong with *text*."""
    path.write_text(text, encoding="utf-8")
    try:
        load_config(path, {}, ProviderTypes(TYPES.get, lambda: TYPES))
    except ConfigError as error:
        return error.issues
    return ()


def complaint(issue: ConfigIssue, place: FieldPlace, column: int, *, alone: bool) -> str | None:
    """What a reader would miss in *issue*."""
    around = place.path.startswith(issue.path) or issue.path.startswith(place.path)
    if not around:
        return "speaks of another field"
    if (issue.line, bool(issue.file)) != (1, True) or issue.column is None:
        return "does not say where"
    key = column - len(f'"{place.path.rpartition(".")[2]}": ')
    if alone and issue.path == place.path and issue.column not in {column, key} and "add `type" not in issue.message:
        return f"points at column {issue.column}, and the value begins in {column}"
    if _OF_LIBRARIES.search(issue.message):
        return "speaks the language of a library"
    if not _SPOKEN_OF.search(issue.message):
        return "does not say what is wrong"
    if not issue.suggestion and " such as " not in issue.message and "must be" not in issue.message:
        return "does not say what to do"
    return None


@pytest.mark.parametrize("value", VALUES)
def test_a_wrong_value_in_any_field_is_located_named_and_answered_with_what_is_allowed(
    tmp_path: Path, value: str
) -> None:
    """Every field of every model, with one kind of value that is wrong in most of them."""
    path, poor, refused = tmp_path / "llm.yaml", [], 0
    for place in PLACES:
        text, column = place.text(VALUES[value])
        issues = issues_of(path, text)
        refused += bool(issues)
        for issue in issues:
            told = complaint(issue, place, column, alone=len(issues) == 1)
            if told is not None:
                poor.append(f"{place.path}: {told}: {issue.path}: {issue.message} ({issue.suggestion})")
        if len(issues) > 4:
            poor.append(f"{place.path}: {len(issues)} messages for one value: {issues}")
    assert not poor, "\n".join(poor)
    assert refused or value == "nothing"


def test_every_field_of_the_models_is_looked_at() -> None:
    """The walk finds what is nested in lists, mappings and providers."""
    paths = {place.path for place in PLACES}
    assert len(paths) > 250
    wanted = {
        "timeout",
        "costs.limits.p_daily",
        "costs.limits[0].scope.user",
        "models.m.use[0].weight",
        "models.m.hedge.after",
        "models.m.fallback_on.context_length[0]",
        "providers.x.api_keys[0].weight",
        "providers.x.models.m.price.input",
        "providers.x.keep_alive",
        "providers.x.entra_id.client_secret",
    }
    assert wanted <= paths


SHORT: Final = {
    "a duration": "30s",
    "a size": "1GiB",
    "a fraction of a second": "0.5",
    "a name": "p/m",
    "names": '["p/m"]',
    "a policy": "restart",
    "a reference": '{"env": "X"}',
    "a variable": '"${X:-5}"',
    "a variable of a duration": '"${X:-5m}"',
}
"""What stands for more than it says in many fields."""


@pytest.mark.parametrize("value", [*VALUES, *SHORT])
def test_an_editor_underlines_nothing_that_loads(tmp_path: Path, value: str) -> None:
    """The schema knows every short form that a validator takes, and that a variable may stand in any field."""
    if value in {"no number", "infinity", "zero"}:
        return  # JSON has no word for the two; and 0 for false is read, but nothing to suggest
    path = tmp_path / "llm.yaml"
    refused = []
    for place in PLACES:
        text, _ = place.text({**VALUES, **SHORT}[value])
        if place.path != "providers.x.prompt_cache.at[0]" and not issues_of(path, text):
            refused += [] if SCHEMA.is_valid(yaml.safe_load(text)) else [place.path]
    assert refused == []


@pytest.mark.parametrize("value", ["true", "no number", "infinity", "a wrong unit", "a list", "a mapping"])
def test_a_number_is_nothing_but_a_number(tmp_path: Path, value: str) -> None:
    """`max_retries: true` is no 1, and a limit of nan or infinity is none."""
    path = tmp_path / "llm.yaml"
    numbers = [place for place in PLACES if issues_of(path, place.text('"x"')[0]) and _is_number(place, path)]
    assert len(numbers) > 60
    accepted = [place.path for place in numbers if not issues_of(path, place.text(VALUES[value])[0])]
    assert accepted == []


def _is_number(place: FieldPlace, path: Path) -> bool:
    messages = [issue.message for issue in issues_of(path, place.text("[[]]")[0]) if issue.path == place.path]
    return any(
        re.match(r"must be (?:a whole number|a number|a duration|a size)(?!.* or a list| or a mapping).* not ", one)
        for one in messages
    )


@pytest.mark.parametrize("value", ["a huge number", "a huge whole number"])
def test_no_number_is_without_bounds(tmp_path: Path, value: str) -> None:
    """A slip of the hand that would be carried into money, memory or time is refused."""
    path = tmp_path / "llm.yaml"
    # What only a server makes something of, and the index of a message.
    free = {"extra", "quirks", "options", "engine", "defaults", "keep_alive", "at[0]"}
    accepted = [
        place.path
        for place in PLACES
        if not free & set(place.path.split(".")) and not issues_of(path, place.text(VALUES[value])[0])
    ]
    assert accepted == []
