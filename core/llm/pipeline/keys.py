"""Choose the credential for each attempt, and keep away from a key (or a keyless upstream) that was told to wait.

A key that was rate limited rests until the moment the provider named, for every call at once; a key that was refused is
set aside; the others carry on. What is known about a key is kept by its fingerprint, so it survives a reload, and a
changed key starts afresh.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from core.llm.common.clock import Clock
from core.llm.common.events import EventBus, ProviderStateChanged
from core.llm.common.exceptions import ProviderError
from core.llm.common.secrets import fingerprint
from core.llm.common.types import ModelRef
from core.llm.pipeline.backoff import NEXT_KEY
from core.llm.pipeline.handler import Call, Handler, Layer, Reply

LONGEST_GATE = 900.0
QUARANTINE = 60.0
QUOTA_GATE = 900.0


@dataclass(slots=True)
class KeyState:
    """What is known about one credential."""

    id: str
    resting_until: float = 0.0
    reason: str = ""
    refused: bool = False


class KeyStates:
    """The states of the keys of one upstream, by fingerprint."""

    __slots__ = ("_by_id",)

    def __init__(self) -> None:
        self._by_id: dict[str, KeyState] = {}

    def of(self, secret: str | None) -> KeyState:
        """The state of *secret*; `None` stands for an upstream without keys."""
        identity = fingerprint(secret) if secret is not None else "none"
        state = self._by_id.get(identity)
        if state is None:
            state = self._by_id[identity] = KeyState(identity)
        return state

    def all_resting(self, secrets: Sequence[str], now: float) -> KeyState | None:
        """The first of *secrets* that will be ready, where all of them rest; `None` where one is ready now."""
        first = min((self.of(secret) for secret in secrets or (None,)), key=lambda state: state.resting_until)
        return first if first.resting_until > now else None


class KeyPool:
    """The keys of one target, used in turn."""

    __slots__ = ("_clock", "_events", "_keys", "_target", "_turn")

    def __init__(
        self, secrets: Sequence[str], states: KeyStates, target: ModelRef, clock: Clock, events: EventBus
    ) -> None:
        # An upstream without keys has one nameless key, so that it can rest too.
        named: Sequence[str | None] = secrets or (None,)
        self._keys = [(secret, states.of(secret)) for secret in named]
        self._target = target
        self._clock = clock
        self._events = events
        self._turn = 0

    def pick(self) -> tuple[str | None, KeyState]:
        """The next key that may be used now.

        Raises:
            ProviderError: every key rests; says for how long and why.
        """
        now = self._clock.monotonic()
        keys = self._keys
        if len(keys) == 1 and keys[0][1].resting_until <= now:
            return keys[0]
        for _ in range(len(keys)):
            self._turn = (self._turn + 1) % len(keys)
            if keys[self._turn][1].resting_until <= now:
                return keys[self._turn]
        _, state = min(keys, key=lambda entry: entry[1].resting_until)
        wait = state.resting_until - now
        if state.refused:
            raise ProviderError(
                "authentication",
                f"the provider refused this key {QUARANTINE - wait:.0f} s ago: {state.reason}. Correct api_key",
                code="key_refused",
                provider=self._target.provider,
                model=self._target.model,
            )
        raise ProviderError(
            "rate_limit",
            f"not sent: {state.reason}",
            code="gated",
            retry_after=wait,
            provider=self._target.provider,
            model=self._target.model,
        )

    def note(self, state: KeyState, error: ProviderError) -> bool:
        """Learn from a failed attempt with the key of *state*; `True` where another key is ready now."""
        if error.code == "circuit_open":
            # The breaker's own word: it says when the next probe is due, not that the provider asked to wait.
            return False
        now = self._clock.monotonic()
        if error.type == "authentication" and error.code != "key_refused":
            self._rest(state, now, QUARANTINE, error.message, refused=True)
        elif error.type == "quota_exceeded":
            self._rest(state, now, error.retry_after or QUOTA_GATE, "the quota of this key is used up")
        elif error.retry_after is not None and error.type == "rate_limit":
            self._rest(state, now, error.retry_after, "the provider asked to wait (rate_limit)")
        elif error.retry_after is not None and error.type in {"overloaded", "server_error"}:
            # This is about the server, and the other keys lead to the same one.
            for _, each in self._keys:
                self._rest(each, now, error.retry_after, f"the provider asked to wait ({error.type})")
        else:
            return False
        return any(other.resting_until <= now for _, other in self._keys if other is not state)

    def _rest(self, state: KeyState, now: float, seconds: float, reason: str, *, refused: bool = False) -> None:
        until = now + min(seconds, LONGEST_GATE)
        # A second hint never shortens the first.
        if until <= state.resting_until:
            return
        was_resting = state.resting_until > now
        state.resting_until, state.reason, state.refused = until, reason, refused
        if not was_resting:
            name = f"{self._target.provider} (key {state.id})"
            kind = "quarantined" if refused else "gated"
            self._events.publish(ProviderStateChanged(name, kind, reason, min(seconds, LONGEST_GATE)))


def keys(pool: KeyPool) -> Layer:
    """The layer that lends each attempt a key of *pool*."""

    def layer(inner: Handler) -> Handler:
        async def handle(call: Call) -> Reply:
            secret, state = pool.pick()
            call.api_key = secret
            if call.attempt is not None and secret is not None:
                call.attempt.key_id = state.id
            try:
                reply = await inner(call)
            except ProviderError as error:
                if pool.note(state, error):
                    error.code, error.retryable, error.retry_after = NEXT_KEY, True, None
                raise
            reply.on_end(partial(over, state))
            return reply

        def over(state: KeyState, _: Reply, error: BaseException | None) -> None:
            # After the first output another key is of no use to this call.
            if isinstance(error, ProviderError):
                pool.note(state, error)

        return handle

    return layer
