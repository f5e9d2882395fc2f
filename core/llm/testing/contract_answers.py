"""Rules about complete answers: text, finish, usage, tools, thinking, schemas."""

from copy import copy
from typing import Any

from core.llm.common.messages import ToolCall
from core.llm.common.types import Usage
from core.llm.providers.base.provider import BaseLLMProvider
from core.llm.providers.base.response import LLMResponse
from core.llm.testing.canary import SecretCanary
from core.llm.testing.contract_case import ContractCase, holds_value, keys_of, needs, require, warned_about
from core.llm.testing.contract_upstream import ContractUpstream, UpstreamAnswer

WEATHER = {
    "name": "weather",
    "description": "the weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
AWKWARD_TEXT = '  Grüße, 世界 👩\u200d👩\u200d👧 e\u0301 😀\n\n\ttab \\ "quoted" </s> data: x\r\n  '
"""Text that careless code changes: outer white space, combining marks, emoji, escapes, words that look like framing."""

PARAMETERS: dict[str, Any] = {
    "temperature": 0.37,
    "top_p": 0.61,
    "top_k": 23,
    "max_tokens": 137,
    "stop": ("\u2020END",),
    "seed": 424242,
    "frequency_penalty": 0.31,
    "presence_penalty": 0.17,
}
"""Settings with values that occur nowhere else in a request."""

UNSET_KEYS = frozenset(
    {
        *PARAMETERS,
        "max_completion_tokens",
        "num_predict",
        "tools",
        "tool_choice",
        "response_format",
        "user",
        "reasoning_effort",
        "repeat_penalty",
    }
)


class AnswerChecks(ContractCase):
    """What `generate` returns, and what it sends."""

    async def test_generate_returns_the_text(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """The content is the text of the answer, all of it."""
        upstream.answer(UpstreamAnswer(("Hello", ", ", "world")))
        response = await provider.generate(self.chat(canary))
        require(isinstance(response, LLMResponse), "generate must return an LLMResponse")
        require(
            response.content == "Hello, world",
            f"generate returned {response.content!r}, the upstream said 'Hello, world': put all text into TextParts",
        )

    async def test_generate_names_provider_and_model(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """Whoever reads the answer can tell where it came from."""
        upstream.answer(UpstreamAnswer())
        response = await provider.generate(self.chat(canary))
        require(
            response.provider == provider.name,
            f"response.provider is {response.provider!r}: set it to the provider's configured name {provider.name!r}",
        )
        require(response.model, "response.model is empty: set it to what the upstream says, or to request.model")

    async def test_generate_says_why_the_model_stopped(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """`stop` and `length` are told apart, and the provider's own word is kept."""
        for finish in ("stop", "length"):
            upstream.answer(UpstreamAnswer(finish=finish))
            reason = (await provider.generate(self.chat(canary))).finish_reason
            require(
                reason.unified == finish,
                f"finish_reason.unified is {reason.unified!r} for an answer that ended with {finish!r}: map the "
                "upstream's word to ours",
            )
            require(reason.raw, "finish_reason.raw is empty: keep the upstream's own word there")

    async def test_generate_keeps_every_character(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """White space, combining marks and emoji come back as they were sent."""
        upstream.answer(UpstreamAnswer((AWKWARD_TEXT,)))
        content = (await provider.generate(self.chat(canary))).content
        require(
            content == AWKWARD_TEXT,
            f"the text was changed: sent {AWKWARD_TEXT!r}, got {content!r}. Decode as UTF-8; never strip or normalise",
        )

    async def test_the_prompt_arrives_unchanged(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """What the user wrote is what the model reads."""
        upstream.answer(UpstreamAnswer())
        await provider.generate(self.chat(canary, AWKWARD_TEXT))
        require(
            holds_value(upstream.received[-1], AWKWARD_TEXT),
            f"the user's text did not arrive as it was written: received {upstream.received[-1]!r:.400}",
        )

    async def test_the_request_is_left_as_it_was(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """The same request is handed to the next provider when this one fails."""
        upstream.answer(UpstreamAnswer())
        request = self.chat(canary, temperature=0.5)
        before = copy(request)
        await provider.generate(request)
        changed = [
            name
            for name in ("provider", "model", "params", "messages", "facts", "limits", "api_key", "stream", "extra")
            if getattr(request, name) != getattr(before, name)
        ]
        require(not changed, f"generate changed request.{', request.'.join(changed)}: only `warnings` may be added to")

    async def test_nothing_is_sent_that_was_not_set(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """`None` means not sent: the provider's own default applies."""
        upstream.answer(UpstreamAnswer())
        await provider.generate(self.chat(canary))
        sent = keys_of(upstream.received[-1]) & UNSET_KEYS
        require(not sent, f"the request sent {', '.join(sorted(sent))}, which nobody set: leave out what is None")

    async def test_no_parameter_is_dropped_in_silence(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """Each setting reaches the upstream, or the request says that it did not."""
        upstream.answer(UpstreamAnswer())
        request = self.chat(canary, **PARAMETERS)
        response = await provider.generate(request)
        warnings = [*request.warnings, *response.warnings]
        for name, value in PARAMETERS.items():
            wanted = value[0] if isinstance(value, tuple) else value
            require(
                holds_value(upstream.received[-1], wanted) or warned_about(warnings, name),
                f"{name}={value!r} was neither sent nor reported: send it, or call "
                f"request.warn('dropped', {name!r}, 'why')",
            )

    @needs("json_schema")
    async def test_a_schema_is_sent_or_reported(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """A JSON schema is never ignored."""
        schema = {"type": "object", "properties": {"contract_field": {"type": "string"}}, "title": "Contract"}
        upstream.answer(UpstreamAnswer(('{"contract_field": "x"}',)))
        request = self.chat(canary, response_format=schema)
        response = await provider.generate(request)
        require(
            "contract_field" in keys_of(upstream.received[-1])
            or warned_about([*request.warnings, *response.warnings], "response_format"),
            "response_format was neither sent nor reported: send the schema, or call "
            "request.warn('dropped', 'response_format', 'why')",
        )
        require(response.content == '{"contract_field": "x"}', "the JSON text of the answer was changed")

    @needs("usage")
    async def test_usage_is_counted_in_disjoint_buckets(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """Each token is in exactly one bucket, so that the sum is the bill."""
        usage = self.usage()
        upstream.answer(UpstreamAnswer(usage=usage))
        got = (await provider.generate(self.chat(canary))).usage
        require(
            got == usage,
            f"usage is {got}, the upstream counted {usage}: buckets are disjoint (input without cached tokens, output "
            "without reasoning), and what the upstream reports is not estimated",
        )

    @needs("usage")
    async def test_missing_usage_is_flagged(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """Numbers that the upstream did not give are never shown as if it had."""
        upstream.answer(UpstreamAnswer(usage=None))
        got = (await provider.generate(self.chat(canary))).usage
        require(got.estimated, f"the upstream gave no usage, yet the response has {got}: set usage.estimated")

    @needs("tools")
    async def test_a_tool_call_is_complete(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """Name and parsed arguments are there, and the finish reason says tool_calls."""
        call = ToolCall("call_1", "weather", {"city": "Zürich", "days": 3})
        upstream.answer(UpstreamAnswer((), tool_calls=(call,), finish="tool_calls"))
        response = await provider.generate(self.chat(canary, tools=[WEATHER]))
        require(
            [(one.name, dict(one.arguments)) for one in response.tool_calls] == [("weather", call.arguments)],
            f"tool_calls is {response.tool_calls}, but the model called weather({call.arguments}): parse the arguments",
        )
        require(response.tool_calls[0].id, "a tool call has no id: make one up where the upstream gives none")
        require(
            response.finish_reason.unified == "tool_calls",
            f"finish_reason is {response.finish_reason.unified!r} for an answer that calls a tool: use 'tool_calls'",
        )

    @needs("tools")
    async def test_tools_are_sent_or_reported(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """A model cannot call a tool it was never told of."""
        upstream.answer(UpstreamAnswer())
        request = self.chat(canary, tools=[WEATHER])
        await provider.generate(request)
        require(
            holds_value(upstream.received[-1], "weather") or warned_about(request.warnings, "tools"),
            "tools were neither sent nor reported: send them, or call request.warn('dropped', 'tools', 'why')",
        )

    @needs("tools", "parallel_tools")
    async def test_parallel_tool_calls_keep_their_order(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """Several calls in one answer stay apart and in order, each with an id of its own."""
        cities = ("Rome", "Oslo", "Rome")
        calls = tuple(ToolCall(f"call_{number}", "weather", {"city": city}) for number, city in enumerate(cities))
        upstream.answer(UpstreamAnswer((), tool_calls=calls, finish="tool_calls"))
        got = (await provider.generate(self.chat(canary, tools=[WEATHER]))).tool_calls
        require(
            [one.arguments.get("city") for one in got] == ["Rome", "Oslo", "Rome"],
            f"three tool calls (Rome, Oslo, Rome) came back as {[one.arguments for one in got]}",
        )
        require(len({one.id for one in got}) == 3, "parallel tool calls share an id: make each one unique")

    @needs("tools", "broken_arguments")
    async def test_broken_tool_arguments_are_flagged(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """Arguments that are no JSON object are kept as text, never guessed at."""
        broken = ToolCall("call_1", "weather", {}, '{"city": "Zür', "cut")
        upstream.answer(UpstreamAnswer((), tool_calls=(broken,), finish="tool_calls"))
        got = (await provider.generate(self.chat(canary, tools=[WEATHER]))).tool_calls
        require(
            len(got) == 1 and got[0].arguments_error and got[0].raw_arguments == '{"city": "Zür',
            f"broken arguments became {got}: use ToolCall.from_text, which keeps the text and sets arguments_error",
        )

    @needs("thinking")
    async def test_thinking_is_not_part_of_the_text(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """Reasoning is beside the answer, not in it."""
        upstream.answer(UpstreamAnswer(("42",), thinking="six times seven"))
        response = await provider.generate(self.chat(canary))
        require(
            (response.content, response.thinking) == ("42", "six times seven"),
            f"content {response.content!r}, thinking {response.thinking!r}: put reasoning into ThinkingParts only",
        )

    def usage(self) -> Usage:
        """Distinct numbers in the buckets that the wire format can express."""
        numbers: dict[str, Any] = {"input": 11, "cache_read": 5, "cache_write": 3, "output": 7, "reasoning": 2}
        return Usage(**{name: number for name, number in numbers.items() if name in self.usage_buckets})
