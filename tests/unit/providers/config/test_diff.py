"""What changed between two configurations."""

from pydantic import SecretStr

from core.llm.providers.config.diff import compare
from core.llm.providers.config.models.aliases import AliasOptions
from core.llm.providers.config.models.limits import RateLimitOptions
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.providers.config.models.service import LLMServiceConfig
from tests.unit.providers.config.fake_types import HostedConfig, ServerConfig


def config(**more: object) -> LLMServiceConfig:
    """A configuration of some providers."""
    return LLMServiceConfig.model_validate(more)


def test_changes_are_one_line_each() -> None:
    """HR-16: path, old and new."""
    old = config(default_model="a", providers={"p": ServerConfig(options={"x": 1, "gone": 1}), "q": ServerConfig()})
    new = config(
        retry={"max_retries": 3}, providers={"p": ServerConfig(options={"x": 2, "new": 1}), "r": ServerConfig()}
    )
    diff = compare(old, new)
    assert set(diff.changes) == {
        "default_model: a → unset",
        "providers.p.options.x: 1 → 2",
        "providers.p.options.gone: removed",
        "providers.p.options.new: added",
        "providers.q: removed",
        "providers.r: added",
        "retry.max_retries: 2 → 3",
    }
    assert (diff.providers_added, diff.providers_removed, diff.providers_changed) == ({"r"}, {"q"}, {"p"})


def test_secrets_show_as_changed_wherever_they_stand() -> None:
    """HR-16: keys, pools, headers, and what is named like a secret."""
    old = ProviderConfig(api_key=SecretStr("one"), headers={"X": SecretStr("one")}, extra={"auth_token": "one"})
    new = ProviderConfig(api_keys=(SecretStr("two"),), headers={"X": SecretStr("two")}, extra={"auth_token": "two"})
    diff = compare(config(providers={"p": old}), config(providers={"p": new}))
    assert diff.changes == (
        "providers.p.api_key: removed",
        "providers.p.api_keys: set",
        "providers.p.headers.X: changed",
        "providers.p.extra.auth_token: changed",
    )


def test_what_lies_below_a_secret_name_is_a_secret() -> None:
    """Numbers too, where the name is no field of ours."""
    old = ProviderConfig(extra={"credentials": {"pass": "one", "pin": [1]}, "token": 1})
    new = ProviderConfig(extra={"credentials": {"pass": "two", "pin": [2]}, "token": 2})
    diff = compare(config(providers={"p": old}), config(providers={"p": new}))
    assert diff.changes == (
        "providers.p.extra.credentials.pass: changed",
        "providers.p.extra.credentials.pin: changed",
        "providers.p.extra.token: changed",
    )


def test_numbers_of_tokens_and_names_of_the_user_are_no_secrets() -> None:
    """A limit that was edited shows both values, at a provider of any name."""
    old = ServerConfig(options={"x": "a"}, rate_limits=RateLimitOptions(tokens_per_minute=100))
    new = ServerConfig(options={"x": "b"}, rate_limits=RateLimitOptions(tokens_per_minute=200))
    diff = compare(config(providers={"monkey": old}), config(providers={"monkey": new}))
    assert set(diff.changes) == {
        "providers.monkey.options.x: a → b",
        "providers.monkey.rate_limits.tokens_per_minute: 100 → 200",
    }


def test_an_unchanged_provider_is_no_change() -> None:
    """HR-09: the same settings compare equal, also as other objects."""
    same = compare(config(providers={"p": HostedConfig()}), config(providers={"p": HostedConfig()}))
    assert not same
    assert same.changes == ()


def test_another_type_is_one_change() -> None:
    """Fields of different kinds are not compared with each other."""
    diff = compare(
        config(providers={"p": HostedConfig(type="openai")}), config(providers={"p": ServerConfig(type="ollama")})
    )
    assert diff.changes == ("providers.p: openai → ollama",)
    assert diff.providers_changed == {"p"}


def test_aliases_are_listed() -> None:
    """A host may want to know which names answer differently."""
    old = config(models={"a": AliasOptions(use="p/x"), "b": AliasOptions(use="p/y")})
    new = config(models={"a": AliasOptions(use="p/z"), "c": AliasOptions(use="p/y")})
    assert compare(old, new).aliases_changed == {"a", "b", "c"}


def test_values_cannot_break_a_log_line() -> None:
    """Line breaks are escaped, long values cut, likely keys masked."""
    old, new = config(default_model="a\nERROR forged"), config(default_model="sk-abcdefghijklmnop")
    (line,) = compare(old, new).changes
    assert line == "default_model: a\\nERROR forged → ***"
