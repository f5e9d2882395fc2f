"""The headers of requests that send JSON."""

from typing import Final

JSON_HEADERS: Final = {"content-type": "application/json", "accept": "application/json"}
STREAM_HEADERS: Final = {"content-type": "application/json", "accept": "text/event-stream"}
"""Where the answer comes as server-sent events."""
