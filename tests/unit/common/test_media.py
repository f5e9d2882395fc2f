"""Local files in messages become bytes."""

from pathlib import Path

import pytest

from core.llm.common import media
from core.llm.common.exceptions import RequestError
from core.llm.common.media import names_files, with_files_loaded
from core.llm.common.messages import DocumentPart, ImagePart, Message, TextPart


async def test_a_file_is_replaced_by_its_bytes_and_a_guessed_type(tmp_path: Path) -> None:
    """Everything else about the part, and every other part, stays."""
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    message = Message("user", (TextPart("read"), DocumentPart(path=str(tmp_path / "a.pdf"), name="mine")))
    plain = Message("user", "hi")
    assert names_files([plain, message])
    loaded = await with_files_loaded([plain, message])
    assert loaded == (
        plain,
        Message("user", (TextPart("read"), DocumentPart(data=b"%PDF", media_type="application/pdf", name="mine"))),
    )
    assert not names_files(loaded)


async def test_a_type_that_was_given_wins(tmp_path: Path) -> None:
    """A file may have any name."""
    (tmp_path / "picture").write_bytes(b"x")
    part = ImagePart(path=str(tmp_path / "picture"), media_type="image/webp")
    (message,) = await with_files_loaded([Message("user", (part,))])
    assert message.content == (ImagePart(data=b"x", media_type="image/webp"),)


@pytest.mark.parametrize("name", ["missing.png", "folder", "nul\0byte.png", "x" * 300])
async def test_a_file_that_cannot_be_read_is_an_error_of_the_request(tmp_path: Path, name: str) -> None:
    """It names the file, not the folders above it, on one line."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(RequestError, match="cannot read") as caught:
        await with_files_loaded([Message("user", (ImagePart(path=f"{tmp_path}/{name}"),))])
    assert str(tmp_path) not in str(caught.value)
    assert "\0" not in str(caught.value)


async def test_a_file_that_is_too_large_is_refused_before_all_of_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly the limit is fine."""
    monkeypatch.setattr(media, "MAX_FILE_BYTES", 2**20)
    path = tmp_path / "large.bin"
    path.write_bytes(bytes(2**20))
    assert await with_files_loaded([Message("user", (DocumentPart(path=str(path)),))])
    path.write_bytes(bytes(2**20 + 1))
    with pytest.raises(RequestError, match="larger than 1 MiB"):
        await with_files_loaded([Message("user", (DocumentPart(path=str(path)),))])
