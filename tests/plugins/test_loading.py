"""What is loaded from third-party packages, and what becomes of those that cannot be."""

import hashlib

import pytest

from core.llm.common.clock import SystemClock
from core.llm.factory.exceptions import BrokenPlugin
from core.llm.factory.provider import LLMProviderFactory
from core.llm.providers.base.spec import PROVIDER_API, ProviderSpec
from core.llm.runtime.resources import ResourcePool
from core.llm.testing import ScriptedConfig
from tests.plugins.packages import GOOD


@pytest.fixture
def factory() -> LLMProviderFactory:
    """A factory that knows no plugin yet."""
    return LLMProviderFactory(ResourcePool(), clock=SystemClock())


def test_s42_only_what_is_allowed_is_imported(site, factory) -> None:
    """Installing a package does not run its code, nor does looking for it."""
    site.install("wanted")
    site.install("uninvited", "raise SystemExit('this code must never run')")
    assert factory.plugin_offering("uninvited") == "plug-uninvited 1.2.3"
    assert factory.plugin_offering("absent") is None
    assert factory.allow_plugins([]).classes == {}
    assert site.imported() == set()
    assert factory.allow_plugins(["wanted"]).classes == {"wanted": ScriptedConfig}
    assert site.imported() == {"plug_wanted"}


def test_s42_what_was_loaded_is_logged_with_its_origin(site, factory, logged) -> None:
    """Name, distribution, version, and a hash of the code that an auditor can compute."""
    site.install("wanted")
    factory.allow_plugins(["wanted"])
    (plugin,) = factory.plugins
    content = hashlib.sha256((site.folder / "plug_wanted.py").read_bytes()).digest()
    expected = hashlib.sha256(b"plug_wanted.py\0" + content).hexdigest()
    assert (plugin.distribution, plugin.version, plugin.sha256) == ("plug-wanted", "1.2.3", expected)
    (line,) = logged
    for part in ("wanted", "plug-wanted", "1.2.3", expected):
        assert part in line
    factory.allow_plugins(["wanted"])
    assert len(logged) == 1


def test_the_hash_changes_with_any_file_of_a_package(site, factory) -> None:
    """Not only with the module that the entry point names."""
    folder = site.folder / "plug_big"
    site.install("big")
    (site.folder / "plug_big.py").unlink()
    folder.mkdir()
    (folder / "__init__.py").write_text(GOOD.replace("{name!r}", "'big'"))
    (folder / "deep.py").write_text("x = 1")
    factory.allow_plugins(["big"])
    (folder / "deep.py").write_text("x = 2")
    other = LLMProviderFactory(ResourcePool(), clock=SystemClock())
    other.allow_plugins(["big"])
    assert factory.plugins[0].sha256 != other.plugins[0].sha256 != ""


BROKEN = {
    "import": ("import no_such_module_at_all", "ModuleNotFoundError (no module 'no_such_module_at_all')"),
    "raises": ("raise RuntimeError('sk-secret-in-an-error')", "RuntimeError"),
    "exits": ("raise SystemExit(3)", "SystemExit"),
    "no_spec": ("SPEC = object()", "plug_bad:SPEC is no ProviderSpec"),
    "nothing": ("", "AttributeError"),
    "newer": (GOOD.rstrip().removesuffix(")") + ", api=2)", "version 2 of the provider contract"),
    "misnamed": (GOOD.replace("{name!r}", "'other'"), "named 'other'"),
    "no_config": (GOOD.replace(":ScriptedConfig", ":NoSuchClass"), "AttributeError"),
    "no_provider": (GOOD.replace("core.llm.testing.provider:ScriptedProvider", "no_such:P"), "no module 'no_such'"),
    "foreign": (GOOD.replace(":ScriptedProvider", ":ScriptedConfig"), "does not derive from BaseLLMProvider"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_f123_a_broken_plugin_has_a_reason_and_harms_nobody(site, factory, case) -> None:
    """Whatever is wrong with it; its own words are not repeated, for they may hold anything."""
    code, reason = BROKEN[case]
    site.install("good")
    site.install("bad", code)
    found = factory.allow_plugins(["bad", "good", "absent"])
    assert found.classes == {"good": ScriptedConfig}
    assert reason in found.broken["bad"]
    assert "sk-secret" not in found.broken["bad"]
    assert "no installed package offers" in found.missing["absent"]
    assert factory.spec("bad") is None


def test_a_repaired_plugin_is_used_at_the_next_load(site, factory) -> None:
    """Nothing remembers that it was broken, or missing."""
    assert "late" in factory.allow_plugins(["late"]).missing
    site.install("late", "raise ValueError")
    assert "late" in factory.allow_plugins(["late"]).broken
    site.install("late", GOOD + "\n# repaired\n")
    assert "late" in factory.allow_plugins(["late"]).classes


def test_a_plugin_cannot_take_the_place_of_a_built_in_provider(site, factory) -> None:
    """A key that was meant for a vendor must not go elsewhere because something was installed."""
    site.install("openai")
    assert "ships with core-llm" in factory.allow_plugins(["openai"]).broken["openai"]
    assert site.imported() == set()


def test_two_packages_of_one_name_are_both_refused(site, factory) -> None:
    """Which of them would be used depends on nothing that the operator can see."""
    site.install("twin")
    site.install("twin", package="copy-cat")
    broken = factory.allow_plugins(["twin"]).broken["twin"]
    assert "copy-cat, plug-twin" in broken
    assert site.imported() == set()


def test_a_host_may_bring_a_specification_itself(site) -> None:
    """It needs no entry point and no allowance, and goes before what is installed."""
    site.install("mine", "raise RuntimeError")
    spec = ProviderSpec(
        "mine", "core.llm.testing.provider:ScriptedConfig", "core.llm.testing.provider:ScriptedProvider"
    )
    factory = LLMProviderFactory(ResourcePool(), clock=SystemClock(), plugins=[spec])
    assert factory.allow_plugins(["mine"]).broken == {}
    assert factory.config_class("mine") is ScriptedConfig
    assert factory.plugins == ()


def test_a_specification_for_another_contract_is_not_registered(factory) -> None:
    """The mistake is the host's, so it is told at once."""
    spec = ProviderSpec("mine", "a:B", "a:C", api=PROVIDER_API + 1)
    with pytest.raises(BrokenPlugin, match="version 2 of the provider contract"):
        factory.register_provider("mine", spec)
    with pytest.raises(BrokenPlugin, match="is no ProviderSpec"):
        factory.register_provider("mine", object())
