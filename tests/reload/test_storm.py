"""Two hundred edits in every style of saving, a fifth of them broken, while fifty clients stream all the time."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from core.container import Container
from core.llm import ConfigRejected, EventBus, LLMService, ProviderConfigManager, ProviderModule
from core.llm.runtime.swap import RuntimeHolder
from core.llm.testing import EventRecorder
from tests.reload.echo_server import PIECES, EchoServer, echo_server
from tests.reload.live_config import STYLES, mount_version, until

CLIENTS = 50
EDITS_PER_STYLE = 25


def text_of(revision: int, url: str) -> str:
    """A configuration whose alias, model and header all carry its *revision*; the steady provider never changes."""
    return (
        "llm_service:\n"
        "  default_model: fast\n"
        f"  models: {{fast: edge/m{revision}, still: steady/same}}\n"
        "  providers:\n"
        f"    edge: {{type: openai_compatible, base_url: '{url}', headers: {{x-revision: 'r{revision}'}}}}\n"
        f"    steady: {{type: openai_compatible, base_url: '{url}', headers: {{x-revision: constant}}}}\n"
        "  reload: {debounce: 30ms, poll_interval: 200ms}\n"
    )


BROKEN: list[tuple[str, Callable[[str], str], int]] = [
    ("unknown key", lambda text: text.replace("default_model", "default_modle"), 2),
    ("bad YAML", lambda text: text.replace("providers:", "providers: [", 1), 6),
    ("unknown alias target", lambda text: text.replace("fast: edge/", "fast: egde/"), 3),
    ("impossible number", lambda text: text + "  retry: {max_retries: -1}\n", 8),
    ("wrong type", lambda text: text.replace("debounce: 30ms", "debounce: soon"), 7),
]


@dataclass
class Clients:
    """What fifty streaming clients have seen."""

    answers: int = 0
    mixed: list[str] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    stopping: bool = False

    async def run(self, llm: LLMService, number: int) -> None:
        """Stream one answer after the other."""
        model = "still" if number % 5 == 0 else None
        while not self.stopping:
            try:
                async with llm.stream("go", model=model) as stream:
                    text = "".join([event.text async for event in stream])
                    response = await stream.response()
            except Exception as error:
                self.failures.append(error)
                return
            self.answers += 1
            words = text.split()
            # The model comes from the alias, the revision from the provider: they must be of one configuration.
            model_seen, _, revision = words[0].partition("@")
            consistent = model_seen == "same" if model else model_seen[1:] == revision[1:]
            if len(words) != PIECES or len(set(words)) != 1 or not consistent or response.model != model_seen:
                self.mixed.append(text)


async def edit(
    save: Callable[[Path, str], None],
    path: Path,
    server: EchoServer,
    events: EventRecorder,
    manager: ProviderConfigManager,
) -> None:
    """Make 25 edits, every fifth one broken, and wait until each has had its effect."""
    for number in range(1, EDITS_PER_STYLE + 1):
        text = text_of(number, server.url)
        if number % 5:
            save(path, text)
            await until(lambda text=f"edge/m{number}": manager.current.models["fast"].use[0].model == text)
            continue
        _, damage, line = BROKEN[number // 5 - 1]
        generation = manager.generation
        save(path, damage(text))
        refused = await events.wait_for(
            ConfigRejected,
            where=lambda event, line=line: any(issue.line == line for issue in event.issues),
            nth=1,
        )
        issue = next(issue for issue in refused.issues if issue.line == line)
        assert issue.file is not None
        assert issue.file.endswith("llm.yaml")
        assert issue.column is not None
        assert manager.generation == generation
        events.clear()


@pytest.mark.leakcheck
@pytest.mark.parametrize("style", [*STYLES, "config_map"])
async def test_edits_under_load_break_no_stream_and_mix_no_configuration(tmp_path: Path, style: str) -> None:
    """HR-02, HR-05, HR-06, HR-09: no request fails, none sees two configurations, what did not change stays."""
    folder = tmp_path / "config"
    folder.mkdir()
    path = folder / "llm.yaml"
    version = 0

    def save(path: Path, text: str) -> None:
        nonlocal version
        if style == "config_map":
            version += 1
            mount_version(folder, version, text)
        else:
            STYLES[style](path, text)

    async with echo_server() as server:
        if style == "config_map":
            save(path, text_of(0, server.url))
        else:
            path.write_text(text_of(0, server.url))
        async with Container([ProviderModule(path, env={})]) as container:
            manager, holder = container.get(ProviderConfigManager), container.get(RuntimeHolder)
            steady = holder.current.provider("steady")
            clients = Clients()
            with EventRecorder(container.get(EventBus)) as events:
                llm = container.get(LLMService)
                tasks = [asyncio.create_task(clients.run(llm, number)) for number in range(CLIENTS)]
                await until(lambda: server.running >= CLIENTS // 2)
                await edit(save, path, server, events, manager)
                clients.stopping = True
                await asyncio.gather(*tasks)
            assert holder.current.provider("steady") is steady
            await until(lambda: len(holder.live) == 1)

    assert clients.failures == []
    assert clients.mixed == []
    assert clients.answers >= CLIENTS
    assert server.finished == clients.answers
