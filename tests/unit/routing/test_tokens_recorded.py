"""The stated bounds against what real providers have counted."""

from collections import defaultdict

from core.llm.routing.token_calibration import TokenCalibration
from core.llm.routing.tokens import estimate_request
from tests.unit.routing.recorded_counts import RecordedCount, recorded_counts

COUNTS = list(recorded_counts())


def test_the_bound_of_an_estimate_holds_for_nineteen_of_twenty_recorded_prompts() -> None:
    """What is outside came with instructions of several hundred tokens that were not in the request."""
    assert len(COUNTS) > 100
    held = 0
    for one in COUNTS:
        found = estimate_request(one.request)
        held += found.low <= one.tokens <= found.high
        assert found.low <= one.tokens, one.id
    assert held >= 0.95 * len(COUNTS)


def test_three_reported_counts_narrow_the_bound_and_it_still_holds() -> None:
    """Each recorded prompt of a model is judged by the others of the same model."""
    models: dict[tuple[str, str], list[RecordedCount]] = defaultdict(list)
    for one in COUNTS:
        models[one.provider, one.model].append(one)
    judged = held = narrower = 0
    for group in models.values():
        if len(group) <= TokenCalibration.NEEDED:
            continue
        for left_out in group:
            calibration = TokenCalibration()
            for one in group:
                if one is not left_out:
                    calibration.learn("m", one.request, one.tokens)
            found, plain = calibration.estimate("m", left_out.request), estimate_request(left_out.request)
            assert found is not None
            judged += 1
            held += found.low <= left_out.tokens <= found.high
            narrower += found.high - found.low < plain.high - plain.low
    assert judged >= 20
    assert held >= 0.95 * judged
    assert narrower >= 0.95 * judged
