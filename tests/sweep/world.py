"""A whole application on real connections, and everything that must hold after a call of it was cancelled."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from core.container import Container
from core.llm import (
    EventBus,
    HealthMonitor,
    LLMClient,
    LLMService,
    ModelManager,
    OllamaClient,
    ProviderConfigManager,
    ProviderModule,
)
from core.llm.accounting.ledger import UsageLedger
from core.llm.common.events import AttemptFailed, CallFinished
from core.llm.runtime.swap import RuntimeHolder
from core.llm.testing import EventRecorder, FaultInjector, FaultPlan, Script, WireServer
from core.llm.testing.fault_dialects import ANTHROPIC, OPENAI, usage_of
from core.llm.testing.ollama_script import OllamaDownload, OllamaModelSpec
from core.llm.testing.ollama_server import OllamaServer
from core.llm.testing.sweep import SweepPoint
from tests.sweep.test_service_sweep import HALTING, Halting

TEXT = "one two three four"
CHAT = OllamaModelSpec("tiny", ("completion", "tools"), size=1_000_000)
EMBED = OllamaModelSpec("embedder", ("embedding",), size=500_000, dimensions=4, context_length=64)
PULLED = OllamaModelSpec("pulled", size=1_000_000)
JSON_TEXT = '{"word": "quick"}'


class Application:
    """A container with four providers: two on the wire, an Ollama server, and a host of models."""

    def __init__(self, container: Container, faults: FaultInjector, ollama: OllamaServer, objects: Script) -> None:
        self.container = container
        self.faults = faults
        self.ollama = ollama
        self.llm = container.get(LLMService)
        self.client = container.get(LLMClient)
        self.models = container.get(ModelManager)
        self.manager = container.get(ProviderConfigManager)
        self.ledger = container.get(UsageLedger)
        self.ollama_client = container.get(OllamaClient)
        self.holder = container.get(RuntimeHolder)
        self.events = container.get(EventBus)
        self.seen = EventRecorder(self.events)
        self.health = container.get(HealthMonitor)
        self.scripts = {"objects": objects}
        self.plan = FaultPlan()
        self.a_file = Path(__file__)
        self.number = 0

    def chat(self, number: int) -> dict[str, Any]:
        """A call that servers and the ledger know by its number."""
        return {"request": f"go [call {number}]", "user": str(number), "timeout": 30}

    async def prepare(self) -> None:
        """Every run begins alike: nothing is remembered of those before."""
        self.number += 1
        self.seen.clear()
        for name in self.holder.current.providers:
            upstream = self.holder.current.state.upstream(name)
            upstream.budget._balance = 50.0
            models = upstream.breaker.models
            for one in models.values():
                one.__init__()  # type: ignore[misc]  # as new, in the same place
            upstream.breaker.__init__()  # type: ignore[misc]  # likewise; the layers hold it and its models
            upstream.breaker.models.update(models)
        for provider in self.holder.current.providers.values():
            if isinstance(provider, Halting):
                provider.loaded.clear()
        for script in self.scripts.values():
            script._replies.clear()
        self.ollama.publish(OllamaDownload(PULLED, steps=1))

    def complaints(self) -> list[str]:
        """I1, I6 and I8: what is held although nothing runs."""
        runtime = self.holder.current
        found = [f"{one.leases} leases of generation {one.generation}" for one in self.holder.live if one.leases]
        found += [f"stream {one.call_id} is active" for one in self.llm.active_streams()]
        found += [f"generation {one.generation} drains" for one in self.holder.live if one is not runtime]
        for name, provider in runtime.providers.items():
            upstream = runtime.state.upstream(name)
            if upstream.breaker._probing or any(one._probing for one in upstream.breaker.models.values()):
                found.append(f"the place of the probe of {name} is taken")
            if upstream.breaker.state != "closed" and self.plan.rules == ():
                found.append(f"the breaker of {name} is {upstream.breaker.state}")
            limits = upstream.limits.status(runtime.state.clock.monotonic())
            if limits.in_flight or limits.queued:
                found.append(f"{limits.in_flight} slots of {name} are taken, {limits.queued} calls wait for one")
            found += [
                f"{one.limit - one.left:g} of {one.name} of {name} are taken"
                for one in limits.limits
                if one.name == "max_concurrency" and one.left != one.limit
            ]
            transport = getattr(provider, "_transport", None)
            if transport is not None and not repr(transport).endswith(" 0 live)"):
                found.append(f"a connection of {name} is in use: {transport!r}")
        for resident in runtime.state.keeper.residents:
            if resident.leases or resident.waiters or resident.watchers:
                found.append(f"somebody holds or waits for {resident.ref}")
        found += [
            f"{ref} has {one.in_flight} in flight" for ref, one in runtime.state.measured.items() if one.in_flight
        ]
        found += [f"call {one} ended {count} times" for one, count in self._endings().items() if count != 1]
        busy = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith(_OF_A_CALL)]
        return found + [f"task {name} runs" for name in busy]

    def _endings(self) -> Counter[str]:
        return Counter(event.call_id for event in self.seen.of(CallFinished))

    async def check(self, point: SweepPoint) -> None:
        """Everything that must hold once *point* has been; what ends a moment later gets a moment."""
        loop = asyncio.get_running_loop()
        until = loop.time() + 30.0
        while (found := self.complaints()) and loop.time() < until:
            await asyncio.sleep(0.005)
        assert not found, f"{point}: {'; '.join(found)}"
        if point.hit:
            assert point.ending in {"cancelled", "returned"}, point
            answered = [one for one in self.seen.of(CallFinished) if one.outcome == "failed"]
            assert not answered, f"{point}: a cancelled call is reported as failed"
        else:
            assert point.ending == "returned", point
        failed = Counter((event.call_id, event.attempt.number) for event in self.seen.of(AttemptFailed))
        assert all(count == 1 for count in failed.values()), f"{point}: an attempt failed twice"

    async def check_accounts(self) -> None:
        """I3 and I4 of all runs: each request that a server saw has one row that is closed, with what it has used."""
        rows = await self.ledger.rows(limit=10_000)
        assert len({row.attempt_id for row in rows}) == len(rows), "an attempt has two rows"
        open_ones = [row for row in rows if row.state == "open"]
        assert not open_ones, open_ones
        arrived = Counter(entry.call for entry in self.faults.timeline)
        for call in range(1, self.number + 1):
            own = [row for row in rows if row.user == str(call) and row.provider in {"wire", "spare"}]
            answered = sum(row.state in {"settled", "estimated"} for row in own)
            made = sum(row.error not in _NEVER_SENT for row in own)
            assert answered <= arrived[call] <= made, (call, arrived[call], own)
            for row in own:
                assert row.state != "settled" or row.usage == usage_of(TEXT), row


_OF_A_CALL = (
    "core.llm:first",
    "core.llm:hedge",
    "core.llm:flight",
    "core.llm:load",
    "llm-config-reload",
    "cancel-sweep",
)
_NEVER_SENT = frozenset({"RateLimited"})


def settings(wire: str, spare: str, ollama: str, state: Path | None) -> dict[str, Any]:
    """The configuration of the application."""
    limits = {"max_concurrency": 4, "requests_per_minute": 100_000, "adaptive_concurrency": False}
    models = {"m": {"context_window": 9000, "max_output_tokens": 100}}
    return {
        "default_model": "fast",
        "models": {"fast": {"use": "wire/m", "fallback": ["spare/m"]}, "local": "host/m"},
        "providers": {
            "wire": {**OPENAI.provider, "base_url": wire, "models": models, "rate_limits": limits},
            "spare": {**ANTHROPIC.provider, "base_url": spare, "models": models, "rate_limits": limits},
            "ollama": {"base_url": ollama, "models": ["tiny", "embedder"]},
            "host": {"type": "halting", "models": ["m", "n"]},
            "objects": {"type": "halting", "script": "sweep-objects", "models": ["m"]},
        },
        "retry": {"initial_delay": "1ms", "max_delay": "2ms"},
        "health_check": {"enabled": False},
        "residency": {"max_loaded": 2},
        "state": {"backend": "memory"} if state is None else {"backend": "sqlite", "path": str(state)},
        "lifecycle": {"shutdown_timeout": "500ms"},
    }


@asynccontextmanager
async def application(plan: FaultPlan | None = None, state: Path | None = None) -> AsyncIterator[Application]:
    """The application, started; the first server answers by *plan*, and the ledger is in the file *state*."""
    async with AsyncExitStack() as stack:
        held = Script.named("sweep-objects")  # for as long as a provider refers to it
        faults = FaultInjector(plan or FaultPlan())
        wire, spare = [await stack.enter_async_context(WireServer()) for _ in range(2)]
        faults.attach(wire, OPENAI, name="wire", text=TEXT)
        faults.attach(spare, ANTHROPIC, name="spare", text=TEXT, plan=FaultPlan())
        ollama = await stack.enter_async_context(OllamaServer(EMBED, CHAT))
        config = settings(wire.url, spare.url, ollama.url, state)
        module = ProviderModule({"llm_service": config}, watch=False, env={}, plugins=[HALTING], rng=random.Random(0))
        app = Application(await stack.enter_async_context(Container([module])), faults, ollama, held)
        app.plan = faults.plan
        yield app
