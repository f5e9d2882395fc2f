"""The tables of situations have no holes: each row has a test that carries its number, or a reason for having none.

CONTRIBUTING.md says what the prefixes mean. The rows F1 to F86 are held by `tests/faults/test_table.py`.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]

ROWS: dict[str, range] = {
    "LC": range(1, 20),  # the container's life cycle
    "CF": range(1, 12),  # configuration files
    "HR": range(1, 19),  # hot reload
    "WK": range(1, 9),  # worker processes
    "ML": range(1, 23),  # local models in memory
    "F": range(106, 124),  # faults of the configuration
    "G": range(13, 15),  # goals: recovery of broken streams, guards of their pace
    "S": range(46, 50),  # security of worker processes
}
ALSO = {*(f"F{number}" for number in (*range(88, 98), *range(99, 102), *range(124, 127), 133, 134, 135, 136)), "F130", "F131", *(f"F{number}" for number in range(137, 150)), "S16", "S17", "S32", "S42", "S43"}
ALSO |= {"F87", "F89", "F90", "F91", "F104", "F132"}  # load, storms and crashes
ALSO |= {"F98", "F102", "F103", "G22", "G23", "G32", "S63", "S66", "S69", "S70"}  # hedging, cache, guardrails
ALSO |= {"F104", "F105", "G4", "G5", "G7", "G15", "G35", "G36", "S64", "S65", "S67", "S68"}  # fallback, fit, limits of a request
"""Single rows of tables that are not whole yet."""

NOT_HERE: dict[str, str] = {"S70": "answers are kept in memory only: there are no cache files and nothing is shared"}
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
    wanted = {f"{family}{number}" for family, numbers in ROWS.items() for number in numbers} | ALSO
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
