"""Estimates that learn from what providers report."""

from hypothesis import given
from hypothesis import strategies as st

from core.llm.common.messages import ImagePart, Message, TextPart
from core.llm.providers.base.request import LLMRequest
from core.llm.routing.token_calibration import TokenCalibration
from core.llm.routing.tokens import estimate_request


def prompt(words: int) -> LLMRequest:
    """A prompt of so many words."""
    return LLMRequest(messages="some words " * words)


@given(
    st.floats(0.6, 2.0),
    st.integers(0, 2000),
    st.lists(st.integers(5, 2000), min_size=3, max_size=32, unique=True),
    st.data(),
)
def test_a_factor_and_a_constant_are_found(factor: float, constant: int, sizes: list[int], data: st.DataObject) -> None:
    """A prompt of a size that was seen lately lies in the bound, whatever the model adds and multiplies."""
    calibration = TokenCalibration()
    for size in sizes:
        request = prompt(size)
        calibration.learn("m", request, round(constant + factor * estimate_request(request).tokens))
    asked = prompt(data.draw(st.sampled_from(sizes[-10:])))
    found = calibration.estimate("m", asked)
    assert found is not None
    assert found.low <= found.tokens <= found.high
    assert found.low <= constant + factor * estimate_request(asked).tokens <= found.high


def test_two_counts_teach_nothing_yet() -> None:
    """A deviation needs more than that."""
    calibration = TokenCalibration()
    for _ in range(TokenCalibration.NEEDED - 1):
        calibration.learn("m", prompt(10), 30)
    assert calibration.estimate("m", prompt(10)) is None
    calibration.learn("m", prompt(10), 30)
    found = calibration.estimate("m", prompt(10))
    assert found is not None
    assert found.tokens == 30


def test_the_bound_widens_away_from_what_has_been_seen() -> None:
    """One size of prompt says little about another."""
    calibration = TokenCalibration()
    for _ in range(5):
        calibration.learn("m", prompt(10), 130)
    near, far = calibration.estimate("m", prompt(10)), calibration.estimate("m", prompt(1000))
    assert near is not None
    assert far is not None
    assert far.high - far.low > 10 * (near.high - near.low)


def test_a_tokenizer_that_changes_is_followed() -> None:
    """What was long ago counts for less and less."""
    calibration = TokenCalibration()
    for _ in range(30):
        calibration.learn("m", prompt(50), 100)
    for _ in range(400):
        calibration.learn("m", prompt(50), 200)
    found = calibration.estimate("m", prompt(50))
    assert found is not None
    assert abs(found.tokens - 200) <= 4


def test_prompts_with_pictures_teach_nothing_and_are_not_calibrated() -> None:
    """They are charged by rules of their own."""
    calibration = TokenCalibration()
    picture = LLMRequest(messages=[Message("user", (TextPart("look"), ImagePart(url="u")))])
    for _ in range(5):
        calibration.learn("m", picture, 5000)
    assert calibration.estimate("m", prompt(3)) is None
    for _ in range(3):
        calibration.learn("m", prompt(3), 10)
    assert calibration.estimate("m", picture) is None


def test_only_so_many_models_are_remembered() -> None:
    """A gateway in front of thousands of models does not fill the memory; the one in use is kept."""
    calibration = TokenCalibration()
    for _ in range(3):
        calibration.learn("used", prompt(3), 10)
    for number in range(2 * TokenCalibration.MODELS):
        for _ in range(3):
            calibration.learn(f"m{number}", prompt(3), 10)
        calibration.learn("used", prompt(3), 10)
    assert calibration.estimate("used", prompt(3)) is not None
    assert calibration.estimate("m0", prompt(3)) is None
    assert calibration.estimate(f"m{2 * TokenCalibration.MODELS - 1}", prompt(3)) is not None
