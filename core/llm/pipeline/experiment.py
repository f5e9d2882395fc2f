"""Write down how the models of an alias do, for whoever compares them."""

from functools import partial
from typing import Final

from core.llm.pipeline.handler import Call, Handler, Layer, Reply
from core.llm.providers.config.models.aliases import AliasOptions
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.routing.arms import Experiments

_NO_FAULT_OF_THE_MODEL: Final = frozenset({"cancelled", "abandoned"})


def is_experiment(alias: AliasOptions) -> bool:
    """Whether several models answer to it in turn, so that there is something to compare."""
    return len(alias.use) > 1 or bool(alias.classes)


def experiment(config: LLMServiceConfig, experiments: Experiments) -> Layer:
    """The layer that tells *experiments* how calls to aliases with several models have ended; else none at all."""
    compared = frozenset(name for name, alias in config.models.items() if is_experiment(alias))

    def layer(inner: Handler) -> Handler:
        async def handle(call: Call) -> Reply:
            alias = call.request.model or config.default_model
            if alias not in compared or alias is None:
                return await inner(call)
            try:
                reply = await inner(call)
            except BaseException:
                failures(call, alias)
                raise
            reply.on_end(partial(ended, call, alias))
            return reply

        def ended(call: Call, alias: str, reply: Reply, _: BaseException | None) -> None:
            failures(call, alias)
            if call.target is None or reply.outcome in _NO_FAULT_OF_THE_MODEL:
                return
            if reply.outcome == "failed":
                experiments.arm(alias, call.target).broke()
                return
            answer = reply.response or reply.embedding
            cost = float(answer.cost.amount) if answer is not None and answer.cost is not None else 0.0
            experiments.answered(call.id, alias, call.target, call.elapsed(), cost)

        def failures(call: Call, alias: str) -> None:
            for entry in call.trace.candidates:
                if entry.outcome == "failed":
                    experiments.arm(alias, entry.target).broke()

        return handle if compared else inner

    return layer
