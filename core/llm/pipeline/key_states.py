"""What is known about each credential of a provider: until when it rests, for which of its models, and why.

Kept by fingerprint, so it survives a reload, and a changed key starts afresh.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from core.llm.common.exceptions import ErrorType
from core.llm.common.secrets import fingerprint

if TYPE_CHECKING:
    from core.llm.providers.config.models.provider import ProviderConfig

LONGEST_GATE = 900.0
QUARANTINE = 60.0
TRIAL = 30.0
"""Seconds for which others wait for the attempt that finds out whether a refused key is accepted again."""
_MODELS_KEPT = 1000


class KeyState:
    """One credential, either for all models or (`at`) for one of them. It rests until `resting_until`."""

    __slots__ = (
        "_models",
        "_states",
        "_trial",
        "id",
        "kind",
        "reason",
        "refusals",
        "refused",
        "resting_until",
        "since",
    )

    def __init__(self, identity: str, states: "KeyStates") -> None:
        self.id = identity
        self._states = states
        self.resting_until = 0.0
        """Moment on the monotonic clock; for one model never before that of the whole key."""
        self.since: float | None = None
        """When it was told to rest."""
        self.reason = ""
        self.kind: ErrorType = "rate_limit"
        """The type of error that the reason stands for."""
        self.refused = False
        """Whether it rests because the provider refused it, not because it asked to wait."""
        self.refusals = 0
        """How often it was refused since it last worked."""
        self._models: dict[str, KeyState] = {}
        self._trial = 0.0

    def __repr__(self) -> str:
        return f"KeyState({self.id!r}, resting_until={self.resting_until}, reason={self.reason!r})"

    def at(self, model: str) -> "KeyState":
        """The same key for *model* only."""
        found = self._models.get(model)
        if found is None:
            if len(self._models) >= _MODELS_KEPT:
                # Names of models come from callers; those matter most that rest for longest.
                longest = sorted(self._models.items(), key=lambda item: item[1].resting_until)
                self._models = dict(longest[len(longest) - _MODELS_KEPT // 2 :])
            found = self._models[model] = KeyState(self.id, self._states)
            found.follow(self)
        return found

    def rest(
        self, until: float, reason: str, kind: ErrorType, *, since: float | None = None, refused: bool = False
    ) -> bool:
        """Rest until then, for all models of this state; false where it rests for longer anyway."""
        if until <= self.resting_until:
            return False
        self.resting_until, self.since = until, since
        self.reason, self.kind, self.refused = reason, kind, refused
        self._states.latest = max(self._states.latest, until)
        for one in self._models.values():
            one.follow(self)
        return True

    def try_out(self, now: float) -> None:
        """Rest for everybody but the one attempt that finds out whether it is accepted again; `tried` ends that."""
        self.resting_until = self._trial = now + TRIAL
        self._states.latest = max(self._states.latest, self._trial)

    def tried(self, now: float) -> None:
        """That attempt has come to something; what it was told is for others to note."""
        if self.resting_until == self._trial:
            self.resting_until = now

    def turns_away(self, now: float) -> bool:
        """Whether nothing is sent with it now, not even by a call that has it: only who tries it out goes on."""
        return self.resting_until > now and self.resting_until != self._trial

    def works(self) -> None:
        """It was used with success."""
        self.refusals = 0
        self.refused = False

    def first_ready(self, model: str | None) -> "KeyState":
        """The state that decides when it can be used: for *model*, or for whichever of its models is first."""
        if model is not None:
            return self.at(model)
        return min(self._models.values(), key=lambda one: one.resting_until, default=self)

    def resting_models(self, now: float) -> list[str]:
        """The models for which it rests although the key as a whole does not."""
        if self.resting_until > now:
            return []
        return [name for name, one in self._models.items() if one.resting_until > now]

    def follow(self, whole: "KeyState") -> None:
        """Rest at least as long as the key as a whole."""
        if whole.resting_until > self.resting_until:
            self.resting_until, self.since = whole.resting_until, whole.since
            self.reason, self.kind, self.refused = whole.reason, whole.kind, whole.refused


class KeyStates:
    """The states of the keys of one upstream, and the keys that its live configuration offers."""

    __slots__ = ("_by_id", "_offered", "latest", "version")

    def __init__(self) -> None:
        self.latest = 0.0
        """The last moment until which any of them was told to rest; nobody need look before that."""
        self._by_id: dict[str, KeyState] = {}
        self._offered: ProviderConfig | None = None
        self.version = 0
        """Changes with the offered keys."""

    def of(self, secret: str | None) -> KeyState:
        """The state of *secret*; `None` stands for an upstream without keys."""
        identity = fingerprint(secret) if secret is not None else "none"
        state = self._by_id.get(identity)
        if state is None:
            state = self._by_id[identity] = KeyState(identity, self)
        return state

    def offer(self, config: "ProviderConfig") -> None:
        """Make the keys of *config* those that are used from now on, also by calls that began before."""
        if config is not self._offered:
            self._offered = config
            self.version += 1
        wanted = {self.of(secret).id for secret in config.secrets or (None,)}
        self._by_id = {name: state for name, state in self._by_id.items() if name in wanted}

    def successor(self, config: "ProviderConfig") -> "ProviderConfig":
        """The configuration whose keys take the place of those of *config*.

        Only where the same server gets them: what else has changed may have changed the address.
        """
        offered = self._offered
        if offered is None or offered is config or not _same_address(offered, config):
            return config
        return offered

    def all_resting(self, secrets: Sequence[str], now: float, model: str | None = None) -> KeyState | None:
        """The first of *secrets* that will be ready, where all of them rest; `None` where one is ready now.

        For *model*, or for every model that was used.
        """
        states = [self.of(secret).first_ready(model) for secret in secrets or (None,)]
        first = min(states, key=lambda state: state.resting_until)
        return first if first.resting_until > now else None


_NO_ADDRESS = frozenset(
    {"api_key", "api_keys", "models", "default_model", "timeouts", "rate_limits", "slow_calls", "max_retries", "extra"}
)


def _same_address(one: "ProviderConfig", other: "ProviderConfig") -> bool:
    """Whether both send their keys to the same place in the same way; in doubt they do not."""
    if type(one) is not type(other):
        return False
    names = type(one).model_fields.keys() - _NO_ADDRESS
    return all(getattr(one, name) == getattr(other, name) for name in names)
