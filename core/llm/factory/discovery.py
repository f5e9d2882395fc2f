"""Which kinds of provider ship with the library: the folders of its package. Third parties' are in `plugins`."""

import pkgutil
from importlib import import_module
from typing import Final

import core.llm.providers as builtin
from core.llm.providers.base.spec import ProviderSpec

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
