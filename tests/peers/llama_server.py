"""llama.cpp's own HTTP server with the model that ships with the library, as a process of its own.

    python tests/peers/llama_server.py PORT_FILE KEY

It wants KEY from its callers, writes its address to PORT_FILE once it listens, and ends with its standard input.
"""

import sys
from importlib.resources import files
from pathlib import Path

import xllamacpp


def serve(port_file: Path, key: str) -> None:
    """Listen until standard input ends."""
    params = xllamacpp.CommonParams()
    params.model.path = str(files("core.llm.providers.llama_cpp.embedded") / "tiny-chat-q8_0.gguf")
    # With memory of one sequence, vectors of several texts come out as those of each alone.
    params.n_ctx, params.n_parallel, params.kv_unified = 2048, 2, True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.embedding, params.pooling_type = True, xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.ui, params.warmup, params.verbosity, params.cache_ram_mib = False, False, 0, 16
    params.api_keys = [key]
    server = xllamacpp.Server(params)
    ready = port_file.with_suffix(".part")
    ready.write_text(server.listening_address)
    ready.rename(port_file)
    sys.stdin.read()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2])
