"""What can be configured for Azure OpenAI."""

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from core.llm.dialects.openai_endpoints import Endpoint
from core.llm.providers.base.timeouts import ThinkingTimeouts
from core.llm.providers.config.models.frozen import A_LIST, Also, Frozen
from core.llm.providers.config.models.provider import ModelOptions, ProviderConfig, named_models

_DATE: Final = re.compile(r"20\d\d-\d\d-\d\d(-preview)?")
_NEWEST: Final = frozenset({"v1", "latest", "preview"})
_OURS: Final = re.compile(r"/openai(/v1)?/?$")


class AzureModelOptions(ModelOptions):
    """One deployment. Its name says nothing about the model behind it."""

    base_model: str | None = Field(
        default=None, description="The model that is deployed, such as `gpt-6-luna`: for its facts."
    )


class EntraOptions(Frozen):
    """Who asks Entra ID for a token; without a secret it is the managed identity, or whoever is logged in."""

    tenant_id: str | None = Field(default=None, description="The directory of the application.")
    client_id: str | None = Field(default=None, description="Of the service principal, or of a user-assigned identity.")
    client_secret: SecretStr | None = Field(default=None, description="The secret of the application.")
    scope: str = Field(
        default="https://cognitiveservices.azure.com/.default",
        description="Foundry projects: `https://ai.azure.com/.default`.",
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.client_secret is not None and not (self.tenant_id and self.client_id):
            raise ValueError("client_secret needs tenant_id and client_id beside it")
        return self


def _switch(value: object) -> object:
    return {True: {}, False: None}[value] if isinstance(value, bool) else value


class AzureOpenAIConfig(ProviderConfig):
    """A resource at Azure: its address, and a key or an identity."""

    needs_key: ClassVar[bool] = True

    timeouts: ThinkingTimeouts = ThinkingTimeouts()
    resource: str | None = Field(
        default=None,
        pattern="^[A-Za-z0-9-]+$",
        examples=["my-resource"],
        description="Name of the resource, in place of `base_url`.",
    )
    base_url: str | None = Field(default=None, description="Endpoint of the resource, with or without `/openai/v1`.")
    api_version: str | None = Field(
        default=None, description="A date means the older addresses with the deployment in the path; unset: v1."
    )
    entra_id: Annotated[EntraOptions | None, BeforeValidator(_switch), Also("boolean", "true", ("boolean",))] = Field(
        default=None, description="Tokens of Entra ID in place of a key: `true`, or who asks."
    )
    models: Annotated[Mapping[str, AzureModelOptions], BeforeValidator(named_models), A_LIST] = Field(
        default_factory=dict, description="Deployments by name: a list, or a mapping with `base_model` and facts."
    )
    api: Endpoint = Field(default="auto", description="The chat endpoint; `auto` chooses by model and request.")
    embedding_batch_size: int = Field(default=2048, gt=0, le=2048, description="Texts per embedding request.")

    @model_validator(mode="after")
    def _is_usable(self) -> Self:
        if bool(self.base_url) == bool(self.resource):
            raise ValueError("give base_url (https://NAME.openai.azure.com) or resource (NAME), one of them")
        if self.base_url and not urlsplit(self.base_url).scheme:
            raise ValueError("base_url needs its https://")
        if self.api_version and self.api_version not in _NEWEST and not _DATE.fullmatch(self.api_version):
            raise ValueError("api_version is a date such as 2024-10-21, or v1, preview, latest; leave it out for v1")
        if self.entra_id is not None and (self.api_key or self.api_keys):
            raise ValueError("give api_key or entra_id, not both")
        return self

    @property
    def key_needed(self) -> bool:
        """False where Entra ID vouches for us."""
        return self.entra_id is None

    @property
    def is_legacy(self) -> bool:
        """Whether the older addresses are meant."""
        return self.api_version is not None and self.api_version not in _NEWEST

    @property
    def url(self) -> str:
        """The address below which the endpoints lie."""
        root = (self.base_url or f"https://{self.resource}.openai.azure.com").rstrip("/")
        return _OURS.sub("", root) + ("/openai" if self.is_legacy else "/openai/v1")
