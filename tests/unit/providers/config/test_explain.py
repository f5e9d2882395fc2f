"""Where a setting comes from."""

from pathlib import Path

from core.llm.providers.config.explain import explain
from core.llm.providers.config.tree import find, from_data, parse_dotted
from tests.unit.providers.config.fake_types import load_text

TEXT = """
llm_service:
  retry: {max_retries: 3}
  providers:
    openai: {api_key: a-secret-key, headers: {X-A: another}, models: {gpt-6.1-sol: {context_window: 1000}}}
    ollama: {options: {stop: [a, b]}}
"""


def shown(folder: Path, path: str) -> list[str]:
    """The origins of *path*, as they print."""
    return [str(origin).replace(f"{folder}/", "") for origin in explain(load_text(folder, TEXT), path)]


def test_a_value_in_the_file_has_its_place(tmp_path: Path) -> None:
    """Line and column of the value."""
    assert shown(tmp_path, "retry.max_retries") == ["3  (llm.yaml:2:24)"]
    assert shown(tmp_path, "providers.ollama.options.stop[1]") == ["b  (llm.yaml:5:34)"]
    assert shown(tmp_path, "providers.openai.models.gpt-6.1-sol.context_window") == ["1000  (llm.yaml:4:101)"]


def test_what_was_not_written_is_a_default(tmp_path: Path) -> None:
    """Also below a provider, with that provider's own defaults."""
    assert shown(tmp_path, "retry.max_delay") == ["20.0  (default)"]
    assert shown(tmp_path, "providers.ollama.base_url") == ["http://localhost:11434  (default)"]
    assert shown(tmp_path, "retry.nonsense") == []
    assert shown(tmp_path, "nowhere") == []


def test_secrets_are_masked_alone_and_among_others(tmp_path: Path) -> None:
    """The place is told, the value is not."""
    assert shown(tmp_path, "providers.openai.api_key") == ["***  (llm.yaml:4:23)"]
    assert shown(tmp_path, "providers.openai.headers.X-A") == ["***  (llm.yaml:4:52)"]
    assert "secret-key" not in str(shown(tmp_path, "providers.openai") + shown(tmp_path, "providers"))


def test_keys_with_dots_are_found_by_the_longest_that_fits() -> None:
    """`gpt-6.1-sol` is one key, also beside `gpt-6`."""
    tree = from_data({"models": {"gpt-6": {"1-sol": 1}, "gpt-6.1-sol": {"x": [10, 20]}}})
    path = parse_dotted(tree, "models.gpt-6.1-sol.x[1]")
    assert path == ("models", "gpt-6.1-sol", "x", 1)
    assert find(tree, path).value == 20  # type: ignore[union-attr]  # found, as the line above says
    assert parse_dotted(tree, "models.gpt-7") is None
    assert parse_dotted(tree, "models.gpt-6.1-sol.x[7]") is None
