"""One model at one provider within one configuration: what a call can be sent to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from core.llm.common.exceptions import BudgetExceeded
from core.llm.common.types import Capability, ModelFacts, ModelRef, PhaseLimits, Price
from core.llm.pipeline.defects import own_error
from core.llm.pipeline.handler import Call, Handler, raise_alone
from core.llm.pipeline.upstream import Upstream
from core.llm.providers.base.provider import BaseLLMProvider
from core.llm.providers.base.request import ChatRequest, EmbeddingRequest, ParameterPolicy

if TYPE_CHECKING:
    from core.llm.providers.config.models.provider import ModelOptions, ProviderConfig
    from core.llm.residency.resident import Resident


@dataclass(slots=True)
class Target:
    """Built once per configuration and model, then shared by all calls."""

    ref: ModelRef
    provider: BaseLLMProvider
    config: "ProviderConfig"
    handler: Handler | None = None
    """The layers around one attempt at this target; set by the builder."""
    resident: "Resident | None" = None
    """The model's place in memory; `None` where that is no business of ours."""
    policy: ParameterPolicy = "warn"
    """What happens to parameters that the model does not take, unless the request says otherwise."""
    upstream: Upstream | None = field(default=None, repr=False)
    """What is remembered about its provider."""
    overdrawn: Callable[[Call], BudgetExceeded | None] | None = field(default=None, repr=False)
    """Why a budget would refuse an attempt; `None` where there are no budgets."""
    crowded: Callable[[Call, bool, float], str | None] | None = field(default=None, repr=False)
    """Why an attempt would not wait for its turn under the limits, given whether it would be patient, and in how
    many seconds it would come to them; `None` where there are no limits."""
    _seen: ModelFacts | None = field(default=None, repr=False)
    _facts: ModelFacts = field(default_factory=ModelFacts, repr=False)

    @property
    def facts(self) -> ModelFacts:
        """Packaged and discovered facts with the YAML over them.

        Raises:
            ProviderError: the provider has a defect.
        """
        try:
            base = self.provider.facts(self.ref.model)
        except Exception as error:  # noqa: BLE001 - nothing foreign crosses the public interface
            raise_alone(own_error(error, self.ref))
        if base is not self._seen:
            self._seen = base
            self._facts = merge_facts(base, self.config.models.get(self.ref.model))
        return self._facts

    def limits(self, call: Call) -> PhaseLimits:
        """The phase limits of one attempt that begins now."""
        options = self.config.timeouts
        return PhaseLimits(
            options.connect,
            options.first_token,
            options.idle,
            options.progress,
            min(call.deadline.at, call.clock.monotonic() + options.total),
            options.min_rate,
            options.rate_window,
        )

    def chat_request(self, call: Call, api_key: str | None) -> ChatRequest:
        """What the provider is handed for one attempt of *call*."""
        request = call.request
        extra = self._extra(request.extra)
        return ChatRequest(
            self.ref.provider,
            self.ref.model,
            request,
            request.messages,
            self.facts,
            self.limits(call),
            api_key,
            call.mode == "stream",
            extra,
            policy=request.parameter_policy or self.policy,
            prefilled=call.prefilled,
        )

    def embedding_request(self, call: Call, api_key: str | None) -> EmbeddingRequest:
        """What an embedder is handed for one attempt of *call*."""
        extra = self._extra(call.request.extra)
        return EmbeddingRequest(
            self.ref.provider,
            self.ref.model,
            call.inputs,
            self.limits(call),
            call.dimensions,
            api_key,
            call.request.user,
            extra,
        )

    def _extra(self, requested: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
        own = requested.get(self.ref.provider)
        if own is None:
            return self.config.extra
        return {**self.config.extra, **own}


def merge_facts(base: ModelFacts, options: "ModelOptions | None") -> ModelFacts:
    """*base* with everything that the YAML says about the model over it."""
    if options is None:
        return base
    changes: dict[str, Any] = {}
    if options.context_window is not None:
        changes["context_window"] = options.context_window
    if options.max_output_tokens is not None:
        changes["max_output_tokens"] = options.max_output_tokens
    if options.capabilities is not None:
        changes["capabilities"] = _with_what_goes_without_saying(options.capabilities)
    if options.quirks:
        changes["quirks"] = {**base.quirks, **options.quirks}
    if options.price is not None:
        price = options.price
        changes["price"] = Price(
            Decimal(price.input), Decimal(price.output), price.cache_read, price.cache_write, source="config"
        )
    return replace(base, **changes) if changes else base


def _with_what_goes_without_saying(named: frozenset[Capability]) -> frozenset[Capability]:
    """*named*, with chat and streams where it says nothing of how the model is asked: `[tools, vision]`."""
    return named if named & _WAYS else named | {"chat", "stream"}


_WAYS: Final[frozenset[Capability]] = frozenset({"chat", "stream", "embeddings"})
