"""Aliases that mean another model than is written."""

from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.runtime.swapped_aliases import SwappedAliases

WRITTEN = {"models": {"fast": {"use": ["x/a", "x/b"], "strategy": "round_robin", "fallback": ["y/c"]}, "other": "x/a"}}


def used(config: LLMServiceConfig, alias: str = "fast") -> list[str]:
    """What an alias stands for."""
    return [target.model for target in config.models[alias].use]


def test_a_swapped_alias_stands_for_what_was_said_in_that_order():
    """All else about it is as written, and so are the other aliases."""
    config, aliases = LLMServiceConfig.model_validate(WRITTEN), SwappedAliases()
    assert aliases.applied(config) is config
    aliases.set("fast", config.models["fast"], ["z/new", "x/a"])
    swapped = aliases.applied(config)
    assert used(swapped) == ["z/new", "x/a"]
    assert (swapped.models["fast"].strategy, swapped.models["fast"].fallback) == ("ordered", ("y/c",))
    assert swapped.models["other"] == config.models["other"]
    assert used(config) == ["x/a", "x/b"]


def test_an_edit_of_the_alias_ends_the_swap_and_another_edit_does_not():
    """What is written last holds."""
    config, aliases = LLMServiceConfig.model_validate(WRITTEN), SwappedAliases()
    aliases.set("fast", config.models["fast"], ["z/new"])
    elsewhere = LLMServiceConfig.model_validate({**WRITTEN, "timeout": 5})
    aliases.prune(elsewhere)
    assert used(aliases.applied(elsewhere)) == ["z/new"]
    edited = LLMServiceConfig.model_validate({"models": {"fast": "x/b"}})
    assert used(aliases.applied(edited)) == ["x/b"]
    aliases.prune(edited)
    assert aliases.current == {}


def test_a_swap_is_undone_to_what_was_before_it():
    """To an earlier swap, to what is written, and to nothing where it was edited away meanwhile."""
    config, aliases = LLMServiceConfig.model_validate(WRITTEN), SwappedAliases()
    aliases.set("fast", config.models["fast"], ["z/one"])
    before = aliases.current["fast"]
    aliases.set("fast", config.models["fast"], ["z/two"])
    aliases.restore("fast", before)
    assert used(aliases.applied(config)) == ["z/one"]
    aliases.restore("fast", None)
    assert used(aliases.applied(config)) == ["x/a", "x/b"]
    aliases.restore("fast", ["z/one"])
    assert aliases.current == {}
