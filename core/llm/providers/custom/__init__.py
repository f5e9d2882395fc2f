"""A model of your own on this machine: in one of the engines that ship with the library, or in a class of yours."""

from core.llm.providers.base.spec import ProviderSpec

PROVIDER = ProviderSpec(
    name="custom",
    config="core.llm.providers.custom.config:CustomConfig",
    provider="core.llm.providers.custom.provider:CustomProvider",
    summary="a model of your own, in an engine of the library or in your own class",
    local=True,
)
