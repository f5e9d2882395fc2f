"""The files of one configured model: the weights and its LoRA adapters, found, checked, and what they say."""

from dataclasses import dataclass, field
from pathlib import Path

from core.llm.providers.llama_cpp import embedded
from core.llm.providers.llama_cpp.config import EMBEDDED
from core.llm.providers.llama_cpp.gguf import GgufError, GgufHeader, read_gguf_header, split_siblings
from core.llm.providers.local_files import FileState, ModelFileError, ModelRoots, check_sha256, file_state, refusal_of

_SUFFIX = ".gguf"
_DEFAULT_CONTEXT = 8192


@dataclass(frozen=True, slots=True)
class Lora:
    """One adapter as it is configured."""

    path: str
    scale: float
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class FileOptions:
    """Everything that decides which files are loaded."""

    path: str
    roots: ModelRoots = field(default_factory=ModelRoots)
    sha256: str | None = None
    lora: tuple[Lora, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """A file whose path and header are fine."""

    path: Path
    state: FileState
    header: GgufHeader


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file that was checked, with its adapters, and what it says about itself."""

    path: Path
    state: FileState
    header: GgufHeader
    adapters: tuple[CheckedFile, ...] = ()

    def context(self, wanted: int | None) -> int:
        """Tokens of one call: what is configured, or what the model was trained for within reason."""
        return wanted or min(self.header.context_length or _DEFAULT_CONTEXT, _DEFAULT_CONTEXT)


def inspect(options: FileOptions, known: ModelFile | None) -> ModelFile:
    """The files of *options*, checked; *known* itself where nothing has changed since.

    Raises:
        ModelFileError: a path leads nowhere, or where nothing may be loaded from.
        GgufError: a file is damaged, or of another kind.
        OSError: a file cannot be read.
    """
    path = embedded.path() if options.path == EMBEDDED else options.roots.resolve(options.path)
    state = _state_of(path)
    adapters = tuple(_adapter(options.roots, lora) for lora in options.lora)
    if known is not None and (known.path, known.state) == (path, state) and known.adapters == adapters:
        return known
    header = read_gguf_header(path)
    if header.kind == "adapter":
        raise GgufError("this is a LoRA adapter, not a model: name it under `lora` of the model it was made for")
    for sibling in split_siblings(path):
        options.roots.check(sibling.resolve())
        read_gguf_header(sibling)
    for adapter in adapters:
        if adapter.header.architecture != header.architecture:
            made_for = adapter.header.architecture
            raise GgufError(
                f"the adapter {adapter.path.name} was made for {made_for}, the model is {header.architecture}"
            )
    return ModelFile(path, state, header, adapters)


def verify(options: FileOptions, file: ModelFile) -> None:
    """Compare the contents with the configured digests. Reads whole files.

    Raises:
        ModelFileError: a file is not the one that was meant.
    """
    if options.sha256 is not None:
        check_sha256(file.path, file.state, options.sha256)
    for lora, adapter in zip(options.lora, file.adapters, strict=True):
        if lora.sha256 is not None:
            check_sha256(adapter.path, adapter.state, lora.sha256)


def _adapter(roots: ModelRoots, lora: Lora) -> CheckedFile:
    path = roots.resolve(lora.path)
    state = _state_of(path)
    header = read_gguf_header(path)
    if header.kind != "adapter":
        raise GgufError(f"{path.name} is no LoRA adapter (general.type is {header.kind!r}): make one for llama.cpp")
    return CheckedFile(path, state, header)


def _state_of(path: Path) -> FileState:
    if path.suffix.lower() != _SUFFIX:
        raise ModelFileError(f"{refusal_of(path, _SUFFIX)}; other formats are not loaded by llama.cpp")
    return file_state(path)
