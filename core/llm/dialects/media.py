"""Media types of content parts: as given, by file name, or by the first bytes."""

from typing import Final
from urllib.parse import urlsplit

from core.llm.common.exceptions import RequestError
from core.llm.common.messages import AudioPart, DocumentPart, ImagePart, MediaPart

_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"%PDF-", "application/pdf"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"\xff\xf3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
)
_SUFFIXES: Final = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp",
    "bmp": "image/bmp", "pdf": "application/pdf", "txt": "text/plain", "md": "text/markdown", "csv": "text/csv",
    "html": "text/html", "json": "application/json", "wav": "audio/wav", "mp3": "audio/mpeg", "flac": "audio/flac",
    "ogg": "audio/ogg", "m4a": "audio/mp4",
}  # fmt: skip


def media_type(part: MediaPart) -> str:
    """The MIME type of *part*.

    Raises:
        RequestError: it is neither given nor recognisable.
    """
    if part.media_type:
        return part.media_type
    data = part.data
    if data is not None:
        for signature, found in _SIGNATURES:
            if data.startswith(signature):
                return found
        if data[:4] == b"RIFF":
            return "image/webp" if data[8:12] == b"WEBP" else "audio/wav"
    name = part.path or (urlsplit(part.url).path if part.url else "") or getattr(part, "name", None) or ""
    suffix = _SUFFIXES.get(name.rpartition(".")[2].lower())
    if suffix is not None:
        return suffix
    raise RequestError(f"the type of {_article(part)} is not recognisable: give its media_type, such as image/png")


def data_url(part: MediaPart) -> str:
    """The bytes of *part* as a `data:` URL.

    Raises:
        RequestError: it holds no bytes, or its type is not recognisable.
    """
    if part.data is None:
        raise RequestError(f"{_article(part)} names the file {part.path!r}, which was not loaded: pass its bytes")
    return f"data:{media_type(part)};base64,{part.base64()}"


def _article(part: MediaPart) -> str:
    match part:
        case ImagePart():
            return "an image"
        case DocumentPart():
            return "a document"
        case AudioPart():
            return "a sound recording"
        case _:
            return "a media part"
