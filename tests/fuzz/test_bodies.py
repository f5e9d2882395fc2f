"""Whole answers, lists, vectors and errors that are broken: read, or refused with one typed error; nothing else comes out."""

import os
import random

import pytest

from core.llm.common.exceptions import ProviderError
from tests.fuzz.breaking import broken, misshapen
from tests.matrix.recorded import READERS, Recording, recordings

BODIES = int(os.environ.get("CORE_LLM_FUZZ", "3000")) // 10
SEED = int(os.environ.get("CORE_LLM_FUZZ_SEED", "20261120"))
ELSEWHERE = {"lmstudio.rest", "bedrock.invoke", "ollama.embed", "ollama.generate"}
"""Read by readers of the tests, not of the library, or only in part; they have tests of their own."""
BIG = 40_000
"""Larger bodies say nothing new, and take their time."""


def _whole(wire: str) -> list[Recording]:
    return [
        one for one in recordings() if one.wire == wire and not one.is_stream and len(one.body) < BIG and one.expected
    ]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("wire", sorted(wire for wire in READERS if wire not in ELSEWHERE))
def test_a_broken_body_is_read_or_refused(wire):
    """Also the bodies of errors, whatever they say in place of one."""
    rng, known = random.Random(f"{SEED} {wire}"), _whole(wire)
    for number in range(BODIES if known else 0):
        recording = rng.choice(known)
        body, recording.body = recording.body, (broken if rng.random() < 0.4 else misshapen)(recording.body, rng)
        try:
            if recording.status >= 300:
                recording.error()
            else:
                READERS[wire](recording)
        except ProviderError:
            pass
        except Exception as raised:
            pytest.fail(f"body {number} of seed {SEED} ({recording.id}): {raised!r}\n{recording.body[:3000]!r}")
        finally:
            recording.body = body
