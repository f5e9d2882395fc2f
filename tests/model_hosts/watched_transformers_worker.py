"""Files beside a model slow its loads down, hold its answers, and count what was loaded; with torch or without.

Without it the answers are made up here: what is looked at then is the host's side, which is the same.
"""

import json
import os
from pathlib import Path

from core.llm.providers.transformers.engine import TransformersEngine
from core.llm.transport.worker_main import serve
from tests.model_hosts.watched_llama_worker import HeldJob, linger

WITHOUT_TORCH = "without_torch"
"""A file of this name in the folder of the models."""


class WatchedEngine(TransformersEngine):
    def load(self, params, job):
        folder = Path(params["source"])
        self._hold = folder.with_suffix(".hold")
        self._light = (folder.parent / WITHOUT_TORCH).exists()
        linger(folder.parent / "slow")
        loaded = {"device": "cpu", "batch": 4} if self._light else super().load(params, job)
        with (folder.parent / "loads").open("a") as log:
            log.write(f"{folder.name} {os.getpid()}\n")
        return loaded

    def chat(self, params, job):
        held = HeldJob(job, self._hold)
        if not self._light:
            super().chat(params, held)
            return
        limit = json.loads(params["body"]).get("max_tokens") or 64
        for word in ["one ", "two ", "three ", "four "][:limit]:
            if not held.emit(_event({"delta": {"content": word}})):
                return
        held.emit(_event({"delta": {}, "finish_reason": "stop"}))

    def embed(self, params, job):
        if not self._light:
            return super().embed(params, job)
        data = [{"index": n, "embedding": [1.0, 0.0]} for n, _ in enumerate(json.loads(params["body"])["input"])]
        return {"status": 200, "body": json.dumps({"data": data})}


def _event(choice):
    chunk = {"id": "x", "choices": [{"index": 0, **choice}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    return f"data: {json.dumps(chunk)}\n\n"


if __name__ == "__main__":
    serve(WatchedEngine)
