"""What becomes of every parameter at every family of models: the vendors' rules, row by row.

A row is provider, model, what is asked, what the body holds (dotted paths; `ABSENT` for what it must not hold), and the
warnings as `code parameter`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

ABSENT: Final = object()
TOOL: Final = {"name": "look", "parameters": {"type": "object", "properties": {}}}


class Row(NamedTuple):
    """One line of the table."""

    provider: str
    model: str
    asked: Mapping[str, Any]
    body: Mapping[str, Any]
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For the report of a test."""
        asked = "-".join(f"{key}={value}" for key, value in self.asked.items())
        return f"{self.provider}-{self.model}-{asked}"


def rows() -> Iterator[Row]:
    """The whole table."""
    yield from openai_caps()
    yield from openai_efforts()
    yield from openai_sampling()
    yield from openai_tools()
    yield from responses()
    yield from claude()
    yield from claude_thinking()
    yield from gemini()
    yield from gemini_thinking()
    yield from bedrock()
    yield from ollama()
    yield from compatible()
    yield from local()


def openai_caps() -> Iterator[Row]:
    """o-series and gpt-5 refuse `max_tokens`; Responses has a third name."""
    for model in ("gpt-6-luna", "gpt-6.1-sol", "gpt-5.5", "gpt-5.1", "gpt-5", "o3", "gpt-4.1", "gpt-4o-mini"):
        yield Row("openai-chat", model, {"max_tokens": 50}, {"max_completion_tokens": 50, "max_tokens": ABSENT})
    for model in ("gpt-6-luna", "gpt-5-pro", "gpt-4.1"):
        body = {"max_output_tokens": 50, "max_completion_tokens": ABSENT, "max_tokens": ABSENT}
        yield Row("openai-responses", model, {"max_tokens": 50}, body)
    for model, role in (("gpt-6-luna", "developer"), ("o3", "developer"), ("gpt-4.1", "system")):
        yield Row("openai-chat", model, {}, {"messages.0.role": role})


def openai_efforts() -> Iterator[Row]:
    """Which words each model takes, and which comes nearest."""
    scale = ("off", "minimal", "low", "medium", "high", "max")
    table = {
        "gpt-5": ("minimal!", "minimal", "low", "medium", "high", "high"),
        "o3": ("low!", "low!", "low", "medium", "high", "high"),
        "gpt-5.1": ("none", "low!", "low", "medium", "high", "high"),
        "gpt-5.4": ("none", "low!", "low", "medium", "high", "xhigh"),
        "gpt-5.5": ("none", "low!", "low", "medium", "high", "xhigh"),
        "gpt-6-luna": ("none", "low!", "low", "medium", "high", "xhigh"),
        "gpt-6.1-terra": ("none", "low!", "low", "medium", "high", "xhigh"),
        "gpt-6.1-sol": ("low!", "low!", "low", "medium", "high", "xhigh"),
        "gpt-6-astra": ("low!", "low!", "low", "medium", "high", "xhigh"),
        "gpt-5.1-chat-latest": ("medium!", "medium!", "medium!", "medium", "medium!", "medium!"),
    }
    for model, words in table.items():
        for asked, word in zip(scale, words, strict=True):
            warnings = ("clamped thinking",) if word.endswith("!") else ()
            yield Row("openai-chat", model, {"thinking": asked}, {"reasoning_effort": word.rstrip("!")}, warnings)
    for asked in ("low", "high"):
        expected = {"reasoning.effort": "high", "reasoning_effort": ABSENT}
        yield Row(
            "openai-responses",
            "gpt-5-pro",
            {"thinking": asked},
            expected,
            () if asked == "high" else ("clamped thinking",),
        )
    for budget, word in ((500, "minimal"), (4000, "low"), (10_000, "medium"), (20_000, "high")):
        yield Row("openai-chat", "gpt-5", {"thinking": budget}, {"reasoning_effort": word}, ("emulated thinking",))
    yield Row("openai-chat", "gpt-4.1", {"thinking": "high"}, {"reasoning_effort": ABSENT}, ("dropped thinking",))
    yield Row("openai-chat", "gpt-4.1", {"thinking": "off"}, {"reasoning_effort": ABSENT})


def openai_sampling() -> Iterator[Row]:
    """Refused while a model thinks; from 5.1 to 5.6 allowed while it does not; never with generation 6."""
    for name in ("temperature", "top_p", "frequency_penalty", "presence_penalty"):
        for model in ("gpt-6-luna", "gpt-6.1-sol", "gpt-5", "o3", "gpt-5.2-chat-latest"):
            yield Row("openai-chat", model, {name: 0.5}, {name: ABSENT}, (f"dropped {name}",))
        for model in ("gpt-4.1", "gpt-4o-mini"):
            yield Row("openai-chat", model, {name: 0.5}, {name: 0.5})
    for name in ("temperature", "top_p"):
        yield Row("openai-chat", "gpt-5.1", {name: 0.5}, {name: 0.5})
        yield Row("openai-chat", "gpt-5.4", {name: 0.5, "thinking": "off"}, {name: 0.5})
        yield Row("openai-chat", "gpt-5.4", {name: 0.5, "thinking": "low"}, {name: ABSENT}, (f"dropped {name}",))
        # This one thinks unless it is told not to.
        yield Row("openai-chat", "gpt-5.5", {name: 0.5}, {name: ABSENT}, (f"dropped {name}",))
        yield Row("openai-chat", "gpt-5.5", {name: 0.5, "thinking": "off"}, {name: 0.5})
    yield Row(
        "openai-chat", "gpt-5.1", {"presence_penalty": 0.5}, {"presence_penalty": ABSENT}, ("dropped presence_penalty",)
    )
    yield Row(
        "openai-chat", "gpt-4.1", {"seed": 7, "stop": ["x"], "user": "u"}, {"seed": 7, "stop": ["x"], "user": "u"}
    )
    for model in ("gpt-5", "gpt-5-mini", "gpt-5.1", "gpt-5.2", "gpt-5.4", "o3"):
        yield Row("openai-chat", model, {"stop": ["x"]}, {"stop": ABSENT}, ("dropped stop",))
    for model in ("gpt-5.5", "gpt-6-luna"):
        yield Row("openai-chat", model, {"stop": ["x"]}, {"stop": ["x"]})
    for name, model in (("openai-chat", "gpt-4.1"), ("groq", "m")):
        yield Row(name, model, {"stop": list("abcde")}, {"stop": list("abcd")}, ("clamped stop",))
    yield Row("vllm", "m", {"stop": list("abcde")}, {"stop": list("abcde")})


def openai_tools() -> Iterator[Row]:
    """From 5.4 on, Chat Completions takes no function tools while a model thinks."""
    yield Row("openai-chat", "gpt-5.2", {"tools": [TOOL], "thinking": "high"}, {"reasoning_effort": "high"})
    yield Row("openai-chat", "gpt-5.4", {"tools": [TOOL]}, {"reasoning_effort": ABSENT})
    for model in ("gpt-5.4", "gpt-5.5", "gpt-6-luna"):
        asked = {"tools": [TOOL], "thinking": "high"}
        yield Row("openai-chat", model, asked, {"reasoning_effort": "none"}, ("dropped thinking",))
        yield Row("openai", model, asked, {"reasoning.effort": "high", "tools.0.name": "look"})
    yield Row("openai-chat", "gpt-5.5", {"tools": [TOOL]}, {"reasoning_effort": "none"}, ("other thinking",))
    for choice, word in (("auto", "auto"), ("none", "none"), ("required", "required")):
        yield Row("openai-chat", "gpt-4.1", {"tools": [TOOL], "tool_choice": choice}, {"tool_choice": word})
    yield Row("openai-chat", "gpt-4.1", {"tools": [TOOL], "tool_choice": "look"}, {"tool_choice.function.name": "look"})
    yield Row("openai-chat", "gpt-4.1", {"tools": [TOOL], "parallel_tool_calls": False}, {"parallel_tool_calls": False})


def responses() -> Iterator[Row]:
    """The Responses endpoint lacks some parameters, and keeps nothing for us."""
    yield Row("openai-responses", "gpt-6-luna", {}, {"store": False, "include": ["reasoning.encrypted_content"]})
    for name, value in (
        ("stop", ["x"]),
        ("seed", 7),
        ("frequency_penalty", 0.1),
        ("presence_penalty", 0.1),
        ("top_k", 3),
    ):
        yield Row("openai-responses", "gpt-4.1", {name: value}, {name: ABSENT}, (f"dropped {name}",))
    yield Row("openai-responses", "gpt-4.1", {"temperature": 0.5}, {"temperature": 0.5})
    yield Row("openai-responses", "gpt-6-luna", {"temperature": 0.5}, {"temperature": ABSENT}, ("dropped temperature",))
    yield Row("openai-responses", "gpt-6-luna", {"thinking": "medium"}, {"reasoning.effort": "medium"})


def claude() -> Iterator[Row]:
    """`max_tokens` is required; generation 4.7 and later takes no sampling at all."""
    for model, most in (("claude-opus-5-5", 128_000), ("claude-sonnet-4-6", 128_000), ("claude-haiku-4-5", 64_000)):
        yield Row("anthropic", model, {}, {"max_tokens": most})
        yield Row("anthropic", model, {"max_tokens": 50}, {"max_tokens": 50})
        yield Row("anthropic", model, {"max_tokens": 200_000}, {"max_tokens": most}, ("clamped max_tokens",))
    for name, value in (("temperature", 0.5), ("top_p", 0.5), ("top_k", 5)):
        for model in ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-sonnet-5", "claude-opus-4-7"):
            yield Row("anthropic", model, {name: value}, {name: ABSENT}, (f"dropped {name}",))
        for model in ("claude-haiku-4-5", "claude-sonnet-4-6"):
            yield Row("anthropic", model, {name: value}, {name: value})
    yield Row("anthropic", "claude-haiku-4-5", {"temperature": 1.5}, {"temperature": 1.0}, ("clamped temperature",))
    both = {"temperature": 0.5, "top_p": 0.5}
    yield Row("anthropic", "claude-haiku-4-5", both, {"temperature": 0.5, "top_p": ABSENT}, ("dropped top_p",))
    for name in ("seed", "frequency_penalty", "presence_penalty"):
        yield Row("anthropic", "claude-haiku-4-5", {name: 1}, {name: ABSENT}, (f"dropped {name}",))
    yield Row(
        "anthropic",
        "claude-haiku-4-5",
        {"stop": "x", "user": "u"},
        {"stop_sequences": ["x"], "metadata.user_id": "u", "stop": ABSENT},
    )
    forced = {"tools": [TOOL], "tool_choice": "look"}
    for model in ("claude-opus-5-5", "claude-sonnet-5-5", "claude-fable-5-1", "claude-mythos-5-1"):
        yield Row("anthropic", model, forced, {"tool_choice.type": "auto"}, ("clamped tool_choice",))
    for model in ("claude-haiku-5-5", "claude-fable-5", "claude-haiku-4-5"):
        yield Row("anthropic", model, forced, {"tool_choice.type": "tool", "tool_choice.name": "look"})
    yield Row(
        "anthropic", "claude-haiku-4-5", {"tools": [TOOL], "tool_choice": "required"}, {"tool_choice.type": "any"}
    )
    yield Row(
        "anthropic",
        "claude-haiku-4-5",
        {"tools": [TOOL], "parallel_tool_calls": False},
        {"tool_choice.disable_parallel_tool_use": True},
    )


def claude_thinking() -> Iterator[Row]:
    """Adaptive with an effort, or a budget; some cannot stop."""
    for model in ("claude-opus-5-5", "claude-haiku-5-5", "claude-opus-4-7"):
        for asked in ("low", "medium", "high", "max"):
            body = {"thinking.type": "adaptive", "output_config.effort": asked, "thinking.budget_tokens": ABSENT}
            yield Row("anthropic", model, {"thinking": asked}, body)
        yield Row("anthropic", model, {"thinking": "minimal"}, {"output_config.effort": "low"}, ("clamped thinking",))
        yield Row("anthropic", model, {"thinking": 2000}, {"output_config.effort": "low"}, ("emulated thinking",))
    for model in ("claude-opus-5-5", "claude-fable-5", "claude-mythos-5-2"):
        yield Row("anthropic", model, {"thinking": "off"}, {"thinking": ABSENT}, ("dropped thinking",))
    yield Row("anthropic", "claude-sonnet-5-5", {"thinking": "off"}, {"thinking.type": "between_tools"})
    for model in ("claude-haiku-5-5", "claude-opus-4-7", "claude-haiku-4-5"):
        yield Row("anthropic", model, {"thinking": "off"}, {"thinking.type": "disabled"})
    yield Row(
        "anthropic",
        "claude-haiku-4-5",
        {"thinking": 2000},
        {"thinking.type": "enabled", "thinking.budget_tokens": 2000},
    )
    yield Row(
        "anthropic", "claude-haiku-4-5", {"thinking": 100}, {"thinking.budget_tokens": 1024}, ("clamped thinking",)
    )
    yield Row(
        "anthropic",
        "claude-haiku-4-5",
        {"thinking": 9000, "max_tokens": 4000},
        {"thinking.budget_tokens": 2000, "max_tokens": 4000},
        ("clamped thinking",),
    )
    yield Row(
        "anthropic",
        "claude-haiku-4-5",
        {"thinking": 2000, "temperature": 0.5},
        {"temperature": ABSENT},
        ("dropped temperature",),
    )
    yield Row(
        "anthropic", "claude-opus-4-6", {"thinking": 3000}, {"thinking.type": "enabled", "thinking.budget_tokens": 3000}
    )
    yield Row(
        "anthropic",
        "claude-opus-4-6",
        {"thinking": "high"},
        {"thinking.type": "adaptive", "output_config.effort": "high"},
    )


def gemini() -> Iterator[Row]:
    """Names of its own in `generationConfig`."""
    names = {
        "max_tokens": ("maxOutputTokens", 50), "temperature": ("temperature", 0.5), "top_p": ("topP", 0.5), "top_k": ("topK", 5),
        "seed": ("seed", 7), "frequency_penalty": ("frequencyPenalty", 0.5), "presence_penalty": ("presencePenalty", 0.5),
    }  # fmt: skip
    for name, (wire, value) in names.items():
        yield Row("gemini", "gemini-3-flash", {name: value}, {f"generationConfig.{wire}": value})
    for name in ("frequency_penalty", "presence_penalty"):
        yield Row("gemini", "gemini-2.5-flash", {name: 0.5}, {"generationConfig": ABSENT}, (f"dropped {name}",))
    yield Row("gemini", "gemini-3-flash", {"stop": ["a", "b"]}, {"generationConfig.stopSequences": ["a", "b"]})
    yield Row(
        "gemini",
        "gemini-3-flash",
        {"stop": list("abcdef")},
        {"generationConfig.stopSequences": list("abcde")},
        ("clamped stop",),
    )
    yield Row("gemini", "gemini-3-flash", {"user": "u"}, {"user": ABSENT}, ("dropped user",))
    for choice, mode in (("auto", "AUTO"), ("none", "NONE"), ("required", "ANY"), ("look", "ANY")):
        yield Row(
            "gemini",
            "gemini-3-flash",
            {"tools": [TOOL], "tool_choice": choice},
            {"toolConfig.functionCallingConfig.mode": mode},
        )
    yield Row(
        "gemini",
        "gemini-3-flash",
        {"tools": [TOOL], "parallel_tool_calls": False},
        {},
        ("dropped parallel_tool_calls",),
    )


def gemini_thinking() -> Iterator[Row]:
    """A budget up to 2.5, a level from 3 on, never both."""
    level, budget = "generationConfig.thinkingConfig.thinkingLevel", "generationConfig.thinkingConfig.thinkingBudget"
    scale = ("off", "minimal", "low", "medium", "high", "max")
    levels = {
        "gemini-3-flash": ("MINIMAL!", "MINIMAL", "LOW", "MEDIUM", "HIGH", "HIGH"),
        "gemini-3.1-pro": ("LOW!", "LOW!", "LOW", "MEDIUM", "HIGH", "HIGH"),
        "gemini-3-pro": ("LOW!", "LOW!", "LOW", None, "HIGH", "HIGH"),
    }
    for model, words in levels.items():
        for asked, word in zip(scale, words, strict=True):
            if word is not None:
                warnings = ("clamped thinking",) if word.endswith("!") else ()
                yield Row("gemini", model, {"thinking": asked}, {level: word.rstrip("!"), budget: ABSENT}, warnings)
    yield Row("gemini", "gemini-3-flash", {"thinking": 3000}, {level: "LOW", budget: ABSENT}, ("emulated thinking",))
    yield Row("gemini", "gemini-2.5-flash", {"thinking": "off"}, {budget: 0, level: ABSENT})
    yield Row("gemini", "gemini-2.5-pro", {"thinking": "off"}, {budget: 128, level: ABSENT}, ("clamped thinking",))
    yield Row("gemini", "gemini-2.5-pro", {"thinking": "max"}, {budget: 32768})
    yield Row("gemini", "gemini-2.5-flash", {"thinking": "max"}, {budget: 24576})
    yield Row("gemini", "gemini-2.5-flash", {"thinking": 5000}, {budget: 5000})
    yield Row("gemini", "gemini-2.5-flash", {"thinking": 50_000}, {budget: 24576}, ("clamped thinking",))
    yield Row("gemini", "gemini-2.5-flash-lite", {"thinking": 100}, {budget: 512}, ("clamped thinking",))
    yield Row("gemini", "gemini-2.0-flash", {"thinking": "high"}, {"generationConfig": ABSENT}, ("dropped thinking",))


def bedrock() -> Iterator[Row]:
    """One envelope; what only some models know travels beside it."""
    haiku, opus, nova = (
        "us.anthropic.claude-haiku-4-5-20251001-v1:0",
        "us.anthropic.claude-opus-5-5-v1:0",
        "us.amazon.nova-lite-v1:0",
    )
    for name, wire, value in (
        ("max_tokens", "maxTokens", 50),
        ("temperature", "temperature", 0.5),
        ("top_p", "topP", 0.5),
    ):
        yield Row("bedrock", nova, {name: value}, {f"inferenceConfig.{wire}": value, name: ABSENT})
    for model, word in (("sonnet-5-5", "between_tools"), ("haiku-5-5", "disabled")):
        expected = {"additionalModelRequestFields.thinking.type": word}
        yield Row("bedrock", f"us.anthropic.claude-{model}-v1:0", {"thinking": "off"}, expected)
    yield Row("bedrock", nova, {"stop": ["x"]}, {"inferenceConfig.stopSequences": ["x"]})
    yield Row("bedrock", nova, {"temperature": 1.5}, {"inferenceConfig.temperature": 1.0}, ("clamped temperature",))
    yield Row("bedrock", nova, {"top_k": 5}, {"additionalModelRequestFields.inferenceConfig.topK": 5})
    yield Row("bedrock", haiku, {"top_k": 5}, {"additionalModelRequestFields.top_k": 5})
    for name in ("seed", "frequency_penalty", "presence_penalty"):
        yield Row("bedrock", nova, {name: 1}, {name: ABSENT}, (f"dropped {name}",))
    for name in ("temperature", "top_p"):
        yield Row("bedrock", opus, {name: 0.5}, {"inferenceConfig": ABSENT}, (f"dropped {name}",))
    yield Row(
        "bedrock", haiku, {"temperature": 0.5, "top_p": 0.5}, {"inferenceConfig.topP": ABSENT}, ("dropped top_p",)
    )
    yield Row(
        "bedrock",
        opus,
        {"thinking": "high"},
        {"additionalModelRequestFields.thinking.type": "adaptive", "outputConfig.effort": "high"},
    )
    yield Row("bedrock", opus, {"thinking": "off"}, {"additionalModelRequestFields": ABSENT}, ("dropped thinking",))
    yield Row(
        "bedrock",
        haiku,
        {"thinking": 2000, "max_tokens": 9000},
        {"additionalModelRequestFields.thinking.budget_tokens": 2000},
    )
    yield Row("bedrock", nova, {"thinking": "high"}, {"additionalModelRequestFields": ABSENT}, ("dropped thinking",))
    forced = {"tools": [TOOL], "tool_choice": "look"}
    yield Row("bedrock", haiku, forced, {"toolConfig.toolChoice.tool.name": "look"})
    yield Row("bedrock", opus, forced, {"toolConfig.toolChoice": ABSENT}, ("dropped tool_choice",))


def ollama() -> Iterator[Row]:
    """Everything about sampling stands in `options`."""
    for name, wire, value in (
        ("max_tokens", "num_predict", 50), ("temperature", "temperature", 0.5), ("top_p", "top_p", 0.5), ("top_k", "top_k", 5),
        ("seed", "seed", 7), ("frequency_penalty", "frequency_penalty", 0.5), ("presence_penalty", "presence_penalty", 0.5),
    ):  # fmt: skip
        yield Row("ollama", "qwen3:8b", {name: value}, {f"options.{wire}": value, name: ABSENT})
    yield Row("ollama", "qwen3:8b", {"stop": "x"}, {"options.stop": ["x"]})
    for asked, think in (("off", False), ("low", "low"), ("medium", "medium"), ("high", "high"), ("max", "max")):
        yield Row("ollama", "qwen3:8b", {"thinking": asked}, {"think": think})
    yield Row("ollama", "qwen3:8b", {"thinking": "minimal"}, {"think": "low"}, ("renamed thinking",))
    yield Row("ollama", "qwen3:8b", {"thinking": 2000}, {"think": True}, ("other thinking",))
    yield Row("ollama", "qwen3:8b", {"user": "u"}, {"user": ABSENT}, ("dropped user",))
    yield Row("ollama", "qwen3:8b", {}, {"options": ABSENT, "think": ABSENT, "keep_alive": ABSENT})


def compatible() -> Iterator[Row]:
    """Servers in OpenAI's format, by their presets."""
    for name in ("groq", "cerebras", "xai"):
        yield Row(name, "m", {"max_tokens": 5}, {"max_completion_tokens": 5, "max_tokens": ABSENT})
        yield Row(name, "m", {"top_k": 5}, {"top_k": ABSENT}, ("dropped top_k",))
    for name in ("together", "mistral", "deepseek", "openrouter", "vllm", "perplexity"):
        yield Row(name, "m", {"max_tokens": 5}, {"max_tokens": 5, "max_completion_tokens": ABSENT})
    for lost in ("stop", "presence_penalty", "frequency_penalty"):
        yield Row("xai", "m", {lost: "x" if lost == "stop" else 0.5}, {lost: ABSENT}, (f"dropped {lost}",))
    yield Row("mistral", "m", {"seed": 7}, {"random_seed": 7, "seed": ABSENT})
    yield Row("mistral", "m", {"tools": [TOOL], "tool_choice": "required"}, {"tool_choice": "any"})
    for name in ("deepseek", "moonshot", "zai"):
        yield Row(name, "m", {"seed": 7}, {"seed": ABSENT}, ("dropped seed",))
        yield Row(name, "m", {"thinking": "off"}, {"thinking.type": "disabled"})
        yield Row(name, "m", {"thinking": "medium"}, {"thinking.type": "enabled"})
        yield Row(name, "m", {"thinking": "high"}, {"thinking.type": "enabled"}, ("clamped thinking",))
    yield Row("openrouter", "m", {"thinking": "high"}, {"reasoning.effort": "high"})
    yield Row("openrouter", "m", {"thinking": 2000}, {"reasoning.max_tokens": 2000})
    yield Row("openrouter", "m", {"thinking": "off"}, {"reasoning.enabled": False})
    yield Row("alibaba", "m", {"thinking": "off"}, {"enable_thinking": False})
    for name in ("vllm", "sglang", "llama_server"):
        yield Row(name, "m", {"thinking": "off"}, {"chat_template_kwargs.enable_thinking": False})
    yield Row("groq", "m", {"thinking": "high"}, {"reasoning_effort": "high"})


def local() -> Iterator[Row]:
    """Servers and engines of one's own."""
    for name in ("lm_studio", "localai", "llama_cpp"):
        yield Row(name, "tiny", {"max_tokens": 5}, {"max_tokens": 5, "max_completion_tokens": ABSENT})
        yield Row(name, "tiny", {"temperature": 0.5, "seed": 3}, {"temperature": 0.5, "seed": 3})
    yield Row("llama_cpp", "tiny", {"user": "u"}, {"user": ABSENT}, ("dropped user",))
    yield Row("llama_cpp", "tiny", {"thinking": "high"}, {"reasoning_effort": ABSENT}, ("dropped thinking",))
    yield Row("azure", "ours", {"max_tokens": 5}, {"max_completion_tokens": 5, "max_tokens": ABSENT})
    yield Row("azure", "ours", {"temperature": 0.5}, {"temperature": ABSENT}, ("dropped temperature",))
    yield Row("azure", "ours", {"thinking": "off"}, {"reasoning_effort": "none"})
