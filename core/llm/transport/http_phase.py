"""The phases of an HTTP attempt, and what it says when one of them takes too long."""

from enum import IntEnum
from typing import Final

from core.llm.common.exceptions import ProviderError
from core.llm.common.types import Billing, PhaseLimits


class Phase(IntEnum):
    """How far an attempt has come."""

    QUEUE = 0
    CONNECT = 1
    HEAD = 2
    BODY = 3
    LINGER = 4
    DONE = 5


def phase_error(code: str, phase: Phase, where: str, limits: PhaseLimits, billing: Billing) -> ProviderError:
    """The error for an attempt that was ended from outside in *phase*; *code* says why."""
    text = _TEXTS[code].format(where=where, limits=limits, doing=_DOING[phase])
    if code in {"transport_closed", "abandoned"}:
        return ProviderError("network_error", text, code=code, retryable=False, billing=billing)
    retryable = code not in {"pool_exhausted", "deadline_exceeded"}
    return ProviderError("timeout", text, code=code, retryable=retryable, billing=billing)


_DOING: Final = {
    Phase.QUEUE: "waiting for a free connection",
    Phase.CONNECT: "connecting",
    Phase.HEAD: "waiting for the answer to begin",
    Phase.BODY: "reading the answer",
    Phase.LINGER: "reading the answer",
    Phase.DONE: "reading the answer",
}
_TEXTS: Final = {
    "pool_exhausted": "no connection to {where} became free before the deadline; raise max_connections",
    "connect_timeout": "no connection to {where} within {limits.connect:g} s; check base_url and the network, "
    "or raise timeouts.connect",
    "first_token_timeout": "{where} sent no output within {limits.first_token:g} s; raise timeouts.first_token "
    "if the model needs longer",
    "idle_timeout": "{where} went silent for {limits.idle:g} s in the middle of its answer; raise timeouts.idle "
    "if that is normal",
    "progress_timeout": "{where} sent no further output for {limits.progress:g} s, only signs of life; raise "
    "timeouts.progress if that is normal",
    "deadline_exceeded": "the deadline passed while {doing} ({where}); raise timeouts.total or the call's timeout",
    "transport_closed": "the connection to {where} was closed from our side: its provider is stopping or was replaced",
    "abandoned": "the answer of {where} was closed before it was read to its end",
}
