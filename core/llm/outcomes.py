"""How good answers were, as the host tells it, and what that says about the models of an alias."""

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING

from core.llm.common.decisions import OutcomeReported
from core.llm.common.exceptions import RequestError, UnknownModel
from core.llm.common.types import ModelRef
from core.llm.providers.base.response import EmbeddingResponse, LLMResponse
from core.llm.routing.arms import Arm, Experiments, Remembered
from core.llm.status import ArmReport, ExperimentReport

if TYPE_CHECKING:
    from core.llm.runtime.runtime import Runtime

Scored = LLMResponse | EmbeddingResponse | str
"""An answer, or the id of its call (`response.trace.call_id`)."""


def record(runtime: "Runtime", scored: Scored, value: float, labels: Mapping[str, str]) -> bool:
    """Learn that the answer *scored* was worth *value*.

    Returns:
        Whether a model of an alias has learnt from it.

    Raises:
        RequestError: *value* is no finite number.
    """
    if not isfinite(value):
        raise RequestError(f"an outcome is a finite number, not {value}")
    if isinstance(scored, str):
        call_id, found = scored, runtime.state.memory.experiments.find(scored)
    else:
        call_id, found = _of_answer(runtime, scored)
    if found is not None:
        runtime.state.memory.experiments.arm(found.alias, found.target).score(value)
    alias, target = found if found is not None else (None, None)
    runtime.state.events.publish(OutcomeReported(call_id, value, alias, target, dict(labels)))
    return found is not None


def _of_answer(runtime: "Runtime", answer: LLMResponse | EmbeddingResponse) -> tuple[str, Remembered | None]:
    """An answer says itself who gave it, however long ago that was."""
    trace = answer.trace
    if trace is None:
        raise RequestError(
            "this answer has no trace, so nobody knows which call it belongs to: it comes from no service"
        )
    alias = trace.requested or runtime.config.default_model or ""
    target = next((entry.target for entry in trace.candidates if entry.outcome == "answered"), None)
    if target is None or alias not in runtime.config.models:
        return trace.call_id, None
    return trace.call_id, Remembered(alias, target)


def experiment_report(runtime: "Runtime", alias: str) -> ExperimentReport:
    """How the models of *alias* have done, those that were not asked yet included.

    Raises:
        UnknownModel: there is no such alias.
    """
    options = runtime.config.models.get(alias)
    if options is None:
        raise UnknownModel(f"there is no alias {alias!r}; there are: {', '.join(runtime.config.models) or 'none'}")
    experiments: Experiments = runtime.state.memory.experiments
    known = experiments.arms(alias)
    refs = dict.fromkeys((*map(runtime.completed, runtime.router.members(alias).candidates), *known))
    shares = sum(arm.answered + arm.failed for arm in known.values())
    arms = tuple(_arm(ref, known.get(ref, Arm()), shares) for ref in refs if ref.provider in runtime.config.providers)
    return ExperimentReport(alias, options.strategy, arms)


def _arm(ref: ModelRef, arm: Arm, calls: int) -> ArmReport:
    share = (arm.answered + arm.failed) / calls if calls else 0.0
    return ArmReport(
        ref,
        arm.answered,
        arm.failed,
        share,
        arm.scores,
        arm.mean_score,
        arm.score_error,
        arm.mean_seconds,
        arm.mean_cost,
    )
