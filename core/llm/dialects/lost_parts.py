"""What an answer holds that has no form here, such as pictures and sound: left out, and said so."""

from core.llm.common.secrets import one_line
from core.llm.common.types import CallWarning
from core.llm.providers.base.request import ChatRequest


def report_lost(request: ChatRequest, kind: str) -> None:
    """Add the warning that a part of *kind* was left out of the answer, once however many of them came.

    It is no parameter: whatever the policy for those, the answer has been made and paid for.
    """
    text = f"the answer has a part {one_line(kind, 40)!r}, which has no form here"
    warning = CallWarning("dropped", text, "response")
    if warning not in request.warnings:
        request.warnings.append(warning)
