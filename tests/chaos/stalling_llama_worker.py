"""The real engine, which writes slowly, and never begins to answer `stall:FILE` unless FILE is there.

It makes the file when it begins to stall: the test then knows that the call has arrived, and the next process answers.
"""

import re
import time
from pathlib import Path

from core.llm.providers.llama_cpp.engine import LlamaEngine
from core.llm.transport.worker_main import serve


class Slow:
    """A job whose output is slow."""

    def __init__(self, job):
        self._job = job

    def __getattr__(self, name):
        return getattr(self._job, name)

    def emit(self, item):
        time.sleep(0.01)
        return self._job.emit(item)


class StallingEngine(LlamaEngine):
    def chat(self, params, job):
        wanted = re.search(r"stall:([\w/.-]+)", params["body"])
        if wanted is None or Path(wanted[1]).exists():
            return super().chat(params, Slow(job))
        Path(wanted[1]).touch()
        while not job.cancelled:
            time.sleep(0.01)
        return None


if __name__ == "__main__":
    serve(StallingEngine)
