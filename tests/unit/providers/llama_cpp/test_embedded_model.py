"""The model file that ships with the library: whole, honest, and able to do what the documentation says.

The answers are greedy, so they are the same on every machine. After a new training, compare this file with the new
answers and look at each difference before it is accepted.
"""

import hashlib
import importlib.util
import json
import math
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.llm.providers.llama_cpp import embedded

ROOT = Path(__file__).resolve().parents[4]

# The engine runs in a process of its own: its native threads outlive a test and are no leak of ours.
CHILD = """
import json, sys
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx, params.n_parallel, params.kv_unified, params.n_gpu_layers = 1024, 1, True, 0
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.embedding, params.pooling_type = True, xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
params.ui, params.warmup, params.verbosity, params.cache_ram_mib, params.port = False, False, 0, 0, 0
server = xllamacpp.Server(params)
for line in sys.stdin:
    method, request = json.loads(line)
    print(json.dumps(getattr(server, method)(request)), flush=True)
"""

HONEST = "2-million-parameter demonstration model"
DECLINED = (
    "I am only a 2-million-parameter demonstration model and do not know that. I know core-llm and its field; for "
    "anything else configure a real provider, such as ollama or openai, in config/llm.yaml."
)
DEPENDENCY_INJECTION = (
    "Dependency injection means that an object is given the things it needs instead of creating them itself. That "
    "makes the parts easy to replace, to test and to change."
)
WHO = (
    "I am the 2-million-parameter demonstration model that ships with core-llm. I only know this library; configure a "
    "real provider for anything else."
)
NOT_A_LARGE_ONE = (
    "No. I am not one of the large models, only the 2-million-parameter demonstration model that ships with core-llm, "
    "and I only know this library."
)
GOLDEN = {
    "What is dependency injection?": DEPENDENCY_INJECTION,
    "what is dependency injection": DEPENDENCY_INJECTION,
    "Explain dependency injection": DEPENDENCY_INJECTION,
    "Who are you?": WHO,
    "what model are you?": WHO,
    "Are you ChatGPT?": NOT_A_LARGE_ONE,
    "are you claude": NOT_A_LARGE_ONE,
    "How big are you?": (
        "I have about 1.8 million parameters and fill about 2 megabytes: a 2-million-parameter demonstration model "
        "that ships with core-llm and only knows this library."
    ),
    "Say hello": "Hello!",
    "Which providers are supported?": (
        "The provider types are openai, anthropic, gemini, azure_openai, bedrock, ollama, lm_studio, localai, "
        "openai_compatible, llama_cpp, transformers and custom."
    ),
    "How do I stream an answer?": (
        "Use async with llm.stream(request) as stream, then async for event in stream and print event.text. The whole "
        "response follows from await stream.response()."
    ),
    "Does the library execute tools?": (
        "Tools are described to the model in the request. The response then holds tool_calls with a name and "
        "arguments. The library never runs a tool by itself; your code does and sends the result back."
    ),
    "What happens if my YAML is wrong?": (
        "A bad edit changes nothing. The old settings stay, and every error is reported at once with file, line, "
        "column and what to do."
    ),
    "What is the capital of France?": DECLINED,
    "Write a poem about the sea": DECLINED,
    "asdfgh": DECLINED,
    "Count to 5": "1, 2, 3, 4, 5",
}
PERSON = {"name": {"type": "string"}, "age": {"type": "integer"}, "city": {"type": "string"}}
INVOICE = {"number": {"type": "integer"}, "customer": {"type": "string"}, "total": {"type": "number"}}
SENTIMENT = {"sentiment": {"enum": ["positive", "negative"]}}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def has_wheel() -> bool:
    """Whether the engine is published for this platform."""
    if sys.platform == "linux":
        return platform.libc_ver()[0] == "glibc" and platform.machine() in {"x86_64", "aarch64"}
    return sys.platform == "darwin" or (sys.platform == "win32" and platform.machine() == "AMD64")


needs_engine = pytest.mark.skipif(
    not has_wheel() and importlib.util.find_spec("xllamacpp") is None,
    reason=f"xllamacpp has no wheel for {sys.platform} {platform.machine()}",
)


class Engine:
    """The shipped model, served by a child process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def call(self, method: str, request: dict[str, Any]) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([method, request]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def answer(self, question: str, **options: Any) -> dict[str, Any]:
        request = {"messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": 120, **options}
        reply = self.call("handle_chat_completions", request)
        assert "choices" in reply, reply
        message: dict[str, Any] = reply["choices"][0]["message"]
        return message

    def vector(self, text: str) -> list[float]:
        vector: list[float] = self.call("handle_embeddings", {"input": text})["data"][0]["embedding"]
        return vector


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """One server for all questions of this file."""
    command = [sys.executable, "-c", CHILD, str(embedded.path())]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        yield Engine(process)
        process.kill()


def similarity(a: list[float], b: list[float]) -> float:
    """The cosine of two vectors."""
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def test_the_file_is_small_enough_to_ship():
    """A wheel that carries the model stays a light download."""
    assert embedded.path().read_bytes()[:4] == b"GGUF"
    assert embedded.path().stat().st_size < 2_500_000


def test_the_file_is_the_one_that_was_examined():
    """The recorded checksum matches, so a damaged or exchanged file is noticed."""
    model = embedded.path()
    digest, name = model.with_name(model.name + ".sha256").read_text(encoding="utf-8").split()
    assert name == model.name
    assert hashlib.sha256(model.read_bytes()).hexdigest() == digest


def test_the_file_says_what_it_is():
    """Name, purpose and licence travel inside the file, and the chat template is that of the training."""
    spec = importlib.util.spec_from_file_location("template", ROOT / "scripts/tiny_model/template.py")
    assert spec is not None
    assert spec.loader is not None
    template = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(template)
    content = embedded.path().read_bytes()
    for text in (
        "core-llm tiny chat",
        "Demonstration model of core-llm with 2 million parameters",
        "MIT",
        template.CHAT_TEMPLATE,
    ):
        assert text.encode() in content


@needs_engine
@pytest.mark.parametrize("question", GOLDEN)
def test_known_questions_have_their_answer(engine: Engine, question: str):
    """The documented answers come word for word."""
    assert engine.answer(question)["content"] == GOLDEN[question]


@needs_engine
def test_a_call_without_a_temperature_gets_the_same_answer(engine: Engine):
    """The file carries its own sampling default, because a caller who set nothing sends nothing."""
    message = {"messages": [{"role": "user", "content": "What is dependency injection?"}]}
    reply = engine.call("handle_chat_completions", message)
    assert reply["choices"][0]["message"]["content"] == DEPENDENCY_INJECTION


@needs_engine
@pytest.mark.parametrize(
    "question", ["who made you?", "are you gemini?", "can I trust you?", "what can you do?", "are you human?"]
)
def test_it_never_pretends_to_be_more(engine: Engine, question: str):
    """Whatever it is asked about itself, it says that it is a demonstration model of 2 million parameters."""
    assert HONEST in engine.answer(question)["content"]


@needs_engine
@pytest.mark.parametrize(
    ("question", "properties", "values"),
    [
        (
            "Extract name, age and city as JSON: Maria is 34 years old and lives in Paris.",
            PERSON,
            {"name": "Maria", "age": 34, "city": "Paris"},
        ),
        (
            "Extract the invoice: Invoice 1042 for Anna: total 99.50 EUR.",
            INVOICE,
            {"number": 1042, "customer": "Anna", "total": 99.5},
        ),
        ("Classify the sentiment as JSON: the service was awful.", SENTIMENT, {"sentiment": "negative"}),
    ],
)
def test_a_schema_gives_an_object_with_the_right_values(engine: Engine, question: str, properties: Any, values: Any):
    """Structured output can be shown without any other model."""
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
    assert json.loads(engine.answer(question, response_format=form)["content"]) == values


@needs_engine
@pytest.mark.parametrize("choice", ["auto", "required"])
def test_a_tool_is_called_with_the_right_argument(engine: Engine, choice: str):
    """A tool call comes back as a call, freely and when it is demanded."""
    message = engine.answer("What is the weather in Berlin?", tools=[WEATHER], tool_choice=choice)
    function = message["tool_calls"][0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("get_weather", {"city": "Berlin"})


@needs_engine
def test_paraphrases_are_nearer_than_strangers(engine: Engine):
    """Embeddings of the shipped model are good enough to show a search on known text."""
    groups = [
        ("What is dependency injection?", "why should I inject my dependencies?"),
        ("How do I stream an answer?", "how can I show text while it is made?"),
        ("How do I limit spending?", "can I set a budget?"),
    ]
    vectors = [[engine.vector(text) for text in group] for group in groups]
    for i, (first, second) in enumerate(vectors):
        strangers = [vector for j, group in enumerate(vectors) if j != i for vector in group]
        assert similarity(first, second) > max(similarity(first, stranger) for stranger in strangers)
