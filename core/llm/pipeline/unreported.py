"""What an attempt has used of which the provider has said nothing, or only half: our count, and said to be one."""

from core.llm.common.types import PartialOutput, Usage
from core.llm.pipeline.handler import Call
from core.llm.routing.token_calibration import TokenCalibration
from core.llm.routing.tokens import estimate_input, estimate_text


def prompt_of(call: Call, model: str, calibration: TokenCalibration) -> Usage:
    """The tokens of what was sent to *model*."""
    if call.mode == "embed":
        return Usage(input=sum(map(estimate_text, call.inputs)), estimated=True)
    found = calibration.estimate(model, call.request)
    return Usage(input=estimate_input(call.request) if found is None else found.tokens, estimated=True)


def usage_of_broken(call: Call, model: str, calibration: TokenCalibration, output: PartialOutput | None) -> Usage:
    """What an attempt of *call* has used that ended after *output*, or before there was any."""
    if output is None:
        return prompt_of(call, model, calibration)
    seen = output.usage
    if seen is not None and not seen.estimated and seen.input_total:
        # The provider had already said what the prompt was; of the answer it counted only the beginning.
        counted = max(seen.output, estimate_text(output.text + output.thinking) - seen.reasoning)
        return Usage(seen.input, seen.cache_read, seen.cache_write, counted, seen.reasoning, estimated=True)
    text = output.text + output.thinking + "".join(str(part) for part in output.tool_calls)
    return Usage(input=prompt_of(call, model, calibration).input, output=estimate_text(text), estimated=True)
