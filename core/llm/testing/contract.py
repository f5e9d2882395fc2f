"""The provider contract: what every provider must do, as a test class to derive from.

```python
class TestAcme(ProviderContract):
    lacks = frozenset({"thinking"})

    @pytest.fixture
    async def upstream(self):
        async with AcmeServer() as server:       # a ContractUpstream
            yield server

    @pytest.fixture
    async def provider(self, upstream):
        provider = AcmeProvider(AcmeConfig(base_url=upstream.url), provider_services("acme"))
        await provider.start()
        yield provider
        await provider.close()
```

Each failed check says which rule was broken and what to do.
"""

import asyncio

from core.llm.common.exceptions import ProviderError
from core.llm.providers.base.provider import BaseLLMProvider, Embedder
from core.llm.testing.canary import SecretCanary
from core.llm.testing.contract_case import collect, needs, require, text_of
from core.llm.testing.contract_errors import ErrorChecks
from core.llm.testing.contract_upstream import ContractUpstream, UpstreamAnswer

_TOGETHER = 8


class ProviderContract(ErrorChecks):
    """All rules; the ones here are about calls side by side, embeddings and the end."""

    async def test_a_provider_is_a_provider(self, provider: BaseLLMProvider) -> None:
        """It has the type and the name that the factory relies on."""
        require(
            isinstance(provider, BaseLLMProvider),
            f"{type(provider).__name__} does not derive from BaseLLMProvider: derive it",
        )
        require(
            provider.name == provider.services.name,
            "provider.name is not the configured name: call super().__init__(config, services)",
        )

    async def test_calls_side_by_side_do_not_mix(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """Every call gets one whole answer, streamed or not, and no two get the same."""
        expected = [f"answer {number} of {_TOGETHER}" for number in range(_TOGETHER)]
        for text in expected:
            upstream.answer(UpstreamAnswer((text[:4], text[4:])))

        async def one(number: int) -> str:
            if number % 2:
                return text_of(await collect(provider, self.chat(canary, stream=True)))
            return (await provider.generate(self.chat(canary))).content

        got = await asyncio.gather(*(one(number) for number in range(_TOGETHER)))
        require(
            sorted(got) == expected,
            f"{_TOGETHER} calls at the same time returned {sorted(got)}: keep nothing about a call on the provider",
        )

    @needs("server_error")
    async def test_a_failing_call_does_not_disturb_the_others(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """One error among several calls is one error."""
        for _ in range(3):
            upstream.answer(UpstreamAnswer(("fine",)))
        upstream.fail("server_error", secret=canary.secret)
        results = await asyncio.gather(
            *(provider.generate(self.chat(canary)) for _ in range(4)), return_exceptions=True
        )
        failed = [one for one in results if isinstance(one, BaseException)]
        require(
            len(failed) == 1 and isinstance(failed[0], ProviderError),
            f"one of four calls was to fail, but {len(failed)} did: {failed!r:.300}",
        )

    @needs("embeddings")
    async def test_vectors_come_in_the_order_of_the_texts(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """One vector per text, each at the place of its text."""
        if not isinstance(provider, Embedder):
            raise AssertionError(
                f"{type(provider).__name__} has no embed(): write it, or add 'embeddings' to `lacks` of the contract"
            )
        vectors = ((1.0, 0.0, 0.5), (0.0, 1.0, 0.25), (0.5, 0.5, -1.0))
        upstream.answer_vectors(vectors)
        response = await provider.embed(self.embedding(canary, "one", "two", "three"))
        require(
            tuple(tuple(vector) for vector in response.vectors) == vectors,
            f"embed returned {response.vectors} for {vectors}: order vectors by the index that the upstream gives",
        )
        require(
            response.provider == provider.name and response.model,
            "an embedding response must name the provider and the model",
        )
        require(
            all(text in str(upstream.received[-1]) for text in ("one", "two", "three")),
            "the texts did not all arrive in one request",
        )

    async def test_close_may_be_called_twice(
        self, provider: BaseLLMProvider, upstream: ContractUpstream, canary: SecretCanary
    ) -> None:
        """Closing is for `finally` blocks: the second time does nothing."""
        upstream.answer(UpstreamAnswer())
        await provider.generate(self.chat(canary))
        await provider.close()
        try:
            await provider.close()
        except Exception as error:
            raise AssertionError(
                f"the second close() raised {type(error).__name__}: {error}. Make close() idempotent"
            ) from error

    async def test_close_without_a_call(self, provider: BaseLLMProvider) -> None:
        """A provider that was never used is closed without a fuss."""
        await provider.close()
