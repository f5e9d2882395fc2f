"""A model of one's own: it has counted which word follows which in one text, and goes on from the last word."""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any


class Bigrams:
    """What `engine: bigrams:Bigrams` names. It is made without arguments, in a process of its own."""

    def load(self, settings: dict[str, Any]) -> None:
        """Called once. *settings*: `model_path`, `device`, `quantization`, `cache_dir`, and your own `options`."""
        self.following: dict[str, list[str]] = defaultdict(list)
        words = Path(settings["model_path"]).read_text(encoding="utf-8").split()
        for word, following in pairwise(words):
            self.following[word].append(following)
        self.longest = settings["options"].get("longest", 20)

    def generate(self, request: dict[str, Any]) -> Iterator[str | dict[str, Any]]:
        """The answer, piece by piece. *request* is in the OpenAI format: `messages`, `max_tokens`, `seed` and so on."""
        rng = random.Random(request.get("seed"))
        asked = request["messages"][-1]["content"].split()
        if not asked:
            raise ValueError("there is no word to go on from")  # refuses the request
        word, wanted = asked[-1], request.get("max_tokens") or self.longest
        for count in range(wanted):
            if word not in self.following:
                yield {"finish_reason": "stop", "input_tokens": len(asked), "output_tokens": count}
                return
            word = rng.choice(self.following[word])
            yield word + " "
        yield {"finish_reason": "length", "input_tokens": len(asked), "output_tokens": wanted}

    def count_tokens(self, request: dict[str, Any]) -> int:
        """Optional: how many tokens the prompt of *request* has."""
        return sum(len(message["content"].split()) for message in request["messages"])

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Optional: one vector per text."""
        return [[float(len(text.split())), float(len(text))] for text in texts]
