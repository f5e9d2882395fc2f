"""What routing and fallback need to know about the configuration they run in."""

from typing import NamedTuple, Protocol

from core.llm.common.types import ModelRef
from core.llm.pipeline.handler import Call
from core.llm.pipeline.target import Target
from core.llm.routing.plan import Plan


class Resting(NamedTuple):
    """Why nothing is sent to a provider for the moment."""

    reason: str
    wait: float
    """Seconds until something is."""
    broken: bool
    """Whether it kept failing, so that waiting is of no use; otherwise it asked to wait, and may be waited for."""
    final: bool = False
    """Whether it is a refusal or a used-up quota, which nobody waits for."""


class Candidates(Protocol):
    """The models behind the names of one configuration, and how they are doing."""

    def plan(self, call: Call) -> Plan:
        """The candidates of *call* in order; sets `call.reserves`."""

    def unavailable(self, ref: ModelRef) -> str | None:
        """Why the provider of *ref* cannot be used at all, such as a missing key."""

    def resting(self, ref: ModelRef, now: float) -> Resting | None:
        """Why nothing would be sent to *ref* at the moment *now*."""

    def wake(self, ref: ModelRef, now: float) -> bool:
        """Whether *ref*, which kept failing, may be asked before its time because nobody else is left."""

    def may_wake(self, ref: ModelRef, now: float) -> bool:
        """Whether `wake` would say yes; changes nothing."""

    def least_time(self, target: Target, call: Call) -> float:
        """Seconds without which an attempt of *call* at *target* is of no use."""

    def may_repeat(self, ref: ModelRef) -> bool:
        """Take one retry out of the budget of the provider of *ref*."""

    def target_now(self, ref: ModelRef) -> Target | None:
        """The target of *ref*; `None` where its provider has to be asked for a model first."""

    async def target(self, ref: ModelRef) -> Target:
        """What calls to *ref* go through; finds the provider's default model where *ref* names none."""
