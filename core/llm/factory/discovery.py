"""Which kinds of provider there are: the folders of this package, and third-party packages that were allowed."""

import pkgutil
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Final

import core.llm.providers as builtin
from core.llm.providers.base.spec import ProviderSpec

ENTRY_POINT_GROUP: Final = "core_llm.providers"
_NOT_PROVIDERS: Final = frozenset({"base", "config"})


def builtin_names() -> tuple[str, ...]:
    """The provider folders; nothing is imported."""
    return tuple(
        module.name
        for module in pkgutil.iter_modules(builtin.__path__)
        if module.ispkg and module.name not in _NOT_PROVIDERS
    )


def builtin_spec(name: str) -> ProviderSpec | None:
    """The specification of the provider folder *name*; imports its `__init__` and nothing else of it."""
    if name not in builtin_names():
        return None
    spec: ProviderSpec = import_module(f"{builtin.__name__}.{name}").PROVIDER
    return spec


def plugin_specs(allowed: Iterable[str]) -> tuple[dict[str, ProviderSpec], dict[str, str]]:
    """Specifications of allowed third-party packages, and for each that cannot be used the reason.

    Only entry points whose name is in *allowed* are imported.
    """
    wanted = set(allowed)
    specs: dict[str, ProviderSpec] = {}
    broken: dict[str, str] = {}
    if not wanted:
        return specs, broken
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.name not in wanted:
            continue
        try:
            spec = entry.load()
        except Exception as error:  # noqa: BLE001 - a broken plugin disables itself only
            broken[entry.name] = f"importing {entry.value} raised {type(error).__name__}"
            continue
        if isinstance(spec, ProviderSpec):
            specs[spec.name] = spec
        else:
            broken[entry.name] = f"{entry.value} is no ProviderSpec"
    for name in wanted - specs.keys() - broken.keys():
        broken[name] = f"no installed package offers an entry point {name!r} in the group {ENTRY_POINT_GROUP}"
    return specs, broken
