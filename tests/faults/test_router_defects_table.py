"""Every known defect of routers in wide use has a regression test that carries its number, or lies elsewhere."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]

DEFECTS = {
    *(40130, 27362, 3646, 7669, 34129, 25285),  # cool-downs and retries
    *(13245, 14457, 30630, 33736, 36008, 37558, 39893),  # streams that are not in the books
    *(26672, 34732, 36926, 40095),  # budgets overrun or false alarms
    *(35273, 24181, 40620),  # a store that is gone stops every request
    *(19077, 18229, 32835),  # doubled text, ignored settings
    *(6963, 8075, 15799, 24902, 5762),  # keys in logs
    *("CVE-2024-6587", "CVE-2026-42203", "CVE-2026-42208", "CVE-2026-47101"),
}
ELSEWHERE = {
    35273: "unit/state/test_sqlite.py::test_a_disk_that_takes_nothing_holds_no_call_up",
    24181: "unit/state/test_sqlite.py::test_another_process_that_holds_the_lock_delays_rows_and_nothing_else",
    40620: "unit/state/test_sqlite_hostile.py::test_f157_a_disk_that_is_full_refuses_what_budgets_cover_and_loses_nothing",
    "CVE-2026-42203": "security/test_local_files.py::test_s39_a_template_reaches_no_python",
    "CVE-2026-42208": "unit/state/test_sqlite_hostile.py::test_what_a_caller_writes_is_never_read_as_sql",
}
"""Stores that are gone are tested beside the store that there is, a file; chat templates where they are rendered."""
NOT_OURS = {"CVE-2026-47101": "keys with scopes are handed out by a proxy, not by a library"}


def numbers_with_a_test() -> set[int | str]:
    """Numbers in the ids of the tests beside this file."""
    texts = [
        file.read_text() for file in Path(__file__).parent.glob("test_router_defects*.py") if file != Path(__file__)
    ]
    found: set[int | str] = {
        int(number) for text in texts for number in re.findall(r"(?<![\d-])\d{4,5}(?!\d)|(?<=-)\d{5}", text)
    }
    return found | {name for text in texts for name in re.findall(r"CVE-\d+-\d+", text)}


def is_there(place: str) -> bool:
    """Whether the test that *place* names exists."""
    file, _, name = place.partition("::")
    return f"def {name}(" in (TESTS / file).read_text()


def test_every_defect_is_accounted_for():
    """A defect that loses its test is noticed."""
    here = numbers_with_a_test()
    assert sorted(map(str, DEFECTS - here - ELSEWHERE.keys() - NOT_OURS.keys())) == []
    assert sorted(map(str, here & (ELSEWHERE.keys() | NOT_OURS.keys()))) == []
    assert [place for place in ELSEWHERE.values() if not is_there(place)] == []
