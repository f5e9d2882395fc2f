"""Recorded streams cut into frames: what the fuzzer starts from."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from core.llm.dialects.aws_event_stream import EventStreamSplitter
from core.llm.testing.bedrock_frames import encode_frame
from tests.fuzz.breaking import damaged
from tests.matrix.recorded import Recording, recordings


@dataclass
class Stream:
    """One recorded stream; each frame with the JSON in it, and how such JSON is framed."""

    recording: Recording
    frames: list[tuple[bytes, bytes, Callable[[bytes], bytes]]] = field(default_factory=list)

    def broken(self, rng: random.Random) -> tuple[int, bytes]:
        """Some of its frames, damaged, in a row; how many, and their bytes."""
        count = min(len(self.frames), rng.randint(1, 8))
        begin = rng.choice((0, 0, rng.randrange(len(self.frames))))
        chosen = self.frames[begin : begin + count]
        if rng.random() < 0.3:
            chosen = [*chosen, self.frames[-1]]
        if rng.random() < 0.1:
            rng.shuffle(chosen)
        return len(chosen), b"".join(damaged(*frame, rng) for frame in chosen)


@cache
def streams(framing: str) -> Sequence[Stream]:
    """Every recorded stream in that framing: `sse`, `ndjson` or `aws`."""
    found = []
    for recording in recordings():
        if recording.is_stream and recording.status == 200 and _framing(recording) == framing:
            stream = Stream(recording, list(_CUT[framing](recording.body)))
            if stream.frames:
                found.append(stream)
    return found


def _framing(recording: Recording) -> str | None:
    match recording.wire:
        case "openai.chat" | "openai.responses" | "anthropic.messages" | "gemini.generate":
            return "sse"
        case "ollama.chat":
            return "ndjson"
        case "bedrock.converse":
            return "aws"
    return None


def _sse(body: bytes) -> Iterator[tuple[bytes, bytes, Callable[[bytes], bytes]]]:
    for block in body.replace(b"\r\n", b"\n").split(b"\n\n"):
        head, mark, data = block.partition(b"data:")
        if mark:

            def wrap(text: bytes, head: bytes = head) -> bytes:
                return head + b"data: " + text + b"\n\n"

            yield block + b"\n\n", data.strip(), wrap


def _ndjson(body: bytes) -> Iterator[tuple[bytes, bytes, Callable[[bytes], bytes]]]:
    for line in body.splitlines(keepends=True):
        yield line, line, lambda text: text + b"\n"


def _aws(body: bytes) -> Iterator[tuple[bytes, bytes, Callable[[bytes], bytes]]]:
    for frame in EventStreamSplitter().feed(body):
        headers: dict[str, Any] = dict(frame.headers)

        def wrap(text: bytes, headers: dict[str, Any] = headers) -> bytes:
            return encode_frame(headers, text)

        yield wrap(frame.payload), frame.payload, wrap


_CUT = {"sse": _sse, "ndjson": _ndjson, "aws": _aws}
