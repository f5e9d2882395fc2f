"""The audit log: who asked which model what and when, in a file that shows when it was tampered with.

By default it holds digests and lengths instead of prompts and answers. Writing is done by a thread of its own; a disk
that is slow or full delays no call.
"""

import asyncio
import hashlib
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

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
from core.llm.common.exceptions import ConfigError, ConfigIssue
from core.llm.common.log import log
from core.llm.common.secrets import redact
from core.llm.observability.audit_chain import AuditCheck
from core.llm.observability.audit_file import AuditFile, verify_file
from core.llm.providers.base.request import LLMRequest
from core.llm.providers.config.models.service import AuditOptions

WAITING: Final = 10_000
"""Records that may wait for the disk; further ones are counted and left out, and the file says how many."""
RETRY: Final = 1.0
"""Seconds until a disk that did not take a record is tried again."""
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
        self._ending = threading.Event()

    async def start(self) -> None:
        """Follow the chain of an existing file to its end, and go on from there."""
        options = self._options()
        if options.path is None:
            return
        self._content = options.content
        key = options.key.get_secret_value().encode() if options.key is not None else None
        path = Path(options.path)
        file = AuditFile(path, key, self._clock.now)
        try:
            await asyncio.to_thread(file.open)
        except OSError as error:
            text = f"the audit log {path} cannot be opened: {error.strerror}. Check `path` and the rights of its folder"
            raise ConfigError([ConfigIssue(text, "audit.path")]) from None
        self._ending.clear()
        self._thread = threading.Thread(target=self._write, args=(file,), name="core-llm-audit", daemon=True)
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
        self._ending.set()
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
        return {"sha256": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(), "characters": len(text)}

    def _write(self, file: AuditFile) -> None:
        while (record := self._records.get()) is not None:
            while not self._appended(file, record):
                # The disk is full, perhaps for a while: the record waits, and those after it in the queue.
                if self._ending.wait(RETRY):
                    log("ERROR", "the audit log was not written to its end: {} records", 1 + self._records.qsize())
                    file.close()
                    return
        file.close()

    @staticmethod
    def _appended(file: AuditFile, record: dict[str, Any]) -> bool:
        try:
            return file.append(record)
        except Exception as error:  # noqa: BLE001 - one record must not end the writer of all others
            log("ERROR", "the audit log could not write a record: {}", type(error).__name__)
            return True


def verify_audit_log(path: Path, key: bytes | None = None) -> AuditCheck:
    """Check the audit log at *path*, which was sealed with *key*; reads it line by line."""
    return verify_file(path, key)
