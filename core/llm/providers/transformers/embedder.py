"""Vectors of texts: the mean of the last hidden states, of length one."""

from collections.abc import Sequence
from typing import Any

import torch

from core.llm.providers.transformers.loader import Loaded


def vectors(loaded: Loaded, texts: Sequence[str], ids: Sequence[Sequence[int]]) -> list[list[float]]:
    """One vector for each of *texts*, whose tokens are *ids*."""
    if loaded.sentence is not None:
        made = loaded.sentence.encode(list(texts), convert_to_tensor=True, show_progress_bar=False)
        return [[float(number) for number in row] for row in made.float().cpu().tolist()]
    longest = max(map(len, ids))
    # Filled up on the right: no token of a text can see what follows it, and none of what follows is counted.
    padded = [[*text, *[loaded.pad] * (longest - len(text))] for text in ids]
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in ids], device=loaded.model.device)
    inner: Any = loaded.model.base_model
    with torch.inference_mode():
        states = inner(torch.tensor(padded, device=loaded.model.device), attention_mask=mask).last_hidden_state.float()
        weights = mask.unsqueeze(-1)
        means = (states * weights).sum(1) / weights.sum(1).clamp(min=1)
        made = torch.nn.functional.normalize(means, dim=-1)
    return [[float(number) for number in row] for row in made.cpu().tolist()]
