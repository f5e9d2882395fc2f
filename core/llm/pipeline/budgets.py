"""Hold back what an attempt may cost at most before it is sent; the ledger books what it did cost."""

from decimal import Decimal
from typing import Final

from core.llm.accounting.budgets import Budget
from core.llm.accounting.ledger import UsageLedger
from core.llm.common.exceptions import BudgetExceeded
from core.llm.common.log import log
from core.llm.common.types import Price
from core.llm.pipeline.handler import Call, Handler, Layer, Reply
from core.llm.pipeline.spending import longest_answer
from core.llm.pipeline.target import Target
from core.llm.providers.base.provider import ModelHost
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.routing.token_calibration import TokenCalibration
from core.llm.routing.tokens import estimate_request, estimate_texts
from core.llm.state.holds import Hold, Scope
from core.llm.state.rows import to_nanos

_MILLION: Final = 10**6
_NOTHING: Final = Decimal(0)


def budgets(book: UsageLedger, target: Target, config: LLMServiceConfig, calibration: TokenCalibration) -> Layer:
    """The layer that asks the budgets of *book* before each attempt at *target*; none where there are no budgets.

    What it would refuse is said by `target.overdrawn` from then on.
    """
    if not config.costs.limited:
        return _unlimited
    till = Till(book, target, config, calibration)
    target.overdrawn = till.overdrawn
    purse = book.purse

    def layer(inner: Handler) -> Handler:
        async def handle(call: Call) -> Reply:
            hold = till.hold(call)
            if hold is None:
                return await inner(call)
            if purse.shared is None:
                purse.take(till.budgets, hold)
            else:
                await purse.take_shared(purse.shared, till.budgets, hold, call.guard)
            try:
                return await inner(call)
            except BaseException:
                # Whatever was sent is booked by now; this is for what never came that far.
                purse.release(hold.attempt_id)
                raise

        return handle

    return layer


def _unlimited(inner: Handler) -> Handler:
    return inner


class Till:
    """What attempts at one target may cost, and the budgets that they count in."""

    __slots__ = (
        "_aliases",
        "_calibration",
        "_default",
        "_input",
        "_output",
        "_price",
        "_purse",
        "_target",
        "_told",
        "_version",
        "budgets",
    )

    def __init__(
        self, book: UsageLedger, target: Target, config: LLMServiceConfig, calibration: TokenCalibration
    ) -> None:
        self._purse = book.purse
        self._target = target
        self._calibration = calibration
        self._aliases = config.models.keys()
        self._default = config.default_model or ""
        self._price: Price | None = None
        self._input = self._output = 0
        self._told = False
        self._version = -1
        self.budgets: tuple[Budget, ...] = ()

    def hold(self, call: Call) -> Hold | None:
        """What the next attempt of *call* takes out of the budgets; `None` where it costs nothing, or nobody knows."""
        purse = self._purse
        if self._version != purse.version:
            # An edited budget counts for calls of an older configuration as well.
            self._version, self.budgets = purse.version, purse.touching(self._target.ref)
        if not self.budgets:
            return None
        most = self.most(call)
        if not most:
            return None
        number = call.attempt.number if call.attempt is not None else 1
        return Hold(f"{call.id}-{number}", self._spender(call), call.clock.now(), most)

    def overdrawn(self, call: Call) -> BudgetExceeded | None:
        """Why *call* would be refused, whatever becomes of attempts under way."""
        hold = self.hold(call)
        if hold is None:
            return None
        return self._purse.overdrawn(self.budgets, hold)

    def most(self, call: Call) -> int | None:
        """What an attempt costs at most, in billionths; `None` where no price is known."""
        price = self._target.facts.price
        if price is not self._price:
            self._price = price
            if price is not None:
                # A provider may take any part of the prompt from its cache, or put it there.
                dearest = max(price.input, price.cache_read or _NOTHING, price.cache_write or _NOTHING)
                self._input, self._output = to_nanos(dearest), to_nanos(price.output)
        if price is None:
            if not self._told:
                self._told = True
                self._say_that_it_is_not_counted()
            return None
        if call.mode == "embed":
            prompt, answer = estimate_texts(call.inputs).high, 0
        else:
            found = self._calibration.estimate(self._target.ref.model, call.request)
            prompt = (estimate_request(call.request) if found is None else found).high
            answer = longest_answer(call.request, self._target)
        return -(-(prompt * self._input + answer * self._output) // _MILLION)

    def _spender(self, call: Call) -> Scope:
        asked = call.trace.requested or self._default
        provider, model = self._target.ref
        return Scope(provider, model, asked if asked in self._aliases else "", call.request.user or "")

    def _say_that_it_is_not_counted(self) -> None:
        # Who runs its models himself pays nothing for a token.
        if not isinstance(self._target.provider, ModelHost):
            log(
                "WARNING",
                "{}: no price is known, so no budget counts what it costs; set providers.{}.models.{}.price",
                self._target.ref,
                *self._target.ref,
            )
