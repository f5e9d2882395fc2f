"""The tables of situations have no holes: each row has a test that carries its number, or a reason for having none.

CONTRIBUTING.md says what the prefixes mean. The rows F1 to F86 are held by `tests/faults/test_table.py`.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]

ROWS: dict[str, tuple[range, ...]] = {
    "LC": (range(1, 20),),  # the container's life cycle
    "CF": (range(1, 12),),  # configuration files
    "HR": (range(1, 19),),  # hot reload
    "WK": (range(1, 9),),  # worker processes
    "ML": (range(1, 23),),  # local models in memory
    # Faults of connections, answers, streams, load, configuration, life cycle, local models, budgets.
    "F": (range(1, 150), range(154, 157), range(161, 163)),
    "S": (range(1, 50), range(63, 71)),  # secrets, requests, files, workers, abuse of resources
    "G": (range(4, 6), range(7, 8), range(13, 16), range(22, 24), range(32, 33), range(35, 37)),  # goals of routing
}

NOT_HERE: dict[str, str] = {
    "S70": "answers are kept in memory only: there are no cache files and nothing is shared",
}
"""Rows that need no test, each with the reason."""

_ROW = re.compile(r"(?<![A-Za-z0-9])(LC|CF|HR|WK|ML|F|G|S)[-_]?0*(\d+)(?![0-9])")


def names_and_docstrings(file: Path) -> Iterator[str]:
    """Name and docstring of each test."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield f"{node.name.upper()} {ast.get_docstring(node) or ''}"


def rows_with_a_test() -> set[str]:
    """Every row that some test names."""
    texts = (text for file in TESTS.rglob("test_*.py") for text in names_and_docstrings(file))
    return {f"{family}{number}" for text in texts for family, number in _ROW.findall(text)}


def test_every_row_has_a_test_or_a_reason() -> None:
    """A row that loses its last test is noticed, and so is a reason that no longer holds."""
    wanted = {f"{family}{number}" for family, ranges in ROWS.items() for numbers in ranges for number in numbers}
    found = rows_with_a_test()
    assert sorted(wanted - found - NOT_HERE.keys()) == []
    assert sorted(found & NOT_HERE.keys()) == []
    assert sorted(NOT_HERE.keys() - wanted) == []


def test_only_names_and_docstrings_of_tests_count(tmp_path: Path) -> None:
    """A comment or a helper that mentions a row does not test it."""
    file = tmp_path / "test_it.py"
    file.write_text('# LC-01\ndef help_f106(): "LC-02"\nasync def test_hr_03_x_F107(): "LC-04 too"\n')
    found = {f"{family}{number}" for text in names_and_docstrings(file) for family, number in _ROW.findall(text)}
    assert found == {"HR3", "F107", "LC4"}
