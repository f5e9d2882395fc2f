"""The planner alone: tables of small cases, and what holds for every case."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from core.llm.residency.planner import Limits, ModelView, Plan, plan


def view(key: str, phase: str = "ready", **fields) -> ModelView:
    return ModelView(key, key, phase, **{"size": 10, "device": "cpu", **fields})


def wanted(key: str, since: float = 0.0, **fields) -> ModelView:
    return view(key, "absent", waiting_since=since, **fields)


ONE, TWO = Limits(max_loaded=1), Limits(max_loaded=2)


def test_where_there_is_room_a_wanted_model_is_loaded():
    """And nothing else happens."""
    assert plan([wanted("a"), view("b")], TWO, 1.0) == Plan(load=["a"])


def test_ML05_the_longest_idle_goes():
    """Whoever was used last stays."""
    todo = plan([wanted("c"), view("a", last_use=10.0), view("b", last_use=90.0)], TWO, 100.0)
    assert (todo.load, list(todo.unload)) == ([], ["a"])
    assert todo.unload["a"] == "to make room for c"


def test_ML05_of_two_that_are_idle_alike_the_one_that_loads_faster_goes():
    """A minute of loading outweighs two seconds of idleness."""
    slow, fast = view("slow", last_use=88.0, reload_cost=60.0), view("fast", last_use=90.0, reload_cost=1.0)
    assert list(plan([wanted("c"), slow, fast], TWO, 100.0).unload) == ["fast"]
    long_idle = view("slow", last_use=10.0, reload_cost=60.0)
    assert list(plan([wanted("c"), long_idle, fast], TWO, 100.0).unload) == ["slow"]


def test_ML05_as_few_as_possible_go():
    """One large model instead of three small ones, even where those are idle for longer."""
    limits = Limits(budget={"cpu": 60})
    models = [view(f"s{number}", size=10, last_use=float(number)) for number in range(3)]
    todo = plan([wanted("x", size=30), *models, view("large", size=30, last_use=50.0)], limits, 100.0)
    assert list(todo.unload) == ["large"]


def test_ML05_nobody_goes_in_vain():
    """Where the idle ones do not make enough room, they stay until more becomes idle."""
    limits = Limits(budget={"cpu": 50}, patience=100.0)
    todo = plan([wanted("x", 99.0, size=45), view("a"), view("b", leases=1, size=40)], limits, 100.0)
    assert (todo.unload, todo.drain, todo.load) == ({}, {}, [])
    assert todo.next_at == 199.0


def test_ML05_pinned_leased_and_foreign_models_are_no_victims():
    """And where nothing else is there, the call waits, or is refused where waiting is in vain."""
    full = [view("p", pinned=True), view("l", leases=1)]
    assert plan([wanted("x", 99.0), *full], TWO, 100.0).unload == {}
    assert list(plan([wanted("x"), view("p", pinned=True)], ONE, 100.0).refused) == ["x"]
    budget = Limits(budget={"cpu": 15}, patience=1.0)
    todo = plan([wanted("x"), view("f", foreign=True)], budget, 100.0)
    assert (todo.unload, todo.drain, todo.load) == ({}, {}, [])


def test_ML06_patience_takes_a_model_that_is_in_use():
    """It is drained, not unloaded; before that moment it is left alone."""
    models = [wanted("x", since=10.0), view("a", leases=3)]
    assert plan(models, ONE, 14.9).drain == {}
    assert plan(models, ONE, 14.9).next_at == 15.0
    assert list(plan(models, ONE, 15.0).drain) == ["a"]


def test_ML06_room_that_is_being_made_is_waited_for():
    """Nobody else has to go."""
    for phase in ("draining", "unloading"):
        todo = plan([wanted("x"), view("a", phase, leases=1), view("b")], TWO, 100.0)
        assert (todo.unload, todo.drain, todo.load) == ({}, {}, [])


def test_ML06_who_came_first_is_served_first():
    """What is freed for a large model is not taken by small ones that came later."""
    limits = Limits(budget={"cpu": 50}, patience=1e9)
    todo = plan([wanted("small", 20.0, size=10), wanted("large", 10.0, size=50), view("a", leases=1)], limits, 30.0)
    assert todo.load == []
    assert plan([wanted("small", 20.0, size=10), view("a", leases=1)], limits, 30.0).load == ["small"]


def test_ML02_loads_at_the_same_time_are_bounded_by_device():
    """Another device has its own."""
    todo = plan([wanted("a"), wanted("b"), wanted("c", device="cuda:0")], Limits(), 0.0)
    assert todo.load == ["a", "c"]
    assert plan([wanted("a"), wanted("b")], Limits(max_parallel_loads=2), 0.0).load == ["a", "b"]


def test_ML08_idle_models_go_at_their_time():
    """Those in use, pinned or foreign never; the next look is when the next one is due."""
    idle = view("a", last_use=10.0, ttl=5.0)
    assert list(plan([idle], Limits(), 15.0).unload) == ["a"]
    assert plan([idle], Limits(), 14.0) == Plan(next_at=15.0)
    for kept in (view("a", leases=1, ttl=5.0), view("a", pinned=True, ttl=5.0), view("a", foreign=True, ttl=5.0)):
        assert plan([kept], Limits(), 99.0) == Plan()


def test_ML11_a_failed_model_is_not_loaded_before_its_time():
    """The plan says when to look again."""
    assert plan([wanted("a", not_before=9.0)], Limits(), 5.0) == Plan(soon={"a"}, next_at=9.0)


def test_models_of_one_slot_exclude_each_other():
    """However much room there is."""
    first = view("a", slot="s")
    todo = plan([wanted("b", slot="s"), first], Limits(), 10.0)
    assert (list(todo.unload), todo.load) == (["a"], [])


def test_ML19_a_slot_in_use_is_cleared_by_patience_like_any_other_room():
    """And one that is held for good keeps the other out at once."""
    models = [wanted("b", since=10.0, slot="s"), view("a", leases=1, slot="s")]
    assert plan(models, Limits(), 14.0).next_at == 15.0
    assert list(plan(models, Limits(), 15.0).drain) == ["a"]
    for kept in (view("a", pinned=True, slot="s"), view("a", foreign=True, slot="s")):
        assert "as a, which stays" in plan([wanted("b", slot="s"), kept], Limits(), 99.0).refused["b"]


def test_ML19_of_two_that_wait_for_one_slot_the_first_is_loaded():
    """However many loads there may be at a time."""
    todo = plan([wanted("a", 2.0, slot="s"), wanted("b", 1.0, slot="s")], Limits(max_parallel_loads=4), 3.0)
    assert todo.load == ["b"]


def test_a_lowered_limit_lets_the_idle_go():
    """What is in use stays."""
    todo = plan([view("a", last_use=1.0), view("b", last_use=50.0), view("c", leases=1)], ONE, 100.0)
    assert set(todo.unload) == {"a", "b"}


PHASES = st.sampled_from(["absent", "absent", "loading", "ready", "ready", "ready", "draining", "unloading"])


@st.composite
def houses(draw) -> tuple[list[ModelView], Limits, float]:
    """Any books that a keeper could have."""
    now = 1000.0
    models = []
    for number in range(draw(st.integers(1, 8))):
        phase = draw(PHASES)
        waits = draw(st.one_of(st.none(), st.floats(0, now))) if phase != "ready" else None
        models.append(
            ModelView(
                f"m{number}",
                f"m{number}",
                phase,
                draw(st.sampled_from(["cpu", "gpu", ""])),
                draw(st.integers(0, 50)),
                draw(st.integers(0, 2)) if phase in {"ready", "draining"} else 0,
                draw(st.floats(0, now)),
                waits,
                draw(st.sampled_from([-math.inf, -math.inf, now + 5])),
                draw(st.booleans()) and draw(st.booleans()),
                phase == "ready" and draw(st.integers(0, 9)) == 0,
                draw(st.integers(0, 9)) == 0,
                draw(st.sampled_from([None, 0.0, 10.0, 5000.0])),
                draw(st.floats(0, 100)),
                draw(st.sampled_from([None, None, None, "s"])),
            )
        )
    limits = Limits(
        draw(st.one_of(st.none(), st.integers(1, 5))),
        draw(st.dictionaries(st.sampled_from(["cpu", "gpu"]), st.integers(1, 120))),
        draw(st.integers(1, 3)),
        draw(st.sampled_from([0.5, 5.0, 500.0])),
    )
    return models, limits, now


@settings(max_examples=400, deadline=None)
@given(houses())
def test_whatever_the_books_say_the_plan_breaks_no_rule(house):
    """What is leased is not unloaded, what is loaded fits, and a model stands in one list at most."""
    models, limits, now = house
    views = {model.key: model for model in models}
    todo = plan(models, limits, now)

    groups = [set(todo.load), set(todo.unload), set(todo.drain), set(todo.refused)]
    assert sum(map(len, groups)) == len(set().union(*groups))
    for key in todo.unload:
        assert not views[key].leases
        assert not views[key].foreign
        assert views[key].phase in {"ready", "draining"}
    for key in todo.drain:
        assert views[key].leases
        assert views[key].phase == "ready"
        assert not views[key].pinned
        assert not views[key].foreign
    for key in todo.load:
        assert views[key].phase == "absent"
        assert views[key].waiting_since is not None
        assert views[key].not_before <= now
    present = [model for model in models if model.phase != "absent"] + [views[key] for key in todo.load]
    if todo.load:
        if limits.max_loaded is not None:
            assert sum(not model.foreign for model in present) <= limits.max_loaded
        for device in {views[key].device for key in todo.load} & set(limits.budget):
            assert sum(model.size for model in present if model.device == device) <= limits.budget[device]
        for device in {views[key].device for key in todo.load}:
            loading = [model for model in models if model.phase == "loading" and model.device == device]
            assert len(loading) + sum(views[key].device == device for key in todo.load) <= max(
                limits.max_parallel_loads, len(loading)
            )
        slots = [model.slot for model in present if model.slot is not None]
        fresh = [views[key].slot for key in todo.load if views[key].slot is not None]
        assert all(slots.count(slot) == 1 for slot in fresh)


@settings(max_examples=150, deadline=None)
@given(houses())
def test_carried_out_again_and_again_every_plan_serves_everyone_who_can_be_served(house):
    """Loads succeed, unloads end, leases end after a while: then nobody waits who was not refused."""
    models, limits, now = house
    views = {model.key: model for model in models}
    from dataclasses import replace

    for _ in range(80):
        todo = plan(list(views.values()), limits, now)
        for key in todo.refused:
            views[key] = replace(views[key], waiting_since=None)
        for key in todo.unload:
            views[key] = replace(views[key], phase="absent", leaving=False)
        for key in todo.drain:
            views[key] = replace(views[key], phase="draining")
        for key in todo.load:
            # Whoever waited uses it for a turn.
            views[key] = replace(views[key], phase="ready", waiting_since=None, last_use=now, leases=1, leaving=False)
        for key, model in views.items():
            if model.phase == "loading":
                views[key] = replace(model, phase="ready", waiting_since=None, last_use=now)
            elif model.phase == "unloading":
                views[key] = replace(model, phase="absent")
            elif model.phase in {"ready", "draining"} and model.leases and key not in todo.load:
                views[key] = replace(model, leases=0, last_use=now)
        now += 7.0
    stuck = [m for m in views.values() if m.phase == "absent" and m.waiting_since is not None]
    foreign = [m for m in views.values() if m.foreign or (m.pinned and m.phase == "ready")]
    assert stuck == [] or foreign != []


def test_who_waits_for_loads_and_unloads_only_waits_for_no_call():
    """The one behind another load, the one whose place is on its way out, and whoever comes after them."""
    assert plan([wanted("b"), view("a", "loading")], Limits(), 1.0).soon == {"b"}
    assert plan([wanted("b"), wanted("c", 0.5)], ONE, 1.0).soon == {"c"}
    assert plan([wanted("b"), view("a", "unloading")], ONE, 1.0).soon == {"b"}
    assert plan([wanted("b"), view("a")], ONE, 1.0).soon == {"b"}
    memory = Limits(budget={"cpu": 25})
    assert plan([wanted("c"), view("a", "loading"), view("b", "draining")], memory, 1.0).soon == {"c"}


def test_who_waits_for_a_call_to_end_does_not_wait_for_a_load_only():
    """Also where other models load meanwhile, and where it stands behind one who waits for a call."""
    used = view("a", leases=1)
    assert plan([wanted("b"), used], ONE, 1.0).soon == set()
    assert plan([wanted("b"), view("a", "draining", leases=1)], ONE, 1.0).soon == set()
    assert plan([wanted("b"), wanted("c", 0.5), used], ONE, 1.0).soon == set()
    other = view("x", "loading", device="cuda:0")
    assert plan([wanted("b"), used, other], Limits(budget={"cpu": 15}), 1.0).soon == set()


def test_of_two_ways_of_loading_one_model_the_second_waits_for_the_first():
    """As long as that one comes; not where a call holds it."""
    first, second = view("a", "loading", slot="s"), wanted("b", slot="s")
    assert plan([first, second], Limits(), 1.0).soon == {"b"}
    assert plan([wanted("a", slot="s"), wanted("b", 0.5, slot="s")], Limits(), 1.0).soon == {"b"}
    assert plan([view("a", slot="s", leases=1), second], Limits(patience=9.0), 1.0).soon == set()
