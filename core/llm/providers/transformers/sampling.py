"""How one row of a batch picks its next token. Each has its own settings and its own source of randomness."""

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Sampling:
    """What was asked for, the model's own defaults where nothing was."""

    temperature: float = 1.0
    """0: always the likeliest token."""
    top_p: float = 1.0
    top_k: int = 0
    """0: all."""
    min_p: float = 0.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None


def sampling_of(body: Mapping[str, Any], defaults: Mapping[str, Any]) -> Sampling:
    """The settings in *body*, a request in the OpenAI format, over the *defaults* that come with the model."""

    def of(name: str, otherwise: float) -> float:
        value = body.get(name)
        return float(defaults.get(name) or otherwise) if value is None else float(value)

    temperature = body.get("temperature")
    if temperature is None:
        # A model that says nothing about sampling is meant to be greedy.
        temperature = of("temperature", 1.0) if defaults.get("do_sample") else 0.0
    bias = {int(token): float(value) for token, value in (body.get("logit_bias") or {}).items()}
    seed = body.get("seed")
    return Sampling(
        float(temperature),
        of("top_p", 1.0),
        int(of("top_k", 0)),
        of("min_p", 0.0),
        of("frequency_penalty", 0.0),
        of("presence_penalty", 0.0),
        of("repetition_penalty", 1.0),
        bias,
        None if seed is None else int(seed),
    )


class Sampler:
    """Picks tokens for one answer. With a seed, the same ones each time, whoever shares the batch."""

    __slots__ = ("_counts", "_generator", "_prompt", "_settings")

    def __init__(self, settings: Sampling, prompt: Sequence[int]) -> None:
        self._settings = settings
        self._prompt = sorted(set(prompt)) if settings.repetition_penalty != 1.0 else []
        self._counts: Counter[int] = Counter()
        self._generator = torch.Generator("cpu")
        self._generator.manual_seed((secrets.randbits(63) if settings.seed is None else settings.seed) % 2**63)

    def pick(self, scores: Any, allowed: Any) -> int:
        """The next token, given the *scores* of the vocabulary; *allowed* changes them in place, or is `None`."""
        scores = self._adjusted(scores)
        if allowed is not None:
            allowed(scores)
        token = int(torch.argmax(scores)) if self._settings.temperature <= 0 else self._drawn(scores)
        self._counts[token] += 1
        return token

    def _adjusted(self, scores: Any) -> Any:
        settings = self._settings
        scores = scores.clone()
        if settings.repetition_penalty != 1.0:
            seen = torch.tensor([*self._prompt, *self._counts], device=scores.device).unique()
            known = scores[seen]
            scores[seen] = torch.where(
                known < 0, known * settings.repetition_penalty, known / settings.repetition_penalty
            )
        if self._counts and (settings.frequency_penalty or settings.presence_penalty):
            tokens = torch.tensor(list(self._counts), device=scores.device)
            counts = torch.tensor(list(self._counts.values()), device=scores.device, dtype=scores.dtype)
            scores[tokens] -= settings.frequency_penalty * counts + settings.presence_penalty
        for token, bias in settings.logit_bias.items():
            if 0 <= token < len(scores):
                scores[token] += bias
        return scores

    def _drawn(self, scores: Any) -> int:
        settings = self._settings
        scores = scores / settings.temperature
        if 0 < settings.top_k < len(scores):
            scores[scores < torch.topk(scores, settings.top_k).values[-1]] = -torch.inf
        chances = torch.softmax(scores, dim=-1)
        if settings.min_p > 0:
            chances[chances < settings.min_p * chances.max()] = 0
        if settings.top_p < 1:
            ordered, places = torch.sort(chances, descending=True)
            # The likeliest tokens that reach top_p together: one goes where those before it have reached it already.
            beyond = torch.cumsum(ordered, dim=-1) - ordered >= settings.top_p * ordered.sum()
            beyond[0] = False
            chances[places[beyond]] = 0
        # Drawn on the processor: the same seed gives the same tokens on every device.
        return int(torch.multinomial(chances.cpu(), 1, generator=self._generator))
