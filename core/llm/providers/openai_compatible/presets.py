"""Known servers, as rows of a packaged table: what differs from the plain format, and the usual address."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from core.llm.data.facts import table
from core.llm.dialects.openai_quirks import OpenAIQuirks

PLAIN = "plain"
"""The name that says: no preset, whatever the address looks like."""


def preset_names() -> list[str]:
    """Every preset."""
    return sorted(_rows())


def preset_of(base_url: str) -> str:
    """The preset whose usual host is that of *base_url*; `plain` where there is none."""
    host = urlsplit(base_url).hostname
    for name, row in _rows().items():
        if host and "base_url" in row and urlsplit(row["base_url"]).hostname == host:
            return name
    return PLAIN


def preset_url(name: str) -> str | None:
    """The usual address of preset *name*, where there is one."""
    url: str | None = _rows().get(name, {}).get("base_url")
    return url


def preset_needs_key(name: str) -> bool:
    """Whether preset *name* is a service that nobody can use without a key."""
    return bool(_rows().get(name, {}).get("needs_key", False))


def quirks_of(preset: str, own: Mapping[str, Any]) -> OpenAIQuirks:
    """The quirks of *preset* with the fields of *own* over them.

    Raises:
        ValueError: *own* names an unknown quirk.
    """
    return OpenAIQuirks.from_mapping({**_rows().get(preset, {}).get("quirks", {}), **own})


def _rows() -> Mapping[str, Any]:
    rows: Mapping[str, Any] = table("openai_compatible")["presets"]
    return rows
