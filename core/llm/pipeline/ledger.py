"""Write down each request before it is sent, and how it ended, exactly once."""

from functools import partial

from core.llm.accounting.ledger import UsageLedger
from core.llm.common.exceptions import ProviderError
from core.llm.common.trace import AttemptTrace
from core.llm.common.types import Billing, Cost, Usage
from core.llm.pipeline.handler import Call, Handler, Layer, Reply
from core.llm.pipeline.meter import cost_of, meter
from core.llm.pipeline.target import Target
from core.llm.pipeline.unreported import billing_of, prompt_of, usage_of_broken, usage_of_failed
from core.llm.routing.token_calibration import TokenCalibration
from core.llm.state.rows import AttemptRow


def ledger(book: UsageLedger, target: Target, currency: str, calibration: TokenCalibration) -> Layer:
    """The layer that keeps a row of *book* for each attempt at *target*, with what the meter counts."""
    provider, model = target.ref
    count = meter(target, currency, calibration)

    def layer(inner: Handler) -> Handler:
        async def handle(call: Call) -> Reply:
            attempt = call.attempt
            number = attempt.number if attempt is not None else 1
            row = AttemptRow(
                f"{call.id}-{number}", call.id, number, provider, model, call.clock.now(),
                attempt.role if attempt is not None else "first", call.request.user, currency=currency,
            )  # fmt: skip
            held = book.purse.hold_of(row.attempt_id) if book.purse.active else None
            if held is not None:
                row.started, row.alias = held.started, held.spender.alias or None
            else:
                row.alias = call.trace.requested or None
            if book.durable:
                # What a restart finds is booked as it stands: the estimate of the prompt, of unknown outcome.
                row.usage = prompt_of(call, model, calibration)
                row.book("ambiguous", row.usage, cost_at(row.usage))
                row.state = "open"
            written = book.begin(row)
            sent = False
            try:
                if written is not None:
                    with call.guard:
                        await written
                sent = True
                reply = await inner(call)
            except BaseException as error:
                state = billing_of(error) if sent else "none"
                if state == "none":
                    close(call, row, attempt, state, Usage(), None, error)
                else:
                    usage = usage_of_failed(call, model, calibration, error)
                    close(call, row, attempt, state, usage, cost_at(usage), error)
                raise
            reply.on_end(partial(count, call))  # before the row is closed: it holds what was counted
            reply.on_end(partial(ended, call, row, attempt))
            return reply

        def ended(
            call: Call, row: AttemptRow, attempt: AttemptTrace | None, reply: Reply, error: BaseException | None
        ) -> None:
            response = reply.response or reply.embedding
            if response is not None:
                state: Billing = "estimated" if response.usage.estimated else "settled"
                close(call, row, attempt, state, response.usage, response.cost, error)
                return
            usage = reply.collector.usage
            if usage is None or usage.estimated or reply.outcome != "answered":
                usage = usage_of_broken(call, model, calibration, reply.collector.partial())
            close(call, row, attempt, "estimated" if usage.estimated else "settled", usage, cost_at(usage), error)

        def close(
            call: Call,
            row: AttemptRow,
            attempt: AttemptTrace | None,
            state: Billing,
            usage: Usage,
            cost: Cost | None,
            error: BaseException | None,
        ) -> None:
            row.duration = call.elapsed() - (attempt.started if attempt is not None else 0.0)
            row.key_id = attempt.key_id if attempt is not None else None
            if error is not None:
                row.error = error.type if isinstance(error, ProviderError) else type(error).__name__
            row.book(state, usage, cost)
            if state == "none":
                row.nanos = 0
            book.settle(row)

        def cost_at(usage: Usage) -> Cost | None:
            return cost_of(usage, target.facts.price, currency)

        return handle

    return layer
