"""The real engine behind a load that takes three seconds longer."""

import time

from core.llm.providers.llama_cpp.engine import LlamaEngine
from core.llm.transport.worker_main import serve


class SlowEngine(LlamaEngine):
    def load(self, params, job):
        time.sleep(3)
        return super().load(params, job)


if __name__ == "__main__":
    serve(SlowEngine)
