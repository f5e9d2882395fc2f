"""Vectors by a real model: the mean of what it makes of a text, of length one."""

import asyncio
import math
from pathlib import Path

import pytest

from core.llm.common.exceptions import ProviderError, UnsupportedFeature
from core.llm.providers.transformers.provider import TransformersProvider
from tests.transformers.conftest import texts

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_vector_is_the_normalised_mean(provider: TransformersProvider, model_folder: Path) -> None:
    """As computed here, from the model's own files."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    inputs = ("Say hello", "Greet the world, and the rest of it", "Count")
    response = await provider.embed(texts(*inputs))
    tokenizer, model = AutoTokenizer.from_pretrained(model_folder), AutoModel.from_pretrained(model_folder)

    for text, vector in zip(inputs, response.vectors, strict=True):
        with torch.inference_mode():
            states = model(torch.tensor([tokenizer.encode(text)])).last_hidden_state[0]
        expected = torch.nn.functional.normalize(states.mean(0), dim=-1)
        assert torch.allclose(torch.tensor(vector), expected, atol=1e-4)
        assert math.isclose(math.hypot(*vector), 1, abs_tol=1e-4)


async def test_a_list_gives_what_each_text_gives_alone(provider: TransformersProvider) -> None:
    """Whatever shares its batch; a long list travels in several calls."""
    inputs = [f"text number {number} " * (1 + number % 5) for number in range(40)]
    together = await provider.embed(texts(*inputs))
    alone = await asyncio.gather(*[provider.embed(texts(inputs[number])) for number in (0, 7, 39)])

    assert len(together) == 40
    for number, one in zip((0, 7, 39), alone, strict=True):
        assert one[0] == pytest.approx(together[number], abs=1e-4)
    assert together.usage.input > 40


async def test_a_text_that_does_not_fit_is_refused(provider: TransformersProvider) -> None:
    """It is never cut."""
    with pytest.raises(ProviderError) as caught:
        await provider.embed(texts("fine", "x " * 400))
    assert caught.value.type == "context_length"


async def test_nothing_has_no_vector(provider: TransformersProvider) -> None:
    """An empty text has no token to take a mean of."""
    with pytest.raises(ProviderError, match="no token") as caught:
        await provider.embed(texts(""))
    assert caught.value.type == "invalid_request"


async def test_vectors_cannot_be_shortened(provider: TransformersProvider) -> None:
    """And that is said."""
    with pytest.raises(UnsupportedFeature, match="cannot shorten"):
        await provider.embed(texts("a", dimensions=8))
