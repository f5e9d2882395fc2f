"""Expensive things that outlive a configuration: connection pools, worker processes, by key and counted."""

from collections.abc import Callable, Hashable
from typing import Any


class _Entry:
    __slots__ = ("resource", "shares")

    def __init__(self, resource: Any) -> None:
        self.resource = resource
        self.shares = 0


class Share:
    """One share in a resource."""

    __slots__ = ("_key", "_pool", "resource")

    def __init__(self, pool: "ResourcePool", key: Hashable, resource: Any) -> None:
        self._pool: ResourcePool | None = pool
        self._key = key
        self.resource = resource

    async def release(self) -> None:
        """Give the share back; the last one closes the resource. Idempotent."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool._release(self._key)  # noqa: SLF001 - the two classes are one mechanism


class ResourcePool:
    """Hands out shares. A resource is made with its first share and closed with its last."""

    def __init__(self) -> None:
        self._entries: dict[Hashable, _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def acquire(self, key: Hashable, create: Callable[[], Any]) -> Share:
        """A share in the resource of *key*, made by *create* when nobody has one."""
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(create())
        entry.shares += 1
        return Share(self, key, entry.resource)

    async def _release(self, key: Hashable) -> None:
        entry = self._entries[key]
        entry.shares -= 1
        if entry.shares == 0:
            # Removed before the close is awaited: whoever asks meanwhile gets a fresh one.
            del self._entries[key]
            await entry.resource.close()
