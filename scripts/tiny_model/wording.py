"""Ask the same thing in other words: templates, synonyms, careless typing, noise."""

import random
import re
import string

import texts

TOPIC_TEMPLATES = (
    "what is {t}?",
    "what is {t}?",
    "what are {t}?",
    "what's {t}?",
    "explain {t}",
    "explain {t} to me",
    "tell me about {t}",
    "how does {t} work?",
    "how do i use {t}?",
    "how do {t} work?",
    "describe {t}",
    "can you explain {t}?",
    "what do you know about {t}?",
    "what does {t} mean?",
    "what does {t} do?",
    "help me understand {t}",
    "what about {t}?",
    "give me a short summary of {t}",
    "{t}",
    "{t}?",
    "i want to learn about {t}",
    "define {t}",
    "please describe {t} in one sentence",
    "why {t}?",
    "show me {t}",
    "i have a question about {t}",
    "when do i need {t}?",
)
SYNONYMS = (
    (
        "how do i ",
        ("how can i ", "how to ", "how would i ", "how should i ", "how do you ", "how could we ", "how do we "),
    ),
    ("can i ", ("could i ", "is it possible to ", "may i ", "am i able to ", "can we ", "can you ")),
    ("what is ", ("what's ", "whats ", "what exactly is ", "so what is ", "what is meant by ", "tell me what is ")),
    ("what are ", ("what're ", "tell me, what are ", "what exactly are ")),
    ("which ", ("what ",)),
    ("what happens if ", ("what if ", "what happens when ")),
    ("what if ", ("what happens if ", "what happens when ")),
    ("why ", ("for what reason ", "tell me why ")),
    ("is it ", ("would it be ", "is that ")),
    ("explain ", ("please explain ", "could you explain ", "describe ")),
    (" the yaml", (" the config", " the config file", " my yaml", " the configuration", " the yaml file")),
    (" my app", (" my application", " the app", " my program", " our service")),
    ("this library", ("core-llm", "the library", "this package", "your library")),
)
PREFIXES = (
    "please ",
    "hi, ",
    "hello, ",
    "so, ",
    "quick question: ",
    "hey, ",
    "ok, ",
    "um, ",
    "question: ",
    "i wonder ",
    "and ",
)
SUFFIXES = (
    " please",
    " pls",
    " thanks",
    " in short",
    " exactly",
    " in core-llm",
    " in this library",
    " in python",
    " for me",
)
STOP_WORDS = frozenset(texts.WORDS["stop words"])
SYLLABLES = texts.WORDS["syllables"]
PROPER = {word.lower(): word for word in texts.WORDS["proper spellings"]}
# Whole words only, and no part of a name such as llm.generate or core-llm.
PROPER_WORD = re.compile(r"(?<![\w./{-])[a-z]+(?![\w./{}])", re.IGNORECASE)


def made_up_word(rng: random.Random) -> str:
    """A capitalised word that no dictionary holds, for names and places that must be copied."""
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 4))).capitalize()


def gibberish(rng: random.Random) -> str:
    """What a cat on the keyboard types."""
    kind = rng.randrange(5)
    if kind == 0:
        row = rng.choice(("qwertyuiop", "asdfghjkl", "zxcvbnm", "1234567890", "aaaaa", "fdsa", "hjkl"))
        start = rng.randrange(len(row) - 1)
        return row[start : start + rng.randint(3, 9)] * rng.randint(1, 2)
    if kind == 1:
        return "".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randint(3, 12)))
    if kind == 2:
        return " ".join(
            "".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randint(2, 8)))
            for _ in range(rng.randint(2, 5))
        )
    if kind == 3:
        return "".join(rng.choice("!?.,;:#%&()=+-*~ 0123456789") for _ in range(rng.randint(2, 10)))
    return " ".join(made_up_word(rng).lower() for _ in range(rng.randint(1, 4)))


def typo(question: str, rng: random.Random) -> str:
    """One slip of a finger."""
    if len(question) < 6:
        return question
    i = rng.randrange(1, len(question) - 2)
    kind = rng.randrange(4)
    if kind == 0:
        return question[:i] + question[i + 1] + question[i] + question[i + 2 :]
    if kind == 1:
        return question[:i] + question[i + 1 :]
    if kind == 2:
        return question[:i] + question[i] + question[i:]
    return question[:i] + rng.choice(string.ascii_lowercase) + question[i + 1 :]


def without_stop_words(question: str, rng: random.Random) -> str:
    """The short form that people type into a search box."""
    words = [word for word in question.split() if word not in STOP_WORDS or rng.random() < 0.4]
    return " ".join(words) or question


def with_synonym(question: str, rng: random.Random) -> str:
    """The question with one phrase replaced by another of the same meaning."""
    fitting = [(phrase, others) for phrase, others in SYNONYMS if phrase in question]
    if not fitting:
        return question
    phrase, others = rng.choice(fitting)
    return question.replace(phrase, rng.choice(others), 1)


def properly_spelled(question: str) -> str:
    """The question with capitals where careful people put them: I, JSON, ChatGPT."""
    return PROPER_WORD.sub(lambda word: PROPER.get(word[0].lower(), word[0]), question)


def vary(question: str, rng: random.Random, spelling: float = 0.0) -> str:
    """The question as somebody might really type it: other words, other case, no question mark, a typo.

    *spelling* is the share of those who write names and abbreviations with their capitals.
    """
    if rng.random() < 0.35:
        question = with_synonym(question, rng)
    if rng.random() < 0.08:
        question = without_stop_words(question, rng)
    if rng.random() < 0.07:
        question = question.rstrip("?") + rng.choice(SUFFIXES) + ("?" if question.endswith("?") else "")
    if rng.random() < 0.08:
        question = rng.choice(PREFIXES) + question
    if rng.random() < 0.12:
        question = typo(question, rng)
        if rng.random() < 0.3:
            question = typo(question, rng)
    if rng.random() < 0.35:
        question = question.rstrip("?")
    elif rng.random() < 0.05:
        question = question.rstrip("?") + rng.choice((" ?", "??", ".", "!", "?!"))
    if spelling and rng.random() < spelling:
        question = properly_spelled(question)
        return question[:1].upper() + question[1:]
    case = rng.random()
    if case < 0.4:
        return question[:1].upper() + question[1:]
    if case < 0.46:
        return question.title()
    if case < 0.49:
        return question.upper()
    if case < 0.6:
        return question.lower()
    return question


def ask_about(fact: texts.Fact, rng: random.Random, spelling: float = 0.0) -> str:
    """One of the many ways to ask for *fact*; never a wording that is held out for the evaluation."""
    while True:
        if fact.names and (not fact.questions or rng.random() < 0.4):
            question = rng.choice(TOPIC_TEMPLATES).format(t=rng.choice(fact.names))
        else:
            question = rng.choice(fact.questions)
        question = vary(question, rng, spelling)
        if question.strip() and texts.normalise(question) not in texts.HELD_OUT_WORDINGS:
            return question


def ask_off_topic(rng: random.Random, spelling: float = 0.0) -> str:
    """Something outside the model's knowledge: another subject, another language, or noise."""
    parts = texts.OFF_TOPIC
    while True:
        kind = rng.random()
        if kind < 0.3:
            question = vary(f"{rng.choice(parts.heads)} {rng.choice(parts.tails + parts.things)}?", rng, spelling)
        elif kind < 0.55:
            question = vary(rng.choice(TOPIC_TEMPLATES).format(t=rng.choice(parts.things)), rng, spelling)
        elif kind < 0.65:
            question = vary(rng.choice(TOPIC_TEMPLATES + parts.heads).format(t=made_up_word(rng).lower()), rng)
        elif kind < 0.85:
            question = vary(rng.choice(parts.sentences), rng, spelling)
        else:
            question = gibberish(rng)
        if question.strip() and texts.normalise(question) not in texts.HELD_OUT_WORDINGS:
            return question
