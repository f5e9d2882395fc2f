"""A pool of keys in the file: each key alone, or with its share of the calls."""

from pathlib import Path

import pytest

from core.llm.common.exceptions import ConfigError
from core.llm.providers.config.models.provider import ProviderConfig
from tests.unit.providers.config.fake_types import load_text


def pool(tmp_path: Path, keys: str, env: dict[str, str] | None = None) -> tuple[tuple[str, int], ...]:
    """The pool that *keys* in a file make."""
    text = f"llm_service: {{providers: {{openai: {{api_keys: {keys}}}}}}}\n"
    return load_text(tmp_path, text, env or {}).config.providers["openai"].weighted_secrets


def test_keys_and_keys_with_a_weight_stand_side_by_side(tmp_path: Path) -> None:
    """Text, a variable, a file or a reference, in either form."""
    (tmp_path / "key").write_text("from-file\n")
    (tmp_path / "key").chmod(0o600)
    keys = (
        '[plain, "${A}", {env: B}, {key: weighted, weight: 3}, {key: "${A}x"}, {key: {env: B}, weight: 2}, {file: key}]'
    )
    assert pool(tmp_path, keys, {"A": "key-a", "B": "key-b"}) == (
        ("plain", 1),
        ("key-a", 1),
        ("key-b", 1),
        ("weighted", 3),
        ("key-ax", 1),
        ("key-b", 2),
        ("from-file", 1),
    )


@pytest.mark.parametrize("missing", ['"${GONE}"', "{env: GONE}"])
def test_F112_a_key_that_is_missing_takes_its_weight_with_it(tmp_path: Path, missing: str) -> None:
    """The rest of the pool stays."""
    assert pool(tmp_path, f"[{{key: {missing}, weight: 5}}, there]") == (("there", 1),)


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ("[{key: a, weight: 0}]", "api_keys[0].weight"),
        ("[{key: a, wieght: 2}]", "api_keys[0].wieght"),
        ("[a, {weight: 2}]", "api_keys[1]"),
    ],
)
def test_a_mistake_in_a_pool_is_named_with_its_place(tmp_path: Path, keys: str, path: str) -> None:
    """And no key is in the message."""
    with pytest.raises(ConfigError) as caught:
        pool(tmp_path, keys.replace("a", "sk-canary"))
    assert path in str(caught.value)
    assert "sk-canary" not in str(caught.value)


def test_S1_a_pool_shows_no_key() -> None:
    """Neither in its representation nor in an error."""
    config = ProviderConfig.model_validate({"api_keys": ["sk-canary", {"key": "sk-canary", "weight": 2}]})
    assert "sk-canary" not in repr(config)
    assert "sk-canary" not in str(config.model_dump())
    assert [key.get_secret_value() for key in config.api_keys] == ["sk-canary"] * 2
