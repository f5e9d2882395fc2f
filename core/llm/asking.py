"""Questions and orders to a provider outside of a call: what it answers, or an error that is one of ours."""

from collections.abc import Awaitable
from typing import TypeVar

from core.llm.common.exceptions import LLMError
from core.llm.common.types import ModelRef
from core.llm.pipeline.defects import own_error
from core.llm.pipeline.handler import raise_alone

T = TypeVar("T")


async def asked(work: Awaitable[T], ref: ModelRef) -> T:
    """The result of *work*, which the provider of *ref* does.

    Raises:
        LLMError: what it raised, or what stands for it: the text of a foreign error may hold anything.
    """
    try:
        return await work
    except LLMError:
        raise
    except Exception as error:  # noqa: BLE001 - nothing foreign crosses the public interface
        raise_alone(own_error(error, ref))
