"""Whatever stands in the file, the answer is a configuration or a ConfigError with a place, soon."""

import random
import time
from pathlib import Path

import pytest

from core.llm.common.exceptions import ConfigError, ConfigIssue
from core.llm.providers.config.loader import load_config
from tests.unit.providers.config.fake_types import PROVIDER_TYPES

EXAMPLE = """\
llm_service:
  default_model: fast
  fallback_chain: [ollama, local]
  models:
    fast: {use: openai/a, fallback: [ollama], defaults: {temperature: 0.2}}
    smart: {use: [{model: openai/b, weight: 3}, openai/a], strategy: weighted}
  providers:
    openai:
      api_key: ${KEY:-}
      models: {a: {price: {input: 1.0, output: 5}}, b: }
      rate_limits: {requests_per_minute: 60}
      headers: {X-A: {env: HEADER}}
    ollama: &server {base_url: "${URL:-http://localhost:11434}", options: {num_ctx: 8192, stop: [a, 'b']}}
    copy: {<<: *server, type: ollama}
    local: {type: llama_cpp, models: {tiny: {path: embedded}}}
  retry: {max_retries: 2, initial_delay: 0.5s}
  costs: {monthly_budget: 100, limits: {openai_daily: 5}}
  residency: {memory_budget: {cuda:0: 20GiB}, preload: [local/tiny]}
"""
TOKENS = [
    "{", "}", "[", "]", ":", ": ", ",", "- ", "&a ", "*a", "<<: ", "!x ", "!!str ", "|", ">", "'", '"', "#", "%", "@", "`", "?", "\n", "  ",
    "\t", "\x00", "\x7f", "\u2028", "é", "💥", "${", "${X", "}", "$$", "no", "null", "~", "1e999", "-1", "0", "9" * 40, ".nan", "[]", "{}", "---\n", "...",
]  # fmt: skip


def mutated(rng: random.Random) -> str:
    """The example with a few accidents."""
    text = EXAMPLE
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(text) + 1)
        match rng.randrange(5):
            case 0:
                text = text[:at] + rng.choice(TOKENS) + text[at:]
            case 1:
                text = text[:at] + text[at + rng.randint(1, 12) :]
            case 2:
                lines = text.splitlines(keepends=True)
                lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
                text = "".join(lines)
            case 3:
                text = text[:at] + rng.choice(TOKENS) + text[at + 3 :]
            case _:
                lines = text.splitlines(keepends=True)
                number = rng.randrange(len(lines))
                lines[number] = " " * rng.randint(0, 6) + lines[number].lstrip()
                text = "".join(lines)
    return text


def issues_of(path: Path) -> tuple[ConfigIssue, ...]:
    """What is wrong with *path*."""
    try:
        load_config(path, {"KEY": "sk-x", "HEADER": "h"}, PROVIDER_TYPES)
    except ConfigError as error:
        return error.issues
    return ()


@pytest.mark.parametrize("seed", range(8))
def test_accidents_end_in_a_located_error_or_in_a_configuration(tmp_path: Path, seed: int) -> None:
    """HR-02: no other exception, and no issue without a file."""
    rng = random.Random(seed)
    path = tmp_path / "llm.yaml"
    refused = 0
    for _ in range(80):
        text = mutated(rng)
        path.write_text(text)
        issues = issues_of(path)
        refused += bool(issues)
        assert all(issue.file and issue.line and issue.column and issue.message for issue in issues), (text, issues)
    assert refused > 20


@pytest.mark.parametrize("name", ["llm.yaml", "llm.toml"])
def test_random_bytes_are_refused(tmp_path: Path, name: str) -> None:
    """Binary files, cut UTF-8 and nonsense."""
    rng = random.Random(1)
    path = tmp_path / name
    for _ in range(100):
        path.write_bytes(rng.randbytes(rng.randint(1, 400)))
        with pytest.raises(ConfigError):
            load_config(path, {}, PROVIDER_TYPES)


@pytest.mark.parametrize(
    "text",
    [
        "llm_service: {models: {" + ", ".join(f"a{i}: a{i + 1}" for i in range(3000)) + "}}\n",
        "llm_service: {default_model: '" + "${A:-" * 5000 + "'}\n",
        "llm_service: {default_model: '" + "x" * 900_000 + "'}\n",
        "llm_service: {" + ", ".join(f"k{i}: 1" for i in range(20_000)) + "}\n",
        "llm_service: {fallback_chain: [" + ", ".join(f"n{i}" for i in range(20_000)) + "]}\n",
    ],
)
def test_f109_large_nonsense_is_refused_in_time(tmp_path: Path, text: str) -> None:
    """F109: long chains, deep defaults, long values and thousands of mistakes."""
    path = tmp_path / "llm.yaml"
    path.write_text(text)
    began = time.process_time()
    with pytest.raises(ConfigError) as caught:
        load_config(path, {}, PROVIDER_TYPES)
    assert time.process_time() - began < 5.0
    assert len(str(caught.value)) < 100_000
