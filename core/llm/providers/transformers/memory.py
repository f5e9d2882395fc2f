"""Memory: how much the model of this process takes, and how running out of it is told."""

import re
from typing import Any, Final

import torch

from core.llm.transport.worker_main import EngineError

_WORDS: Final = re.compile(r"out of memory|can't allocate memory|cannot allocate|not enough memory", re.IGNORECASE)


def out_of_memory(error: BaseException) -> EngineError | None:
    """What *error* means where it says that memory ran out, on the host or on the GPU; `None` for any other."""
    if not isinstance(error, torch.OutOfMemoryError | MemoryError) and not (
        isinstance(error, RuntimeError) and _WORDS.search(str(error))
    ):
        return None
    on_gpu = torch.cuda.is_available() and isinstance(error, torch.OutOfMemoryError)
    if on_gpu:
        torch.cuda.empty_cache()
    where = "GPU" if on_gpu else "worker"
    return EngineError("server_error", f"the {where} is out of memory", code="out_of_memory")


def memory_in_use(device: str) -> int | None:
    """Bytes that torch holds on *device*; `None` where the process itself is what there is to measure."""
    if device.startswith("cuda"):
        return int(torch.cuda.memory_reserved(device))
    if device == "mps":
        return int(torch.mps.driver_allocated_memory())
    return None


def footprint(model: Any) -> int:
    """Bytes of the weights as they are in memory."""
    return sum(tensor.numel() * tensor.element_size() for tensor in (*model.parameters(), *model.buffers()))
