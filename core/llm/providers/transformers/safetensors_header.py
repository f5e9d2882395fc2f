"""What the header of a safetensors file says, and whether the file is whole. Reads the header only."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic_core import from_json

from core.llm.providers.local_files import FileState, ModelFileError, opened

_LENGTH: Final = 8
_MAX_HEADER: Final = 100_000_000
"""As in the reference implementation."""
_BITS: Final[Mapping[str, int]] = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4, "I16": 16, "U16": 16, "F16": 16,
    "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
_FLOATS: Final = frozenset({"F16", "BF16", "F32", "F64"})


def floats_and_bytes(path: Path, state: FileState) -> tuple[int, int]:
    """How many floating-point weights the file holds, and the bytes of everything else.

    Raises:
        ModelFileError: it is not a safetensors file, is damaged, or is shorter than its header says.
    """
    with opened(path, state) as descriptor:
        size = os.fstat(descriptor).st_size
        head = os.pread(descriptor, _LENGTH, 0)
        length = int.from_bytes(head, "little")
        if len(head) < _LENGTH or not 2 <= length <= min(_MAX_HEADER, size - _LENGTH):
            raise ModelFileError(f"{path.name} is no safetensors file, or only the beginning of one")
        text = os.pread(descriptor, length, _LENGTH)
    try:
        header = from_json(text)
    except ValueError:
        raise ModelFileError(f"{path.name} is no safetensors file: its header is not JSON") from None
    if not isinstance(header, dict):
        raise ModelFileError(f"{path.name} is no safetensors file: its header is not an object")
    floats = others = end = 0
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        dtype, count, begin, stop = _entry(path, entry)
        bits = _BITS.get(dtype)
        if bits is None or stop - begin != math.ceil(count * bits / 8):
            raise ModelFileError(f"{path.name} is damaged: a tensor does not have the size that its type and shape say")
        end = max(end, stop)
        if dtype in _FLOATS:
            floats += count
        else:
            others += stop - begin
    if _LENGTH + length + end > size:
        raise ModelFileError(
            f"{path.name} is cut off: {size} bytes of {_LENGTH + length + end} are there; copy or download it again"
        )
    return floats, others


def _entry(path: Path, entry: Any) -> tuple[str, int, int, int]:
    try:
        begin, stop = entry["data_offsets"]
        shape = entry["shape"]
        numbers = [begin, stop, *shape]
        if not all(type(number) is int and number >= 0 for number in numbers) or stop < begin:
            raise ValueError
        return str(entry["dtype"]), math.prod(shape), begin, stop
    except (KeyError, TypeError, ValueError):
        raise ModelFileError(f"{path.name} is damaged: the place of a tensor cannot be read") from None
