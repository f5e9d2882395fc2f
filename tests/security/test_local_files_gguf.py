"""S40: the header of a GGUF file is checked before any native loader sees it, whatever stands in it."""

import struct
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.llm.providers.llama_cpp import embedded
from core.llm.providers.llama_cpp.gguf import GgufError, read_gguf_header, split_siblings
from tests.security.gguf_files import ALIGNMENT, entry, file, tensor, text

MODEL = embedded.path().read_bytes()
LLAMA = entry("general.architecture", "llama")


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """A file that is written again and again."""
    return tmp_path_factory.mktemp("gguf") / "forged.gguf"


def read(target: Path, data: bytes):
    """The header of a file with this content."""
    target.write_bytes(data)
    return read_gguf_header(target)


def test_s40_a_small_file_is_read(target):
    """What the forged ones are variations of."""
    data = file(LLAMA, 1, tensor("a", (4, 2), 0) + tensor("b", (8,), 32), 2, b"\0" * 64)
    header = read(target, data)
    assert (header.architecture, header.kind, header.size) == ("llama", "model", len(data))


def array(key: str, kind: int, count: int, data: bytes = b"") -> bytes:
    """A key whose value is an array of *count* elements."""
    return text(key) + struct.pack("<IIQ", 9, kind, count) + data


FORGED = {
    "a version of tomorrow": (b"GGUF" + struct.pack("<IQQ", 4, 0, 0), "version 4"),
    "the other byte order": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "version 50331648"),
    "too many keys": (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**63), "announces"),
    "too many tensors": (b"GGUF" + struct.pack("<IQQ", 3, 2**32, 1), "announces"),
    "keys that are not there": (b"GGUF" + struct.pack("<IQQ", 3, 0, 2), "cut off"),
    "an endless text": (file(struct.pack("<Q", 2**64 - 1), 1), "damaged"),
    "an empty key": (file(entry("", 1) + LLAMA, 2), "name is empty"),
    "a long key": (file(entry("k" * 70_000, 1) + LLAMA, 2), "name is empty or too long"),
    "a key twice": (file(LLAMA + LLAMA, 2), "a key twice"),
    "no architecture": (file(entry("a", 1), 1), "names no architecture"),
    "an unknown type": (file(text("a") + struct.pack("<II", 13, 0) + LLAMA, 2), "unknown type 13"),
    "an array of arrays": (file(array("a", 9, 1, b"\0" * 64) + LLAMA, 2), "unknown type 9"),
    "an array of too many numbers": (file(array("a", 10, 2**61) + LLAMA, 2), "damaged"),
    "an array of too many texts": (file(array("a", 8, 2**50) + LLAMA, 2), "damaged"),
    "an alignment of zero": (file(LLAMA + entry("general.alignment", 0), 2), "alignment"),
    "an alignment that is none": (file(LLAMA + entry("general.alignment", 24), 2), "alignment"),
    "an alignment of another type": (file(LLAMA + entry("general.alignment", True), 2), "alignment"),
    "no dimensions": (file(LLAMA, 1, tensor("a", (), 0), 1), "impossible shape"),
    "five dimensions": (file(LLAMA, 1, tensor("a", (1,) * 5, 0), 1), "impossible shape"),
    "a dimension of zero": (file(LLAMA, 1, tensor("a", (0, 4), 0), 1), "impossible shape"),
    "a product that overflows": (file(LLAMA, 1, tensor("a", (2**33, 2**33), 0), 1), "impossible shape"),
    "a row of half a block": (file(LLAMA, 1, tensor("a", (31,), 0, 8), 1, b"\0" * 64), "whole blocks"),
    "an offset outside": (file(LLAMA, 1, tensor("a", (8,), 2**40), 1, b"\0" * 32), "cut off: its tensors need"),
    "an offset near the end of numbers": (file(LLAMA, 1, tensor("a", (8,), 2**64 - 32), 1, b"\0" * 32), "cut off"),
    "an offset that is not aligned": (file(LLAMA, 1, tensor("a", (8,), 4), 1, b"\0" * 64), "begins where none can"),
    "data that is missing": (file(LLAMA, 1, tensor("a", (9,), 0), 1, b"\0" * 32), "cut off: its tensors need"),
    "a tensor twice": (file(LLAMA, 1, tensor("a", (8,), 0) * 2, 2, b"\0" * 32), "names a tensor twice"),
    "a tensor without a name": (file(LLAMA, 1, tensor("", (8,), 0), 1, b"\0" * 32), "name is empty"),
}


@pytest.mark.parametrize("what", FORGED)
def test_s40_a_forged_header_is_refused_with_its_reason(target, what):
    """Counts, lengths, types, shapes and offsets."""
    data, reason = FORGED[what]
    with pytest.raises(GgufError, match=reason):
        read(target, data)


def test_s40_a_forged_header_of_a_huge_file_costs_no_time(tmp_path):
    """The file can hold what it announces, because it is sparse; nothing needs that many texts."""
    path = tmp_path / "huge.gguf"
    with path.open("wb") as sparse:
        sparse.write(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + array("a", 8, 2**30))
        sparse.truncate(2**40)
    began = time.process_time()
    with pytest.raises(GgufError, match="more than 16777216 texts"):
        read_gguf_header(path)
    assert time.process_time() - began < 5


fuzz = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@fuzz
@given(data=st.binary(max_size=200))
def test_s40_random_bytes_raise_nothing_but_a_gguf_error(target, data):
    """With and without the right beginning."""
    for beginning in (b"", b"GGUF", b"GGUF" + struct.pack("<IQQ", 3, 1, 1), b"GGUF" + struct.pack("<IQQ", 3, 3, 0)):
        with pytest.raises(GgufError):
            read(target, beginning + data)


@fuzz
@given(changes=st.lists(st.tuples(st.integers(4, 32_000), st.binary(min_size=1, max_size=9)), min_size=1, max_size=4))
def test_s40_a_damaged_model_is_refused_or_still_fits_into_its_file(target, changes):
    """Whatever passes describes tensors that lie inside of the file."""
    data = bytearray(MODEL)
    for at, new in changes:
        data[at : at + len(new)] = new
    try:
        header = read(target, bytes(data))
    except GgufError:
        return
    assert header.size == len(data)
    assert header.architecture


@fuzz
@given(
    shapes=st.lists(st.lists(st.sampled_from([1, 2, 31, 32, 256, 2**31, 2**62]), max_size=4), max_size=3),
    kind=st.sampled_from([0, 1, 2, 8, 12, 99]),
    offset=st.integers(0, 2**64 - 1),
    room=st.integers(0, 4096),
)
def test_s40_what_passes_lies_inside_of_the_file(target, shapes, kind, offset, room):
    """Tensors of every shape at every place."""
    tensors = b"".join(tensor(f"t{number}", shape, offset, kind) for number, shape in enumerate(shapes))
    data = file(LLAMA, 1, tensors, len(shapes), b"\0" * room)
    try:
        read(target, data)
    except GgufError:
        return
    assert not shapes or (offset % ALIGNMENT == 0 and offset <= room)


def test_s40_a_split_model_is_checked_in_all_its_parts(tmp_path):
    """Their names follow from the first, and so do those of files that are not there."""
    assert split_siblings(Path("/m/a.gguf")) == []
    assert split_siblings(Path("/m/a-00001-of-00003.gguf")) == [
        Path("/m/a-00002-of-00003.gguf"),
        Path("/m/a-00003-of-00003.gguf"),
    ]
