"""Reloading by signal, by environment layer, and not at all."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from core.llm.common.clock import SystemClock
from core.llm.common.events import EventBus
from core.llm.providers.config.manager import ProviderConfigManager
from tests.reload.live_config import until
from tests.unit.providers.config.fake_types import resolve

pytestmark = pytest.mark.leakcheck


def manager_for(path: Path, env: dict[str, str] | None = None, *, watch: bool = True) -> ProviderConfigManager:
    """A manager for *path*."""
    return ProviderConfigManager(
        path, resolve=resolve, events=EventBus(), clock=SystemClock(), env=env or {}, watch=watch
    )


async def test_hr_15_sighup_reloads_where_it_was_asked_for(tmp_path: Path) -> None:
    """HR-15: opt-in, and gone after stop."""
    path = tmp_path / "llm.yaml"
    path.write_text("llm_service: {reload: {on_sighup: true}, retry: {max_retries: 1}}\n")
    manager = manager_for(path, watch=False)
    await manager.start()
    try:
        path.write_text("llm_service: {reload: {on_sighup: true}}\n")
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: manager.generation == 2)
        assert manager.current.retry.max_retries == 2
    finally:
        await manager.stop()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


async def test_reload_enabled_false_follows_nothing(tmp_path: Path) -> None:
    """Edits then wait for `reload()`."""
    path = tmp_path / "llm.yaml"
    path.write_text("llm_service: {reload: {enabled: false}}\n")
    manager = manager_for(path)
    await manager.start()
    path.write_text("llm_service: {reload: {enabled: false}, retry: {max_retries: 1}}\n")
    await asyncio.sleep(0.3)
    assert (manager.generation, manager.status.watch_mode) == (1, "off")
    assert (await manager.reload()).status == "applied"
    await manager.stop()


async def test_cf_07_llm_env_names_the_layer_of_the_environment(tmp_path: Path) -> None:
    """CF-07: `llm.production.yaml` over `llm.yaml`."""
    path = tmp_path / "llm.yaml"
    path.write_text("llm_service: {retry: {max_retries: 1, max_attempts: 4}}\n")
    (tmp_path / "llm.production.yaml").write_text("llm_service: {retry: {max_retries: 9}}\n")
    manager = manager_for(path, {"LLM_ENV": "production"})
    await manager.start()
    await manager.stop()
    assert (manager.current.retry.max_retries, manager.current.retry.max_attempts) == (9, 4)
    assert manager.status.sources == (str(path), str(tmp_path / "llm.production.yaml"))
