"""A secret in a configuration is used, and appears nowhere."""

import io
import traceback
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from core.llm.common.clock import SystemClock
from core.llm.common.events import Event, EventBus
from core.llm.common.exceptions import ConfigError
from core.llm.providers.config.changes import ConfigChange
from core.llm.providers.config.manager import ProviderConfigManager
from core.llm.testing.canary import SecretCanary
from tests.unit.providers.config.fake_types import TYPES, resolve

GOOD = """\
llm_service:
  providers:
    openai:
      api_key: "%s"
      headers: {X-Token: "%s"}
      proxy: "http://user:%s@proxy:3128"
  state: {backend: memory, url: "redis://:%s@host"}
"""
BROKEN = {
    "unknown key": "llm_service: {providers: {openai: {api_kye: '%s'}}}\n",
    "wrong type": "llm_service: {providers: {openai: {api_key: ['%s'], timeouts: '%s'}}}\n",
    "a mapping": "llm_service: {providers: {openai: {api_key: {'%s': 1}}}}\n",
    "as a key": "llm_service: {providers: {openai: {'%s': x}}}\n",
    "as a provider": "llm_service: {providers: {'%s': {}}}\n",
    "as a type": "llm_service: {providers: {x: {type: '%s'}}}\n",
    "as a header's name": "llm_service: {providers: {ollama: {headers: {'%s: x': 1}}}}\n",
    "as a number": "llm_service: {retry: {max_retries: '%s'}, timeout: '%s', logging: {level: '%s'}}\n",
    "as a name": "llm_service: {default_model: '%s', fallback_chain: ['%s'], models: {a: '%s/%s', '%s': b}}\n",
    "as an address": "llm_service: {providers: {ollama: {base_url: 'http://u:%s@h', proxy: '%s'}}}\n",
    "twice": "llm_service: {'%s': 1, '%s': 2}\n",
    "not closed": 'llm_service: {providers: {openai: {api_key: "%s\n',
    "an alias": "llm_service: {providers: {openai: {api_key: *%s }}}\n",
    "a tag": "llm_service: {providers: {openai: {api_key: !%s x}}}\n",
    "a substitution": "llm_service: {providers: {openai: {api_key: '${%s}', organization: '${%s'}}}\n",
    "an include": "include: ['%s']\nllm_service: {}\n",
    "from a variable": 'llm_service: {providers: {openai: {api_key: "${KEY} x", organization: [], base_url: "http://${KEY}:x"}}}\n',
    "to a number": 'llm_service: {retry: {max_retries: "${KEY}"}, costs: {currency: "${KEY}"}}\n',
    "of the root": "llm_servce: '%s'\n'%s': 1\n",
}  # fmt: skip


@pytest.fixture
def canary() -> SecretCanary:
    """A secret that is looked for in every form."""
    return SecretCanary()


def manager_for(path: Path, canary: SecretCanary, seen: list[Any]) -> ProviderConfigManager:
    """A manager whose events and changes are all collected."""
    bus = EventBus()
    collected: list[Event] = []
    bus.subscribe(collected.append)
    seen.append(collected)
    env = {"KEY": canary.secret}
    return ProviderConfigManager(
        path, resolve=resolve, events=bus, clock=SystemClock(), env=env, watch=False, known_types=lambda: TYPES
    )


async def test_s1_a_good_configuration_shows_no_secret(
    tmp_path: Path, canary: SecretCanary, caplog: pytest.LogCaptureFixture
) -> None:
    """S1, F117: in repr, str, dumps, events, differences, origins and status."""
    log, seen, changes = io.StringIO(), [], []
    sink = logger.add(log)
    path = tmp_path / "llm.yaml"
    path.write_text(GOOD.replace("%s", canary.secret))
    manager = manager_for(path, canary, seen)

    async def apply(change: ConfigChange) -> None:
        changes.append(change)

    manager.set_applier(apply)
    config = await manager.load()
    path.write_text(GOOD.replace("%s", f"{canary.secret}2") + "  timeout: 1m\n")
    result = await manager.reload()
    logger.remove(sink)

    assert result.status == "applied"
    assert config.providers["openai"].api_key.get_secret_value() == canary.secret
    origins = [manager.explain(name) for name in ("providers.openai", "providers.openai.api_key", "state.url", "state")]
    provider = config.providers["openai"]
    canary.check(
        seen,
        result,
        manager.status,
        origins,
        [repr(change) for change in changes],
        log,
        caplog.text,
        [repr(config), str(config), repr(config.model_dump()), config.model_dump_json(), repr(vars(provider))],
    )
    assert "***" in str(origins)


@pytest.mark.parametrize("name", BROKEN)
async def test_f111_s2_a_broken_configuration_shows_no_secret(
    tmp_path: Path, canary: SecretCanary, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """F111, S2, M14, A10: wherever the secret slipped to, the message does not repeat it."""
    seen: list[Any] = []
    path = tmp_path / "llm.yaml"
    path.write_text("llm_service: {}\n")
    manager = manager_for(path, canary, seen)
    await manager.load()
    path.write_text(BROKEN[name].replace("%s", canary.secret))
    result = await manager.reload()
    assert result.status == "rejected"

    with pytest.raises(ConfigError) as caught:
        await manager_for(path, canary, seen).load()
    error = caught.value
    shown = "".join(traceback.format_exception(error))
    canary.check(seen, result, manager.status, error.issues, str(error), repr(error), error.args, shown, caplog.text)
    canary.check(error.__cause__, None if error.__suppress_context__ else error.__context__)


@pytest.mark.parametrize(
    "name",
    ["unknown key", "wrong type", "as an address", "as a number", "not closed", "an alias", "a tag", "from a variable"],
)
async def test_f111_secrets_need_not_look_like_one(tmp_path: Path, name: str) -> None:
    """F111: values of fields are never repeated, whatever they look like."""
    canary, seen = SecretCanary("passphrase"), []
    path = tmp_path / "llm.yaml"
    path.write_text(BROKEN[name].replace("%s", canary.secret))
    with pytest.raises(ConfigError) as caught:
        await manager_for(path, canary, seen).load()
    canary.check(seen, str(caught.value), caught.value.issues)


async def test_s1_the_manager_keeps_no_secret_but_as_secret(tmp_path: Path, canary: SecretCanary) -> None:
    """S1: after a load, neither the tree that explains values nor the watcher's memory holds the key of a file."""
    (tmp_path / "key").write_text(canary.secret)
    path = tmp_path / "llm.yaml"
    path.write_text("llm_service: {providers: {openai: {api_key: {file: key}, headers: {X: {file: key}}}}}\n")
    bus = EventBus()
    manager = ProviderConfigManager(path, resolve=resolve, events=bus, clock=SystemClock(), env={}, watch=False)
    await manager.load()
    (tmp_path / "key").write_text(f"{canary.secret}2")
    assert (await manager.reload()).status == "applied"

    (tmp_path / "key").unlink()  # the one place where it belongs
    canary.check(manager, manager._books, manager._books._guard, repr(manager._books.loaded))
    assert manager.current.providers["openai"].api_key.get_secret_value() == f"{canary.secret}2"
