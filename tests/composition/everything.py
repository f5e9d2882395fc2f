"""Calls with many features switched on at once, on scripted providers, and what must hold after each of them."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from pydantic import BaseModel

from core.container import Container
from core.llm import Allow, Block, Guardrail, PiiMasking, ProviderModule, verify_audit_log
from core.llm.accounting.budgets import Account
from core.llm.accounting.ledger import UsageLedger
from core.llm.common.clock import Clock
from core.llm.common.exceptions import ProviderError
from core.llm.common.trace import CallTrace
from core.llm.providers.base.response import EmbeddingResponse, LLMResponse, StreamReset
from core.llm.testing import SCRIPTED, Script
from tests.unit.llm.support import World

TWO: Final = {"use": [{"model": "alpha/m", "weight": 1}, {"model": "beta/m", "weight": 1}], "fallback": ["delta/m"]}
FEATURES: Final[Mapping[str, dict[str, Any]]] = {
    "hedge": {"hedge": {"after": "100ms", "max_extra": 1.0, "tools": True}},
    "restart": {"mid_stream": "restart"},
    "continue": {"mid_stream": {"policy": "continue", "otherwise": "restart"}},
    "buffer": {"mid_stream": {"policy": "buffer", "buffer_tokens": 3}},
    "shadow": {"shadow": {"model": "gamma/m", "fraction": 1.0}},
    "weighted": {**TWO, "strategy": "weighted"},
    "round_robin": {**TWO, "strategy": "round_robin"},
    "headroom": {**TWO, "strategy": "headroom"},
    "bandit": {**TWO, "strategy": "bandit"},
    "fallback_on": {"fallback_on": {"content_filter": ["delta/m"], "outage": ["delta/m"]}},
    "limits": {"limits": {"max_cost": 1, "max_output_tokens": 50, "max_concurrency": 5}},
}
"""What an alias may have, by a short name."""
PLAIN: Final[dict[str, Any]] = {"use": "alpha/m", "fallback": ["beta/m"]}
MODEL: Final = {
    "price": {"input": "1.5", "output": "7.5"},
    "capabilities": ["chat", "stream", "tools", "json_schema", "embeddings"],
    "quirks": {"prefill": True},
}
UPSTREAMS: Final = ("alpha", "beta", "gamma", "delta")
TOOLS: Final = [{"name": "look", "description": "Look it up.", "parameters": {"type": "object"}}]
WORDS: Final = ("The quick ", "brown fox ", "jumps over ", "[EMAIL_1] ok")
MODES: Final = ("generate", "stream", "object", "stream_object", "tools", "stream_tools", "embed")
FAULTS: Final = ("none", "fails_once", "fails_twice", "slow", "breaks", "refuses", "all_fail", "limited")


class Answer(BaseModel):
    """The object that is asked for."""

    word: str


class Strict(Guardrail):
    """Looks at every answer in small pieces, and finds nothing."""

    window = 5

    def check_output(self, text: str) -> Allow | Block:
        return Block("a bad word") if "zzzz" in text else Allow()


def pairs() -> dict[str, dict[str, Any]]:
    """An alias for every feature, and for every two that do not contradict each other."""
    found = {"plain": PLAIN}
    for count in (1, 2):
        for names in combinations(FEATURES, count):
            keys = [key for name in names for key in FEATURES[name]]
            if len(set(keys)) == len(keys):
                found["-".join(names)] = {**PLAIN, **{k: v for name in names for k, v in FEATURES[name].items()}}
    return found


@asynccontextmanager
async def world(aliases: Mapping[str, Any], clock: Clock, *, everywhere: bool) -> AsyncIterator[World]:
    """A service with *aliases*.

    *everywhere* switches on what is not of one alias: cache, guardrails, limits and pools of keys of the providers,
    budgets of every scope, and the audit log, which must be whole in the end.
    """
    scripts = {name: Script.named(f"{name}-{random.getrandbits(64):x}") for name in UPSTREAMS}
    limits = {"requests_per_minute": 10**6, "tokens_per_minute": 10**9, "max_concurrency": 4} if everywhere else {}
    folder = TemporaryDirectory()
    log = Path(folder.name) / "audit.jsonl"
    keys = {"api_keys": [{"key": "one", "weight": 2}, "two"]} if everywhere else {}
    providers = {
        name: {"type": "scripted", "script": script.name, "models": {"m": MODEL}, "rate_limits": limits, **keys}
        for name, script in scripts.items()
    }
    config = {
        "llm_service": {
            "default_model": next(iter(aliases)),
            "models": dict(aliases),
            "providers": providers,
            "cache": {"enabled": everywhere},
            "health_check": {"enabled": False},
            "retry": {"initial_delay": "1ms", "max_delay": "2ms", "max_retries": 1},
            "lifecycle": {"shutdown_timeout": "500ms"},
            "costs": _budgets(aliases) if everywhere else {},
            "audit": {"path": str(log), "key": "of the tests"} if everywhere else {},
        }
    }
    rails = [PiiMasking(), Strict()] if everywhere else []
    module = ProviderModule(
        config, watch=False, env={}, plugins=[SCRIPTED], clock=clock, rng=random.Random(1), guardrails=rails
    )
    with folder:
        async with Container([module]) as container:
            yield World(container, scripts)
        assert not everywhere or verify_audit_log(log, b"of the tests").problem is None


def _budgets(aliases: Mapping[str, Any]) -> dict[str, Any]:
    """More money than any test spends, in every scope that a call may count in."""
    scopes: list[dict[str, str]] = [{"user": "*"}, {"user": "ann", "provider": "beta"}]
    scopes += [{"provider": name} for name in UPSTREAMS] + [{"alias": name} for name in aliases]
    limits = [{"scope": scope, "amount": 10**6, "period": "day"} for scope in scopes]
    return {"daily_limit": 10**6, "monthly_budget": 10**6, "limits": limits}


def begin_anew(running: World) -> None:
    """Forget what earlier calls have taught about the providers, and what they were told to say."""
    for name, script in running.scripts.items():
        script._replies.clear()
        script._vectors.clear()
        script.requests.clear()
        script.embeddings.clear()
        upstream = running.holder.current.state.upstream(name)
        upstream.budget._balance = 50.0
        models = dict(upstream.breaker.models)
        for breaker in (*models.values(), upstream.breaker):
            breaker.__init__()  # type: ignore[misc]  # as new, in the same place: the layers hold it
        upstream.breaker.models.update(models)
        for key in upstream.keys._by_id.values():
            for state in (key, *key._models.values()):
                state.resting_until, state.refused = 0.0, False


def arrange(running: World, mode: str, fault: str) -> None:
    """Let alpha behave as *fault* says, and everybody else well."""
    embeds = mode == "embed"
    failures = {
        "fails_once": [_error("server_error", 503)],
        "fails_twice": [_error("server_error", 503), _error("server_error", 503)],
        "refuses": [_error("content_filter", 400)],
        "limited": [ProviderError("rate_limit", "slow down", retry_after=1.0, status_code=429)],
    }
    if fault == "all_fail":
        for script in running.scripts.values():
            for _ in range(6):
                script.will_embed(_error("server_error", 503)) if embeds else script.will_raise(
                    _error("server_error", 503)
                )
        return
    for error in failures.get(fault, ()):
        running.alpha.will_embed(error) if embeds else running.alpha.will_raise(error)
    if fault == "slow":
        answer(running.alpha, mode, delay=5.0)
    elif fault == "breaks":
        begun = WORDS[:3] if mode in {"generate", "stream"} else ('{"wo', 'rd": "', "bl")
        running.alpha.will_stream(*begun, ProviderError("network_error", "it broke", code="body_cut"))
    for script in running.scripts.values():
        for _ in range(4):
            answer(script, mode)


def _error(kind: Any, status: int) -> ProviderError:
    return ProviderError(kind, "it went wrong", status_code=status)


def answer(script: Script, mode: str, delay: float = 0.0) -> None:
    """Queue a good answer."""
    if "object" in mode:
        script.will_stream('{"wo', 'rd": "', "blue", '"}', delay=delay)
    elif "tools" in mode:
        called = {"id": "c1", "name": "look", "arguments": {"q": "x"}}
        script.will_answer(tool_calls=[called], delay=delay)
    elif mode != "embed":
        script.will_stream(*WORDS, delay=delay)


async def ask(running: World, mode: str, alias: str, prompt: str) -> LLMResponse | EmbeddingResponse:
    """One call in *mode*; what was shown of a stream is what its response says."""
    service = running.service
    options: dict[str, Any] = {"model": alias, "timeout": 60, "user": "ann"}
    match mode:
        case "generate":
            return await service.generate(prompt, **options)
        case "object":
            return await service.generate_object(prompt, Answer, **options)
        case "tools":
            return await service.generate(prompt, tools=TOOLS, **options)
        case "embed":
            return await service.embed([prompt, "b"], **options)
        case "stream_object":
            async with service.stream_object(prompt, Answer, **options) as objects:
                async for _ in objects:
                    pass
                return await objects.response()
    more: dict[str, Any] = {"tools": TOOLS} if mode == "stream_tools" else {}
    async with service.stream(prompt, **options, **more) as events:
        text = ""
        async for event in events:
            text = "" if isinstance(event, StreamReset) else text + event.text
        response = await events.response()
    assert response.content == text
    return response


async def at_rest(running: World) -> None:
    """Let copies and whoever was cut come to their ends."""
    for _ in range(200):
        await asyncio.sleep(0)
        if not running.leases():
            break
    for _ in range(20):
        await asyncio.sleep(0)


def left_behind(running: World) -> list[str]:
    """What is still taken although no call runs."""
    state = running.holder.current.state
    found = {"leases": running.leases(), "users": len(state.memory.users), "shadows": len(state.memory.shadows)}
    found["measured"] = sum(one.in_flight for one in state.measured.values())
    for name, script in running.scripts.items():
        upstream = state.upstream(name)
        found[f"{name}: running"] = script.active
        found[f"{name}: adaptive slots"] = upstream.limits.adaptive.used
        found[f"{name}: waiting"] = upstream.limits.queue.length
        found[f"{name}: admitted"] = upstream.breaker.in_flight
        found[f"{name}: admitted to a model"] = sum(one.in_flight for one in upstream.breaker.models.values())
        limits = [each for one in upstream.limits._limits.values() for each in one.values()]
        found[f"{name}: slots"] = sum(getattr(each, "used", 0) for each in limits)
        found[f"{name}: probes"] = upstream.breaker._probing + sum(
            one._probing for one in upstream.breaker.models.values()
        )
    found["held by budgets"] = sum(account.held for _, account in _accounts(running))
    return [f"{what}: {count}" for what, count in found.items() if count]


def _accounts(running: World, name: str | None = None) -> Iterator[tuple[str, Account]]:
    for budget in running.container.get(UsageLedger).purse.budgets:
        if name in (None, budget.name):
            for account in budget._books.accounts.values():
                yield budget.name, account


async def accounts(running: World, trace: CallTrace) -> tuple[list[str], Decimal]:
    """What the ledger, the trace and the upstreams do not agree about; and what the rows of the call add up to."""
    ledger = running.container.get(UsageLedger)
    rows = {row.number: row for row in await ledger.rows(call_id=trace.call_id)}
    copies = await ledger.rows(call_id=f"{trace.call_id}-shadow")
    seen = {name: len(script.requests) + len(script.embeddings) for name, script in running.scripts.items()}
    copied = seen.pop("gamma")
    problems = []
    if (len(rows), len(copies)) != (sum(seen.values()), copied):
        problems.append(f"{len(rows)} rows and {len(copies)} of copies, upstreams saw {seen} and {copied} copies")
    if len(trace.attempts) != sum(seen.values()):
        problems.append(f"{len(trace.attempts)} attempts in the trace, upstreams saw {seen}")
    for attempt in trace.attempts:
        row = rows.get(attempt.number)
        told = (attempt.billing, attempt.role, attempt.target.provider)
        if row is not None and (row.state, row.role, row.provider) != told:
            problems.append(f"attempt {attempt.number}: {told}, its row says {row.state}, {row.role}, {row.provider}")
        if not attempt.decision:
            problems.append(f"attempt {attempt.number} has not ended")
    problems.extend(f"row {row.number} is open" for row in (*rows.values(), *copies) if row.state == "open")
    if ledger.purse.budgets:
        booked = sum(total.nanos for total in await ledger.totals())
        spent = sum(account.spent for _, account in _accounts(running, "costs.monthly_budget"))
        if booked != spent:
            problems.append(f"the budget says {spent} are spent, the ledger {booked}")
    return problems, sum((row.amount or Decimal(0) for row in rows.values() if row.state != "ambiguous"), Decimal(0))
