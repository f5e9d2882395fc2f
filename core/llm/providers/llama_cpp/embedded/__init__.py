"""The small GGUF model that ships with the library, so that a bare machine can answer."""

import pathlib


def path() -> pathlib.Path:
    """Where the shipped model file lies. It is read-only data: replace it only by renaming another file over it."""
    return pathlib.Path(__file__).with_name("tiny-chat-q8_0.gguf")
