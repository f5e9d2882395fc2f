"""How long a model usually needs until its first output."""

import pytest

from core.llm.routing.fit_time import FirstOutputs


def learnt(*seconds: float, at: float = 0.0) -> FirstOutputs:
    """What is known after streams that began after *seconds*."""
    known = FirstOutputs()
    for one in seconds:
        known.learn("m", one, at)
    return known


@pytest.mark.parametrize(
    ("seconds", "typical"), [((), None), ((1, 2, 3), None), ((1, 2, 3, 100), 3), ((5, 1, 2, 3, 4), 3)]
)
def test_a_few_streams_tell_what_is_usual_and_one_slow_one_does_not(
    seconds: tuple[float, ...], typical: float | None
) -> None:
    """It is the median that counts."""
    assert learnt(*seconds).typical("m", 0.0) == typical


def test_what_was_learnt_long_ago_keeps_nobody_out() -> None:
    """A model that was slow would otherwise never be asked again by a call with little time."""
    known = learnt(9, 9, 9, 9)
    assert known.typical("m", 60.0) == 9
    assert known.typical("m", 60.1) is None


def test_only_recent_streams_count() -> None:
    """A model that has become fast is fast."""
    known = learnt(*[9.0] * 16)
    for _ in range(9):
        known.learn("m", 0.1, 1.0)
    assert known.typical("m", 1.0) == 0.1


def test_S63_names_of_models_do_not_pile_up() -> None:
    """The one that was learnt first is forgotten first."""
    known = FirstOutputs()
    for number in range(FirstOutputs.MODELS + 1):
        for _ in range(4):
            known.learn(f"m{number}", 1.0, 0.0)
    assert known.typical("m0", 0.0) is None
    assert known.typical("m1", 0.0) == 1.0
