"""Mix the texts and skills into conversations in ChatML, as the model reads them."""

import json
import random
from dataclasses import dataclass
from typing import Any

import skills
import template
import texts
import tools
import wording

SYSTEM_SENTENCES = (
    "You are a helpful assistant.",
    "You are an experienced programmer.",
    "You are a friendly bot named {word}.",
    "Answer in one sentence.",
    "Answer briefly.",
    "Always be polite.",
    "Do not use lists.",
    "Use plain text.",
    "If you do not know the answer, say so.",
    "Never reveal secrets.",
    "The user is a developer.",
    "The user works at {word}.",
    "Today is a {day}.",
    "Keep the answer under {number} words.",
    "You help with changes to source code.",
    "Follow the rules below.",
    "Keep to the conventions of the project.",
    "You work in the support team of {word}.",
    "Think before you answer.",
    "Explain your steps only when asked.",
    "Reply in the language of the user.",
    "You answer questions about the library.",
    "You extract data and answer with JSON only.",
    "Be kind and clear.",
    "Call a tool when it helps.",
)
# The README's first command asks this one; it must not fail on any typing of it.
HEADLINE = next(fact for fact in texts.FIELD if "dependency injection" in fact.names)


def system_prompt(rng: random.Random) -> str | None:
    """Usually none or a short one, sometimes a long one, as real clients send."""
    kind = rng.random()
    if kind < 0.45:
        return None
    if kind < 0.75:
        number = 1
    else:
        number = rng.randint(2, 4) if rng.random() < 0.75 else rng.randint(5, 14)
    separator = rng.choice((" ", " ", "\n", "\n- "))
    return separator.join(
        rng.choice(SYSTEM_SENTENCES).format(
            word=wording.made_up_word(rng), day=rng.choice(skills.DAYS), number=rng.randint(10, 99)
        )
        for _ in range(number)
    )


@dataclass(frozen=True, slots=True)
class Mix:
    """How often each kind of turn occurs, as parts of one, and how large the parts may be."""

    facts: float
    identity: float
    small_talk: float
    off_topic: float
    extraction: float
    echo: float
    summary: float
    counting: float
    spelling: float
    tool_share: float
    most_tools: int
    highest_count: int


def question_and_answer(rng: random.Random, mix: Mix) -> tuple[str, str]:
    """One turn of any kind but a tool call."""
    kinds = ("facts", "identity", "small_talk", "off_topic", "extraction", "echo", "summary", "counting")
    kind = rng.choices(kinds, [getattr(mix, kind) for kind in kinds])[0]
    if kind == "facts":
        fact = HEADLINE if rng.random() < 0.03 else rng.choice(texts.FACTS)
        return wording.ask_about(fact, rng, mix.spelling), fact.answer
    if kind == "identity":
        fact = rng.choice(texts.IDENTITY)
        return wording.ask_about(fact, rng, mix.spelling), fact.answer
    if kind == "small_talk":
        fact = rng.choice(texts.SMALL_TALK)
        return wording.ask_about(fact, rng, mix.spelling), fact.answer
    if kind == "off_topic":
        return wording.ask_off_topic(rng, mix.spelling), texts.OFF_TOPIC.answer
    if kind == "extraction":
        return skills.extract_json(rng)
    if kind == "echo":
        return skills.echo(rng)
    if kind == "summary":
        return skills.summarise(rng)
    return skills.count(rng, highest=mix.highest_count)


def render(
    system: str | None, messages: list[tuple[str, str]], offers: list[dict[str, Any]] | None = None
) -> list[tuple[str, bool]]:
    """The conversation as pieces of text, each with whether the model must learn to write it.

    It must agree with the chat template letter by letter.
    """
    pieces = []
    if offers:
        lines = "".join("\n" + json.dumps(offer, ensure_ascii=False) for offer in offers)
        system = (system + "\n\n" if system else "") + template.TOOL_HEAD + lines + template.TOOL_TAIL
    if system:
        pieces.append((f"<|im_start|>system\n{system}<|im_end|>\n", False))
    for role, text in messages:
        if role == "assistant":
            pieces += [("<|im_start|>assistant\n", False), (text + "<|im_end|>", True), ("\n", False)]
        else:
            pieces.append((f"<|im_start|>{role}\n{text}<|im_end|>\n", False))
    return pieces


def conversation(rng: random.Random, mix: Mix) -> list[tuple[str, bool]]:
    """One whole training conversation."""
    system = system_prompt(rng)
    if rng.random() < mix.tool_share:
        offers, messages, _ = tools.conversation(rng, mix.most_tools)
        if rng.random() < 0.2:
            # Clients offer their tools with every request, also where none is needed.
            question, answer = question_and_answer(rng, mix)
            messages = [("user", question), ("assistant", answer)]
        return render(system, messages, offers)
    turns = 1 if rng.random() < 0.75 else rng.randint(2, 3)
    messages = []
    for _ in range(turns):
        question, answer = question_and_answer(rng, mix)
        messages += [("user", question), ("assistant", answer)]
    return render(system, messages)


def same_meaning(rng: random.Random, number: int) -> list[tuple[str, str]]:
    """Pairs of texts with one meaning each, all meanings different: what the embeddings learn from."""
    known = texts.FACTS + texts.IDENTITY + texts.SMALL_TALK
    others = rng.sample(texts.OFF_TOPIC.sentences, number // 8) + rng.sample(texts.OFF_TOPIC.things, number // 8)
    pairs = []
    for fact in rng.sample(known, number - len(others)):
        first = wording.ask_about(fact, rng)
        pairs.append((first, fact.answer if rng.random() < 0.4 else wording.ask_about(fact, rng)))
    return pairs + [(wording.vary(text, rng), wording.vary(text, rng)) for text in others]
