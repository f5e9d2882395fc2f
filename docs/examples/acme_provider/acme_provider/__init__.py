"""The Acme language service as a provider: `plugins: {allow: [acme]}` makes `type: acme` known."""

from core.llm.providers.base.spec import ProviderSpec

SPEC = ProviderSpec(
    name="acme",
    config="acme_provider.provider:AcmeConfig",
    provider="acme_provider.provider:AcmeProvider",
    summary="the Acme language service",
    api=1,
)
