"""Writes third-party packages as an installer leaves them: code beside a folder of metadata, on a path of their own."""

import sys
from pathlib import Path

import pytest

GOOD = """
from core.llm.providers.base.spec import ProviderSpec
SPEC = ProviderSpec({name!r}, "core.llm.testing.provider:ScriptedConfig", "core.llm.testing.provider:ScriptedProvider")
"""


class Site:
    """A directory on `sys.path` that packages are installed into and removed from."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._modules: set[str] = set()
        folder.mkdir(exist_ok=True)
        monkeypatch.syspath_prepend(str(folder))

    def install(self, name: str, code: str = GOOD, *, entry: str | None = None, package: str | None = None) -> None:
        """A package whose module `plug_NAME` has *code*, offering `SPEC` as the provider type *entry*."""
        entry, package = entry or name, package or f"plug-{name}"
        module = package.replace("-", "_")
        self._modules.add(module)
        (self.folder / f"{module}.py").write_text(code.replace("{name!r}", repr(name)))
        info = self.folder / f"{module}-1.2.3.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2.3\n")
        (info / "entry_points.txt").write_text(f"[core_llm.providers]\n{entry} = {module}:SPEC\n")

    def remove(self, name: str) -> None:
        """Uninstall it and forget what was imported, as a new process would."""
        module = f"plug_{name}"
        (self.folder / f"{module}.py").unlink()
        info = self.folder / f"{module}-1.2.3.dist-info"
        for file in info.iterdir():
            file.unlink()
        info.rmdir()
        sys.modules.pop(module, None)

    def imported(self) -> set[str]:
        """The modules of these packages that Python has imported."""
        return self._modules & sys.modules.keys()

    def close(self) -> None:
        """Forget what was imported."""
        for module in self._modules:
            sys.modules.pop(module, None)
