"""Hugging Face Transformers: models on this machine in torch, each in a worker process of its own."""

from core.llm.providers.base.spec import ProviderSpec

PROVIDER = ProviderSpec(
    name="transformers",
    config="core.llm.providers.transformers.config:TransformersConfig",
    provider="core.llm.providers.transformers.provider:TransformersProvider",
    summary="Hugging Face models on this machine, in torch",
    extra="transformers",
    local=True,
)
