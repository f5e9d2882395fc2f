"""Read the hand-written text of the corpus.

A file is a row of blocks, separated by blank lines. Lines that start with ``#`` are comments. A block is::

    about: name | another name      (the topic; absent for what is not about a topic)
    say: the one answer
    - a wording of the question
"""

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).with_name("corpus")


@dataclass(frozen=True, slots=True)
class Fact:
    """One answer and the ways to ask for it."""

    names: tuple[str, ...]
    answer: str
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OffTopic:
    """Material for questions that the model must decline."""

    answer: str
    heads: tuple[str, ...]
    tails: tuple[str, ...]
    things: tuple[str, ...]
    sentences: tuple[str, ...]


def lines_of(name: str) -> list[str]:
    """The lines of a corpus file without its comments."""
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if not line.startswith("#")]


def read_facts(name: str) -> list[Fact]:
    """All blocks of a file. A line that fits no form is an error, so that no text is lost unseen."""
    facts = []
    for block in "\n".join(lines_of(name)).strip().split("\n\n"):
        names: list[str] = []
        questions: list[str] = []
        answer = ""
        for line in block.strip().splitlines():
            if line.startswith("about: "):
                names = [part.strip() for part in line.removeprefix("about: ").split("|")]
            elif line.startswith("say: "):
                answer = line.removeprefix("say: ")
            elif line.startswith("- "):
                questions.append(line.removeprefix("- "))
            else:
                raise ValueError(f"{name}: not a line of a block: {line!r}")
        facts.append(Fact(tuple(names), answer, tuple(questions)))
    return facts


def read_sections(name: str) -> dict[str, list[str]]:
    """The lines below each ``[title]``; those above the first title stand under the empty one."""
    sections: dict[str, list[str]] = {"": []}
    current = ""
    for line in lines_of(name):
        if line.startswith("["):
            current = line.strip("[]")
            sections[current] = []
        elif line:
            sections[current].append(line)
    return sections


def read_off_topic(name: str) -> OffTopic:
    """The declined questions: one answer and four sections of parts."""
    sections = read_sections(name)
    return OffTopic(
        sections[""][0].removeprefix("say: "),
        tuple(sections["heads"]),
        tuple(sections["tails"]),
        tuple(sections["things"]),
        tuple(sections["sentences"]),
    )


def read_words(name: str) -> dict[str, tuple[str, ...]]:
    """Lists of words, separated by commas, by their title."""
    sections = read_sections(name)
    return {
        title: tuple(word.strip() for word in " ".join(lines).split(",")) for title, lines in sections.items() if title
    }


def normalise(question: str) -> str:
    """A question without case and punctuation, to compare wordings."""
    return " ".join("".join(c if c.isalnum() else " " for c in question.lower()).split())


LIBRARY = read_facts("library.txt")
FIELD = read_facts("field.txt")
IDENTITY = read_facts("identity.txt")
SMALL_TALK = read_facts("smalltalk.txt")
OFF_TOPIC = read_off_topic("off_topic.txt")
WORDS = read_words("words.txt")
HELD_OUT = read_facts("held_out.txt")
FACTS = LIBRARY + FIELD
HELD_OUT_WORDINGS = frozenset(normalise(question) for fact in HELD_OUT for question in fact.questions)
