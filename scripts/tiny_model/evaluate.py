"""Serve a GGUF file with xllamacpp and print how well it does what it was trained for.

    python scripts/tiny_model/evaluate.py core/llm/providers/llama_cpp/embedded/tiny-chat-q8_0.gguf

All answers are greedy. "Wordings of the corpus" are asked as they stand there, "changed wording" puts in synonyms and
typos, "new wordings" come from corpus/held_out.txt, which is never trained.
"""

import argparse
import json
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import samples
import skills
import texts
import tools
import wording
import xllamacpp

SEED = 7


@dataclass(slots=True)
class Score:
    """How many of the cases of one row went well, and some that did not."""

    name: str
    right: int = 0
    cases: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, *, right: bool, shown: str) -> None:
        """Count one case."""
        self.cases += 1
        self.right += right
        if not right:
            self.wrong.append(shown)


def serve(model: Path, threads: int) -> xllamacpp.Server:
    """The engine with the settings that give right embeddings (see docs/embedded-model.md)."""
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_ctx, params.n_parallel, params.kv_unified, params.n_gpu_layers = 1024, 1, True, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.embedding, params.pooling_type = True, xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.ui, params.warmup, params.verbosity, params.cache_ram_mib, params.port = False, False, 0, 0, 0
    return xllamacpp.Server(params)


class Examination:
    """Asks one server and keeps the scores."""

    def __init__(self, server: xllamacpp.Server) -> None:
        self.server = server
        self.scores: list[Score] = []

    def ask(self, messages: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
        """The message that the model answers with."""
        request = {"messages": messages, "temperature": 0, "max_tokens": 200, **options}
        reply = self.server.handle_chat_completions(request)
        if "choices" not in reply:
            return {"content": f"error: {reply}"}
        message: dict[str, Any] = reply["choices"][0]["message"]
        return message

    def embed(self, text: str) -> list[float]:
        """The vector of a text, of length one."""
        vector = self.server.handle_embeddings({"input": text})["data"][0]["embedding"]
        length = math.sqrt(sum(x * x for x in vector))
        return [x / length for x in vector]

    def row(self, name: str) -> Score:
        """A new row of the table."""
        self.scores.append(Score(name))
        return self.scores[-1]

    def questions(
        self, name: str, cases: Iterable[tuple[str, str]], system: Callable[[], str | None] = lambda: None
    ) -> None:
        """A row of questions with one right answer each."""
        score = self.row(name)
        for question, answer in cases:
            prompt = system()
            before = [{"role": "system", "content": prompt}] if prompt else []
            got = self.ask([*before, {"role": "user", "content": question}])["content"] or ""
            score.add(right=got == answer, shown=f"{question!r} -> {got!r}")


def held_out(kind: str) -> list[tuple[str, str]]:
    """New wordings with the answer that fits: of facts, of identity, or off-topic."""
    by_name = {fact.names[0]: fact.answer for fact in texts.FACTS}
    cases = []
    for fact in texts.HELD_OUT:
        topic = fact.names[0]
        if kind == topic or (kind == "facts" and topic in by_name):
            cases += [(question, by_name.get(topic, texts.OFF_TOPIC.answer)) for question in fact.questions]
    return cases


def examine_questions(examination: Examination, rng: random.Random) -> None:
    """Facts, identity, small talk and what must be declined."""
    plain = [(question, fact.answer) for fact in texts.FACTS for question in fact.questions]
    topics = [(f"What is {fact.names[0]}?", fact.answer) for fact in texts.FACTS]
    varied = [(wording.ask_about(fact, rng), fact.answer) for fact in rng.choices(texts.FACTS, k=200)]
    long_prompt = [
        (wording.vary(rng.choice(fact.questions), rng), fact.answer) for fact in rng.choices(texts.FACTS, k=40)
    ]
    examination.questions("facts, wordings of the corpus", rng.sample(plain, 200))
    examination.questions("facts, 'What is ...?'", topics)
    examination.questions("facts, changed wording and typos", varied)
    examination.questions("facts, new wordings", held_out("facts"))
    examination.questions("facts, 14 sentences of system prompt", long_prompt, system=lambda: long_system_prompt(rng))
    examination.questions(
        "identity, wordings of the corpus", [(q, fact.answer) for fact in texts.IDENTITY for q in fact.questions]
    )
    identity = examination.row("identity, new wordings: says what it is")
    for question, _ in held_out("identity"):
        got = examination.ask([{"role": "user", "content": question}])["content"]
        identity.add(right="demonstration model that ships with core-llm" in got, shown=f"{question!r} -> {got!r}")
    small_talk = [(wording.ask_about(fact, rng), fact.answer) for fact in rng.choices(texts.SMALL_TALK, k=40)]
    examination.questions("small talk", small_talk)
    examination.questions(
        "off-topic, parts of the corpus", [(wording.ask_off_topic(rng), texts.OFF_TOPIC.answer) for _ in range(80)]
    )
    examination.questions("off-topic, new questions and noise", held_out("off-topic"))


def long_system_prompt(rng: random.Random) -> str:
    """A system prompt of 14 sentences."""
    return " ".join(
        rng.choice(samples.SYSTEM_SENTENCES).format(word="Acme", day="Friday", number=50) for _ in range(14)
    )


def examine_second_turn(examination: Examination, rng: random.Random) -> None:
    """A question after another question and its answer."""
    score = examination.row("second turn of a conversation")
    for _ in range(40):
        first, fact = rng.choice(texts.FACTS), rng.choice(texts.FACTS)
        talk = [
            {"role": "user", "content": rng.choice(first.questions)},
            {"role": "assistant", "content": first.answer},
            {"role": "user", "content": rng.choice(fact.questions)},
        ]
        got = examination.ask(talk)["content"]
        score.add(right=got == fact.answer, shown=f"{talk[-1]['content']!r} -> {got!r}")


def schema_of(values: dict[str, Any]) -> dict[str, Any]:
    """A strict JSON schema with the keys of *values*."""
    kinds = {str: "string", int: "integer", float: "number"}
    properties = {key: {"type": kinds[type(value)]} for key, value in values.items()}
    return {"type": "object", "properties": properties, "required": list(values), "additionalProperties": False}


def examine_json(examination: Examination, rng: random.Random) -> None:
    """Extraction with and without a schema, and copying."""
    cases = [skills.extract_json(rng) for _ in range(100)]
    examination.questions("JSON extraction, exact text", cases)
    score = examination.row("JSON extraction under a schema, right values")
    for question, answer in cases:
        values = json.loads(answer)
        form = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema_of(values)}}
        got = examination.ask([{"role": "user", "content": question}], response_format=form)["content"]
        try:
            right = json.loads(got) == values
        except ValueError:
            right = False
        score.add(right=right, shown=f"{question!r} -> {got!r}")
    examination.questions("echo", [skills.echo(rng) for _ in range(60)])
    examination.questions("count", [skills.count(rng, highest=50) for _ in range(15)])
    examination.questions("summary of a short text", [skills.summarise(rng) for _ in range(30)])


def call_of(reply: dict[str, Any]) -> dict[str, Any] | None:
    """The name and arguments of the tool call in a reply, if it holds a well-formed one."""
    calls = reply.get("tool_calls")
    if not calls:
        return None
    try:
        return {"name": calls[0]["function"]["name"], "arguments": json.loads(calls[0]["function"]["arguments"])}
    except ValueError:
        return None


def with_result(question: str, call: dict[str, Any], result: str) -> list[dict[str, Any]]:
    """The conversation after the tool has run."""
    function = {"name": call["name"], "arguments": json.dumps(call["arguments"])}
    return [
        {"role": "user", "content": question},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "1", "content": result},
    ]


def examine_tools(examination: Examination, rng: random.Random) -> None:
    """The call, the same call when it is required, and the sentence after the result; three to five tools offered."""
    named = examination.row("tools: right tool")
    complete = examination.row("tools: right tool and arguments")
    required = examination.row("tools, tool_choice required: right tool and arguments")
    final = examination.row("tools: sentence after the result")
    needless = examination.row("tools offered, none needed: answers")
    while named.cases < 60:
        offers, messages, call = tools.conversation(rng, 5)
        if len(offers) < 3:
            continue
        question = messages[0][1]
        got = call_of(examination.ask([{"role": "user", "content": question}], tools=offers))
        forced = call_of(examination.ask([{"role": "user", "content": question}], tools=offers, tool_choice="required"))
        named.add(right=got is not None and got["name"] == call["name"], shown=f"{question!r} -> {got}")
        complete.add(right=got == call, shown=f"{question!r} -> {got}")
        required.add(right=forced == call, shown=f"{question!r} -> {forced}")
        if len(messages) == 4:
            result = messages[2][1].removeprefix("<tool_response>\n").removesuffix("\n</tool_response>")
            sentence = examination.ask(with_result(question, call, result), tools=offers)["content"]
            final.add(right=sentence == messages[3][1], shown=f"{result!r} -> {sentence!r}")
        if named.cases % 3 == 0:
            fact = rng.choice(texts.FACTS)
            question = rng.choice(fact.questions)
            reply = examination.ask([{"role": "user", "content": question}], tools=offers)
            needless.add(right=reply.get("content") == fact.answer, shown=f"{question!r} -> {reply}")


def examine_embeddings(examination: Examination) -> None:
    """Find the answer of a question among all answers by the nearest vector."""
    answers = [(fact.answer, examination.embed(fact.answer)) for fact in texts.FACTS]

    def search(name: str, questions: list[tuple[str, str]]) -> None:
        first = examination.row(f"embeddings, {name}: nearest answer is right")
        third = examination.row(f"embeddings, {name}: in the first three")
        for question, right in questions:
            vector = examination.embed(question)
            ranked = sorted(answers, key=lambda answer: -sum(x * y for x, y in zip(vector, answer[1], strict=True)))
            first.add(right=ranked[0][0] == right, shown=f"{question!r} -> {ranked[0][0]!r}")
            third.add(right=right in [text for text, _ in ranked[:3]], shown=f"{question!r} -> {ranked[0][0]!r}")

    search("wordings of the corpus", [(fact.questions[0], fact.answer) for fact in texts.FACTS if fact.questions])
    search("new wordings", held_out("facts"))


def evaluate(model: Path, *, threads: int = 1) -> list[Score]:
    """All rows for one model file."""
    examination = Examination(serve(model, threads))
    rng = random.Random(SEED)
    examine_questions(examination, rng)
    examine_second_turn(examination, rng)
    examine_json(examination, rng)
    examine_tools(examination, rng)
    examine_embeddings(examination)
    return examination.scores


def table(scores: list[Score]) -> str:
    """The scores as a Markdown table."""
    lines = ["| what | right |", "| --- | --- |"]
    lines += [f"| {score.name} | {score.right} of {score.cases} |" for score in scores]
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="GGUF file")
    parser.add_argument("--threads", type=int, default=1, help="threads of the engine (default: 1)")
    parser.add_argument("--wrong", type=int, default=0, metavar="N", help="show N wrong answers of each row")
    arguments = parser.parse_args()
    scores = evaluate(arguments.model, threads=arguments.threads)
    print(table(scores))
    for score in scores:
        for shown in score.wrong[: arguments.wrong]:
            print(f"{score.name}: {shown}")


if __name__ == "__main__":
    main()
