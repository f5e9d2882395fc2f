"""The names of tools as models write them."""

from typing import Final

_MARK: Final = "<|"
"""Begins a token of a model's own format, such as `<|channel|>`; no vendor allows it in the name of a tool."""


def bare_name(name: str) -> str:
    """*name* without what slipped in behind it: gpt-oss writes `find<|channel|>json`, and servers pass it on."""
    return name[:end] if _MARK in name and (end := name.index(_MARK)) else name
