"""The file that ships: valid on a bare machine, described by its schema, and safe while it is being written."""

import json
import tempfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from core.llm.common.exceptions import ConfigError
from core.llm.factory.discovery import builtin_names, builtin_spec
from core.llm.providers.config.loader import load_config
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.providers.config.resolving import ProviderTypes
from core.llm.providers.config.schema import build_schema
from core.llm.providers.config.truncation import TruncationGuard

ROOT = Path(__file__).parents[4]
EXAMPLE = ROOT / "config" / "llm.yaml"
SCHEMA = ROOT / "config" / "llm.schema.json"


def resolve(name: str) -> type[ProviderConfig] | None:
    """The real provider types."""
    spec = builtin_spec(name)
    return spec.config_class() if spec else None


REAL_TYPES = ProviderTypes(resolve, builtin_names)


def validator() -> jsonschema.Draft202012Validator:
    """The schema as an editor uses it."""
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_example_works_on_a_bare_machine() -> None:
    """No key, no server: what needs one is off and says so, and the last link is always there."""
    loaded = load_config(EXAMPLE, {}, REAL_TYPES)
    assert set(loaded.disabled) == {"openai"}
    assert "OPENAI_API_KEY is not set" in loaded.disabled["openai"]
    assert loaded.config.models["default"].fallback == ("ollama", "local/tiny")
    assert loaded.config.providers["local"].type == "llama_cpp"
    assert loaded.warnings == ()


def test_the_example_uses_the_key_and_the_server_it_is_given() -> None:
    """The same file, with an environment."""
    loaded = load_config(EXAMPLE, {"OPENAI_API_KEY": "sk-x", "OLLAMA_URL": "http://10.0.0.7:11434"}, REAL_TYPES)
    assert loaded.disabled == {}
    assert loaded.config.providers["ollama"].base_url == "http://10.0.0.7:11434"


def test_f106_no_beginning_of_the_example_goes_live() -> None:
    """F106: every prefix is refused, or is held back as unfinished, or says the same as the whole."""
    whole = EXAMPLE.read_bytes()
    env = {"OPENAI_API_KEY": "sk-x"}
    config = load_config(EXAMPLE, env, REAL_TYPES).config
    guard = TruncationGuard()
    guard.accept({EXAMPLE: whole})
    guessed = 0

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "llm.yaml"
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            try:
                found = load_config(path, env, REAL_TYPES).config
            except ConfigError:
                continue
            guessed += found != config
            assert found == config or guard.check({EXAMPLE: whole[:length]}, str(length), 0.0, 6.0) is not None
    # If none validated, this would not test the guard at all.
    assert guessed > 20


def test_the_schema_is_current() -> None:
    """`make schema` writes it."""
    types = {name: kind for name in builtin_names() if (kind := resolve(name)) is not None}
    assert json.loads(SCHEMA.read_text()) == json.loads(json.dumps(build_schema(types)))


def test_the_example_fits_its_schema() -> None:
    """What an editor shows for it: nothing."""
    assert [error.message for error in validator().iter_errors(yaml.safe_load(EXAMPLE.read_text()))] == []


@pytest.mark.parametrize(
    "service",
    [
        {"providers": {"openai": {"api_key": {"env": "KEY"}, "models": {"m": {"context_window": "${N}"}}}}},
        {"providers": {"acme": {"type": "openai_compatible", "base_url": "http://x/v1"}, "ollama": None}},
        {"providers": {"local": {"type": "llama_cpp", "models": {"tiny": "embedded", "b": {"path": "x.gguf"}}}}},
        {"models": {"a": "openai/x", "b": ["x", "y"], "c": {"use": [{"model": "x", "weight": 2}, "y"], "fallback": "z"}}},
        {"timeout": "${T:-5m}", "retry": None, "cache": {"enabled": "${CACHE}"}, "residency": {"memory_budget": {"cpu": "2GiB"}}},
    ],
)  # fmt: skip
def test_the_schema_accepts_what_the_loader_accepts(service: dict[str, Any]) -> None:
    """Shorthands, substitutions, secrets by reference, sections left empty."""
    assert [error.message for error in validator().iter_errors({"llm_service": service})] == []


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"llm_service": []},
        {"llm_service": {"retri": {}}},
        {"llm_service": {"retry": {"max_retries": 99}}},
        {"llm_service": {"logging": {"level": "LOUD"}}},
        {"llm_service": {"providers": {"openai": {"api_kye": "x"}}}},
        {"llm_service": {"providers": {"acme": {"base_url": "x"}}}},
        {"llm_service": {"providers": {"acme": {"type": "ollama", "organization": "x"}}}},
        {"llm_service": {"models": {"a": {"fallback": []}}}},
        {"include": 1, "llm_service": {}},
    ],
)
def test_the_schema_refuses_what_is_wrong(data: dict[str, Any]) -> None:
    """Unknown keys, ranges, choices, the fields of another type."""
    assert list(validator().iter_errors(data))
