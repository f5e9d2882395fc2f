"""Where answers are kept: a small protocol, and memory."""

from collections import OrderedDict
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Stored:
    """What was kept, and for how many seconds it has been."""

    data: bytes
    age: float


class AnswerStore(Protocol):
    """Bytes by key. Whoever asks checks what it gets, so a store may lose or damage entries, and may be shared."""

    def get(self, key: str, now: float) -> Awaitable[Stored | None]:
        """What is kept under *key* at the monotonic moment *now*; nothing whose time is over."""

    def put(self, key: str, data: bytes, now: float, ttl: float) -> None:
        """Keep *data* for *ttl* seconds. Returns at once; a store that has to wait does so afterwards."""

    def drop(self, key: str) -> None:
        """Forget *key*."""


class MemoryStore(AnswerStore):
    """Keeps entries in this process, within bounds: the one that was not used for longest goes first."""

    OVERHEAD = 400
    """Bytes that an entry takes besides its data and its key, about."""

    __slots__ = ("_entries", "_max_bytes", "_max_entries", "size")

    def __init__(self, max_entries: int = 10_000, max_bytes: int = 64 * 2**20) -> None:
        self._entries: OrderedDict[str, tuple[bytes, float, float]] = OrderedDict()
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self.size = 0
        """Bytes of all entries, about."""

    def __len__(self) -> int:
        return len(self._entries)

    def bound(self, max_entries: int, max_bytes: int) -> None:
        """Keep within other bounds from now on."""
        self._max_entries, self._max_bytes = max_entries, max_bytes
        self._shrink()

    async def get(self, key: str, now: float) -> Stored | None:
        """The entry of *key*; it counts as used."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        data, since, until = entry
        if now >= until:
            self.drop(key)
            return None
        self._entries.move_to_end(key)
        return Stored(data, now - since)

    def put(self, key: str, data: bytes, now: float, ttl: float) -> None:
        """Keep *data*; nothing that alone is larger than the store."""
        self.drop(key)
        size = self._size(key, data)
        if size > self._max_bytes:
            return
        self._entries[key] = (data, now, now + ttl)
        self.size += size
        self._shrink()

    def drop(self, key: str) -> None:
        """Forget *key*; harmless where it is not there."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size -= self._size(key, entry[0])

    def _shrink(self) -> None:
        while len(self._entries) > self._max_entries or self.size > self._max_bytes:
            key, (data, _, _) = self._entries.popitem(last=False)
            self.size -= self._size(key, data)

    def _size(self, key: str, data: bytes) -> int:
        return len(key) + len(data) + self.OVERHEAD
