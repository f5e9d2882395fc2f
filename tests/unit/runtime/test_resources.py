"""Expensive things that outlive a configuration, counted."""

import asyncio

import pytest

from core.llm.runtime.resources import ResourcePool


class Thing:
    """Something that is closed."""

    def __init__(self) -> None:
        self.closed = 0
        self.may_close = asyncio.Event()
        self.may_close.set()

    async def close(self) -> None:
        await self.may_close.wait()
        self.closed += 1


async def test_equal_keys_share_and_the_last_share_closes() -> None:
    """Two providers of one origin use one connection pool."""
    pool = ResourcePool()
    first, second = pool.acquire("k", Thing), pool.acquire("k", Thing)
    assert first.resource is second.resource
    assert pool.acquire("other", Thing).resource is not first.resource
    await first.release()
    assert first.resource.closed == 0
    await second.release()
    assert first.resource.closed == 1
    assert len(pool) == 1


async def test_a_share_is_given_back_once() -> None:
    """Releasing twice does not take the resource away from the others."""
    pool = ResourcePool()
    first, second = pool.acquire("k", Thing), pool.acquire("k", Thing)
    await first.release()
    await first.release()
    assert second.resource.closed == 0


async def test_whoever_asks_while_it_closes_gets_a_fresh_one() -> None:
    """A reload that wants a pool back does not get one that is going down."""
    pool = ResourcePool()
    old = pool.acquire("k", Thing)
    old.resource.may_close.clear()
    closing = asyncio.create_task(old.release())
    await asyncio.sleep(0)
    new = pool.acquire("k", Thing)
    old.resource.may_close.set()
    await closing
    assert new.resource is not old.resource
    assert (old.resource.closed, new.resource.closed, len(pool)) == (1, 0, 1)


async def test_a_resource_that_cannot_be_made_leaves_nothing_behind() -> None:
    """The next attempt makes it anew."""
    pool = ResourcePool()

    def fail() -> Thing:
        raise OSError("no such file")

    with pytest.raises(OSError, match="no such file"):
        pool.acquire("k", fail)
    assert len(pool) == 0
    assert pool.acquire("k", Thing).resource.closed == 0
