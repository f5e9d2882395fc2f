"""The file or directory that a class of the user loads, if it has one."""

from dataclasses import dataclass
from pathlib import Path

from core.llm.providers.local_files import (
    FileState,
    ModelFileError,
    ModelRoots,
    check_sha256,
    file_state,
    pickle_refusal,
)


@dataclass(frozen=True, slots=True)
class OwnFileOptions:
    """Everything that decides which file is handed to the class."""

    path: str | None
    roots: ModelRoots
    sha256: str | None
    allow_pickle: bool


@dataclass(frozen=True, slots=True)
class OwnFile:
    """What the path of the model leads to."""

    path: Path
    state: FileState | None
    """`None` for a directory, which is the class's own business."""


def inspect(options: OwnFileOptions) -> OwnFile | None:
    """The file of *options*, checked; `None` where the class needs none.

    Raises:
        ModelFileError: it cannot be handed to the class; the text says why.
    """
    if options.path is None:
        return None
    path = options.roots.resolve(options.path)
    if path.is_dir():
        if options.sha256 is not None:
            raise ModelFileError(f"{path} is a directory, which has no sha256: name its files, `{{file: …}}`")
        return OwnFile(path, None)
    refusal = pickle_refusal(path)
    if refusal and not options.allow_pickle:
        raise ModelFileError(refusal)
    return OwnFile(path, file_state(path))


def verify(options: OwnFileOptions, file: OwnFile) -> None:
    """Compare the content with the configured digest. Reads the whole file.

    Raises:
        ModelFileError: it is not the one that was meant.
    """
    if options.sha256 is not None and file.state is not None:
        check_sha256(file.path, file.state, options.sha256)
