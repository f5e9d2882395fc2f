"""Third-party provider types: which installed packages offer some, and the loading of those that were allowed.

Looking runs no code of a package. Loading does, and only for names that stand in `plugins.allow`; what was loaded is
written to the log with its distribution, its version and a hash of its files.
"""

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import invalidate_caches
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final

from core.llm.common.log import log
from core.llm.factory.exceptions import BrokenPlugin
from core.llm.providers.base.provider import BaseLLMProvider
from core.llm.providers.base.spec import PROVIDER_API, ProviderSpec
from core.llm.providers.config.models.provider import ProviderConfig

ENTRY_POINT_GROUP: Final = "core_llm.providers"
_CODE: Final = frozenset({".py", ".so", ".pyd"})


@dataclass(frozen=True, slots=True)
class Plugin:
    """A loaded plugin and where it came from."""

    spec: ProviderSpec
    distribution: str
    version: str
    sha256: str
    """Of the code files of its top-level package, by name; empty where there are none to be found."""


def offers(name: str) -> list[EntryPoint]:
    """The entry points called *name* that installed packages offer; imports none of them."""
    invalidate_caches()
    return list(entry_points(group=ENTRY_POINT_GROUP, name=name))


def load_plugin(name: str, entry: EntryPoint) -> Plugin:
    """Import the package behind *entry* and check what it offers.

    Raises:
        BrokenPlugin: it cannot be used; the message says why, and repeats nothing that its code says.
    """
    package = entry.dist
    distribution, version = (package.name, package.version) if package is not None else ("unknown", "unknown")
    # Before the import: the hash is that of the code which is about to run.
    digest = _digest(entry.module.partition(".")[0])
    try:
        spec = entry.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a broken plugin disables itself, nothing else
        raise BrokenPlugin(f"importing {entry.value} raised {_named(error)}") from None
    check_spec(name, spec, entry.value)
    try:
        config, provider = spec.config_class(), spec.provider_class()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
        raise BrokenPlugin(f"importing its classes raised {_named(error)}") from None
    for reference, loaded, base in ((spec.config, config, ProviderConfig), (spec.provider, provider, BaseLLMProvider)):
        if not (isinstance(loaded, type) and issubclass(loaded, base)):
            raise BrokenPlugin(f"{reference} does not derive from {base.__name__}")
    log(
        "INFO",
        "plugin {} loaded: {} {}, sha256 {}",
        name,
        distribution,
        version,
        digest or "unknown",
        plugin=name,
        distribution=distribution,
        version=version,
        sha256=digest,
    )
    return Plugin(spec, distribution, version, digest)


def check_spec(name: str, spec: object, where: str) -> None:
    """Whether *spec* is one that this version can use, under the name *name*.

    Raises:
        BrokenPlugin: it is none, of another name, or made for another version of the provider contract.
    """
    if not isinstance(spec, ProviderSpec):
        raise BrokenPlugin(f"{where} is no ProviderSpec")
    if spec.api != PROVIDER_API:
        raise BrokenPlugin(
            f"it is made for version {spec.api!r} of the provider contract, and this is version {PROVIDER_API}: "
            "install a plugin and a core-llm that fit each other"
        )
    if spec.name != name:
        raise BrokenPlugin(f"its specification is named {spec.name!r}, its entry point {name!r}")


def _named(error: BaseException) -> str:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    return f"{type(error).__name__}{f' (no module {missing!r})' if missing else ''}"


def _digest(package: str) -> str:
    whole = hashlib.sha256()
    found = False
    for name, file in _code_files(package):
        try:
            content = hashlib.sha256(file.read_bytes()).digest()
        except OSError:
            continue
        whole.update(name.encode("utf-8", "surrogateescape") + b"\0" + content)
        found = True
    return whole.hexdigest() if found else ""


def _code_files(package: str) -> Iterator[tuple[str, Path]]:
    """The code of a top-level module or package, found without importing it; the names are the same everywhere."""
    spec = PathFinder.find_spec(package, sys.path)
    if spec is None:
        return
    if spec.submodule_search_locations is None:
        if spec.origin is not None:
            yield Path(spec.origin).name, Path(spec.origin)
        return
    for folder in sorted(map(Path, spec.submodule_search_locations)):
        for file in sorted(folder.rglob("*")):
            if file.suffix in _CODE and file.is_file():
                yield file.relative_to(folder).as_posix(), file
