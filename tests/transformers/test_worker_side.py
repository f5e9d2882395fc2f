"""The parts that run in the worker, each by itself: what it loads, what it refuses, how it writes prompts."""

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from core.llm.providers.transformers import chat_prompt, loader
from core.llm.providers.transformers.chat_prompt import conversation, render
from core.llm.transport.worker_main import EngineError
from tests.transformers import tiny

BODY = {"messages": [{"role": "user", "content": "Say hello"}]}


def params(folder: Path, **more: Any) -> dict[str, Any]:
    """What the host sends to load *folder*."""
    return {
        "source": str(folder), "revision": None, "cache_dir": None, "allow_download": False, "trust_remote_code": False,
        "allow_pickle": False, "sentence_model": False, "generates": True, "device": "cpu", "dtype": "auto",
        "quantization": "none", "attention": None, "files": {}, **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer(model_folder: Path) -> Any:
    """That of the small model."""
    return transformers.AutoTokenizer.from_pretrained(model_folder)


def silent(message: str, completed: float | None, total: float | None) -> None:
    """Nobody wants to know how far it is."""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "no_such_type"}, "no_such_type"),
        ({"hidden_size": 32}, "mismatch"),
        ({"vocab_size": "many"}, "."),
    ],
)
def test_F140_a_model_that_is_not_what_it_says_is_refused(
    model_folder: Path, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    """In the words of the library."""
    folder = tiny.copy(model_folder, tmp_path / "m")
    tiny.edit(folder, "config.json", **change)

    with pytest.raises(EngineError, match=said) as caught:
        loader.load(params(folder), silent)
    assert caught.value.code == "load_failed"


def test_S35_files_that_were_swapped_after_the_check_are_refused(model_folder: Path, tmp_path: Path) -> None:
    """What is loaded is what was judged."""
    file = tiny.copy(model_folder, tmp_path / "m") / "model.safetensors"

    with pytest.raises(EngineError, match="was replaced"):
        loader.load(params(file.parent, files={str(file): [1, 2, 3, 4]}), silent)


def test_S37_pickles_are_read_without_running_code(model_folder: Path, tmp_path: Path) -> None:
    """Not at all unless that is allowed; and one that would run something is refused even then."""
    import torch

    class Harm:
        def __reduce__(self):
            return (Path.write_text, (tmp_path / "harm", "done"))

    folder = tiny.copy(model_folder, tmp_path / "m")
    (folder / "model.safetensors").unlink()
    torch.save({"model.norm.weight": Harm()}, folder / "pytorch_model.bin")

    for allowed in (False, True):
        with pytest.raises(EngineError, match="more than weights" if allowed else "safetensors"):
            loader.load(params(folder, allow_pickle=allowed), silent)
    assert not (tmp_path / "harm").exists()


def test_the_dtype_is_the_configured_one(model_folder: Path) -> None:
    """And progress counts the weights."""
    told: list[tuple[float | None, float | None]] = []
    loaded = loader.load(params(model_folder, dtype="bfloat16"), lambda _, done, total: told.append((done, total)))

    assert str(loaded.model.dtype) == "torch.bfloat16"
    assert told[-1][0] == told[-1][1] > 10


def test_what_a_model_says_of_its_sampling_is_its_default(model_folder: Path, tmp_path: Path) -> None:
    """And every token that may end a turn ends the answer."""
    folder = tiny.copy(model_folder, tmp_path / "m")
    tiny.edit(folder, "generation_config.json", do_sample=True, temperature=0.7, top_k=20, eos_token_id=[5, 6])
    loaded = loader.load(params(folder), silent)

    assert (loaded.defaults["temperature"], loaded.defaults["top_k"], loaded.defaults["do_sample"]) == (0.7, 20, True)
    assert loaded.ends == [2, 5, 6]


@pytest.mark.parametrize("device", ["cuda:7", "mps"])
def test_a_device_that_is_not_there_is_named(device: str) -> None:
    """With what torch sees."""
    with pytest.raises(EngineError, match="not there"):
        loader.device_of(device)


def test_a_missing_back_end_is_named(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    monkeypatch.setattr(loader, "find_spec", lambda name: None)

    with pytest.raises(EngineError, match="pip install bitsandbytes accelerate"):
        loader.load(params(model_folder, quantization="4bit"), silent)


@pytest.mark.parametrize(("pooling", "refused"), [("mean", False), ("cls", True)])
def test_a_sentence_model_without_its_library_takes_the_mean_or_is_refused(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pooling: str, refused: bool
) -> None:
    """Vectors of another kind than it was trained for are of no use."""
    monkeypatch.setattr(loader, "find_spec", lambda name: None)
    folder = tiny.copy(model_folder, tmp_path / "m")
    (folder / "1_Pooling").mkdir()
    chosen = {f"pooling_mode_{kind}_tokens": kind == pooling for kind in ("mean", "cls")}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(chosen))
    asked = params(folder, sentence_model=True, generates=False)

    if refused:
        with pytest.raises(EngineError, match="sentence-transformers"):
            loader.load(asked, silent)
    else:
        assert not loader.load(asked, silent).generates


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ raise_exception('no system message, please') }}", "no system message, please"),
        ("{{ ().__class__.__bases__[0].__subclasses__() }}", "refuses the messages"),
        ("{% for m in messages %}{{ m.content }}", "refuses the messages"),
        ("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}", "refuses the messages"),
        ("{{ messages.append(1) }}", "refuses the messages"),
    ],
    ids=["refusing", "escaping", "broken", "recursive", "changing"],
)
def test_S39_a_template_that_misbehaves_is_refused(tokenizer: Any, template: str, said: str) -> None:
    """With its reason, as something that is wrong with the request."""
    with pytest.raises(EngineError, match=said) as caught:
        render(tokenizer, BODY, template)
    assert caught.value.type == "invalid_request"


def test_a_model_without_a_template_says_what_to_set(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may still be given a format, or be used for vectors."""
    monkeypatch.setattr(tokenizer, "chat_template", None)

    with pytest.raises(EngineError, match="prompt_format"):
        render(tokenizer, BODY, None)


def test_tools_that_a_template_does_not_know_are_refused(tokenizer: Any) -> None:
    """They would just not be there."""
    asked = {**BODY, "tools": [{"type": "function", "function": tiny.WEATHER}]}

    with pytest.raises(EngineError, match="knows no tools"):
        render(tokenizer, asked, "{{ messages[0].content }}")


def test_S39_what_a_template_writes_is_bounded(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few words of it can ask for any number of characters."""
    monkeypatch.setattr(chat_prompt, "CHARACTERS", 1000)

    with pytest.raises(EngineError, match="wrote 5000 characters"):
        render(tokenizer, BODY, "{{ 'x' * 5000 }}")


def test_S39_time_is_bounded_and_the_bound_is_taken_away(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the template catches what it can."""
    monkeypatch.setattr(chat_prompt, "SECONDS", 0.05)
    endless = "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}"

    with pytest.raises(EngineError, match="ran for more than"):
        render(tokenizer, BODY, endless)
    assert render(tokenizer, BODY, "{{ messages[0].content }}") == "Say hello"


def test_messages_are_written_as_templates_expect_them() -> None:
    """Parts are one text, nothing is an empty text, arguments are objects unless they are no JSON."""
    calls = [{"function": {"name": "f", "arguments": text}} for text in ('{"x": 1}', "oops")]
    messages = conversation(
        [
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": None, "tool_calls": calls},
        ]
    )

    assert [message["content"] for message in messages] == ["a\nb", ""]
    assert [one["function"]["arguments"] for one in messages[1]["tool_calls"]] == [{"x": 1}, "oops"]


def test_thinking_is_switched_in_the_template(tokenizer: Any) -> None:
    """By what the request sends for it."""
    template = "{% if enable_thinking %}think{% else %}quick{% endif %}"

    assert render(tokenizer, {**BODY, "chat_template_kwargs": {"enable_thinking": True}}, template) == "think"
    assert render(tokenizer, BODY, template) == "quick"
