"""The real engine, which runs out of memory in the middle of an answer, as one does whose cache does not fit."""

import os
import sys

from core.llm.providers.llama_cpp.engine import LlamaEngine
from core.llm.transport.worker_main import serve


class StarvingEngine(LlamaEngine):
    def chat(self, params, job):
        print(
            "ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 68719476736", file=sys.stderr
        )
        sys.stderr.flush()
        os.abort()


if __name__ == "__main__":
    serve(StarvingEngine)
