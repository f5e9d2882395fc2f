"""Forty models by a real engine: every schema becomes a grammar, and a small model fills it as well as it can.

The model is far too small to know what it says. What counts is that the engine takes every schema, and that whatever it
says comes back typed, or as an error with its reason.
"""

from collections import Counter

import pytest

from core.container import Container
from core.llm.common.exceptions import StructuredOutputError
from core.llm.module import ProviderModule
from core.llm.service import LLMService
from tests.unit.structured.models import TABLE

pytest.importorskip("xllamacpp", reason="the engine is an extra: pip install core-llm[local]")


async def test_every_schema_is_taken_and_every_answer_is_typed_or_a_clear_error() -> None:
    """Most fit at once, because the grammar leaves nothing else; open lists may run into the limit of tokens."""
    config = {
        "providers": {"local": {"type": "llama_cpp", "models": {"tiny": "embedded"}}},
        "retry": {"max_retries": 0},
        "health_check": {"enabled": False},
    }
    outcomes: Counter[str] = Counter()
    async with Container([ProviderModule({"llm_service": config}, watch=False, env={})]) as container:
        llm = container.get(LLMService)
        for model, _, _ in TABLE:
            try:
                response = await llm.generate_object(
                    "Give me one.", model, model="local/tiny", max_tokens=100, temperature=0.0
                )
            except StructuredOutputError as error:
                outcomes[error.reason if error.text else "without text"] += 1
            else:
                assert isinstance(response.object, model)
                outcomes["typed"] += 1
    assert outcomes.keys() <= {"typed", "truncated", "invalid"}
    assert outcomes["typed"] >= 25, outcomes
