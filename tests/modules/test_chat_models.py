"""Local models in the chat: what is in memory, loads and pulls with their progress, swaps."""

from pathlib import Path

from core.llm import ConfigApplied, ModelEvent
from core.llm.testing.ollama_script import OllamaAnswer
from modules.chat.screen import Screen
from tests.modules.commands import Ollama, slow_download
from tests.modules.terminal import chat_terminal


class Shown:
    """A text stream that remembers, and says that it is a terminal."""

    def __init__(self, order: list[str]) -> None:
        self._order = order

    def write(self, text: str) -> None:
        self._order.append(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError


def local_config(url: str) -> str:
    """A server with two models, and a worker."""
    return (
        "llm_service:\n  default_model: fast\n  models: {fast: {use: ollama/a, fallback: []}}\n"
        f"  providers:\n    ollama: {{base_url: '{url}', models: [a, b]}}\n"
        "    local: {type: llama_cpp, models: {tiny: {path: embedded, n_ctx: 512}}}\n"
    )


def test_models_are_loaded_pulled_swapped_and_unloaded_by_hand(tmp_path: Path, ollama: Ollama) -> None:
    """Each command says what it did, and the table shows it."""
    path = tmp_path / "llm.yaml"
    path.write_text(local_config(ollama.server.url))
    ollama.server.publish(slow_download("new", 20))
    ollama.server.script(OllamaAnswer("From a."), OllamaAnswer("From b."))
    with chat_terminal("--config", str(path)) as chat:
        chat.see("\n> ")
        chat.type("/load local/tiny\n")
        chat.see("local/tiny is in memory (")
        chat.type("/status\n")
        table = chat.see("configuration 1")
        assert "MODEL" in table
        assert "local/tiny  loaded" in table
        assert "ollama/a    unloaded" in table
        chat.type("/unload local/tiny\n")
        chat.see("local/tiny is not in memory")
        chat.type("/pull ollama/new\n")
        chat.see("pulling ollama/new  █")
        chat.see("ollama/new is there (1.0 MB)")
        chat.type("who are you?\n")
        chat.see("From a.")
        chat.see("\n> ")
        chat.type("/swap fast ollama/b\n")
        chat.see("fast means ollama/b now")
        chat.type("and now?\n")
        chat.see("— ollama/b · ")
        chat.type("/load\n")
        chat.see("which one?")
        chat.type("/swap fast\n")
        chat.see("/swap ALIAS NAME, such as")
        chat.type("/load ollama/nobody\n")
        chat.see("not found")
        chat.type("/quit\n")
        assert chat.ended() == 0


def test_nothing_is_printed_into_an_answer() -> None:
    """What happens meanwhile is said once it is over."""
    order: list[str] = []
    screen = Screen(Shown(order), Shown(order), now=lambda: 0.0)
    with screen.answer():
        screen.text("It was a dark ")
        screen.on_event(ModelEvent("ollama/b", "pull", "pulling", 1.0, 4.0))
        screen.on_event(ModelEvent("ollama/b", "pull", "pulled"))
        screen.on_event(ModelEvent("local/tiny", "crash", "failed", message="it crashed"))
        screen.on_event(ConfigApplied(2, ("a change",), 0.1))
        screen.text("and stormy night.\n")
        screen.on_event(ModelEvent("ollama/c", "load", "loading"))
        screen.text("The end.")
    shown = "".join(order)
    assert shown.startswith("It was a dark and stormy night.\nThe end.\n")
    assert shown.index("The end.") < shown.index("ollama/b is pulled") < shown.index("local/tiny: it crashed")
    assert "configuration 2 is live" in shown


def test_progress_does_not_write_over_what_is_being_typed() -> None:
    """A preload in the background goes on without a word until it has ended."""
    order: list[str] = []
    screen = Screen(Shown(order), Shown(order), now=lambda: 0.0)
    screen.prompt()
    del order[:]
    screen.on_event(ModelEvent("ollama/b", "pull", "pulling", 1.0, 4.0))
    assert order == []
    screen.on_event(ModelEvent("ollama/b", "pull", "pulled"))
    assert "ollama/b is pulled" in "".join(order)
    assert order[-1].endswith("> ")


def test_progress_has_a_bar_within_the_width() -> None:
    """With share, amount, rate and time left, from the events of the layer."""
    order: list[str] = []
    now = [0.0]
    screen = Screen(Shown(order), Shown(order), now=lambda: now[0])
    for second in range(4):
        now[0] = float(second)
        screen.on_event(ModelEvent("ollama/b", "pull", "pulling", second * 1e6, 1e7))
    assert "30%  3.0 MB of 10 MB  1.0 MB/s  7 s left" in order[-1]
    assert "█░" in order[-1]
    assert len(order[-1]) < 80 + len("\r\x1b[K\x1b[2m\x1b[0m")
