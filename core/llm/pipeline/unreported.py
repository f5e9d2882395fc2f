"""What an attempt has used of which the provider has said nothing, or only half: our count, and said to be one."""

from collections.abc import Iterable

from core.llm.common.exceptions import LLMError, ProviderError
from core.llm.common.messages import ToolCall
from core.llm.common.types import Billing, PartialOutput, Usage
from core.llm.pipeline.handler import Call
from core.llm.routing.token_calibration import TokenCalibration
from core.llm.routing.tokens import estimate_input, estimate_text


def prompt_of(call: Call, model: str, calibration: TokenCalibration | None) -> Usage:
    """The tokens of what was sent to *model*."""
    if call.mode == "embed":
        return Usage(input=sum(map(estimate_text, call.inputs)), estimated=True)
    found = None if calibration is None else calibration.estimate(model, call.request)
    return Usage(input=estimate_input(call.request) if found is None else found.tokens, estimated=True)


def tokens_of_answer(text: str, tool_calls: Iterable[ToolCall]) -> int:
    """The tokens of *text*, thinking included, and of *tool_calls*: a model may say nothing else."""
    return estimate_text(
        "".join((text, *(piece for call in tool_calls for piece in (call.name, call.arguments_json()))))
    )


def usage_of_broken(
    call: Call, model: str, calibration: TokenCalibration | None, output: PartialOutput | None
) -> Usage:
    """What an attempt of *call* has used that ended after *output*, or before there was any."""
    if output is None:
        return prompt_of(call, model, calibration)
    written = tokens_of_answer(
        output.text + output.thinking + output.refusal + output.unfinished_calls, output.tool_calls
    )
    seen = output.usage
    if seen is not None and not seen.estimated and seen.input_total:
        # The provider had already said what the prompt was; of the answer it counted only the beginning.
        counted = max(seen.output, written - seen.reasoning)
        return Usage(seen.input, seen.cache_read, seen.cache_write, counted, seen.reasoning, estimated=True)
    return Usage(input=prompt_of(call, model, calibration).input, output=written, estimated=True)


def billing_of(error: BaseException) -> Billing:
    """Whether an attempt that ended with *error* may have to be paid for."""
    if isinstance(error, ProviderError):
        return error.billing
    return "none" if isinstance(error, LLMError) else "ambiguous"


def usage_of_failed(call: Call, model: str, calibration: TokenCalibration | None, error: BaseException) -> Usage:
    """What an attempt of *call* has used that ended with *error* before there was a reply."""
    if billing_of(error) == "none":
        return Usage()
    return usage_of_broken(call, model, calibration, error.partial if isinstance(error, ProviderError) else None)
