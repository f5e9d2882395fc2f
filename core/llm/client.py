"""`LLMClient`: a call that never raises, for code that would rather look at an answer than catch errors."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar, Unpack, overload

from pydantic import BaseModel

from core.llm.common.clock import Clock, SystemClock
from core.llm.common.exceptions import (
    AllAttemptsFailed,
    LLMError,
    ProviderError,
    RequestError,
    ServiceStopping,
    StructuredOutputError,
)
from core.llm.common.trace import CallTrace
from core.llm.common.types import ObjectT
from core.llm.pipeline.reasons import ends_the_call
from core.llm.providers.base.request import RequestOptions
from core.llm.providers.base.response import LLMResponse
from core.llm.service import LLMService, Prompt

T = TypeVar("T", bound=BaseModel)


class ResponseType(StrEnum):
    """What a client response holds."""

    TEXT = "text"
    OBJECT = "object"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class ClientResponse(Generic[ObjectT]):
    """An answer, or the error that stands in its place."""

    response_type: ResponseType
    text: str = ""
    """The text of the answer; where an object could not be made of it, the raw text."""
    object: ObjectT | None = None
    error: LLMError | None = None
    response: LLMResponse[ObjectT] | None = field(default=None, repr=False)
    """The whole answer; `None` where there is none."""
    errors: tuple[LLMError, ...] = ()
    """What went wrong at preferred models that were passed over, in order."""

    @property
    def ok(self) -> bool:
        """Whether there is an answer."""
        return self.error is None

    @property
    def trace(self) -> CallTrace | None:
        """What was tried in the call that decided."""
        return self.response.trace if self.response is not None else getattr(self.error, "trace", None)


class LLMClient:
    """Asks the service, and answers with what came of it, errors included. Cancellation passes as always."""

    def __init__(self, service: LLMService, clock: Clock | None = None) -> None:
        self._service = service
        self._clock = clock or SystemClock()

    @overload
    async def get_response(
        self,
        messages: Prompt,
        response_model: None = None,
        preferred_models: Sequence[tuple[str, str | None] | str] | None = None,
        auto: bool = True,
        **options: Unpack[RequestOptions],
    ) -> ClientResponse: ...
    @overload
    async def get_response(
        self,
        messages: Prompt,
        response_model: type[T],
        preferred_models: Sequence[tuple[str, str | None] | str] | None = None,
        auto: bool = True,
        **options: Unpack[RequestOptions],
    ) -> ClientResponse[T]: ...
    async def get_response(
        self,
        messages: Prompt,
        response_model: type[BaseModel] | None = None,
        preferred_models: Sequence[tuple[str, str | None] | str] | None = None,
        auto: bool = True,
        **options: Any,
    ) -> ClientResponse[Any]:
        """The answer to *messages*; never raises but for cancellation.

        Args:
            messages: a string, messages, or an `LLMRequest`.
            response_model: a pydantic model that the answer must fit; it is then in `object`.
            preferred_models: `(provider, model)` pairs (or names such as `provider/model`, or aliases), tried in order.
            auto: go on to the configured default and its fallbacks when none of the preferred models answers.
            options: fields of the request. `timeout` holds for all of it together.
        """
        try:
            return await self._first(messages, response_model, preferred_models or (), options, auto=auto)
        except LLMError as error:
            return _failed(error, ())
        except Exception as error:  # noqa: BLE001 - the contract: nothing but cancellation is raised
            # Its text may quote the arguments.
            return _failed(RequestError(f"the call could not be made: {type(error).__name__}"), ())

    async def _first(
        self,
        messages: Prompt,
        response_model: type[BaseModel] | None,
        preferred_models: Sequence[tuple[str, str | None] | str],
        options: dict[str, Any],
        *,
        auto: bool,
    ) -> ClientResponse:
        if isinstance(preferred_models, str):
            raise RequestError("preferred_models is a list: of (provider, model) pairs, names or aliases")
        places = [_place(one) for one in preferred_models]
        if auto or not places:
            places.append({})
        timeout = options["timeout"] if "timeout" in options else getattr(messages, "timeout", None)
        until = None if timeout is None else self._clock.monotonic() + timeout
        errors: list[LLMError] = []
        for place in places:
            asked = {**options, **place}
            if until is not None and errors:
                left = until - self._clock.monotonic()
                if left <= 0:
                    break
                asked["timeout"] = left
            try:
                return await self._ask(messages, response_model, asked, tuple(errors))
            except LLMError as error:
                errors.append(error)
                if _is_final(error):
                    break
        return _failed(errors[-1] if len(errors) == 1 or _is_final(errors[-1]) else _all(errors), tuple(errors[:-1]))

    async def _ask(
        self,
        messages: Prompt,
        response_model: type[BaseModel] | None,
        options: dict[str, Any],
        errors: tuple[LLMError, ...],
    ) -> ClientResponse:
        if response_model is None:
            response = await self._service.generate(messages, **options)
        else:
            response = await self._service.generate_object(messages, response_model, **options)
        kind = ResponseType.TEXT if response.object is None else ResponseType.OBJECT
        return ClientResponse(kind, response.content, response.object, None, response, errors)


def _place(preferred: tuple[str, str | None] | str) -> dict[str, Any]:
    if isinstance(preferred, str):
        return {"model": preferred, "provider": None}
    try:
        provider, model = preferred
    except (TypeError, ValueError):
        raise RequestError(
            "preferred_models holds (provider, model) pairs, or names such as 'provider/model': correct what is neither"
        ) from None
    return {"provider": provider, "model": model}


def _is_final(error: LLMError) -> bool:
    """Whether the next model is not to be asked: it would be no use, or would go around a refusal."""
    if isinstance(error, StructuredOutputError):
        return error.reason == "refused"
    if isinstance(error, AllAttemptsFailed):
        return any(_is_final(one) for one in error.errors)
    if isinstance(error, ProviderError):
        return ends_the_call(error)
    # What one model costs too much for may be cheap enough at the next.
    return isinstance(error, ServiceStopping)


def _all(errors: list[LLMError]) -> AllAttemptsFailed:
    lines = "\n".join(f"  {error}" for error in errors)
    failed = AllAttemptsFailed(f"none of the preferred models could answer:\n{lines}", errors)
    failed.trace = errors[-1].trace
    return failed


def _failed(error: LLMError, errors: tuple[LLMError, ...]) -> ClientResponse:
    text = error.text if isinstance(error, StructuredOutputError) else ""
    if isinstance(error, ProviderError) and error.partial is not None:
        text = error.partial.text
    return ClientResponse(ResponseType.ERROR, text, None, error, None, errors)
