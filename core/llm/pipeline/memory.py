"""What the layers around a call remember from call to call, across configurations."""

from collections.abc import Callable, Mapping

from core.llm.common.guardrail import Guardrail
from core.llm.pipeline.answer_store import MemoryStore
from core.llm.pipeline.hedge_timing import HedgeMemory
from core.llm.pipeline.request_limits import UserSlots
from core.llm.pipeline.shadow import Shadows
from core.llm.routing.arms import Experiments


def _nothing_swapped() -> Mapping[str, tuple[str, ...]]:
    return {}


class CallMemory:
    """Who has calls in flight, what runs in the background, and how the models behind each alias have done."""

    __slots__ = ("answers", "experiments", "guardrails", "hedges", "shadows", "swapped", "users")

    def __init__(self, guardrails: tuple[Guardrail, ...] = ()) -> None:
        self.guardrails = guardrails
        """What the host looks at requests and answers with."""
        self.answers = MemoryStore()
        self.hedges = HedgeMemory()
        self.swapped: Callable[[], Mapping[str, tuple[str, ...]]] = _nothing_swapped
        """Aliases that mean other models now than is written."""
        self.users = UserSlots()
        self.shadows = Shadows()
        self.experiments = Experiments()
