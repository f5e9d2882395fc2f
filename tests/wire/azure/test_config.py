"""What may be written for Azure, and where calls go because of it."""

from typing import Any

import pytest
from pydantic import ValidationError

from core.llm.providers.azure_openai import PROVIDER
from core.llm.providers.azure_openai.config import AzureOpenAIConfig
from core.llm.providers.azure_openai.provider import AzureOpenAIProvider
from core.llm.testing import provider_services


def config(**fields: Any) -> AzureOpenAIConfig:
    """A configuration as the loader makes it."""
    return AzureOpenAIConfig.model_validate(fields)


def test_the_spec_names_the_classes() -> None:
    """Under the type of the YAML."""
    assert PROVIDER.name == "azure_openai"
    assert PROVIDER.provider_class() is AzureOpenAIProvider
    assert PROVIDER.config_class() is AzureOpenAIConfig


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"resource": "acme"}, "https://acme.openai.azure.com/openai/v1"),
        ({"base_url": "https://acme.openai.azure.com"}, "https://acme.openai.azure.com/openai/v1"),
        ({"base_url": "https://acme.openai.azure.com/openai/v1/"}, "https://acme.openai.azure.com/openai/v1"),
        ({"base_url": "https://acme.services.ai.azure.com/openai"}, "https://acme.services.ai.azure.com/openai/v1"),
        ({"resource": "acme", "api_version": "preview"}, "https://acme.openai.azure.com/openai/v1"),
        ({"resource": "acme", "api_version": "2024-10-21"}, "https://acme.openai.azure.com/openai"),
        (
            {"base_url": "https://gw.acme.example/ai/", "api_version": "2025-04-01-preview"},
            "https://gw.acme.example/ai/openai",
        ),
    ],
)
def test_any_way_to_write_the_endpoint_leads_to_the_same_place(fields: dict[str, Any], url: str) -> None:
    """A date in `api_version` means the older addresses."""
    assert config(**fields).url == url


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "give base_url"),
        ({"resource": "a", "base_url": "https://a.openai.azure.com"}, "one of them"),
        ({"base_url": "a.openai.azure.com"}, "https://"),
        ({"resource": "a", "api_version": "2024"}, "a date such as"),
        ({"resource": "a", "api_key": "k", "entra_id": True}, "not both"),
        ({"resource": "a", "entra_id": {"client_secret": "s"}}, "needs tenant_id"),
        ({"resource": "a", "models": {"chat": {"base_modell": "x"}}}, "Extra inputs"),
    ],
)
def test_mistakes_are_named_with_what_to_write_instead(fields: dict[str, Any], says: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ValidationError) as caught:
        config(**fields)
    assert says in str(caught.value)


def test_a_key_is_needed_unless_entra_id_vouches() -> None:
    """Without either the provider is off with a reason."""
    assert config(resource="a").key_needed
    assert not config(resource="a", entra_id=True).key_needed
    assert config(resource="a", entra_id=False).key_needed


def test_a_deployment_has_the_facts_of_its_base_model() -> None:
    """Its own name says nothing, unless it is named after its model."""
    models = {"chat": {"base_model": "gpt-5.4-mini"}, "other": {"base_model": "mistral-large-3"}, "mystery": None}
    provider = AzureOpenAIProvider(config(resource="a", models=models), provider_services("azure"))
    assert provider.facts("chat").context_window == 272_000
    assert provider.facts("gpt-5.4-mini") == provider.facts("chat")
    assert provider.facts("other").quirks == {"token_cap": "max_tokens"}
    assert provider.facts("mystery").quirks == {}


def test_azure_has_a_calendar_of_its_own() -> None:
    """OpenAI's days of farewell are not Azure's, and a deployment may be called after a model that it never was."""
    provider = AzureOpenAIProvider(config(resource="a", api_key="k"), provider_services("azure"))
    for deployment in ("gpt-4", "gpt-5"):
        assert provider.facts(deployment).ending(deployment) is None
    assert provider.facts("gpt-5").quirks["effort"]
