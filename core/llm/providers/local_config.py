"""What can be configured for models of this machine, whichever engine runs them, and for servers that load models."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from core.llm.common.units import Duration, Size
from core.llm.providers.config.models.frozen import Also
from core.llm.providers.config.models.provider import ProviderConfig, TimeoutOptions

Quantization = Literal["none", "4bit", "8bit"]

PATH: Final = Also("text", "text")
"""Says of a model that its path alone may stand in its place; `by_name` makes it a model."""
_DEVICE: Final = re.compile(r"auto|cpu|mps|cuda(:\d{1,2})?")


def by_name(model: Callable[[str], Mapping[str, str]]) -> BeforeValidator:
    """For models by name: what is only a text becomes the *model* of it."""

    def whole(value: object) -> object:
        if isinstance(value, Mapping):
            return {name: model(entry) if isinstance(entry, str) else entry for name, entry in value.items()}
        return value

    return BeforeValidator(whole)


def _is_a_device(value: str) -> str:
    if not _DEVICE.fullmatch(value):
        raise ValueError(f"unknown device {value!r}: use auto, cpu, cuda, cuda:N or mps")
    return value


Device = Annotated[str, AfterValidator(_is_a_device)]


class WorkerTimeouts(TimeoutOptions):
    """Longer than elsewhere: a processor reads a long prompt slowly. Loading has `load_timeout` and counts in none."""

    first_token: Duration = Field(
        default=300.0, description="From handing the request to the loaded model to its first output."
    )
    idle: Duration = Field(default=120.0, description="Between two pieces of output.")
    progress: Duration = Field(default=120.0, description="Between two pieces of output.")
    total: Duration = Field(default=1800.0, description="The whole attempt, waiting for a place and loading included.")


class ServerTimeouts(TimeoutOptions):
    """Longer than elsewhere: the first answer waits until the model is in memory, and prompts are read slowly."""

    first_token: Duration = Field(
        default=300.0, description="From sending the request to the first output, loading the model included."
    )
    idle: Duration = Field(default=120.0, description="Between two network reads once the answer has begun.")
    progress: Duration = Field(default=120.0, description="Between two pieces of output.")
    total: Duration = Field(default=1800.0, description="The whole attempt.")


class LocalConfig(ProviderConfig):
    """Models by name, each in a process of its own, loaded with the first call or by `load_model`."""

    closed_models: ClassVar[bool] = True
    in_process: ClassVar[bool] = True

    timeouts: WorkerTimeouts = WorkerTimeouts()
    models_dir: str | None = Field(
        default=None, description="Where relative paths begin. Nothing outside of it and of `model_roots` is loaded."
    )
    model_roots: tuple[str, ...] = Field(
        default=(),
        description="Directories that model files must lie in, links followed, beside `models_dir`. Without either, "
        "any path is allowed.",
    )
    load_timeout: Duration = Field(default=600.0, description="How long loading a model may take.")
    unload_timeout: Duration = Field(
        default=30.0, description="How long running calls may go on when their model is unloaded; then they are cut."
    )
    memory_limit: Size | None = Field(default=None, description="Memory each worker process may allocate on the host.")
    max_waiting: int = Field(default=256, ge=0, le=100_000, description="Calls that may wait for a place at one model.")

    def check_default_model(self) -> None:
        """Refuse a default that is none of the models.

        Raises:
            ValueError: it is none; names them.
        """
        if self.default_model is not None and self.default_model not in self.models:
            raise ValueError(f"default_model is none of the models: {', '.join(self.models)}")
