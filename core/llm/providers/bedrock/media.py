"""Pictures, documents and sound as content blocks: bytes in base64, or objects in S3."""

import re
from base64 import b64decode, b64encode
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from core.llm.common.exceptions import RequestError, UnsupportedFeature
from core.llm.common.messages import AudioPart, DocumentPart, ImagePart, MediaPart
from core.llm.dialects.media import media_type

_IMAGES: Final = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif",
                  "image/webp": "webp"}  # fmt: skip
_OFFICE: Final = "application/vnd.openxmlformats-officedocument"
_DOCUMENTS: Final = {
    "application/pdf": "pdf", "text/csv": "csv", "application/msword": "doc",
    f"{_OFFICE}.wordprocessingml.document": "docx", "application/vnd.ms-excel": "xls",
    f"{_OFFICE}.spreadsheetml.sheet": "xlsx", "text/html": "html", "text/markdown": "md", "application/json": "txt",
}  # fmt: skip
_SOUNDS: Final = {
    "audio/mpeg": "mp3", "audio/mp3": "mp3", "audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav",
    "audio/flac": "flac", "audio/ogg": "ogg", "audio/opus": "opus", "audio/aac": "aac", "audio/mp4": "mp4",
    "audio/x-m4a": "m4a", "audio/webm": "webm",
}  # fmt: skip
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9()\[\]\s-]+")
_LONGEST_NAME: Final = 180


class DocumentNames:
    """Document names of one request: of allowed characters only, and no two alike."""

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def name_for(self, part: DocumentPart) -> str:
        """The name of *part*; the model sees it."""
        stem = (part.name or "").rpartition(".")[0] or part.name or "document"
        base = " ".join(_NOT_IN_NAMES.sub(" ", stem).split())[:_LONGEST_NAME] or "document"
        name, number = base, 1
        while name in self._taken:
            number += 1
            name = f"{base} {number}"
        self._taken.add(name)
        return name


def image_block(part: ImagePart) -> dict[str, Any]:
    """A picture.

    Raises:
        UnsupportedFeature: its format, or where it lies, is nothing Bedrock takes.
    """
    kind = _kind(part)
    found = _IMAGES.get(kind)
    if found is None:
        raise UnsupportedFeature(f"Bedrock takes no pictures of type {kind}: convert it to PNG, JPEG, GIF or WebP")
    return {"image": {"format": found, "source": _source(part, "a picture")}}


def document_block(part: DocumentPart, names: DocumentNames) -> dict[str, Any]:
    """A document.

    Raises:
        UnsupportedFeature: its format, or where it lies, is nothing Bedrock takes.
    """
    kind = _kind(part)
    found = _DOCUMENTS.get(kind) or ("txt" if kind.startswith("text/") else None)
    if found is None:
        raise UnsupportedFeature(f"Bedrock takes no documents of type {kind}: convert it to PDF or text")
    return {"document": {"format": found, "name": names.name_for(part), "source": _source(part, "a document")}}


def audio_block(part: AudioPart) -> dict[str, Any]:
    """A sound recording.

    Raises:
        UnsupportedFeature: its format, or where it lies, is nothing Bedrock takes.
    """
    kind = _kind(part)
    found = _SOUNDS.get(kind)
    if found is None:
        raise UnsupportedFeature(f"Bedrock takes no sound of type {kind}: convert it to MP3 or WAV")
    return {"audio": {"format": found, "source": _source(part, "a sound recording")}}


def _kind(part: MediaPart) -> str:
    url = part.url or ""
    if url.startswith("data:"):
        return url[5:].partition(",")[0].partition(";")[0].lower()
    return media_type(part).partition(";")[0].strip().lower()


def _source(part: MediaPart, what: str) -> dict[str, Any]:
    if part.data is not None:
        return {"bytes": part.base64()}
    url = part.url or ""
    if url.startswith("s3://"):
        return {"s3Location": {"uri": url}}
    if url.startswith("data:"):
        head, _, text = url.partition(",")
        try:
            data = b64decode(text, validate=True) if head.endswith(";base64") else unquote_to_bytes(text)
        except ValueError:
            raise RequestError(f"{what} is a data: URL whose base64 cannot be read") from None
        return {"bytes": b64encode(data).decode()}
    raise UnsupportedFeature(f"Bedrock takes {what} as bytes or as an s3:// address, not from a web address")
