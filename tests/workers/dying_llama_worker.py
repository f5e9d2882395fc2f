"""The real engine, which dies as soon as it is asked for something."""

import os
import signal
import time

from core.llm.providers.llama_cpp.engine import LlamaEngine
from core.llm.transport.worker_main import serve


class DyingEngine(LlamaEngine):
    def chat(self, params, job):
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(10)

    embed = chat


if __name__ == "__main__":
    serve(DyingEngine)
