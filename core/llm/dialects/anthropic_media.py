"""Pictures and documents as content blocks of the Messages format."""

from typing import Any, Final

from core.llm.common.exceptions import UnsupportedFeature
from core.llm.common.messages import AudioPart, DocumentPart, ImagePart, MediaPart
from core.llm.dialects.media import data_url, media_type

_IMAGES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
_TEXTS: Final = ("application/json", "application/xml", "application/yaml", "application/x-yaml")


def media_block(part: ImagePart | DocumentPart | AudioPart) -> dict[str, Any]:
    """The block for *part*.

    Raises:
        UnsupportedFeature: Claude takes nothing of this kind.
        RequestError: its type is not recognisable, or it names a file that was not loaded.
    """
    if isinstance(part, AudioPart):
        raise UnsupportedFeature("Claude takes no sound: send a transcript instead")
    if isinstance(part, ImagePart):
        return {"type": "image", "source": _image_source(part)}
    block: dict[str, Any] = {"type": "document", "source": _document_source(part)}
    if part.name:
        block["title"] = part.name
    return block


def _image_source(part: ImagePart) -> dict[str, Any]:
    if part.url is not None:
        return {"type": "url", "url": part.url}
    kind = _type_of_bytes(part)
    if kind == "image/jpg":
        kind = "image/jpeg"
    if kind not in _IMAGES:
        raise UnsupportedFeature(f"Claude takes no {kind}: convert the picture to PNG, JPEG, GIF or WebP")
    return {"type": "base64", "media_type": kind, "data": part.base64()}


def _document_source(part: DocumentPart) -> dict[str, Any]:
    if part.url is not None:
        return {"type": "url", "url": part.url}
    kind = _type_of_bytes(part)
    if kind == "application/pdf":
        return {"type": "base64", "media_type": kind, "data": part.base64()}
    if (kind.startswith("text/") or kind in _TEXTS) and part.data is not None:
        return {"type": "text", "media_type": "text/plain", "data": part.data.decode("utf-8", "replace")}
    raise UnsupportedFeature(f"Claude takes no documents of type {kind}: convert it to PDF or to text")


def _type_of_bytes(part: MediaPart) -> str:
    if part.data is None:
        data_url(part)  # says which file was not loaded
    return media_type(part).partition(";")[0].strip().lower()
