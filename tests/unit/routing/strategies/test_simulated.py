"""What each strategy is worth: against the shuffle, and against somebody who knows everything. Simulated and seeded."""

from collections.abc import Callable

import pytest

from core.llm.routing.strategies.contract import Strategy
from core.llm.routing.strategies.load import least_in_flight
from core.llm.routing.strategies.order import round_robin, weighted
from core.llm.routing.strategies.speed import latency
from tests.unit.routing.strategies.simulation import Server, simulate

CALLS = 6000
SEEDS = (1, 2, 3)


def steady(seconds: float) -> Callable[[float], float]:
    """Always the same."""
    return lambda _: seconds


def one_slow(slots: int = 8) -> list[Server]:
    """Three servers, of which one takes ten times as long as the others."""
    return [Server(name, steady(10.0 if name == "slow" else 1.0), slots) for name in ("a", "b", "slow")]


@pytest.mark.parametrize("strategy", [least_in_flight, latency])
@pytest.mark.parametrize("seed", SEEDS)
def test_with_one_slow_server_the_slowest_calls_are_a_third_faster_than_by_lot(strategy: Strategy, seed: int) -> None:
    """The shuffle sends a third of the calls to the slow one, whatever waits there."""
    by_lot = simulate(one_slow(), weighted, per_second=6, calls=CALLS, seed=seed)
    chosen = simulate(one_slow(), strategy, per_second=6, calls=CALLS, seed=seed)
    assert chosen.p99 < 0.7 * by_lot.p99
    assert chosen.mean < 0.7 * by_lot.mean


@pytest.mark.parametrize(
    ("strategy", "bound"), [(latency, 1.15), (least_in_flight, 2.0), (weighted, 4.1), (round_robin, 4.1)]
)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_regret_against_who_knows_everything_is_bounded(strategy: Strategy, bound: float, seed: int) -> None:
    """Average time over that of an oracle. Without queues those who do not look get the average of the servers: 4."""
    oracle = simulate(one_slow(slots=1000), None, per_second=6, calls=CALLS, seed=seed)
    chosen = simulate(one_slow(slots=1000), strategy, per_second=6, calls=CALLS, seed=seed)
    assert chosen.mean < bound * oracle.mean


@pytest.mark.parametrize("strategy", [least_in_flight, latency])
def test_equal_servers_get_equal_shares(strategy: Strategy) -> None:
    """Nobody is flooded because it happened to answer first."""
    servers = [Server(name, steady(1.0)) for name in "abc"]
    shares = simulate(servers, strategy, per_second=9, calls=CALLS, seed=1).shares
    assert all(abs(share - CALLS / 3) < CALLS / 20 for share in shares.values()), shares


def test_the_faster_server_gets_most_of_the_calls_and_is_not_overrun() -> None:
    """Its queue would make it the slower one; the others take what it cannot."""
    servers = [Server("fast", steady(0.5), slots=2), Server("b", steady(2.0)), Server("c", steady(2.0))]
    found = simulate(servers, latency, per_second=6, calls=CALLS, seed=1)
    assert found.shares["fast"] > max(found.shares["b"], found.shares["c"])
    assert found.p99 < 6.0


def test_a_server_that_was_slow_for_a_minute_gets_its_share_back() -> None:
    """What is measured is forgotten while nobody goes there, so somebody goes there again."""

    def after_a_minute(now: float) -> float:
        return 20.0 if now < 60 else 1.0

    servers = [Server("a", steady(1.0)), Server("b", after_a_minute)]
    found = simulate(servers, latency, per_second=3, calls=6000, seed=1)
    assert found.last["b"] > 0.3 * sum(found.last.values())


def test_a_slow_server_is_asked_seldom_while_it_stays_slow() -> None:
    """Finding out whether it still is costs less than three calls in a hundred."""
    servers = [Server("a", steady(1.0)), Server("slow", steady(10.0))]
    found = simulate(servers, latency, per_second=1, calls=6000, seed=1)
    assert 0 < found.shares["slow"] < 0.03 * 6000


def test_weights_are_capacities_for_the_least_loaded() -> None:
    """Who counts three times carries three times as many calls."""
    servers = [Server("big", steady(1.0), slots=100, weight=3.0), Server("small", steady(1.0), slots=100)]
    found = simulate(servers, least_in_flight, per_second=40, calls=CALLS, seed=1)
    assert 2.5 < found.shares["big"] / found.shares["small"] < 3.5
