"""Lets aioresponses 0.7.9 work with aiohttp 3.14, for unit tests of plain JSON.

aiohttp 3.14 made `stream_writer` a required argument of `ClientResponse`, which aioresponses does not pass (its issue
289). An older aiohttp is no way out: 3.14.0 and 3.14.1 fix vulnerabilities. `test_aioresponses_shim.py` fails when
this file is no longer needed.

Bodies stay below 128 KiB here. Whatever has timing, streams or connections in it runs against a real local server.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import aioresponses.core
from aiohttp import ClientResponse
from aioresponses import aioresponses as mocked_responses


class _Response(ClientResponse):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"stream_writer": SimpleNamespace(output_size=0), **options})


@contextmanager
def mocked_http() -> Iterator[mocked_responses]:
    """Answer every request of aiohttp from what the test has registered; unregistered URLs are refused."""
    with patch.object(aioresponses.core, "ClientResponse", _Response), mocked_responses() as mocked:
        yield mocked
