"""Rules about failures: their type, whether to try again, and what they give away."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from core.llm.common.exceptions import ErrorType, ProviderError
from core.llm.providers.base.provider import BaseLLMProvider, HealthReport
from core.llm.testing.canary import SecretCanary
from core.llm.testing.contract_case import collect, needs, require
from core.llm.testing.contract_streams import StreamChecks
from core.llm.testing.contract_upstream import RETRY_AFTER, ContractUpstream, UpstreamAnswer, UpstreamFailure


class ErrorChecks(StreamChecks):
    """What a provider raises when the upstream refuses, fails or talks nonsense."""

    @needs("unauthorised", "api_key")
    async def test_a_wrong_key_is_an_authentication_error(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """It says something about the key, is not tried again, and does not show the key."""
        error = await self.failure("unauthorised", provider, upstream, canary)
        self.check_type(error, "authentication", retryable=False)
        require(error.scope == "key", f"scope is {error.scope!r}: a wrong key is a matter of the 'key'")

    @needs("rate_limited")
    async def test_a_rate_limit_says_when_to_come_back(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """The pipeline waits as long as the upstream asks for, no shorter."""
        error = await self.failure("rate_limited", provider, upstream, canary)
        self.check_type(error, "rate_limit", retryable=True)
        require(
            error.retry_after == RETRY_AFTER,
            f"retry_after is {error.retry_after}, the upstream asked for {RETRY_AFTER:g} s: read its hint",
        )

    @needs("model_not_found")
    async def test_a_missing_model_is_told_apart(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """Another model may answer; the same one will not."""
        error = await self.failure("model_not_found", provider, upstream, canary)
        self.check_type(error, "model_not_found", retryable=False)

    @needs("invalid_request")
    async def test_a_malformed_request_is_not_tried_again(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """It would fail the same way."""
        error = await self.failure("invalid_request", provider, upstream, canary)
        self.check_type(error, "invalid_request", retryable=False)

    @needs("server_error")
    async def test_a_server_error_may_be_tried_again(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """By the pipeline."""
        error = await self.failure("server_error", provider, upstream, canary)
        self.check_type(error, "server_error", retryable=True)

    @needs("unreachable")
    async def test_an_unreachable_upstream_is_a_network_error(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """Nothing was sent, so nothing was billed."""
        error = await self.failure("unreachable", provider, upstream, canary)
        self.check_type(error, "network_error", retryable=True)
        require(error.billing == "none", f"billing is {error.billing!r} though nothing was sent: use 'none'")

    @needs("not_an_answer")
    async def test_an_error_page_is_never_an_answer(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """A success status with a body that is no answer is a `protocol` error."""
        error = await self.failure("not_an_answer", provider, upstream, canary)
        self.check_type(error, "protocol")

    @needs("cutting")
    async def test_a_cut_answer_is_never_an_answer(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """Half a body is an error, not a short answer."""
        upstream.answer(UpstreamAnswer(("Hel", "lo"), cut_after=1))
        try:
            response = await provider.generate(self.chat(canary))
        except ProviderError as error:
            self.check_error(error, provider, canary)
        else:
            raise AssertionError(f"a cut answer was returned as {response.content!r}: raise ProviderError")

    @needs("server_error")
    async def test_a_provider_sends_once(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """Trying again is the pipeline's business: it knows the deadline, the budget and the other candidates."""
        before = len(upstream.received)
        upstream.answer(UpstreamAnswer(("first",)))
        await provider.generate(self.chat(canary))
        upstream.fail("server_error", secret=canary.secret)
        upstream.answer(UpstreamAnswer(("unasked",)))
        with suppress(ProviderError):
            await provider.generate(self.chat(canary))
        sent = len(upstream.received) - before
        require(sent == 2, f"two calls became {sent} requests: a provider never retries, the pipeline does")

    @needs("server_error")
    async def test_a_provider_works_again_after_an_error(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """One failed call breaks nothing for the next."""
        await self.failure("server_error", provider, upstream, canary)
        upstream.answer(UpstreamAnswer(("back",)))
        content = (await provider.generate(self.chat(canary))).content
        require(content == "back", f"after an error the next call returned {content!r} instead of 'back'")

    @needs("unreachable")
    async def test_health_check_reports_an_outage(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """A health check never raises: an unreachable upstream is a result."""
        upstream.fail("unreachable", secret=canary.secret)
        report = await self.health(provider)
        require(not report.healthy, "health_check says healthy though nobody listens: try to reach the upstream")
        require(report.detail, "an unhealthy report has no detail: say what is wrong")

    async def test_health_check_reports_health(self, provider: BaseLLMProvider, upstream: ContractUpstream) -> None:
        """With the upstream there, it says so, and asks the model nothing."""
        before = len(upstream.received)
        report = await self.health(provider)
        require(report.healthy, f"health_check says {report.detail!r} though the upstream is there")
        require(
            len(upstream.received) == before,
            "health_check asked the model for an answer: use an endpoint that costs no tokens",
        )

    @needs("api_key")
    async def test_the_credential_never_shows(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """Not in `repr` or `str` of anything, not in the answer, not in a log line."""
        request = self.chat(canary)
        with _captured_logs() as lines:
            upstream.answer(UpstreamAnswer())
            response = await provider.generate(request)
            upstream.answer(UpstreamAnswer())
            events = await collect(provider, self.chat(canary, stream=True))
        for label, thing in {
            "repr(provider)": repr(provider),
            "str(provider)": str(provider),
            "repr(config)": repr(provider.config),
            "repr(request)": repr(request),
            "the response": response,
            "the events": events,
            "the log": lines,
        }.items():
            require(
                not canary.find(thing),
                f"the credential shows in {label}: keep it in SecretStr fields and out of repr and logs",
            )

    async def failure(
        self, failure: UpstreamFailure, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> ProviderError:
        """The error of a call that the upstream refuses, checked; streaming fails in the same way."""
        errors: list[ProviderError] = []
        for stream in (False, True):
            upstream.fail(failure, secret=canary.secret)
            with _captured_logs() as lines:
                try:
                    request = self.chat(canary, stream=stream)
                    answer = await (collect(provider, request) if stream else provider.generate(request))
                except Exception as error:  # noqa: BLE001 - whatever comes out is what is checked
                    self.check_error(error, provider, canary)
                    errors.extend([error] if isinstance(error, ProviderError) else [])
                else:
                    raise AssertionError(
                        f"an upstream that failed ({failure}) was taken for an answer: {answer!r:.300}"
                    )
            require(not canary.find(lines), f"the credential shows in the log of a failed call ({failure})")
        whole, streamed = errors
        require(
            whole.type == streamed.type,
            f"the same failure ({failure}) is {whole.type!r} from generate and {streamed.type!r} from stream_generate",
        )
        return whole

    def check_type(self, error: ProviderError, kind: ErrorType, *, retryable: bool | None = None) -> None:
        """The error is classified as *kind*."""
        require(error.type == kind, f"the error has type {error.type!r}, it should be {kind!r}: {error}")
        require(
            retryable is None or error.retryable is retryable,
            f"an error of type {kind!r} has retryable={error.retryable}, it should be {retryable}",
        )

    async def health(self, provider: BaseLLMProvider) -> HealthReport:
        """The result of a health check that does not raise."""
        try:
            report = await provider.health_check()
        except Exception as error:
            raise AssertionError(
                f"health_check raised {type(error).__name__}: return HealthReport(healthy=False, detail=…) instead"
            ) from error
        require(isinstance(report, HealthReport), f"health_check returned {report!r}: return a HealthReport")
        return report


@contextmanager
def _captured_logs() -> Iterator[list[str]]:
    lines: list[str] = []

    class Capture(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    root, handler = logging.getLogger(), Capture(logging.DEBUG)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
