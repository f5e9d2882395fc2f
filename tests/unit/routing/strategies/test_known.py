"""By price, by what belongs together, by what is in memory: nothing is measured for these."""

import random
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from core.llm.common.types import Price
from core.llm.routing.strategies.affinity import rendezvous, value_of
from core.llm.routing.strategies.memory import prefer_loaded
from core.llm.routing.strategies.price import cost, says_cost
from tests.unit.routing.seen import a_candidate, a_view, candidates, names

RNG = random.Random(0)


def priced(*prices: tuple[str, str] | None) -> list[Any]:
    """Candidates with those prices for input and output."""
    return candidates(
        price=[None if price is None else Price(Decimal(price[0]), Decimal(price[1])) for price in prices]
    )


def test_the_cheapest_for_this_request_is_first() -> None:
    """A long prompt makes the one with the cheaper input cheaper; an unknown price comes last."""
    some = priced(None, ("1", "20"), ("3", "4"))
    assert names(cost(some, a_view(), RNG)) == "cba"
    assert names(cost(some, a_view(messages="word " * 10_000), RNG)) == "bca"
    assert names(cost(some, a_view(messages="word " * 300, max_tokens=1), RNG)) == "bca"


@pytest.mark.parametrize("seed", range(5))
def test_the_regret_of_the_cheapest_is_small_although_nobody_knows_the_length_of_answers(seed: int) -> None:
    """Money spent over what somebody would spend who knew the answers in advance."""
    rng = random.Random(seed)
    some = priced(("0.5", "8"), ("3", "3"), ("10", "1"))
    spent = least = Decimal(0)
    for _ in range(400):
        view = a_view(messages="x" * rng.randint(10, 12_000))
        answer = rng.randint(50, 1500)
        prices = {
            one.ref: one.price.input * view.tokens + one.price.output * answer for one in some if one.price is not None
        }
        spent += prices[cost(some, view, RNG)[0].ref]
        least += min(prices.values())
    assert spent < Decimal("1.35") * least


def test_the_trace_names_the_prices() -> None:
    """Per million tokens, as they are configured."""
    (known, unknown) = priced(("2", "4"), None)
    assert says_cost(known, a_view()) == "2 in, 4 out"
    assert says_cost(unknown, a_view()) == "no known price"


def test_equal_values_go_to_the_same_model_in_every_process() -> None:
    """The order of the configuration does not matter, and no hash of Python's that changes from start to start."""
    some = candidates(weight=[1, 1, 1])
    for user in ("ada", "bob", "zoë", "\ud800"):
        assert names(rendezvous(some, user)) == names(rendezvous(some[::-1], user))
    assert [names(rendezvous(some, user)) for user in ("ada", "bob", "cyd", "dan")] == ["cab", "cba", "bca", "acb"]


def test_values_are_shared_by_weight() -> None:
    """Three quarters to the one that counts three times."""
    some = candidates(weight=[3, 1])
    firsts = Counter(names(rendezvous(some, str(user)))[0] for user in range(8000))
    assert abs(firsts["a"] - 6000) < 200


def test_when_a_model_goes_only_its_own_values_move() -> None:
    """Everybody else keeps what the provider has cached."""
    some = candidates(weight=[1, 1, 1, 1])
    before = {user: names(rendezvous(some, str(user)))[0] for user in range(2000)}
    after = {user: names(rendezvous(some[:3], str(user)))[0] for user in range(2000)}
    moved = [user for user in before if before[user] != after[user]]
    assert {before[user] for user in moved} == {"d"}
    assert len(moved) == sum(model == "d" for model in before.values())


def test_a_weight_of_zero_comes_last() -> None:
    """It takes over where nobody else can."""
    assert all(names(rendezvous(candidates(weight=[0, 1]), str(user))) == "ba" for user in range(50))


SYSTEM = {"role": "system", "content": "You are a librarian."}


@pytest.mark.parametrize(
    ("by", "fields", "value"),
    [
        ("user", {"user": "ada"}, "ada"),
        ("user", {}, None),
        ("team", {"metadata": {"team": 7}}, "7"),
        ("team", {"metadata": {"user": "x"}}, None),
        ("prompt", {"messages": [SYSTEM, {"role": "user", "content": "one"}]}, "You are a librarian."),
        ("prompt", {"messages": [SYSTEM, {"role": "user", "content": "two"}]}, "You are a librarian."),
        ("prompt", {"messages": [{"role": "user", "content": "one"}, {"role": "user", "content": "two"}]}, "one"),
        ("prompt", {"messages": "a" * 5000}, "a" * 4096),
        ("prompt", {"messages": ""}, None),
    ],
)
def test_what_belongs_together(by: str, fields: dict[str, Any], value: str | None) -> None:
    """All turns of a conversation have its system prompt, or else its first message."""
    assert value_of(by)(a_view(**fields)) == value


def test_what_is_in_memory_comes_first_and_what_has_to_be_loaded_last() -> None:
    """A hosted model is always there."""
    assert names(prefer_loaded(candidates(loaded=[False, None, True, None, True]), a_view(), RNG)) == "cebda"
    assert names(prefer_loaded([a_candidate("x"), a_candidate("y")], a_view(), RNG)) == "xy"
