"""The table of faults has no holes: each row from F1 to F86, and of F87 to F97 those that are
simulated here, has a test, or a reason for having none.
"""

import re
from pathlib import Path

ROWS = {*range(1, 87), 89, 90, 91, 92, 96, 98, 117, 134}
"""The others of F87 to F165 lie with what they are about; `tests/architecture/test_rows.py` holds them."""

NOT_HERE = {}


def rows_with_a_test() -> set[int]:
    """Numbers in the names of the tests beside this file."""
    found: set[int] = set()
    for file in Path(__file__).parent.glob("test_*.py"):
        for name in re.findall(r"def (test_f\d+\w*)", file.read_text()):
            found.update(int(number) for number in re.findall(r"(?<=_)f(\d+)(?=_|$)", name))
    return found


def test_every_row_is_accounted_for():
    """A row that loses its test is noticed, and so is a reason that no longer holds."""
    tested = rows_with_a_test()
    assert sorted(tested & NOT_HERE.keys()) == []
    assert sorted(ROWS - tested - NOT_HERE.keys()) == []
    assert sorted(tested - ROWS) == []
