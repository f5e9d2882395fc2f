"""Waits that grow with each failure."""

import pytest

from core.llm.common.waits import doubled


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        pytest.param(0, 5.0, id="the first as it is"),
        pytest.param(1, 10.0, id="then twice as long"),
        pytest.param(3, 30.0, id="never longer than said"),
        pytest.param(1_000_000, 30.0, id="also after more failures than a float has room for"),
    ],
)
def test_a_wait_doubles_until_it_is_long_enough(times: int, expected: float) -> None:
    """Each failure makes the next try a little later, for as long as it fails."""
    assert doubled(5.0, times, 30.0) == expected
