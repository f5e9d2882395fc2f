"""Answers in memory: within bounds, and only as long as they may be given."""

from hypothesis import given
from hypothesis import strategies as st

from core.llm.pipeline.answer_store import MemoryStore

KEYS = st.sampled_from([f"k{number}" for number in range(8)])
STEPS = st.lists(st.tuples(st.sampled_from(["put", "get", "drop", "wait"]), KEYS, st.integers(0, 900)), max_size=80)


async def test_an_entry_is_given_until_its_time_is_over() -> None:
    """Then it is gone, and takes no room."""
    store = MemoryStore()
    store.put("a", b"x", 100.0, 10.0)
    stored = await store.get("a", 109.9)
    assert stored is not None
    assert (stored.data, round(stored.age, 1)) == (b"x", 9.9)
    assert await store.get("a", 110.0) is None
    assert (len(store), store.size) == (0, 0)


async def test_what_was_not_used_for_longest_goes_first() -> None:
    """Looking counts as use."""
    store = MemoryStore(max_entries=2)
    store.put("a", b"1", 0.0, 9.0)
    store.put("b", b"2", 0.0, 9.0)
    await store.get("a", 1.0)
    store.put("c", b"3", 2.0, 9.0)
    assert await store.get("b", 3.0) is None
    assert await store.get("a", 3.0) is not None
    store.bound(1, 10**6)
    assert len(store) == 1


@given(STEPS, st.integers(1, 6), st.integers(500, 4000))
async def test_s63_no_sequence_of_uses_gets_it_out_of_bounds(
    steps: list[tuple[str, str, int]], entries: int, size: int
) -> None:
    """Neither in number nor in bytes, and what it gives is what was put there last."""
    store, model, now = MemoryStore(entries, size), {}, 0.0
    for what, key, number in steps:
        if what == "put":
            model[key] = (bytes(number), now)
            store.put(key, bytes(number), now, 50.0)
        elif what == "drop":
            model.pop(key, None)
            store.drop(key)
        elif what == "wait":
            now += number / 10
        else:
            stored = await store.get(key, now)
            if stored is not None:
                assert stored.data == model[key][0]
                assert now - model[key][1] < 50.0
        assert len(store) <= entries
        assert 0 <= store.size <= size
