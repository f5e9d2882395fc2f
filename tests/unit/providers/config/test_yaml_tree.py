"""YAML is read with its places, and its traps are refused."""

import time
from typing import Any

import pytest

from core.llm.common.exceptions import ConfigIssue
from core.llm.providers.config.tree import Node, find, plain
from core.llm.providers.config.yaml_tree import MAX_ALIASED_NODES, parse_yaml


def parse(text: str) -> tuple[Node | None, list[ConfigIssue]]:
    """The tree of *text* and what is wrong with it."""
    issues: list[ConfigIssue] = []
    return parse_yaml(text, "llm.yaml", issues), issues


def value_of(text: str) -> Any:
    """The plain value of *text*, which must be fine."""
    tree, issues = parse(text)
    assert issues == []
    assert tree is not None
    return plain(tree)


def test_cf_01_every_key_and_value_knows_its_place() -> None:
    """CF-01: line and column, counted from one."""
    tree, _ = parse("a:\n  b: [1, two]\n  'c': |\n    text\n")
    assert tree is not None
    second = find(tree, ("a", "b", 1))
    block = find(tree, ("a", "c"))
    assert second is not None
    assert (second.value, second.at.line, second.at.column) == ("two", 2, 10)
    assert block is not None
    assert (block.value, block.key_origin.line, block.key_origin.column) == ("text\n", 3, 3)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("-7", -7), ("1_000", 1000), ("0x1F", 31), ("0", 0), ("1.5", 1.5), ("-.5", -0.5), ("1e3", 1000.0),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("hello", "hello"), ("1.2.3", "1.2.3"),
        ("5m", "5m"), ("1h30m", "1h30m"), ("gpt-4.1", "gpt-4.1"), ("y", "y"), ("=", "="), ("'no'", "no"), ('"1"', "1"),
        ("http://localhost:11434", "http://localhost:11434"), ("qwen3:8b", "qwen3:8b"), ("!!str 12", "12"), (".inf", float("inf")),
    ],
)  # fmt: skip
def test_cf_04_plain_scalars_mean_what_they_look_like(text: str, value: object) -> None:
    """CF-04: the types of YAML without those of YAML 1.1 that nobody meant."""
    assert value_of(f"key: {text}\n") == {"key": value}


@pytest.mark.parametrize("text", ["no", "Yes", "ON", "off", "012", "0o17", "1:30", "12:30:00", "2026-01-02", "9" * 500])
def test_f110_ambiguous_scalars_are_refused(text: str) -> None:
    """F110, M15: quote it."""
    _, issues = parse(f"key: {text}\n")
    assert [(issue.path, issue.line, issue.column) for issue in issues] == [("key", 1, 6)]
    assert "quote this value" in (issues[0].suggestion or "")


def test_cf_03_merges_override_and_are_no_duplicates() -> None:
    """CF-03: duplicates are looked for before merges are applied."""
    text = "base: &base {a: 1, b: 2}\nmore: &more {b: 3, c: 4}\nuse:\n  <<: [*base, *more]\n  a: 9\n"
    assert value_of(text)["use"] == {"a": 9, "b": 2, "c": 4}


def test_aliases_are_copies_that_substitution_may_change() -> None:
    """What happens to one place must not happen to the other."""
    tree, _ = parse("a: &x {k: v}\nb: *x\n")
    assert tree is not None
    assert find(tree, ("a", "k")) is not find(tree, ("b", "k"))


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)
MERGE_BOMB = "a: &a {k0: 1}\n" + "".join(
    f"m{i}: &m{i}\n  <<: [{', '.join(['*a' if i == 0 else f'*m{i - 1}'] * 9)}]\n  k{i}: 1\n" for i in range(12)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, f"more than {MAX_ALIASED_NODES} values"),
        ("a: " + "[" * 60 + "]" * 60, "deeper than 50"),
        ("a: " + "[" * 200_000, "deeper than 50"),
        ("a: &a [*a]\n", "inside what it refers to"),
        ("a: &a {b: {<<: *a}}\n", "inside what it refers to"),
        ("".join(f"{'  ' * i}k:\n" for i in range(60)), "deeper than 50"),
    ],
)
def test_f109_bombs_are_refused_at_once(text: str, said: str) -> None:
    """F109, S33, M15."""
    began = time.process_time()
    tree, issues = parse(text)
    assert tree is None
    assert said in issues[-1].message
    assert time.process_time() - began < 5.0


def test_f109_merges_of_merges_do_not_multiply() -> None:
    """M15: under a kilobyte that took another reader eight seconds."""
    began = time.process_time()
    tree, issues = parse(MERGE_BOMB)
    assert time.process_time() - began < 2.0
    assert issues == []
    assert tree is not None
    assert set(plain(tree)["m11"]) == {f"k{i}" for i in range(12)}


@pytest.mark.parametrize(
    "text",
    [
        "api_key: *sk-canary-0123456789abcdef\n",
        "api_key: !sk-canary-0123456789abcdef x\n",
        'api_key: "sk-canary-0123456789abcdef\n',
        "sk-canary-0123456789abcdef: x\nsk-canary-0123456789abcdef: y\n",
        "{sk-canary-0123456789abcdef: {sk-canary-0123456789abcdef: 1}: 2\n",
        "%sk-canary-0123456789abcdef\n---\n",
        "api_key: |sk-canary-0123456789abcdef\n",
        'api_key: "\\sk-canary-0123456789abcdef"\n',
    ],
)
def test_f107_what_is_wrong_never_repeats_a_value(text: str) -> None:
    """F107, S2: also where the scanner itself would quote it."""
    _, issues = parse(text)
    assert issues
    assert "canary" not in "".join(map(repr, issues))


def test_f108_a_duplicate_key_is_named_with_both_places() -> None:
    """F108."""
    _, issues = parse("a: 1\nb: {c: 1, c: 2}\na: 3\n")
    assert [(issue.path, issue.line, issue.column) for issue in issues] == [("b.c", 2, 11), ("a", 3, 1)]
    assert "first written in line 1" in issues[1].message
