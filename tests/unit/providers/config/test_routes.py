"""Options of an alias that do not go together: what means nothing is told at load, and stops nobody."""

from pathlib import Path

import pytest

from tests.unit.providers.config.fake_types import load_text

CONFIG = """llm_service:
  providers: {ollama: {models: [a, b]}, openai: {api_key: k, models: [c]}}
  models:
    fast: {use: %s}
"""


@pytest.mark.parametrize(
    ("alias", "path", "message", "advice"),
    [
        ("[{model: ollama/a, weight: 3}, openai/c]", "use", "does not look at", "strategy: weighted"),
        ("ollama/a, bandit: {frozen: true}", "bandit", "without `strategy: bandit`", "add it"),
        (
            "ollama/a, mid_stream: {policy: restart, buffer_tokens: 9}",
            "mid_stream.buffer_tokens",
            "`restart`",
            "buffer",
        ),
        (
            "ollama/a, mid_stream: {policy: buffer, max_recoveries: 2}",
            "mid_stream.max_recoveries",
            "`buffer`",
            "restart",
        ),
        ("ollama/a, mid_stream: {otherwise: restart}", "mid_stream.otherwise", "`error`", "continue"),
        ("ollama/a, fallback: [], hedge: true", "hedge", "nobody else to ask", "fallback"),
    ],
)
def test_an_option_without_effect_is_told_and_does_not_stop_the_load(
    tmp_path: Path, alias: str, path: str, message: str, advice: str
) -> None:
    """Somebody meant something by it; the warning says where it stands and what it needs."""
    (warning,) = load_text(tmp_path, CONFIG % alias).warnings
    assert warning.path == f"models.fast.{path}"
    assert warning.line == 4
    assert message in warning.message
    assert advice in (warning.suggestion or "")


@pytest.mark.parametrize(
    "alias",
    [
        "[{model: ollama/a, weight: 3}, openai/c], strategy: weighted",
        "[{model: ollama/a, weight: 3}, openai/c], strategy: least_in_flight",
        "[{model: ollama/a, weight: 3}, openai/c], sticky_by: user",
        "ollama/a, strategy: bandit, bandit: {frozen: true}",
        "ollama/a, mid_stream: {policy: continue, otherwise: restart, max_recoveries: 2}",
        "ollama/a, fallback: [openai/c], hedge: true",
    ],
)
def test_options_that_go_together_are_taken_as_they_are(tmp_path: Path, alias: str) -> None:
    """No warning about what has its effect."""
    assert load_text(tmp_path, CONFIG % alias).warnings == ()
