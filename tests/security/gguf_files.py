"""GGUF files made by hand: small, and as wrong as a test wants them."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ALIGNMENT = 32
F32 = 0
_TYPES = {bool: (7, "<?"), int: (4, "<I"), float: (6, "<f")}


def text(value: str) -> bytes:
    """A text with its length."""
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def entry(key: str, value: Any) -> bytes:
    """One key with its value."""
    if isinstance(value, str):
        return text(key) + struct.pack("<I", 8) + text(value)
    kind, form = _TYPES[type(value)]
    return text(key) + struct.pack("<I", kind) + struct.pack(form, value)


def tensor(name: str, shape: Sequence[int], offset: int, kind: int = F32) -> bytes:
    """The description of one tensor; the first dimension is that of a row."""
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def file(keys: bytes, key_count: int, tensors: bytes = b"", tensor_count: int = 0, data: bytes = b"") -> bytes:
    """A file of version 3 from its parts."""
    head = b"GGUF" + struct.pack("<IQQ", 3, tensor_count, key_count) + keys + tensors
    return head + b"\0" * (-len(head) % ALIGNMENT) + data


def write_lora(
    path: Path, tensors: Mapping[str, tuple[int, int]], *, architecture: str = "llama", fill: float = 0.01
) -> str:
    """An adapter for tensors of these shapes (row, rows), of rank 2, every number *fill*; returns its path."""
    keys = entry("general.architecture", architecture) + entry("general.type", "adapter")
    keys += entry("adapter.type", "lora") + entry("adapter.lora.alpha", 4.0)
    described, data, count = b"", b"", 0
    for name, (row, rows) in tensors.items():
        for suffix, shape in ((".lora_a", (row, 2)), (".lora_b", (2, rows))):
            described += tensor(name + suffix, shape, len(data))
            numbers = struct.pack("<f", fill) * (shape[0] * shape[1])
            data += numbers + b"\0" * (-len(numbers) % ALIGNMENT)
            count += 1
    path.write_bytes(file(keys, 4, described, count, data))
    return str(path)
