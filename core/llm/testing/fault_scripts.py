"""A fault on the wire: its steps in a dialect, as a script of a `WireServer`."""

from dataclasses import dataclass, field

from core.llm.testing.fault_dialects import WireDialect, WireFrames
from core.llm.testing.fault_plan import (
    Close,
    Exactly,
    Fault,
    Finish,
    Garble,
    Page,
    Refuse,
    Say,
    StopShort,
    Unmarked,
    Wait,
    steps_of,
)
from core.llm.testing.wire_dialects import pieces_of
from core.llm.testing.wire_steps import End, Fin, Head, Rst, Send, Stall, Step, WireScript, answer

_PAGE = b"<!doctype html><html><body>Sign in to the guest network</body></html>"


@dataclass(slots=True)
class _Streamed:
    """Writes a stream piece by piece."""

    dialect: WireDialect
    frames: WireFrames
    gap: float
    steps: list[Step] = field(default_factory=list)
    said: int = 0

    def say(self, words: int | None) -> None:
        """The next pieces, after what opens the stream."""
        self._begin()
        end = len(self.frames.pieces) if words is None else self.said + words
        self.steps += [Send(piece, gap=self.gap) for piece in self.frames.pieces[self.said : end]]
        self.said = min(end, len(self.frames.pieces))

    def finish(self) -> None:
        """All that is left."""
        self.say(None)
        self.steps += [*(Send(frame) for frame in self.frames.closing), End()]

    def unmark(self) -> None:
        """All that is left but the marker; or all, and nobody hangs up."""
        self.say(None)
        closing = self.frames.closing[:-1] if self.dialect.marked else self.frames.closing
        self.steps += [*(Send(frame) for frame in closing), End() if self.dialect.marked else Stall()]

    def garble(self) -> None:
        self._begin()
        self.steps.append(Send(self.dialect.garbage))

    def stop(self) -> None:
        self._begin()
        self.steps.append(End())

    def _begin(self) -> None:
        if not any(isinstance(step, Head) for step in self.steps):
            self.steps.append(Head(200, {"Content-Type": self.dialect.content_type}, "chunked"))
            self.steps += [Send(frame) for frame in self.frames.opening]


@dataclass(slots=True)
class _Whole:
    """Writes a whole answer in shares of its body."""

    body: bytes
    words: int
    steps: list[Step] = field(default_factory=list)
    sent: int = 0

    def say(self, words: int | None) -> None:
        """The share of the body that so many words are of the text; never its last byte."""
        self._begin()
        share = len(self.body) - 1 if words is None else len(self.body) * words // max(1, self.words)
        end = min(max(self.sent + share, 1), len(self.body) - 1)
        self.steps.append(Send(self.body[self.sent : end]))
        self.sent = end

    def finish(self) -> None:
        """All that is left."""
        self._begin()
        self.steps += [Send(self.body[self.sent :]), End()]

    def unmark(self) -> None:
        self.finish()

    def garble(self) -> None:
        self._begin()
        size = min(8, len(self.body) - self.sent)
        self.steps.append(Send(b"\xff" * size))
        self.sent += size

    def stop(self) -> None:
        # A body that ends in order although it is not whole: the server says a length that is too short.
        self._begin()
        heads = [at for at, step in enumerate(self.steps) if isinstance(step, Head)]
        self.steps[heads[-1]] = Head(200, {"Content-Type": "application/json"}, "length", self.sent)
        self.steps.append(End())

    def _begin(self) -> None:
        if not any(isinstance(step, Head) for step in self.steps):
            self.steps.append(Head(200, {"Content-Type": "application/json"}, "length", len(self.body)))


def wire_script(
    fault: Fault | None, dialect: WireDialect, *, text: str, model: str, stream: bool, gap: float = 0.0
) -> WireScript:
    """What a server does to a request that *fault* befalls; `None`: it answers *text*.

    A stream pauses *gap* seconds after each piece.
    """
    writer: _Streamed | _Whole
    if stream:
        writer = _Streamed(dialect, dialect.frames(text, model), gap)
    else:
        writer = _Whole(dialect.whole(text, model), len(pieces_of(text)))
    for step in steps_of(fault):
        match step:
            case Refuse():
                refusal = dialect.refuse(step)
                if refusal.status == 200 and stream:
                    script = answer(b"data: " + refusal.body + b"\r\n\r\n", 200, {"Content-Type": dialect.content_type})
                else:
                    script = answer(refusal.body, refusal.status, refusal.headers)
                writer.steps += script.steps
            case Page():
                writer.steps += answer(_PAGE, 200, {"Content-Type": "text/html"}).steps
            case Exactly(script):
                writer.steps += script.steps
            case Wait(seconds):
                writer.steps.append(Stall(seconds))
            case Say(words):
                writer.say(words)
            case Garble():
                writer.garble()
            case StopShort():
                writer.stop()
            case Close(reset):
                writer.steps.append(Rst() if reset else Fin())
            case Finish():
                writer.finish()
            case Unmarked():
                writer.unmark()
    return WireScript(tuple(writer.steps))
