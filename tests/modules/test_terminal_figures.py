"""Figures, tables and progress as they are read."""

from decimal import Decimal

import pytest

from core.llm import Price, Progress
from modules.terminal.figures import price, size, span, tokens
from modules.terminal.meter import Meter
from modules.terminal.table import columns


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_960, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (4_661_211_808, "4.7 GB"),
        (2e15, "2000 TB"),
    ],
)
def test_sizes(number, text):
    """Two digits at least, three at most."""
    assert size(number) == text


def test_times_counts_and_prices():
    """As people say them."""
    assert [span(n) for n in (0.4, 59.4, 68, 7500, 90_000)] == ["0 s", "59 s", "1 m 08 s", "2 h 05 m", "1 d 01 h"]
    assert [tokens(n) for n in (512, 4096, 128_000, 1_048_576, 2_000_000)] == ["512", "4k", "128k", "1M", "2M"]
    assert price(Price(Decimal("0.10"), Decimal(5))) == "0.1 / 5"
    assert price(Price(Decimal(0), Decimal(0))) == "free"


def test_a_table_leaves_empty_columns_out_and_cuts_names_first():
    """So that what is known fits into the width."""
    rows = [("a-very-long-name-of-a-model", "loaded", "", "4.7 GB"), ("b", "off", "", "")]
    assert columns(("MODEL", "STATE", "IDLE", "MEMORY"), rows, width=32, right=("MEMORY",)) == [
        "MODEL             STATE   MEMORY",
        "a-very-long-nam…  loaded  4.7 GB",
        "b                 off",
    ]


def test_the_rate_follows_what_happens_and_ends_as_stalled():
    """The last ten seconds count, not the average since the beginning."""
    meter = Meter("pull", "ollama/x", 0.0)
    for second in range(20):
        meter.tell(Progress("", second * 1e6, 1e8), float(second))
    assert "1.0 MB/s" in meter.line(19.0)
    for second in range(20, 40):
        meter.tell(Progress("", 19e6 + (second - 19) * 3e6, 1e8), float(second))
    assert "3.0 MB/s, 7 s left" in meter.line(39.0)
    for second in range(40, 60):
        meter.tell(Progress("", 79e6, 1e8), float(second))
    assert "stalled" in meter.line(59.0)


@pytest.mark.parametrize("width", [20, 30, 50, 79, 200])
def test_a_line_never_exceeds_the_width(width):
    """What there is no room for is left out: the time left, the rate, the bar."""
    meter = Meter("pull", "ollama/a-model-with-a-long-name:7b-instruct", 0.0)
    for second in range(3):
        meter.tell(Progress("", second * 1e8, 5e9), float(second))
    assert len(meter.line(2.0, width)) <= width


def test_a_load_counts_steps_and_seconds():
    """And says what the server says where it counts nothing."""
    meter = Meter("load", "local/tiny", 10.0)
    assert meter.line(13.0) == "loading local/tiny: 3 s"
    meter.tell(Progress("warming up"), 14.0)
    assert meter.line(14.0) == "loading local/tiny: 4 s, warming up"
    meter.tell(Progress("", 3, 12), 15.0)
    assert meter.line(15.0) == "loading local/tiny: 25%, 3 of 12"
