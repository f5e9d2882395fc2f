"""The header of a GGUF file, checked against the size of the file before a native loader sees it.

Every count and length in it is bounded, by what the file can hold and by what any model needs, so a forged header costs
neither memory nor time.
"""

import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_MAX_KEYS: Final = 65_536
_MAX_TENSORS: Final = 262_144
_MAX_STRINGS: Final = 16 * 2**20
"""Strings of all arrays together; the largest vocabularies hold half a million, with as many merges."""
_MAX_NAME: Final = 65_535
_MAX_KEPT: Final = 64 * 2**10
_MAX_ELEMENTS: Final = 2**63 - 1
_STRING: Final = 8
_ARRAY: Final = 9
_SCALARS: Final = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_SPLIT: Final = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")
# Elements and bytes of one block, by tensor type. A type that is not listed is checked by its offset only.
_BLOCKS: Final = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
    11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 16: (256, 66), 17: (256, 74), 18: (256, 98),
    19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4),
    27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip


class GgufError(Exception):
    """The file is not a GGUF file that can be loaded; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a model file says about itself."""

    architecture: str
    name: str
    context_length: int | None
    """Tokens it was trained for."""
    has_chat_template: bool
    has_pooling: bool
    """True for models that were made for embeddings."""
    size: int
    kind: str = "model"
    """`general.type`: also `adapter`, `mmproj`, `vocab`."""


def read_gguf_header(path: Path) -> GgufHeader:
    """Read and check the header of the file at *path*. Reads no tensor data.

    Raises:
        GgufError: it is another format, cut off, or damaged.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return _Reader(file, path.stat().st_size).header()


def split_siblings(path: Path) -> list[Path]:
    """The other parts of a model that was split into files of the form `name-00001-of-00003.gguf`; usually none."""
    found = _SPLIT.fullmatch(path.name)
    if found is None:
        return []
    prefix, _, total = found.groups()
    names = (f"{prefix}-{part:05}-of-{total}.gguf" for part in range(1, int(total) + 1))
    return [path.with_name(name) for name in names if name != path.name]


class _Reader:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._strings = 0

    def header(self) -> GgufHeader:
        magic = self._file.read(4)
        if magic != MAGIC:
            raise GgufError(_wrong_format(magic))
        version = self._number("<I")
        if version not in _VERSIONS:
            raise GgufError(f"GGUF version {version} is not supported; versions 2 and 3 are")
        tensors, keys = self._number("<Q"), self._number("<Q")
        if tensors > _MAX_TENSORS or keys > _MAX_KEYS:
            raise GgufError(f"the header is damaged: it announces {tensors} tensors and {keys} keys")
        values: dict[str, Any] = {}
        for _ in range(keys):
            key, value = self._entry()
            if key in values:
                raise GgufError("the header is damaged: it holds a key twice")
            values[key] = value
        self._check_tensors(tensors, values.get("general.alignment", 32))
        architecture = str(values.get("general.architecture") or "")
        if not architecture:
            raise GgufError("the header names no architecture")
        context = values.get(f"{architecture}.context_length")
        return GgufHeader(
            architecture,
            str(values.get("general.name") or ""),
            context if isinstance(context, int) and context > 0 else None,
            "tokenizer.chat_template" in values,
            f"{architecture}.pooling_type" in values,
            self._size,
            str(values.get("general.type") or "model"),
        )

    def _entry(self) -> tuple[str, Any]:
        key = self._name()
        kind = self._number("<I")
        if kind == _ARRAY:
            self._skip_array()
            return key, None
        return key, self._value(kind)

    def _value(self, kind: int) -> Any:
        return self._text() if kind == _STRING else self._number(_format_of(kind))

    def _skip_array(self) -> None:
        kind, count = self._number("<I"), self._number("<Q")
        if kind == _STRING:
            self._need(count * 8)
            self._strings += count
            if self._strings > _MAX_STRINGS:
                raise GgufError(f"the header is damaged: it announces more than {_MAX_STRINGS} texts")
            for _ in range(count):
                self._skip(self._number("<Q"))
        else:
            self._skip(count * struct.calcsize(_format_of(kind)))

    def _check_tensors(self, count: int, alignment: Any) -> None:
        if type(alignment) is not int or not 1 <= alignment <= 2**20 or alignment & (alignment - 1):
            raise GgufError("the header is damaged: it has an impossible alignment")
        names: set[str] = set()
        needed = 0
        for _ in range(count):
            name, end = self._tensor(alignment)
            if name in names:
                raise GgufError("the header is damaged: it names a tensor twice")
            names.add(name)
            needed = max(needed, end)
        needed += -(-self._file.tell() // alignment) * alignment
        if count and needed > self._size:
            raise GgufError(
                f"the file is cut off: its tensors need {needed} bytes, it has {self._size}. Download or copy it again"
            )

    def _tensor(self, alignment: int) -> tuple[str, int]:
        """Name of a tensor and where it ends, counted from the beginning of the data."""
        name = self._name()
        dimensions = self._number("<I")
        if not 0 < dimensions <= 4:
            raise GgufError("the header is damaged: a tensor has an impossible shape")
        shape = [self._number("<Q") for _ in range(dimensions)]
        elements = math.prod(shape)
        if not 0 < elements <= _MAX_ELEMENTS or max(shape) > _MAX_ELEMENTS:
            raise GgufError("the header is damaged: a tensor has an impossible shape")
        block, size = _BLOCKS.get(self._number("<I"), (1, 0))
        if shape[0] % block:
            raise GgufError("the header is damaged: the rows of a tensor are no whole blocks")
        offset: int = self._number("<Q")
        if offset % alignment:
            raise GgufError("the header is damaged: a tensor begins where none can")
        return name, offset + elements // block * size

    def _name(self) -> str:
        name = self._text()
        if not 0 < len(name) <= _MAX_NAME:
            raise GgufError("the header is damaged: a name is empty or too long")
        return name

    def _text(self) -> str:
        length = self._number("<Q")
        if length > _MAX_KEPT:
            self._skip(length)
            return ""
        self._need(length)
        return self._file.read(length).decode("utf-8", "replace")

    def _number(self, form: str) -> Any:
        data = self._file.read(struct.calcsize(form))
        if len(data) < struct.calcsize(form):
            raise GgufError("the file is cut off in its header. Download or copy it again")
        return struct.unpack(form, data)[0]

    def _skip(self, length: int) -> None:
        self._need(length)
        self._file.seek(length, 1)

    def _need(self, length: int) -> None:
        if self._file.tell() + length > self._size:
            raise GgufError("the file is cut off in its header, or the header is damaged. Download or copy it again")


def _format_of(kind: int) -> str:
    form = _SCALARS.get(kind)
    if form is None:
        raise GgufError(f"the header is damaged: it holds a value of the unknown type {kind}")
    return form


def _wrong_format(magic: bytes) -> str:
    for known, name in _OTHER_FORMATS:
        if magic.startswith(known):
            return f"this is {name}, not a GGUF file"
    if not magic:
        return "the file is empty"
    return f"this is not a GGUF file (it begins with {magic!r})"


_OTHER_FORMATS: Final = (
    (b"PK", "a ZIP archive (a PyTorch checkpoint?)"),
    (b"\x80", "a pickle, which is never loaded"),
    (b"<", "a web page (a failed download?)"),
    (b"vers", "a Git LFS pointer: fetch the real file with `git lfs pull`"),
    (b"ggml", "a model of the old GGML format: convert it to GGUF"),
    (b"ggjt", "a model of the old GGML format: convert it to GGUF"),
    (b"lmgg", "a model of the old GGML format: convert it to GGUF"),
)
