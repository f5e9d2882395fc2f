"""Make upstreams fail by plan, and remember what was done to each request.

Over real connections, in any wire format:

```python
faults = FaultInjector(FaultPlan(Rule(refuse(503), every=3), seed=7))
async with WireServer() as server:
    faults.attach(server, WIRE_DIALECTS["anthropic"])
    ...                                                # base_url: server.url
print(faults.report())                                 # seed, plan, and what happened to each request
```

Without a network, around any provider: `faults.wrap(ScriptedProvider())`, or in a container by
`ProviderModule(config, plugins=[faults.around(SCRIPTED)])`.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from core.llm.common.clock import Clock, SystemClock
from core.llm.providers.base.provider import BaseLLMProvider, ProviderServices
from core.llm.providers.base.spec import ProviderSpec
from core.llm.testing.fault_dialects import WireDialect
from core.llm.testing.fault_plan import Asked, Fault, FaultPlan
from core.llm.testing.fault_scripts import wire_script
from core.llm.testing.wire_server import WireRequest, WireServer
from core.llm.testing.wire_steps import WireScript, answer

_CALL: Final = re.compile(r"\[call (\d+)\]")
_CREDENTIALS: Final = ("authorization", "x-api-key", "api-key", "x-goog-api-key")


@dataclass(slots=True)
class Injected:
    """One request that reached an upstream, and what was done to it."""

    at: float
    """Seconds on the injector's clock."""
    upstream: str
    ordinal: int
    """1 for the first request of its upstream."""
    model: str
    stream: bool
    text: str
    """The whole text that an answer to it holds: the truth."""
    fault: Fault | None
    call: int | None = None
    """The number in a prompt that says `[call 17]`: which call sent it, where the calls are numbered."""
    key_id: str | None = None
    """Fingerprint of its credential."""
    request: WireRequest | None = field(default=None, repr=False)
    """The request itself, where there was one on a wire."""

    @property
    def answered(self) -> bool:
        """Whether the plan answers it in the end."""
        return self.fault is None or self.fault.answers

    @property
    def retry_after(self) -> float | None:
        """The hint it was given."""
        refusal = self.fault.refusal if self.fault is not None else None
        return refusal.retry_after if refusal is not None else None

    def describe(self, origin: float = 0.0) -> str:
        """One line."""
        kind = "stream" if self.stream else "call"
        done = self.fault.name if self.fault is not None else "answered"
        gone = self.request.connection.peer_closed_at if self.request is not None else None
        left = f", the peer left at {gone - origin:.3f} s" if gone is not None else ""
        number = "" if self.call is None else f"[call {self.call}] "
        return f"{self.at - origin:8.3f} s  {number}{self.upstream} #{self.ordinal} {kind} {self.model}: {done}{left}"


_NO_CALL: Final = b'{"object": "list", "data": [], "models": [], "version": "0.33.0", "response": "", "done": true}'
"""What a look at the models, a version or a load is answered with."""


def _loads_a_model(request: WireRequest) -> bool:
    """Ollama loads a model by a request without a prompt."""
    return request.path.endswith("/api/generate") and b'"prompt"' not in request.body


class FaultInjector:
    """Carries out a plan; `timeline` is everything that was done. Safe to share between upstreams of one event loop."""

    def __init__(self, plan: FaultPlan | None = None, *, clock: Clock | None = None) -> None:
        self.plan = plan or FaultPlan()
        """May be replaced while it runs; what comes after sees the new one."""
        self.clock = clock or SystemClock()
        self.timeline: list[Injected] = []
        self.probes = 0
        """How often an upstream on a wire was asked for something that is no call: its models, or to load one."""
        self._began: float | None = None
        self._count: dict[str, int] = {}

    def attach(
        self,
        server: WireServer,
        dialect: WireDialect,
        *,
        name: str = "upstream",
        text: str | Callable[[int], str] | None = None,
        plan: FaultPlan | None = None,
        gap: float = 0.0,
    ) -> None:
        """Have *server* speak *dialect* and fail by the plan.

        Args:
            server: answers every request from now on by this plan.
            dialect: one of `WIRE_DIALECTS`.
            name: how the timeline calls this upstream.
            text: what it answers, or a function of the request's number; by default each answer is different.
            plan: one of its own instead of the injector's.
            gap: seconds between two pieces of a stream.
        """
        server.choose(self.chooser(dialect, name=name, text=text, plan=plan, gap=gap))

    def chooser(
        self,
        dialect: WireDialect,
        *,
        name: str = "upstream",
        text: str | Callable[[int], str] | None = None,
        plan: FaultPlan | None = None,
        gap: float = 0.0,
    ) -> Callable[[WireRequest], WireScript]:
        """What `attach` gives to `WireServer.choose`, for a server that has something to say first."""

        def choose(request: WireRequest) -> WireScript:
            if request.method == "GET" or _loads_a_model(request):
                return self._probed(name, dialect, plan or self.plan)
            stream, model = dialect.asks_stream(request), dialect.model_of(request)
            key = next((request.headers[one] for one in _CREDENTIALS if one in request.headers), None)
            entry = self.next(
                name,
                model,
                key=key,
                stream=stream,
                text=text,
                plan=plan,
                prompt=request.body.decode("utf-8", "replace"),
            )
            entry.request = request
            return wire_script(entry.fault, dialect, text=entry.text, model=model, stream=stream, gap=gap)

        return choose

    def _probed(self, upstream: str, dialect: WireDialect, plan: FaultPlan) -> WireScript:
        """What asks for no answer (health, models, a load) meets what a call would meet; it is none of the requests."""
        self.probes += 1
        elapsed = 0.0 if self._began is None else self.clock.monotonic() - self._began
        fault = plan.decide(Asked(self._count.get(upstream, 0) + 1, elapsed))
        if fault is None or fault.answers:
            return answer(_NO_CALL)
        return wire_script(fault, dialect, text="", model="", stream=False)

    def wrap(self, provider: BaseLLMProvider) -> BaseLLMProvider:
        """*provider*, failing by the plan; needs no network."""
        from core.llm.testing.faulty_provider import FaultyProvider  # noqa: PLC0415 - it needs this module

        return FaultyProvider(provider, self)

    def around(self, spec: ProviderSpec) -> ProviderSpec:
        """*spec* for `ProviderModule(..., plugins=[...])`: providers of this type fail by the plan."""
        return _FaultySpec(
            spec.name, spec.config, spec.provider, spec.summary, spec.extra, spec.client, spec.local, spec.api, self
        )

    def next(
        self,
        upstream: str,
        model: str,
        *,
        key: str | None = None,
        stream: bool = False,
        text: str | Callable[[int], str] | None = None,
        plan: FaultPlan | None = None,
        prompt: str = "",
    ) -> Injected:
        """Decide about the next request at *upstream*, and write it down; for upstreams of your own."""
        now = self.clock.monotonic()
        if self._began is None:
            self._began = now
        ordinal = self._count[upstream] = self._count.get(upstream, 0) + 1
        if key is not None:
            key = key.removeprefix("Bearer ").removeprefix("bearer ")
        fault = (plan or self.plan).decide(Asked(ordinal, now - self._began, model, key, stream))
        if text is None:
            text = f"this is answer {ordinal} of {upstream} and it has eleven words"
        elif not isinstance(text, str):
            text = text(ordinal)
        called = _CALL.search(prompt)
        entry = Injected(now, upstream, ordinal, model, stream, text, fault, int(called[1]) if called else None)
        entry.key_id = None if key is None else hashlib.sha256(key.encode()).hexdigest()[:8]
        self.timeline.append(entry)
        return entry

    def requests(self, upstream: str) -> list[Injected]:
        """What reached *upstream*, in order."""
        return [entry for entry in self.timeline if entry.upstream == upstream]

    def report(self) -> str:
        """Seed, plan and timeline as text; holds neither keys nor prompts."""
        origin = self._began or 0.0
        steps = [entry.describe(origin) for entry in self.timeline] or ["  no request has arrived"]
        return "\n".join([self.plan.describe(), f"{len(self.timeline)} requests", *steps])


@dataclass(frozen=True, slots=True)
class _FaultySpec(ProviderSpec):
    injector: FaultInjector | None = None

    def provider_class(self) -> Any:
        inner: Any = ProviderSpec.provider_class(self)
        injector = self.injector

        def build(config: Any, services: ProviderServices) -> BaseLLMProvider:
            provider: BaseLLMProvider = inner(config, services)
            return injector.wrap(provider) if injector is not None else provider

        return build
