"""Send identical requests that come at the same time once, streams included, and give all of them the answer."""

import asyncio
from decimal import Decimal
from functools import partial

from core.llm.common.decisions import CallJoined
from core.llm.common.exceptions import AllAttemptsFailed, ProviderError, RateLimited
from core.llm.pipeline.cache import with_object
from core.llm.pipeline.cached_answer import free_of_charge
from core.llm.pipeline.flight import Flight, SharedEvents, finish, own_error
from core.llm.pipeline.handler import Call, Handler, Mode, Reply

Place = tuple[str, Mode, Decimal | None]
"""What is asked for, how, and for how much money at most."""


def single_flight(currency: str) -> "SingleFlight":
    """The layer for calls that have a key; it remembers those under way."""
    return SingleFlight(currency)


class SingleFlight:
    """Calls under way, by what they mean."""

    __slots__ = ("_currency", "_flights", "_tasks")

    def __init__(self, currency: str) -> None:
        self._currency = currency
        # What one of them may cost bounds the call that it makes for the others, so it is a part of the place.
        self._flights: dict[Place, Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._flights)

    def __call__(self, inner: Handler) -> Handler:
        """The layer."""

        async def handle(call: Call) -> Reply:
            if call.key is None or call.request.cache == "refresh":
                return await inner(call)
            while True:
                flight = self._joined(call, call.key, inner)
                try:
                    with call.guard:
                        await flight.first_output()
                except BaseException:
                    flight.settle(call)
                    raise
                if flight.error is None or flight.begun:
                    reply = self._reply(flight, call)
                    return await inner(call) if reply is None else reply
                flight.settle(call)
                if not _ran_out_of_its_own_time(flight, call):
                    raise own_error(flight.error)

        return handle

    def _joined(self, call: Call, key: str, inner: Handler) -> Flight:
        """The flight that *call* takes part in: the one under way, or a new one."""
        place = (key, call.mode, call.cost_limit)
        flight = self._flights.get(place)
        if flight is None or flight.done or flight.abandoned:
            flight = self._flights[place] = Flight(call)
            flight.join(call)
            flight.task = asyncio.get_running_loop().create_task(flight.run(inner), name=f"core.llm:flight:{call.id}")
            self._tasks.add(flight.task)
            flight.task.add_done_callback(partial(self._ended, place, flight))
        else:
            flight.join(call)
            call.trace.notes.append(f"shares the answer of call {flight.owner.id}, which asked for the same")
            call.events.publish(CallJoined(call.id, flight.owner.id))
        return flight

    def _ended(self, place: Place, flight: Flight, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        flight.stopped()
        if self._flights.get(place) is flight:
            del self._flights[place]

    def _reply(self, flight: Flight, call: Call) -> Reply | None:
        """The answer of *flight* for *call*; `None` where it is of no use to it."""
        if call.mode == "stream":
            reply = Reply(call, tail=SharedEvents(flight, call))
            reply.first_output_at = call.elapsed()
            reply.on_end(partial(finish, flight, call, self._currency))
            return reply
        flight.settle(call)
        if flight.pays(call):
            return Reply(call, response=flight.response, embedding=None)
        response = flight.copy()
        if response is None or not with_object(response, call.request):
            return None
        free_of_charge(response, self._currency)
        return Reply(call, response=response)


def _ran_out_of_its_own_time(flight: Flight, call: Call) -> bool:
    """Whether it failed because whoever began it had less time than *call* has."""
    error = flight.error
    if call is flight.owner or call.deadline.at <= flight.owner.deadline.at:
        return False
    if isinstance(error, RateLimited | AllAttemptsFailed):
        wait = error.retry_after
        return wait is not None and flight.owner.deadline.remaining(call.clock) < wait <= call.deadline.remaining(
            call.clock
        )
    return isinstance(error, ProviderError) and error.code in {"deadline_exceeded", "no_time_left"}
