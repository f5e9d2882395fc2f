"""Broken frames end in events or in one typed error; never in anything else, and never late.

A few thousand frames of each framing are broken in every run of the tests, the same ones each time; `make fuzz` breaks
100,000 of each, and `CORE_LLM_FUZZ_SEED` chooses others.
"""

import os
import random
import time

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.dialects.aws_event_stream import EventStreamSplitter
from core.llm.dialects.framing import LineSplitter, SSESplitter
from core.llm.providers.base.response import StreamFinish, StreamStart
from tests.fuzz.breaking import pieces
from tests.fuzz.corpus import streams

FRAMES = int(os.environ.get("CORE_LLM_FUZZ", "3000"))
SEED = int(os.environ.get("CORE_LLM_FUZZ_SEED", "20261120"))
every_framing = pytest.mark.parametrize("framing", ["sse", "ndjson", "aws"])
SLOW = 2.0
"""Seconds for one small stream: far more than it takes, far less than somebody would wait."""


@pytest.mark.timeout(1800)
@every_framing
def test_a_decoder_ends_broken_frames_in_one_way(framing):
    """Events from a start to a finish, or a `ProviderError` whose type the frames account for."""
    for number, data, stream, rng in _cases(framing):
        decoder = stream.recording.dialect.decoder(stream.recording.request(), stream.recording.headers)
        events, error = [], None
        began = time.perf_counter()
        try:
            for piece in pieces(data, rng):
                events += decoder.feed(piece)
                if decoder.done:
                    break
            events += decoder.end()
        except ProviderError as raised:
            error = raised
        except Exception as raised:
            pytest.fail(f"case {number} of seed {SEED} ({stream.recording.id}): {raised!r}\n{data[:2000]!r}")
        assert time.perf_counter() - began < SLOW, f"case {number} of seed {SEED} hangs"
        kinds = [type(event) for event in events]
        place = f"case {number} of seed {SEED} ({stream.recording.id})"
        assert kinds.count(StreamStart) <= 1, place
        assert kinds.count(StreamFinish) <= 1, place
        assert not kinds or kinds[0] is StreamStart, place
        if error is None:
            assert kinds, place
            assert kinds[-1] is StreamFinish, place
        else:
            assert StreamFinish not in kinds, place
            assert error.type == "protocol" or _says_more(data, error), f"{place}: {error!r}"


def _says_more(data: bytes, error: ProviderError) -> bool:
    """Whether the frames themselves speak of a failure or of a refusal, or end for a reason that nobody knows."""
    return "no answer" in error.message or any(
        word in data
        for word in (b"error", b"xception", b"filter", b"failed", b"SAFETY", b"blockReason", b"guardrail", b"refus")
    )


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("framing", "splitter"), [("sse", SSESplitter), ("ndjson", LineSplitter), ("aws", EventStreamSplitter)]
)
def test_a_splitter_refuses_only_what_breaks_the_protocol(framing, splitter):
    """And cuts the same however the bytes arrive."""
    for number, data, _, rng in _cases(framing):
        whole, parts = _split(splitter(), [data]), _split(splitter(), pieces(data, rng))
        assert whole[1][0] == "protocol"
        assert whole == parts, f"case {number} of seed {SEED}\n{data[:2000]!r}"


def _split(splitter, chunks):
    found = []
    try:
        for chunk in chunks:
            found += splitter.feed(chunk)
    except ProviderError as error:
        return found, (error.type, error.code)
    return found, ("protocol", None)


def _cases(framing):
    rng = random.Random(f"{SEED} {framing}")
    known, frames, number = streams(framing), 0, 0
    while frames < FRAMES:
        stream = rng.choice(known)
        count, data = stream.broken(rng)
        yield number, data, stream, rng
        frames, number = frames + count, number + 1
