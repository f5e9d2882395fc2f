"""What the counts that a provider reports teach about the estimates for its models.

A model's tokenizer, its template and instructions that nobody sees make its counts differ from the estimate by a
factor and a constant. Both are read from the weighted means and deviations of past calls; nothing else is kept.
"""

from math import ceil, floor, sqrt

from core.llm.providers.base.request import LLMRequest
from core.llm.routing.tokens import Estimate, estimate_request

_MEDIA = frozenset({"image", "document", "audio"})


class TokenCalibration:
    """The calibrated models of one provider."""

    __slots__ = ("_fits",)

    MODELS = 64
    """More than that are not remembered; the one that was used the longest ago goes first."""
    NEEDED = 3
    """Reported counts before the estimates of a model are calibrated."""

    def __init__(self) -> None:
        self._fits: dict[str, _Fit] = {}

    def learn(self, model: str, request: LLMRequest, tokens: int) -> None:
        """*model* has counted *tokens* prompt tokens for *request*."""
        fit = self._fits.get(model)
        if tokens <= 0 or (fit is not None and not fit.wants()) or not _is_plain(request):
            return
        # Taken out and put back: the one that was learnt from the longest ago stands first.
        fit = self._fits.pop(model, None) or _Fit()
        self._fits[model] = fit
        if len(self._fits) > self.MODELS:
            del self._fits[next(iter(self._fits))]
        fit.learn(float(estimate_request(request).tokens), float(tokens))

    def estimate(self, model: str, request: LLMRequest) -> Estimate | None:
        """Prompt tokens of *request* at *model*; `None` where too little is known to say more than its text does."""
        fit = self._fits.get(model)
        if fit is None or fit.count < self.NEEDED or not _is_plain(request):
            return None
        return fit.at(float(estimate_request(request).tokens))


def _is_plain(request: LLMRequest) -> bool:
    """Text only: media are charged by rules of their own, and how a form is asked for changes from model to model."""
    return request.response_format is None and not any(
        part.type in _MEDIA
        for message in request.messages
        if not isinstance(message.content, str)
        for part in message.content
    )


class _Fit:
    """Exponentially weighted means, variances and covariance of estimated and reported counts."""

    __slots__ = ("_calls", "_covariance", "_x", "_x_variance", "_y", "_y_variance", "count")

    WEIGHT = 0.1
    ALL_UNTIL = 32
    ONE_OF = 8

    def __init__(self) -> None:
        self.count = 0
        self._calls = 0
        self._x = self._y = 0.0
        self._x_variance = self._y_variance = self._covariance = 0.0

    def wants(self) -> bool:
        """Whether this call is learnt from: later on a sample is enough, and the others cost nothing."""
        self._calls += 1
        return self.count < self.ALL_UNTIL or self._calls % self.ONE_OF == 0

    def learn(self, estimated: float, reported: float) -> None:
        self.count += 1
        weight = max(1 / self.count, self.WEIGHT)
        dx, dy = estimated - self._x, reported - self._y
        self._x += weight * dx
        self._y += weight * dy
        self._x_variance = (1 - weight) * (self._x_variance + weight * dx * dx)
        self._y_variance = (1 - weight) * (self._y_variance + weight * dy * dy)
        self._covariance = (1 - weight) * (self._covariance + weight * dx * dy)

    def at(self, estimated: float) -> Estimate:
        """The count for what the estimate says, and a bound that widens away from what has been seen."""
        varied = self._x_variance > (0.1 * self._x) ** 2
        if varied:
            slope = min(2.5, max(0.4, self._covariance / self._x_variance))
        else:
            ratio = self._y / self._x
            # Far from one it is rather a constant that the model adds, which does not grow with the prompt.
            slope = ratio if 0.5 <= ratio <= 2 else 1.0
        distance = estimated - self._x
        tokens = max(1.0, self._y + slope * distance)
        variance = self._y_variance - 2 * slope * self._covariance + slope * slope * self._x_variance
        spread = 3 * sqrt(max(0.0, variance)) * (1 + 3 / self.count)
        half = spread + (0.2 if varied else 0.5) * abs(distance) + 0.05 * tokens + 2
        return Estimate(round(tokens), max(1, floor(tokens - half)), ceil(tokens + half))
