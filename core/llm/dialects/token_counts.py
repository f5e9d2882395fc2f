"""Numbers of tokens as providers report them, before anybody believes them."""

from typing import Final

from core.llm.common.types import CallWarning

_ABSURD: Final = 10**9


def token_count(value: object) -> int:
    """*value* as a number of tokens; 0 where it is missing, -1 where it is none."""
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _ABSURD:
        return -1
    return int(value) if value == int(value) else -1


def suspect_usage(problem: str) -> CallWarning | None:
    """The warning that the usage has *problem*; `None` where there is none."""
    return CallWarning("suspect_usage", f"the provider reports {problem}", "usage") if problem else None
