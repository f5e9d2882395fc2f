"""Choose the credential for each attempt, and keep away from a key (or a keyless upstream) that was told to wait.

A key that was rate limited rests for the model that hit the limit, until the moment the provider named, for every call
at once; a key that was refused is set aside; the others carry on. Keys that an edited configuration has taken away are
not used again, not even by calls that began before.
"""

from functools import partial
from typing import TYPE_CHECKING

from core.llm.common.clock import Clock
from core.llm.common.events import EventBus, ProviderStateChanged
from core.llm.common.exceptions import ProviderError
from core.llm.common.types import ModelRef
from core.llm.common.waits import doubled
from core.llm.pipeline.backoff import NEXT_KEY
from core.llm.pipeline.handler import Call, Handler, Layer, Reply
from core.llm.pipeline.key_states import LONGEST_GATE, QUARANTINE, KeyState, KeyStates
from core.llm.pipeline.upstream import NOT_SENT

if TYPE_CHECKING:
    from core.llm.providers.config.models.provider import ProviderConfig

QUOTA_GATE = 900.0
UNHINTED_GATE = 1.0
"""Seconds for which a key rests that was limited without a hint, while another one is ready."""


class _Key:
    """One key in its turn."""

    __slots__ = ("credit", "secret", "state", "weight", "whole")

    def __init__(self, secret: str | None, weight: int, whole: KeyState, state: KeyState) -> None:
        self.secret = secret
        self.weight = weight
        self.whole = whole
        self.state = state
        """What is known about it for the model of the pool."""
        self.credit = 0


class KeyPool:
    """The keys of one target, used in turn by their weights."""

    __slots__ = ("_clock", "_config", "_events", "_keys", "_states", "_target", "_version")

    def __init__(
        self, config: "ProviderConfig", states: KeyStates, target: ModelRef, clock: Clock, events: EventBus
    ) -> None:
        self._config = config
        self._states = states
        self._target = target
        self._clock = clock
        self._events = events
        self._version = -1
        self._keys: list[_Key] = []

    def pick(self) -> tuple[str | None, KeyState]:
        """The next key that may be used now.

        Raises:
            ProviderError: every key rests; says for how long and why.
        """
        now = self._clock.monotonic()
        keys = self._keys if self._states.version == self._version else self._renewed()
        chosen = keys[0]
        if len(keys) == 1:
            if chosen.state.resting_until > now:
                raise self._refusal(now)
            return self._lent(chosen, now)
        total, found = 0, False
        for key in keys:
            if key.state.resting_until <= now:
                key.credit += key.weight
                total += key.weight
                if not found or key.credit > chosen.credit:
                    chosen, found = key, True
        if not found:
            raise self._refusal(now)
        chosen.credit -= total
        return self._lent(chosen, now)

    def peek(self) -> tuple[str | None, KeyState]:
        """What `pick` would return now, or as soon as a key is ready. Nobody's turn is used up."""
        now = self._clock.monotonic()
        keys = self._keys if self._states.version == self._version else self._renewed()
        ready = [key for key in keys if key.state.resting_until <= now]
        if ready:
            chosen = max(ready, key=lambda key: key.credit + key.weight)
        else:
            chosen = min(keys, key=lambda key: key.state.resting_until)
        return chosen.secret, chosen.state

    def note(self, state: KeyState, error: ProviderError) -> bool:
        """Learn from a failed attempt with the key of *state*; `True` where another key should be tried at once."""
        if error.code in NOT_SENT or error.scope == "request":
            return False
        now = self._clock.monotonic()
        keys = self._keys if self._states.version == self._version else self._renewed()
        whole = next((key.whole for key in keys if key.whole.id == state.id), None)
        if whole is None:
            # The key was taken away while this attempt ran: those that are offered now know nothing of its trouble.
            return error.scope == "key"
        hint = error.retry_after
        match error.type:
            case "authentication":
                self._refuse(whole, now, error)
            case "permission":
                # The key is good, and another one may not be meant for this model at all: no reason to try it now.
                self._refuse(state, now, error)
                return False
            case "quota_exceeded":
                spent = state if error.scope == "model" else whole
                self._rest(spent, now, hint or QUOTA_GATE, "the quota of this key is used up", error)
            case "rate_limit" if error.scope == "provider" and hint is not None:
                self._rest_all(now, hint, error)
            case "rate_limit" if hint is not None:
                self._rest(state, now, hint, "the provider asked to wait (rate_limit)", error)
            case "rate_limit" if self._another(state, now):
                self._rest(state, now, UNHINTED_GATE, "it was rate limited", error)
            case "overloaded" | "server_error" if hint is not None:
                # This is about the server, and the other keys lead to the same one.
                self._rest_all(now, hint, error)
            case _:
                return False
        return self._another(state, now)

    def tried(self, state: KeyState, *, works: bool = False) -> None:
        """The attempt that `pick` let try the refused key of *state* was answered, or has failed or was left."""
        state.tried(self._clock.monotonic())
        wholes = [key.whole for key in self._keys if key.whole.id == state.id]
        if works:
            for one in (state, *wholes):
                one.works()
            self._events.publish(ProviderStateChanged(self._name(state), "ready", "the provider accepts it again"))
        for whole in wholes:
            # It may have been told to rest meanwhile, by an attempt at another model.
            state.follow(whole)

    def _lent(self, key: _Key, now: float) -> tuple[str | None, KeyState]:
        if key.state.refused:
            # Its time is over; one attempt finds out for all.
            key.state.try_out(now)
        return key.secret, key.state

    def _renewed(self) -> list[_Key]:
        """The keys as they are offered now."""
        self._version = self._states.version
        # An upstream without keys has one nameless key, so that it can rest too.
        found: list[tuple[str | None, int]] = [*self._states.successor(self._config).weighted_secrets] or [(None, 1)]
        self._keys = []
        for secret, weight in found:
            whole = self._states.of(secret)
            self._keys.append(_Key(secret, weight, whole, whole.at(self._target.model)))
        return self._keys

    def _another(self, state: KeyState, now: float) -> bool:
        return any(key.state.resting_until <= now for key in self._keys if key.state.id != state.id)

    def _rest_all(self, now: float, seconds: float, error: ProviderError) -> None:
        for key in self._keys:
            state = key.state if error.scope == "model" else key.whole
            self._rest(state, now, seconds, f"the provider asked to wait ({error.type})", error)

    def _refuse(self, state: KeyState, now: float, error: ProviderError) -> None:
        seconds = doubled(QUARANTINE, state.refusals, LONGEST_GATE)
        if state.rest(now + seconds, error.message, error.type, since=now, refused=True):
            state.refusals += 1
            if state.refusals == 1:
                # Once, until it has worked again: a key that stays bad is no news.
                self._events.publish(ProviderStateChanged(self._name(state), "quarantined", error.message, seconds))

    def _rest(self, state: KeyState, now: float, seconds: float, reason: str, error: ProviderError) -> None:
        seconds = min(seconds, LONGEST_GATE)
        was_resting = state.resting_until > now
        # A second hint never shortens the first.
        if state.rest(now + seconds, reason, error.type, since=now) and not was_resting:
            self._events.publish(ProviderStateChanged(self._name(state), "gated", reason, seconds))

    def _name(self, state: KeyState) -> str:
        whole = any(key.whole is state for key in self._keys)
        where = self._target.provider if whole else str(self._target)
        return f"{where} (key {state.id})"

    def _refusal(self, now: float) -> ProviderError:
        state = min((key.state for key in self._keys), key=lambda one: one.resting_until)
        wait = state.resting_until - now
        many = f"every one of the {len(self._keys)} keys rests; the first is back in {wait:.0f} s: "
        which = many if len(self._keys) > 1 else ""
        if all(key.state.refused for key in self._keys):
            ago = f"{now - state.since:.0f} s ago" if state.since is not None else "a while ago"
            text = (
                f"the provider refused all {len(self._keys)} keys: {state.reason}. Correct api_keys"
                if which
                else f"the provider refused this key {ago}: {state.reason}. Correct api_key"
            )
            return ProviderError(
                state.kind, text, code="key_refused", provider=self._target.provider, model=self._target.model
            )
        return ProviderError(
            "rate_limit" if state.refused else state.kind,
            f"not sent: {which}{state.reason}",
            code="gated",
            retryable=state.kind != "quota_exceeded",
            retry_after=wait,
            provider=self._target.provider,
            model=self._target.model,
        )


def keys(pool: KeyPool) -> Layer:
    """The layer that lends each attempt a key of *pool*."""

    def layer(inner: Handler) -> Handler:
        async def handle(call: Call) -> Reply:
            secret, state = pool.pick()
            trial = state.refused
            call.api_key = secret
            if call.attempt is not None and secret is not None:
                call.attempt.key_id = state.id
            try:
                reply = await inner(call)
            except BaseException as error:
                if trial:
                    pool.tried(state)
                if isinstance(error, ProviderError) and pool.note(state, error):
                    error.code, error.retryable, error.retry_after = NEXT_KEY, True, None
                raise
            if trial:
                pool.tried(state, works=True)
            reply.on_end(partial(over, state))
            return reply

        def over(state: KeyState, _: Reply, error: BaseException | None) -> None:
            # After the first output another key is of no use to this call.
            if isinstance(error, ProviderError):
                pool.note(state, error)

        return handle

    return layer
