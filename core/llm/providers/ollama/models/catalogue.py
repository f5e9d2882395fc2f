"""What the endpoints that manage models and the server answer: tags, ps, show, transfers, version, status.

Fields the server left out are `None` (or empty). Sizes are bytes. Timestamps are RFC 3339 text as received.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from core.llm.providers.ollama.models.reading import Reply, mapping, mismatch, objects, strings, text, whole


@dataclass(slots=True)
class ModelDetails(Reply):
    """Format, family and size of a model."""

    parent_model: str | None = None
    format: str | None = None
    family: str | None = None
    families: tuple[str, ...] = ()
    parameter_size: str | None = None
    quantization_level: str | None = None

    @classmethod
    def from_object(cls, source: dict[str, Any]) -> Self:
        """Read `details`."""
        return cls(
            text(source, "parent_model"),
            text(source, "format"),
            text(source, "family"),
            strings(source, "families"),
            text(source, "parameter_size"),
            text(source, "quantization_level"),
            raw=source,
        )


@dataclass(slots=True)
class InstalledModel(Reply):
    """A model on the server's disk, or one that the server forwards to Ollama's cloud."""

    name: str
    model: str = ""
    modified_at: str | None = None
    size: int | None = None
    """Bytes on disk."""
    digest: str | None = None
    details: ModelDetails = field(default_factory=ModelDetails)
    remote_model: str | None = None
    remote_host: str | None = None
    """Where calls really go; `None` for a model that runs on the server itself."""

    @classmethod
    def from_object(cls, source: dict[str, Any]) -> Self:
        """Read one entry of `/api/tags`."""
        name = text(source, "name") or text(source, "model")
        if not name:
            raise mismatch("name", "a string", None)
        return cls(
            name,
            text(source, "model") or name,
            text(source, "modified_at"),
            whole(source, "size"),
            text(source, "digest"),
            ModelDetails.from_object(mapping(source, "details")),
            text(source, "remote_model"),
            text(source, "remote_host"),
            raw=source,
        )


@dataclass(slots=True)
class TagsResponse(Reply):
    """The installed models, the most recently changed first."""

    models: tuple[InstalledModel, ...] = ()

    @classmethod
    def from_object(cls, source: dict[str, Any]) -> Self:
        """Read the answer of `/api/tags`."""
        if "models" not in source:
            raise mismatch("models", "an array", None)
        return cls(tuple([InstalledModel.from_object(item) for item in objects(source, "models")]), raw=source)


@dataclass(slots=True)
class RunningModel(Reply):
    """A model in memory."""

    name: str
    model: str = ""
    size: int | None = None
    """Bytes in memory altogether."""
    size_vram: int | None = None
    """Bytes of it on the GPU."""
    expires_at: str | None = None
    context_length: int | None = None
    digest: str | None = None
    details: ModelDetails = field(default_factory=ModelDetails)

    @classmethod
    def from_object(cls, source: dict[str, Any]) -> Self:
        """Read one entry of `/api/ps`."""
        name = text(source, "name") or text(source, "model")
        if not name:
            raise mismatch("name", "a string", None)
        return cls(
            name,
            text(source, "model") or name,
            whole(source, "size"),
            whole(source, "size_vram"),
            text(source, "expires_at"),
            whole(source, "context_length"),
            text(source, "digest"),
            ModelDetails.from_object(mapping(source, "details")),
            raw=source,
        )


@dataclass(slots=True)
class PsResponse(Reply):
    """The models in memory."""

    models: tuple[RunningModel, ...] = ()

    @classmethod
    def from_object(cls, source: dict[str, Any]) -> Self:
        """Read the answer of `/api/ps`."""
        if "models" not in source:
            raise mismatch("models", "an array", None)
        return cls(tuple([RunningModel.from_object(item) for item in objects(source, "models")]), raw=source)


@dataclass(slots=True)
class ShowResponse(Reply):
    """Everything the server knows about one model."""

    details: ModelDetails = field(default_factory=ModelDetails)
    model_info: Mapping[str, Any] = field(default_factory=dict)
    """Metadata of the model file, such as `llama.context_length`."""
    capabilities: tuple[str, ...] | None = None
    """`completion`, `tools`, `vision`, `thinking`, `embedding`, `insert` …; `None` from old servers."""
    template: str | None = None
    parameters: str | None = None
    """Default options from the Modelfile, one `name value` per line."""
    modelfile: str | None = None
    license: str | None = None
    system: str | None = None
    modified_at: str | None = None
    remote_model: str | None = None
    remote_host: str | None = None

    @classmethod
    def from_object(cls, source: dict[str, Any]) -> Self:
        """Read the answer of `/api/show`."""
        return cls(
            ModelDetails.from_object(mapping(source, "details")),
            mapping(source, "model_info"),
            None if source.get("capabilities") is None else strings(source, "capabilities"),
            text(source, "template"),
            text(source, "parameters"),
            text(source, "modelfile"),
            text(source, "license"),
            text(source, "system"),
            text(source, "modified_at"),
            text(source, "remote_model"),
            text(source, "remote_host"),
            raw=source,
        )

    @property
    def context_length(self) -> int | None:
        """The longest context that the model was made for, in tokens."""
        named = self.model_info.get(f"{self.model_info.get('general.architecture')}.context_length")
        return named if isinstance(named, int) and not isinstance(named, bool) and named > 0 else None

    def parameter(self, name: str) -> str | None:
        """A default option from the Modelfile, as text."""
        for line in (self.parameters or "").splitlines():
            found, _, value = line.strip().partition(" ")
            if found == name:
                return value.strip().strip('"')
        return None


@dataclass(slots=True)
class TransferProgress(Reply):
    """One line of a pull, push or create."""

    status: str = ""
    digest: str | None = None
    """The layer that is moving."""
    total: int | None = None
    """Bytes of that layer."""
    completed: int | None = None

    @classmethod
    def from_object(cls, source: dict[str, Any]) -> Self:
        """Read one line."""
        return cls(
            text(source, "status") or "",
            text(source, "digest"),
            whole(source, "total"),
            whole(source, "completed"),
            raw=source,
        )

    @property
    def succeeded(self) -> bool:
        """True on the last line of a transfer that is complete and verified."""
        return self.status == "success"


@dataclass(slots=True)
class VersionResponse(Reply):
    """The server's version."""

    version: str = ""

    @classmethod
    def from_object(cls, source: dict[str, Any]) -> Self:
        """Read the answer of `/api/version`."""
        version = text(source, "version")
        if not version:
            raise mismatch("version", "a string", source.get("version"))
        return cls(version, raw=source)


@dataclass(slots=True)
class StatusResponse(Reply):
    """Settings of the server that recent versions report; all of it is in `raw`."""

    cloud: Mapping[str, Any] = field(default_factory=dict)
    """Whether the server may forward calls to Ollama's cloud."""

    @classmethod
    def from_object(cls, source: dict[str, Any]) -> Self:
        """Read the answer of `/api/status`."""
        return cls(mapping(source, "cloud"), raw=source)
