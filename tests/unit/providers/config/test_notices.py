"""What a file may say and does not mean what its author thinks: it loads, and the load says so with the place."""

from pathlib import Path

import pytest

from tests.unit.providers.config.fake_types import load_text

HEAD = """\
llm_service:
  providers:
    o: {type: ollama, models: [q, r]}
    p: {type: openai, api_key: k, models: {m: {price: {input: 1, output: 1}}}}
"""
ROWS = {
    "key twice": ("    z: {type: openai, api_keys: [a, b, a]}\n", "providers.z.api_keys[2]", "has already"),
    "path in memory": ("  state: {path: x.db}\n", "state.path", "nothing outlives the process"),
    "url in memory": ("  state: {url: 'redis://x'}\n", "state.url", "nothing outlives the process"),
    "seal without a log": ("  audit: {key: k}\n", "audit.key", "no audit log without `path`"),
    "weights nobody looks at": (
        "  models: {a: {use: [{model: o/q, weight: 0}, p/m]}}\n",
        "models.a.use",
        "`ordered` does not look at",
    ),
    "alias over a model": ("  models: {m: o/q}\n", "models.m", "hides the model of the same name"),
    "fallback to itself": (
        "  models: {a: {use: p/m, fallback: [p/m]}}\n",
        "models.a.fallback[0]",
        "under `use` already",
    ),
    "fallback twice": ("  models: {a: {use: p/m, fallback: [o/q, o/q]}}\n", "models.a.fallback[1]", "before already"),
    "model twice": ("  models: {a: {use: [p/m, p/m]}}\n", "models.a.use[1]", "before already"),
    "chain twice": ("  fallback_chain: [p, o, p]\n", "fallback_chain[2]", "before already"),
    "reason to itself": (
        "  models: {a: {use: p/m, fallback_on: {outage: [p/m]}}}\n",
        "models.a.fallback_on.outage[0]",
        "under `use` already",
    ),
    "shadow of itself": ("  models: {a: {use: p/m, shadow: {model: a}}}\n", "models.a.shadow.model", "answers already"),
    "idle beyond the default total": (
        "    z: {type: openai, api_key: k, timeouts: {idle: 20m}}\n",
        "providers.z.timeouts.idle",
        "longer than timeouts.total",
    ),
    "total beyond the whole call": (
        "    z: {type: openai, api_key: k, timeouts: {total: 20m}}\n  timeout: 1m\n",
        "providers.z.timeouts.total",
        "`timeout` of a whole call",
    ),
    "day below minute": (
        "    z: {type: openai, api_key: k, rate_limits: {requests_per_minute: 9, requests_per_day: 5}}\n",
        "providers.z.rate_limits.requests_per_day",
        "a single minute may use up the day",
    ),
    "model above its provider": (
        "    z: {type: openai, rate_limits: {tokens_per_minute: 9}, models: {x: {rate_limits: {tokens_per_minute: 10}}}}\n",
        "providers.z.models.x.rate_limits.tokens_per_minute",
        "may have, 9",
    ),
    "retries beyond attempts": ("  retry: {max_retries: 5, max_attempts: 2}\n", "retry.max_retries", "never reached"),
    "preload beyond memory": (
        "  residency: {sizes: {o/q: 4GiB}, memory_budget: {cpu: 1GiB}, devices: {o: cpu}, preload: [o/q]}\n",
        "residency.preload[0]",
        "can never be loaded",
    ),
    "preload beyond max_loaded": (
        "  residency: {max_loaded: 1, preload: [o/q], pinned: [o/r]}\n",
        "residency.preload",
        "push each other out",
    ),
    "connection of a local model": (
        "    l: {type: llama_cpp, models: {t: {path: x}}, proxy: 'http://x:1'}\n",
        "providers.l.proxy",
        "run on this machine",
    ),
    "budget of nothing": ("  costs: {daily_limit: 0}\n", "costs.daily_limit", "refuses whatever costs anything"),
    "budget of a part of nothing": ("  costs: {limits: {p_daily: 0}}\n", "costs.limits.p_daily", "refuses whatever"),
    "part beyond the whole": (
        "  costs: {daily_limit: 5, limits: {p_daily: 50}}\n",
        "costs.limits.p_daily",
        "more than costs.daily_limit",
    ),
    "listed part beyond the whole": (
        "  costs: {monthly_budget: 5, limits: [{scope: {user: ann}, amount: 6, period: month}]}\n",
        "costs.limits[0].amount",
        "more than costs.monthly_budget",
    ),
    "alert of nothing": ("  costs: {alert_threshold: 0.5}\n", "costs.alert_threshold", "without a budget"),
    "currency of nobody": ("  costs: {daily_limit: 5, currency: UDS}\n", "costs.currency", "no currency of ISO 4217"),
    "dollars taken for euros": (
        "    z: {type: openai, api_key: k, models: [x]}\n  costs: {daily_limit: 5, currency: EUR}\n",
        "costs.currency",
        "`z/x` has no `price`",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_what_has_no_effect_is_said_at_load_with_its_place_and_what_to_do(tmp_path: Path, name: str) -> None:
    text, path, message = ROWS[name]

    warnings = load_text(tmp_path, HEAD + text).warnings

    assert [one.path for one in warnings] == [path]
    assert message in warnings[0].message
    assert warnings[0].line
    assert warnings[0].suggestion


@pytest.mark.parametrize(
    "text",
    [
        "  models: {a: {use: [{model: o/q, weight: 0}, p/m], strategy: weighted}}\n",
        "  models: {a: {use: [{model: o/q, weight: 2}, p/m], sticky_by: user}}\n",
        "  models: {a: {use: [p/m, o/q], fallback_on: {outage: [o/q]}}}\n",
        "  costs: {daily_limit: 5, monthly_budget: 100, limits: {p_daily: 5, p_monthly: 50}, alert_threshold: 0.5}\n",
        "  costs: {daily_limit: 5, currency: EUR}\n",
        "    z: {type: openai, api_keys: [a, b]}\n",
        "    l: {type: llama_cpp, models: {t: {path: x}}}\n",
        "  residency: {sizes: {o/q: 1GiB}, memory_budget: {cpu: 1GiB}, devices: {o: cpu}, preload: [o/q]}\n",
        "  retry: {max_retries: 2, max_attempts: 5}\n",
    ],
)
def test_nothing_is_said_about_what_does_what_it_says(tmp_path: Path, text: str) -> None:
    """A warning that is wrong teaches people to read past them."""
    assert load_text(tmp_path, HEAD + text).warnings == ()
