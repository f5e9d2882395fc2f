"""What can be configured for the Gemini API and for Vertex AI."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from core.llm.dialects.gemini_endpoint import GeminiEndpoint, vertex_address
from core.llm.providers.base.timeouts import ThinkingTimeouts
from core.llm.providers.config.models.frozen import Frozen
from core.llm.providers.config.models.provider import ProviderConfig

_VERSION: Final = re.compile(r"v[0-9]+((alpha|beta)[0-9]*)?")
_GEMINI_API: Final = "https://generativelanguage.googleapis.com"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]*")


def _name(value: str | None) -> str | None:
    if value is not None and not _NAME.fullmatch(value):
        raise ValueError("is a name of letters, digits and `-`")
    return value


def _version(value: str | None) -> str | None:
    if value is not None and not _VERSION.fullmatch(value):
        raise ValueError("is a version such as v1 or v1beta")
    return value


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme != "http" or parts.hostname in {"localhost", "127.0.0.1", "::1"}


class VertexOptions(Frozen):
    """Where on Google Cloud the models are, and who asks for them."""

    project: Annotated[str | None, AfterValidator(_name)] = Field(
        default=None, description="Id of the project; may be left out with an API key."
    )
    location: Annotated[str, AfterValidator(_name)] = Field(
        default="global", description="A region such as europe-west4, a multi-region (us, eu), or global."
    )
    credentials_file: str | None = Field(
        default=None, description="JSON file of a service account or user; unset: the application-default credentials."
    )
    quota_project: Annotated[str | None, AfterValidator(_name)] = Field(
        default=None, description="Project that is charged with the requests, where it is another one."
    )


class GeminiConfig(ProviderConfig):
    """An account at Google: an API key, or with `vertex` a project on Google Cloud."""

    timeouts: ThinkingTimeouts = ThinkingTimeouts()
    base_url: str | None = Field(default=None, description="Only for a proxy in front of Google; without the version.")
    api_version: Annotated[str | None, AfterValidator(_version)] = Field(
        default=None, description="v1 or v1beta (the default); on Vertex AI v1 or v1beta1 (the default)."
    )
    vertex: VertexOptions | None = Field(default=None, description="Use Vertex AI instead of the Gemini API.")
    safety_settings: Mapping[str, str] = Field(
        default_factory=dict, description="Thresholds: `HARM_CATEGORY_HARASSMENT: BLOCK_ONLY_HIGH`."
    )
    embedding_batch_size: int = Field(default=100, gt=0, le=250, description="Texts per embedding request.")

    @property
    def needs_key(self) -> bool:  # type: ignore[override]  # on Vertex AI credentials take the place of the key
        """Without `vertex`, a provider without a key is off."""
        return self.vertex is None

    @model_validator(mode="before")
    @classmethod
    def _version_of_address(cls, data: Any) -> Any:
        # The addresses of other providers end with their version; one that is copied together here works as well.
        if isinstance(data, Mapping) and isinstance(url := data.get("base_url"), str):
            head, _, last = url.rstrip("/").rpartition("/")
            if _VERSION.fullmatch(last) and "://" in head:
                return {**data, "base_url": head, "api_version": data.get("api_version") or last}
        return data

    @model_validator(mode="after")
    def _has_project(self) -> Self:
        vertex = self.vertex
        if vertex is not None and vertex.project is None and not self.has_key:
            raise ValueError("vertex needs a project: write the id of the Google Cloud project")
        if vertex is not None and not self.allow_insecure and not _is_safe(self.url):
            raise ValueError("base_url would send the access token unencrypted: use https://, or set allow_insecure")
        return self

    @property
    def has_key(self) -> bool:
        """Whether there is an API key."""
        return bool(self.secrets)

    @property
    def url(self) -> str:
        """The address that is used."""
        if self.base_url:
            return self.base_url
        return _GEMINI_API if self.vertex is None else vertex_address(self.vertex.location)

    @property
    def endpoint(self) -> GeminiEndpoint:
        """How models are addressed there."""
        vertex = self.vertex
        if vertex is None:
            return GeminiEndpoint(self.api_version or "v1beta")
        return GeminiEndpoint(self.api_version or "v1beta1", True, vertex.project, vertex.location)
