"""Vectors as they come, checked, and those of several answers joined into one."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from core.llm.common.types import Usage
from core.llm.dialects.json import schema_error
from core.llm.providers.base.request import EmbeddingRequest
from core.llm.providers.base.response import EmbeddingResponse

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class EmbeddedBatch:
    """The vectors of one answer, in the order of its texts."""

    vectors: tuple[Vector, ...]
    usage: Usage
    model: str = ""
    """As the provider names it, where it does."""


def vector_of(numbers: Iterable[Any] | None) -> Vector:
    """*numbers* as a vector.

    Raises:
        ProviderError: `protocol`: there are none, or not all of them are finite.
    """
    try:
        return finite(tuple(map(float, numbers or ())))
    except (TypeError, ValueError, OverflowError):
        return finite(())


def finite(vector: Vector) -> Vector:
    """*vector*, looked at. Raises as `vector_of`."""
    if vector and math.isfinite(math.fsum(vector)):
        return vector
    raise schema_error("a vector is empty or not made of finite numbers")


class JoinedBatches:
    """The answer to one request, of which some texts are asked for at a time."""

    __slots__ = ("_model", "_request", "_usages", "_vectors")

    def __init__(self, request: EmbeddingRequest) -> None:
        self._request = request
        self._vectors: list[Vector] = []
        self._usages: list[Usage] = []
        self._model = request.model

    def add(self, batch: EmbeddedBatch) -> None:
        """Put *batch* behind those before it.

        Raises:
            ProviderError: `protocol`: its vectors have another length than they should.
        """
        length, asked = len(batch.vectors[0]), self._request.dimensions
        if any(len(vector) != length for vector in (*self._vectors[:1], *batch.vectors)):
            raise schema_error("the vectors differ in length from one batch to the next")
        if asked not in {None, length}:
            raise schema_error(f"{length} dimensions instead of {asked}")
        self._vectors.extend(batch.vectors)
        self._usages.append(batch.usage)
        self._model = batch.model or self._model

    def response(self, provider: str) -> EmbeddingResponse:
        """All vectors and the sum of the tokens, as from *provider*."""
        usages = self._usages
        usage = Usage(
            input=sum(usage.input for usage in usages),
            cache_read=sum(usage.cache_read for usage in usages),
            output=sum(usage.output for usage in usages),
            estimated=any(usage.estimated for usage in usages),
            raw=usages[0].raw if len(usages) == 1 else None,
        )
        return EmbeddingResponse(tuple(self._vectors), self._model, provider, usage)
