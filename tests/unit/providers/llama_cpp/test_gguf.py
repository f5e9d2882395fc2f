"""The header of a model file: read without its tensors, and never trusted."""

import random
import struct

import pytest

from core.llm.providers.llama_cpp import embedded
from core.llm.providers.llama_cpp.gguf import GgufError, read_gguf_header

MODEL = embedded.path().read_bytes()


def test_a_good_file_says_what_it_is():
    """Architecture, context and template come from the header."""
    header = read_gguf_header(embedded.path())
    assert (header.architecture, header.context_length, header.size) == ("llama", 1024, len(MODEL))
    assert header.has_chat_template
    assert not header.has_pooling


def test_every_cut_of_the_header_is_noticed_S40(tmp_path):
    """A download may have stopped anywhere."""
    path = tmp_path / "cut.gguf"
    for length in [*range(200), *range(200, 30_000, 977), 1_000_000, len(MODEL) - 1]:
        path.write_bytes(MODEL[:length])
        with pytest.raises(GgufError):
            read_gguf_header(path)


def test_damaged_headers_raise_nothing_else_and_cost_no_memory_S40(tmp_path):
    """Random bytes anywhere in the first kilobytes."""
    path = tmp_path / "damaged.gguf"
    rng = random.Random(7)
    for _ in range(300):
        data = bytearray(MODEL[:20_000])
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(4, 2000)] = rng.randrange(256)
        path.write_bytes(data)
        with pytest.raises(GgufError):
            read_gguf_header(path)


@pytest.mark.parametrize("count", [2**63, 2**40])
def test_a_forged_array_length_is_refused_at_once(tmp_path, count):
    """It is compared with the size of the file before anything is read."""
    key = b"general.tags"
    entry = struct.pack("<Q", len(key)) + key + struct.pack("<IIQ", 9, 8, count)
    path = tmp_path / "forged.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + entry + b"\0" * 100)
    with pytest.raises(GgufError, match="damaged"):
        read_gguf_header(path)
