"""The audit log: who asked which model what and when, in a file that shows when it was tampered with.

By default it holds digests and lengths instead of prompts and answers. Writing is done by a thread of its own; a disk
that is slow or full delays no call.
"""

import asyncio
import hashlib
import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TextIO

from core.llm.common.clock import Clock
from core.llm.common.decisions import RefusalRoutedAround
from core.llm.common.events import (
    CallRecorded,
    ConfigApplied,
    ConfigRejected,
    Event,
    EventBus,
    ModelEvent,
    ProviderStateChanged,
    Subscription,
)
from core.llm.common.log import log
from core.llm.common.secrets import redact
from core.llm.observability.audit_chain import GENESIS, AuditCheck, check, sealed
from core.llm.providers.base.request import LLMRequest
from core.llm.providers.config.models.service import AuditOptions

WAITING: Final = 10_000
"""Records that may wait for the disk; further ones are counted and left out, and the file says how many."""
_ENDING: Final = 5.0
_FINAL_STATES: Final = frozenset({"ready", "unloaded", "failed", "crashed", "done"})


class AuditLog:
    """Writes one line per call, configuration edit and change of a provider or model. Off unless `audit.path` is set.

    A singleton of the container. `audit` takes effect at the next start when it is edited.
    """

    def __init__(self, events: EventBus, options: Callable[[], AuditOptions], clock: Clock) -> None:
        self._events = events
        self._options = options
        self._clock = clock
        self._records: queue.Queue[dict[str, Any] | None] = queue.Queue(WAITING)
        self._left_out = 0
        self._subscription: Subscription | None = None
        self._thread: threading.Thread | None = None
        self._content = False

    async def start(self) -> None:
        """Follow the chain of an existing file to its end, and go on from there."""
        options = self._options()
        if options.path is None:
            return
        self._content = options.content
        key = options.key.get_secret_value().encode() if options.key is not None else None
        path = Path(options.path)
        last = await asyncio.to_thread(_opened, path, key)
        self._thread = threading.Thread(target=self._write, args=(path, key, last), name="core-llm-audit", daemon=True)
        self._thread.start()
        kinds = (CallRecorded, RefusalRoutedAround, ConfigApplied, ConfigRejected, ProviderStateChanged, ModelEvent)
        self._subscription = self._events.subscribe(self._take, *kinds)

    async def stop(self) -> None:
        """Write what is waiting and close the file."""
        if self._subscription is not None:
            self._subscription.close()
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(self._end, thread)

    def _end(self, thread: threading.Thread) -> None:
        last = {"time": self._clock.now().isoformat(), "kind": "end", "left_out_before": self._left_out}
        try:
            if self._left_out:
                self._records.put(last, timeout=_ENDING)
            self._records.put(None, timeout=_ENDING)
        except queue.Full:
            log("ERROR", "the audit log did not take its last {} records", WAITING)
            return
        thread.join(_ENDING)

    def _take(self, event: Event) -> None:
        record = self._record(event)
        if record is None:
            return
        record = {"time": self._clock.now().isoformat(), **record}
        if self._left_out:
            record["left_out_before"] = self._left_out
        try:
            self._records.put_nowait(record)
            self._left_out = 0
        except queue.Full:
            self._left_out += 1
            if self._left_out == 1:
                log("ERROR", "the audit log cannot be written fast enough: records are left out, and counted in it")

    def _record(self, event: Event) -> dict[str, Any] | None:
        match event:
            case CallRecorded():
                return self._call(event)
            case RefusalRoutedAround(call_id, refused_by, to):
                return {"kind": "refusal", "call_id": call_id, "refused_by": str(refused_by), "asked_instead": str(to)}
            case ConfigApplied(generation, changes):
                return {"kind": "config_applied", "generation": generation, "changes": [redact(one) for one in changes]}
            case ConfigRejected(issues, generation):
                return {"kind": "config_rejected", "generation": generation, "issues": [redact(str(i)) for i in issues]}
            case ProviderStateChanged(subject, state, reason):
                return {"kind": "provider", "subject": subject, "state": state, "reason": redact(reason)}
            case ModelEvent(model, kind, state) if state in _FINAL_STATES:
                return {"kind": "model", "model": model, "change": kind, "state": state}
            case _:
                return None

    def _call(self, event: CallRecorded) -> dict[str, Any]:
        request: LLMRequest = event.request
        prompt = "\n".join(f"{message.role}: {message.text}" for message in request.messages)
        attempts = event.trace.attempts
        record: dict[str, Any] = {
            "kind": "call",
            "call_id": event.call_id,
            "user": request.user,
            "asked": event.trace.requested,
            "target": str(event.target) if event.target is not None else None,
            "outcome": event.outcome,
            "error": next((one.error_type for one in reversed(attempts) if one.error_type), None),
            "attempts": len(attempts),
            "keys": sorted({one.key_id for one in attempts if one.key_id}),
            "tokens": event.usage.total if event.usage is not None else None,
            "prompt": self._text(prompt),
            "answer": self._text(event.answer),
        }
        return record

    def _text(self, text: str) -> dict[str, Any]:
        if self._content:
            return {"text": redact(text)}
        return {"sha256": hashlib.sha256(text.encode()).hexdigest(), "characters": len(text)}

    def _write(self, path: Path, key: bytes | None, last: str) -> None:
        with path.open("a", encoding="utf-8") as file:
            while (record := self._records.get()) is not None:
                line, digest = sealed(record, last, key)
                if _written(file, line, path):
                    last = digest


def _written(file: TextIO, line: str, path: Path) -> bool:
    try:
        file.write(line + "\n")
        file.flush()
    except OSError as error:
        log("ERROR", "the audit log {} cannot be written: {}", path, error.strerror)
        return False
    return True


def _opened(path: Path, key: bytes | None) -> str:
    """Get the file ready to be continued; returns the digest that the next line follows."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists():
        _drop_unfinished_line(path)
        found = verify_audit_log(path, key)
        if found.intact:
            return found.last
        aside = _free_name(path)
        path.replace(aside)
        log("ERROR", "the audit log {} is not genuine: {}. It was put aside as {}", path, found.problem, aside)
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    return GENESIS


def _drop_unfinished_line(path: Path) -> None:
    """A process that was killed may have written half a line, which was never sealed."""
    with path.open("rb+") as file:
        size = kept = file.seek(0, os.SEEK_END)
        while kept:
            start = max(0, kept - 65_536)
            file.seek(start)
            end = file.read(kept - start).rfind(b"\n")
            if end >= 0:
                kept = start + end + 1
                break
            kept = start
        if kept < size:
            file.truncate(kept)
            log("WARNING", "the audit log {} ended in half a line, which was removed", path)


def _free_name(path: Path) -> Path:
    number = 1
    while (aside := path.with_suffix(f".damaged-{number}")).exists():
        number += 1
    return aside


def verify_audit_log(path: Path, key: bytes | None = None) -> AuditCheck:
    """Check the audit log at *path*, which was sealed with *key*; reads it line by line."""
    with path.open(encoding="utf-8", newline="\n") as file:
        return check(file, key)
