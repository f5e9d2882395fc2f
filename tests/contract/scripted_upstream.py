"""The scripted provider's upstream is its script."""

from collections.abc import Sequence
from typing import Any

from core.llm.common.exceptions import ErrorType, ProviderError
from core.llm.common.types import FinishReason, Usage
from core.llm.providers.base.request import ChatRequest
from core.llm.providers.base.response import StreamEvent, ThinkingDelta, ToolCallDelta, ToolCallReady
from core.llm.testing import ContractUpstream, Gate, Script, ScriptedProvider, UpstreamAnswer, UpstreamFailure
from core.llm.testing.contract_upstream import RETRY_AFTER

TYPES: dict[UpstreamFailure, ErrorType] = {
    "unauthorised": "authentication",
    "rate_limited": "rate_limit",
    "model_not_found": "model_not_found",
    "invalid_request": "invalid_request",
    "server_error": "server_error",
    "not_an_answer": "protocol",
    "unreachable": "network_error",
}


class ScriptedUpstream(ContractUpstream):
    """Steers a script as if it were a server."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.down = False
        self._gates: list[Gate] = []

    @property
    def received(self) -> Sequence[Any]:
        return [_body(request) for request in self.script.requests] + [
            {"input": list(request.inputs)} for request in self.script.embeddings
        ]

    @property
    def open_calls(self) -> int:
        return self.script.active

    def answer(self, answer: UpstreamAnswer) -> None:
        steps: list[str | StreamEvent | Gate | ProviderError] = []
        if answer.thinking:
            steps.append(ThinkingDelta(answer.thinking))
        for number, piece in enumerate(answer.pieces):
            if number == answer.hold_after:
                self._gates.append(Gate())
                steps.append(self._gates[-1])
            if number == answer.cut_after:
                steps.append(ProviderError("protocol", "the answer ends early", code="truncated"))
                break
            steps.append(piece)
        for index, call in enumerate(answer.tool_calls):
            steps.append(ToolCallDelta(index, call.id, call.name, call.arguments_json()))
            steps.append(ToolCallReady(index, call))
        self.script.will_stream(
            *steps,
            usage=answer.usage or Usage(estimated=True),
            finish=FinishReason(answer.finish, answer.finish),
        )

    def answer_vectors(self, vectors: Sequence[Sequence[float]]) -> None:
        self.script.will_embed(vectors)

    def fail(self, failure: UpstreamFailure, *, secret: str) -> None:
        wait = RETRY_AFTER if failure == "rate_limited" else None
        self.down = self.down or failure == "unreachable"
        self.script.will_raise(ProviderError(TYPES[failure], f"the upstream says {failure}", retry_after=wait))

    def release(self) -> None:
        for gate in self._gates:
            gate.open()


def _body(request: ChatRequest) -> dict[str, Any]:
    """What a server would have received."""
    params = request.params
    body: dict[str, Any] = {"model": request.model, "messages": [message.text for message in request.messages]}
    for name in (
        "temperature", "top_p", "top_k", "max_tokens", "stop", "seed", "frequency_penalty", "presence_penalty",
    ):  # fmt: skip
        if (value := getattr(params, name)) is not None:
            body[name] = value
    if params.tools:
        body["tools"] = [{"name": tool.name} for tool in params.tools]
    if params.response_format is not None:
        body["response_format"] = dict(params.response_format.schema or {})
    return body


class SteeredProvider(ScriptedProvider):
    """A scripted provider whose health follows its upstream's."""

    def __init__(self, upstream: ScriptedUpstream, name: str = "contract") -> None:
        super().__init__(name=name, script=upstream.script)
        self.upstream = upstream

    async def health_check(self):
        if self.upstream.down:
            return type(self.health)(healthy=False, detail="the upstream is down")
        return self.health
