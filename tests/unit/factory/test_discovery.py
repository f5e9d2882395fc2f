"""Which kinds of provider there are."""

import subprocess
import sys
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from core.llm.factory import discovery
from core.llm.factory.discovery import builtin_names, builtin_spec, plugin_specs
from core.llm.testing import SCRIPTED


def test_each_folder_has_a_specification_of_its_own_name() -> None:
    """Folders that are no providers have none."""
    for name in builtin_names():
        spec = builtin_spec(name)
        assert spec is not None
        assert spec.name == name
    assert builtin_spec("base") is None
    assert builtin_spec("config") is None
    assert builtin_spec("../evil") is None


def test_listing_providers_imports_none_of_them() -> None:
    """Not even their packages."""
    code = (
        "import sys; from core.llm.factory.discovery import builtin_names; assert builtin_names();"
        "print([name for name in sys.modules if name.startswith('core.llm.providers.')"
        " and name.split('.')[3] not in {'base', 'config'}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four packages offer entry points."""
    offered = [
        EntryPoint("scripted", "core.llm.testing.provider:SCRIPTED", discovery.ENTRY_POINT_GROUP),
        EntryPoint("broken", "no_such_module_at_all:SPEC", discovery.ENTRY_POINT_GROUP),
        EntryPoint("wrong", "core.llm.testing.provider:ScriptedProvider", discovery.ENTRY_POINT_GROUP),
        EntryPoint("uninvited", "antigravity_of_no_package:SPEC", discovery.ENTRY_POINT_GROUP),
    ]

    def entry_points(*, group: str) -> list[Any]:
        assert group == "core_llm.providers"
        return offered

    monkeypatch.setattr(discovery, "entry_points", entry_points)


@pytest.mark.usefixtures("installed")
def test_F123_an_allowed_plugin_is_used_and_a_broken_one_disables_itself_only() -> None:
    """Each that cannot be used has a reason; whoever is not allowed is not imported."""
    specs, broken = plugin_specs(["scripted", "broken", "wrong", "absent"])
    assert specs == {"scripted": SCRIPTED}
    assert set(broken) == {"broken", "wrong", "absent"}
    assert "ModuleNotFoundError" in broken["broken"]
    assert "is no ProviderSpec" in broken["wrong"]
    assert "no installed package offers" in broken["absent"]


@pytest.mark.usefixtures("installed")
def test_without_an_allowance_nothing_is_looked_at() -> None:
    """Installing a package does not run its code."""
    assert plugin_specs([]) == ({}, {})
