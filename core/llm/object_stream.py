"""An object as the caller sees it grow."""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Generic, Self, TypeVar, cast

from pydantic import BaseModel

from core.llm.common.exceptions import StructuredOutputError
from core.llm.providers.base.request import ResponseFormat
from core.llm.providers.base.response import LLMResponse, StreamReset
from core.llm.stream import LLMStream
from core.llm.structured.answer import Fit, Misfit, no_fit, read_response
from core.llm.structured.partial import PartialReader

T = TypeVar("T", bound=BaseModel)


class ObjectStream(AsyncIterator[T], Generic[T]):
    """Partial objects, each with more in it than the one before. Close it like any stream: use `async with`.

    Where a route restarts streams that break, the object may begin to grow again from nothing.

    A field that has not arrived has its default, or `None` where it has none, whatever its type says;
    `model_fields_set` of a partial object names the fields that are there. Only `object` has been validated as a whole.
    """

    def __init__(self, stream: LLMStream, model: type[T], wanted: ResponseFormat) -> None:
        self._stream = stream
        self._wanted = wanted
        self._model = model
        self._reader = PartialReader(model)
        self._object: T | None = None
        self._response: LLMResponse | None = None

    @property
    def object(self) -> T:
        """The whole object.

        Raises:
            RuntimeError: the stream has not been read to its end.
        """
        if self._object is None:
            raise RuntimeError("the object is not complete: read the stream to its end first")
        return self._object

    async def response(self) -> LLMResponse:
        """The whole answer with its object; reads the rest of the stream if there is any.

        Raises:
            StructuredOutputError: the answer does not fit, the model refused, or was cut off.
            ProviderError: the stream broke.
        """
        if self._response is not None:
            return self._response
        response = await self._stream.response()
        outcome = read_response(response, self._wanted)
        if self._wanted.model is not None and isinstance(outcome, Misfit):
            raise no_fit(response, self._wanted.model, outcome)
        if not isinstance(outcome, Fit):
            names = ", ".join(call.name for call in response.tool_calls)
            raise StructuredOutputError(
                f"{response.provider}/{response.model} called {names} instead of answering: a stream of one object has "
                "no place for that; use stream()",
                text=response.content,
                usage=response.usage,
                cost=response.cost,
            )
        response.object = self._object = outcome.object
        self._response = response
        return response

    async def __aenter__(self) -> Self:
        await self._stream.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stream.__aexit__(kind, error, traceback)

    async def __anext__(self) -> T:
        async for event in self._stream:
            if event.__class__ is StreamReset:
                # The next partial object begins again from nothing.
                self._reader = PartialReader(self._model)
                continue
            text = event.text
            if text:
                partial = self._reader.add(text)
                if partial is not None:
                    return cast("T", partial)
        await self.response()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Close the connection and settle the call; does nothing when the stream has ended."""
        await self._stream.aclose()
