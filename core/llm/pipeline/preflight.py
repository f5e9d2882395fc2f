"""What is looked at before a request goes to a candidate: the answer serves routing and `explain` alike."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from core.llm.common.exceptions import RequestError, UnsupportedFeature
from core.llm.common.types import CallWarning
from core.llm.pipeline.defects import own_error
from core.llm.pipeline.handler import Call, raise_alone
from core.llm.pipeline.spending import too_dear
from core.llm.pipeline.target import Target
from core.llm.providers.base.request import LLMRequest, ParameterPolicy
from core.llm.routing.fit import misfit, output_cap
from core.llm.structured.choice import ask


class Unfit(NamedTuple):
    """Why a candidate is not sent a request."""

    reason: str
    kind: Literal["request", "cost", "time"] = "request"
    resets_at: datetime | None = None
    """When the budget begins anew that is in the way."""


class Prepared(NamedTuple):
    """A request as it goes to one candidate."""

    request: LLMRequest
    warnings: tuple[CallWarning, ...] = ()


def prepared(asked: LLMRequest, target: Target, call: Call) -> Prepared:
    """*asked* with the defaults of the model, and with no larger answer than limits and model allow.

    Each candidate starts from what was asked for: what one of them needed is not sent to the next.
    """
    options = target.config.models.get(target.ref.model) if target.config.models else None
    request = with_defaults(asked, options.defaults) if options and options.defaults else asked
    most = None if call.limits is None else call.limits.max_output_tokens
    wanted = request.max_tokens
    if call.mode == "embed" or (most is None and wanted is None):
        return Prepared(request)
    # With the policy `error` what the model cannot do is refused, not lowered.
    cap = wanted if policy_of(request, target) == "error" else output_cap(request, target.facts)
    if most is not None and (cap is None or cap > most):
        cap = most
    if cap == wanted:
        return Prepared(request)
    lowered = request.model_copy(update={"max_tokens": cap})
    if wanted is None:
        return Prepared(lowered)
    whose = "the limits of requests allow" if cap == most else f"{target.ref.model} generates"
    return Prepared(
        lowered, (CallWarning("clamped", f"{whose} at most {cap} tokens, not {wanted}: sent {cap}", "max_tokens"),)
    )


def unfit(call: Call, target: Target, least_time: float = 0.0) -> Unfit | None:
    """Why *target* must not be sent *call*; `None` where nothing speaks against it. `call.request` is what would go.

    Args:
        call: the call; its spendings and its deadline count.
        target: the candidate.
        least_time: seconds without which an attempt is of no use.
    """
    request = call.request
    policy = policy_of(request, target)
    facts = target.facts
    reason = misfit(request, call.mode, facts, inputs=call.inputs, dimensions=call.dimensions, policy=policy)
    if reason is None and policy == "error" and call.mode != "embed":
        reason = refused_parameters(call, target)
    if reason is not None:
        return Unfit(reason)
    if least_time > 0:
        left = call.deadline.remaining(call.clock)
        if left < least_time:
            return Unfit(
                f"{max(0.0, left):.2g} s are left, and an attempt needs about {least_time:.2g} s to begin", "time"
            )
    if call.cost_limit is not None:
        dear = too_dear(call, target)
        if dear is not None:
            return Unfit(dear, "cost")
    if target.overdrawn is not None:
        refusal = target.overdrawn(call)
        if refusal is not None:
            return Unfit(str(refusal), "cost", refusal.resets_at)
    return None


def refused_parameters(call: Call, target: Target) -> str | None:
    """What the provider would refuse of *call* without sending it.

    Raises:
        ProviderError: the provider has a defect.
    """
    request = call.request
    try:
        if request.response_format is not None:
            call.request = ask(request, request.response_format, target.facts, str(target.ref)).request
        target.provider.check(target.chat_request(call, None))
    except UnsupportedFeature as error:
        return str(error).removeprefix(f"{target.ref}: ")
    except Exception as error:  # noqa: BLE001 - nothing foreign crosses the public interface
        raise_alone(own_error(error, target.ref))
    finally:
        call.request = request
    return None


def policy_of(request: LLMRequest, target: Target) -> ParameterPolicy:
    """What happens to a parameter that the model of *target* does not take."""
    return request.parameter_policy or target.policy


def with_defaults(request: LLMRequest, defaults: Mapping[str, Any]) -> LLMRequest:
    """*request* with *defaults* in every field that the caller left open."""
    unknown = defaults.keys() - LLMRequest.model_fields.keys()
    if unknown:
        raise RequestError(f"the configuration sets a default for {min(unknown)!r}, which is no field of a request")
    missing = {name: value for name, value in defaults.items() if getattr(request, name) is None}
    if not missing:
        return request
    try:
        return LLMRequest(**{**{name: getattr(request, name) for name in LLMRequest.model_fields}, **missing})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc']))}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors(include_input=False, include_url=False)
        )
        raise RequestError(f"a default in the configuration cannot be sent: {problems}") from None
