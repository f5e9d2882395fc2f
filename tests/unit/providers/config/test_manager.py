"""The configuration in force is replaced as a whole or not at all."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from core.llm.common.events import ConfigApplied, ConfigRejected, ProviderDisabled
from core.llm.common.exceptions import ConfigError, ServiceStopping, UnknownProvider
from core.llm.providers.config.changes import ConfigChange
from core.llm.providers.config.models.service import LLMServiceConfig
from tests.unit.providers.config.fake_types import HostedConfig, ServerConfig
from tests.unit.providers.config.manager_rig import GOOD, Rig


async def test_the_constructor_reads_nothing(tmp_path: Path) -> None:
    """Containers create objects without I/O."""
    rig = Rig(tmp_path / "missing.yaml")
    assert rig.manager.generation == 0
    with pytest.raises(ConfigError, match="not been loaded yet"):
        _ = rig.manager.current
    assert rig.manager.status.generation == 0


async def test_hr_03_a_broken_file_fails_the_first_load(rig: Rig) -> None:
    """HR-03: there is nothing to fall back to."""
    rig.path.write_text(GOOD + "  retri: {}\n")
    with pytest.raises(ConfigError, match=r"llm.yaml:7:3: retri: unknown key \(did you mean `retry`\?\)"):
        await rig.manager.start()
    assert rig.manager.generation == 0


async def test_the_first_load_is_generation_one_and_tells_the_runtime(rig: Rig) -> None:
    """The runtime builds before anything is published."""
    seen: list[int] = []

    async def apply(change: ConfigChange) -> None:
        seen.append(rig.manager.generation)
        rig.changes.append(change)

    rig.manager.set_applier(apply)
    config = await rig.manager.load()

    assert (rig.manager.generation, seen) == (1, [0])
    assert rig.changes[0].old is None
    assert rig.changes[0].new is config is rig.manager.current
    assert await rig.manager.load() is config
    assert [event.generation for event in rig.of(ConfigApplied)] == [1]


async def test_providers_are_instances_of_their_own_class(rig: Rig) -> None:
    """The type is filled in from the key."""
    await rig.manager.load()
    assert isinstance(rig.manager.get_provider_config("openai"), HostedConfig)
    assert isinstance(rig.manager.get_provider_config("ollama"), ServerConfig)
    assert rig.manager.get_provider_config("ollama").type == "ollama"
    with pytest.raises(UnknownProvider, match="did you mean `ollama`"):
        rig.manager.get_provider_config("olama")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "llm_service: [",
        GOOD.replace("connect: 10s", "connect: -1"),
        GOOD + "  nonsense: 1\n",
        GOOD.replace("fast: ollama/q", "fats: ollama/q"),
        GOOD.replace("default_model: fast", 'default_model: "${UNSET}"'),
    ],
)
async def test_hr_02_what_is_wrong_changes_nothing(rig: Rig, text: str) -> None:
    """HR-02: read, parse, interpolate, validate or cross-check: the same object stays in force."""
    rig.manager.set_applier(rig.apply)
    before = await rig.manager.load()
    rig.path.write_text(text)

    result = await rig.manager.reload()

    assert result.status == "rejected"
    assert result.errors
    assert all(issue.file and issue.line for issue in result.errors)
    assert rig.manager.current is before
    assert (rig.manager.generation, len(rig.changes)) == (1, 1)
    assert rig.manager.status.stale
    assert rig.manager.status.last_error == result.errors
    assert rig.of(ConfigRejected)[0].issues == result.errors
    assert rig.of(ConfigRejected)[0].generation == 1


async def test_hr_13_the_same_settings_are_no_change(rig: Rig) -> None:
    """HR-13: comments, order and white space."""
    rig.manager.set_applier(rig.apply)
    heard: list[ConfigChange] = []
    rig.manager.on_change(heard.append)
    await rig.manager.load()
    rig.path.write_text("# a comment\n" + GOOD.replace("connect: 10s", "connect:   10000ms"))

    result = await rig.manager.reload()

    assert (result.status, result.generation, result.changes) == ("unchanged", 1, ())
    assert (len(rig.changes), len(heard), len(rig.of(ConfigApplied))) == (1, 1, 1)


async def test_hr_12_reloads_asked_for_during_one_share_the_next(rig: Rig) -> None:
    """HR-12: one after the other, and the newest content is in force at the end."""
    await rig.manager.load()
    running, go = asyncio.Event(), asyncio.Event()
    applied: list[float] = []

    async def slow(change: ConfigChange) -> None:
        running.set()
        await go.wait()
        applied.append(change.new.providers["ollama"].timeouts.connect)

    rig.manager.set_applier(slow)
    rig.path.write_text(GOOD.replace("10s", "1s"))
    first = asyncio.create_task(rig.manager.reload())
    await running.wait()
    others = []
    for seconds in (2, 3, 4):
        rig.path.write_text(GOOD.replace("10s", f"{seconds}s"))
        others.append(asyncio.create_task(rig.manager.reload()))
        await asyncio.sleep(0)
    go.set()
    await asyncio.gather(first, *others)

    assert applied == [1.0, 4.0]
    assert rig.manager.generation == 3


async def test_a_cancelled_caller_does_not_leave_a_reload_half_done(rig: Rig) -> None:
    """The reload is not the caller's own."""
    await rig.manager.load()
    go = asyncio.Event()
    caller = await rig.reloading(go)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go.set()
    assert (await rig.manager.reload()).status == "unchanged"
    assert rig.manager.generation == 2


async def test_stop_ends_a_running_reload(rig: Rig) -> None:
    """Whoever waits for it hears why."""
    await rig.manager.start()
    caller = await rig.reloading(asyncio.Event())
    await rig.manager.stop()
    with pytest.raises(ServiceStopping):
        await caller
    assert rig.manager.generation == 1


async def test_a_reload_that_the_stop_cut_off_in_the_queue_is_no_hindrance_later(rig: Rig) -> None:
    """It never had its turn; those who ask after the next start get one of their own."""
    await rig.manager.start()
    callers = [await rig.reloading(asyncio.Event())]
    callers.append(asyncio.create_task(rig.manager.reload()))
    await asyncio.sleep(0)
    await rig.manager.stop()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(answer) for answer in answers] == [ServiceStopping, ServiceStopping]

    rig.manager.set_applier(rig.apply)
    await rig.manager.start()
    assert (await rig.manager.reload()).status == "applied"


async def test_hr_14_listeners_hear_of_the_swap_and_cannot_break_it(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """HR-14: after the swap, with old, new and difference."""
    heard: list[Any] = []

    def broken(_: ConfigChange) -> None:
        raise RuntimeError("a bug with sk-secret in it")

    rig.manager.on_change(broken)
    subscription = rig.manager.on_change(lambda change: heard.append((change, rig.manager.generation)))
    await rig.manager.load()
    before = rig.manager.current
    rig.path.write_text(GOOD.replace("10s", "5s"))
    assert (await rig.manager.reload()).status == "applied"

    change, generation = heard[-1]
    assert generation == 2
    assert change.old is before
    assert change.new is rig.manager.current
    assert change.diff.providers_changed == {"ollama"}
    assert "raised RuntimeError" in caplog.text
    assert "sk-secret" not in caplog.text

    subscription.close()
    rig.path.write_text(GOOD)
    await rig.manager.reload()
    assert len(heard) == 2


async def test_hr_15_a_dry_run_validates_and_compares_only(rig: Rig) -> None:
    """HR-15."""
    rig.manager.set_applier(rig.apply)
    await rig.manager.load()
    rig.path.write_text(GOOD.replace("10s", "5s"))

    result = await rig.manager.reload(dry_run=True)

    assert (result.status, result.generation) == ("applied", 1)
    assert result.changes == ("providers.ollama.timeouts.connect: 10.0 → 5.0",)
    assert (rig.manager.generation, len(rig.changes)) == (1, 1)
    rig.path.write_text("llm_service: 1\n")
    assert (await rig.manager.reload(dry_run=True)).status == "rejected"
    assert not rig.manager.status.stale


async def test_hr_16_f117_a_rotated_key_shows_as_changed(rig: Rig) -> None:
    """HR-16, F117: secrets differ although they print alike."""
    await rig.manager.load()
    rig.path.write_text(GOOD.replace("first-key", "second-key"))

    result = await rig.manager.reload()

    assert result.changes == ("providers.openai.api_key: changed",)
    assert "second-key" not in str(rig.events) + str(result) + repr(rig.manager.current)


async def test_section_3_5_settings_that_need_a_restart_are_named(rig: Rig) -> None:
    """All other changes are applied all the same."""
    await rig.manager.load()
    rig.path.write_text(GOOD.replace("10s", "5s") + "  state: {backend: sqlite, path: x.db}\n")

    result = await rig.manager.reload()

    assert result.status == "applied"
    assert set(result.restart_required) == {"state.backend", "state.path"}
    assert rig.of(ConfigApplied)[-1].restart_required == result.restart_required


async def test_f112_providers_that_go_off_say_so_once(tmp_path: Path) -> None:
    """F112: an event per provider and reason, not per reload."""
    path = tmp_path / "llm.yaml"
    path.write_text(GOOD.replace("first-key", '"${OPENAI_API_KEY:-}"'))
    rig = Rig(path)
    await rig.manager.load()
    path.write_text(path.read_text().replace("10s", "5s"))
    await rig.manager.reload()

    assert [event.provider for event in rig.of(ProviderDisabled)] == ["openai"]
    assert "OPENAI_API_KEY is not set" in rig.manager.disabled["openai"]
    assert not rig.manager.current.providers["openai"].enabled


async def test_hosts_without_a_file_configure_by_code(tmp_path: Path) -> None:
    """A mapping, with or without the root key, and a model."""
    data = {"default_model": "ollama/q", "providers": {"ollama": {"timeouts": {"connect": "3s"}}}}
    for source in (data, {"llm_service": data}, LLMServiceConfig.model_validate(data)):
        rig = Rig(tmp_path, source)
        config = await rig.manager.load()
        assert isinstance(config.providers["ollama"], ServerConfig)
        assert config.providers["ollama"].timeouts.connect == 3.0


async def test_replace_is_a_reload_from_code(tmp_path: Path) -> None:
    """The same transaction: refused as a whole, or in force as a whole."""
    rig = Rig(tmp_path, {"providers": {"ollama": {}}})
    rig.manager.set_applier(rig.apply)
    await rig.manager.load()

    refused = await rig.manager.replace({"providers": {"ollama": {"timeouts": {"conect": 1}}}})
    assert refused.status == "rejected"
    assert "did you mean `connect`?" in str(refused.errors[0])

    result = await rig.manager.replace({"providers": {"ollama": {"timeouts": {"connect": 1}}}})
    assert (result.status, rig.manager.generation) == ("applied", 2)
    assert (await rig.manager.reload()).status == "unchanged"


async def test_replace_over_a_file_holds_until_the_file_is_read_again(rig: Rig) -> None:
    """`reload` goes back to what the file says."""
    await rig.manager.load()
    await rig.manager.replace(rig.manager.current.model_copy(update={"default_model": "ollama/other"}))
    assert rig.manager.current.default_model == "ollama/other"
    assert (await rig.manager.reload()).status == "applied"
    assert rig.manager.current.default_model == "fast"


async def test_large_files_are_parsed_off_the_loop(rig: Rig) -> None:
    """The event loop goes on turning while a large file is read."""
    await rig.manager.load()
    rig.path.write_text(GOOD + "".join(f"# {'x' * 100}\n" for _ in range(9000)) + "  timeout: 1m\n")
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    result = await rig.manager.reload()
    counting.cancel()
    assert result.status == "applied"
    assert turns > 5


async def test_cf_11_files_that_move_while_they_are_read_are_read_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CF-11: three times, then they count as being written."""
    from core.llm.providers.config.sources import SourceReader

    await rig.manager.load()
    answers = iter([True, True, False, True, True, True])
    monkeypatch.setattr(SourceReader, "moved", property(lambda _: next(answers)))

    assert (await rig.manager.reload()).status == "unchanged"
    result = await rig.manager.reload()
    assert result.status == "rejected"
    assert "still being written" in str(result.errors[0])
