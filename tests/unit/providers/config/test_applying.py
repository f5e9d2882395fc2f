"""What a runtime says of the configuration that it is given: that it cannot be built, and what is odd about it."""

import pytest

from core.llm.common.exceptions import ConfigError, ConfigIssue, ProviderError
from core.llm.providers.config.changes import ConfigChange
from tests.unit.providers.config.manager_rig import GOOD, Rig


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            ConfigError([ConfigIssue("cannot be built", "providers.ollama")]),
            "llm.yaml:5:5: providers.ollama: cannot be built",
        ),
        (ProviderError("network_error", "nobody there"), "nobody there"),
        (RuntimeError("sk-secret-in-a-text"), "could not be applied: RuntimeError in test_applying.py"),
    ],
)
async def test_f122_a_runtime_that_cannot_build_rejects_the_edit(rig: Rig, error: Exception, said: str) -> None:
    """F122, HR-11: nothing is half applied, and a foreign text is not repeated."""
    before = await rig.manager.load()

    async def fail(_: ConfigChange) -> None:
        raise error

    rig.manager.set_applier(fail)
    rig.path.write_text(GOOD.replace("10s", "5s"))
    result = await rig.manager.reload()

    assert result.status == "rejected"
    assert said in str(result.errors[0])
    assert "sk-secret" not in str(result)
    assert rig.manager.current is before

    rig.manager.set_applier(rig.apply)
    assert (await rig.manager.reload()).status == "applied"
    assert not rig.manager.status.stale


async def test_hr_03_a_runtime_that_cannot_build_the_first_one_says_where(rig: Rig) -> None:
    """HR-03: the start fails with the line, as an edit would be refused with it."""

    async def fail(_: ConfigChange) -> None:
        raise ConfigError([ConfigIssue("cannot be built", "providers.ollama")])

    rig.manager.set_applier(fail)
    with pytest.raises(ConfigError, match=r"llm\.yaml:5:5: providers\.ollama: cannot be built"):
        await rig.manager.load()


async def test_what_is_odd_stays_told_while_only_comments_change(rig: Rig) -> None:
    """The runtime is not asked again, and what it said stands where the lines are now."""

    async def apply(change: ConfigChange) -> None:
        change.notes.append(ConfigIssue("is odd", "providers.ollama", severity="warning"))

    rig.manager.set_applier(apply)
    await rig.manager.load()
    assert [(warning.message, warning.line) for warning in rig.manager.status.warnings] == [("is odd", 5)]

    rig.path.write_text("# a comment\n" + GOOD)
    assert (await rig.manager.reload()).status == "unchanged"

    assert [(warning.message, warning.line) for warning in rig.manager.status.warnings] == [("is odd", 6)]
