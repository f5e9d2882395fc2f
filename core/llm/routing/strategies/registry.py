"""The strategies that come with the library, by the name that the configuration gives them."""

from collections.abc import Mapping
from typing import Final

from core.llm.routing.strategies.contract import StrategySpec
from core.llm.routing.strategies.load import headroom, least_in_flight, says_headroom, says_in_flight
from core.llm.routing.strategies.memory import prefer_loaded, says_loaded
from core.llm.routing.strategies.order import ordered, round_robin, weighted
from core.llm.routing.strategies.price import cost, says_cost
from core.llm.routing.strategies.speed import first_token, latency, says_first_token, says_latency

STRATEGIES: Final[Mapping[str, StrategySpec]] = {
    "ordered": StrategySpec(ordered),
    "weighted": StrategySpec(weighted),
    "round_robin": StrategySpec(round_robin),
    "least_in_flight": StrategySpec(least_in_flight, says_in_flight, measures=True),
    "latency": StrategySpec(latency, says_latency, measures=True),
    "first_token": StrategySpec(first_token, says_first_token, measures=True),
    "cost": StrategySpec(cost, says_cost),
    "headroom": StrategySpec(headroom, says_headroom),
    # What goes to the same model is decided by `sticky_by`; this orders the calls that have no such value.
    "sticky": StrategySpec(weighted),
    # The router gives it what is known about the models of its alias: see routing/feedback.py.
    "bandit": StrategySpec(ordered),
    "prefer_loaded": StrategySpec(prefer_loaded, says_loaded),
}
