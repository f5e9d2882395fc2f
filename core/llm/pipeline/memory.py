"""What the layers around a call remember from call to call, across configurations."""

from core.llm.pipeline.request_limits import UserSlots
from core.llm.pipeline.shadow import Shadows
from core.llm.routing.arms import Experiments


class CallMemory:
    """Who has calls in flight, what runs in the background, and how the models behind each alias have done."""

    __slots__ = ("experiments", "shadows", "users")

    def __init__(self) -> None:
        self.users = UserSlots()
        self.shadows = Shadows()
        self.experiments = Experiments()
