"""Files that cannot be loaded: the reason is told, no process is left, other models serve on (F140)."""

import hashlib
import shutil
from pathlib import Path

import psutil
import pytest

from core.llm.common.exceptions import ModelLoadError
from core.llm.providers.llama_cpp import embedded, local_model
from tests.unit.providers.llama_cpp.conftest import chat

pytestmark = pytest.mark.leakcheck

MODEL = embedded.path().read_bytes()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "there is no file"),
        (b"", "the file is empty"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"PK\x03\x04" + b"\0" * 100, "ZIP archive"),
        (b"\x80\x02}q\x00.", "a pickle, which is never loaded"),
        (MODEL[:1000], "cut off in its header"),
        (MODEL[:900_000], "cut off: its tensors need 19"),
        (MODEL[:-1], "cut off"),
        (b"GGUF\x63\0\0\0" + MODEL[8:], "version 99"),
        (b"GGUF\x03\0\0\0" + b"\xff" * 16, "announces"),
    ],
)
async def test_a_bad_file_is_refused_before_any_native_code_sees_it_F140_S40(make_provider, tmp_path, data, reason):
    """The message says what is wrong; nothing was started; another model answers."""
    path = tmp_path / "bad.gguf"
    if data is not None:
        path.write_bytes(data)
    provider = await make_provider({"bad": str(path), "tiny": "embedded"})
    children = psutil.Process().children()
    for call in (provider.generate(chat(model="bad")), provider.load_model("bad")):
        with pytest.raises(ModelLoadError, match=reason) as caught:
            await call
        assert "local/bad" in str(caught.value)
    assert psutil.Process().children() == children
    status = await provider.model_status("bad")
    assert (status.state, status.pid) == ("failed", None)
    assert reason in status.detail
    assert (await provider.generate(chat("hello"))).content
    health = await provider.health_check()
    assert health.healthy
    assert health.models == ("tiny",)
    assert reason in health.detail


async def test_a_file_that_only_the_engine_can_refuse_is_explained_by_its_output_F140(make_provider, tmp_path):
    """llama.cpp itself says no more than that it failed; the reason is what it printed."""
    path = tmp_path / "strange.gguf"
    path.write_bytes(MODEL.replace(b"llama", b"lxama"))
    provider = await make_provider({"strange": str(path)})
    with pytest.raises(ModelLoadError, match="unknown model architecture: 'lxama'") as caught:
        await provider.load_model("strange")
    assert "failed to load model" in caught.value.output
    status = await provider.model_status("strange")
    assert (status.state, status.pid) == ("failed", None)
    path.unlink()
    shutil.copy(embedded.path(), path)
    assert (await provider.load_model("strange")).state == "ready"
    assert (await provider.model_status("strange")).detail == ""


@pytest.mark.parametrize("right", [True, False])
async def test_a_checksum_is_verified_before_a_load_S41(make_provider, right):
    """A file of another content is not loaded."""
    checksum = hashlib.sha256(MODEL).hexdigest().upper() if right else "0" * 64
    provider = await make_provider({"tiny": {"path": "embedded", "sha256": checksum}})
    if right:
        assert (await provider.load_model("tiny")).state == "ready"
    else:
        with pytest.raises(ModelLoadError, match="does not have the configured sha256"):
            await provider.load_model("tiny")


async def test_an_engine_parameter_that_does_not_exist_is_named(make_provider):
    """Whatever llama.cpp calls it can be set; what it does not know is refused."""
    provider = await make_provider({"tiny": {"path": "embedded", "engine": {"ropes": 1}}})
    with pytest.raises(ModelLoadError, match="'ropes' cannot be set"):
        await provider.load_model("tiny")
    fine = await make_provider({"tiny": {"path": "embedded", "engine": {"rope_freq_base": 10000.0}}})
    assert (await fine.load_model("tiny")).state == "ready"


async def test_a_machine_without_the_engine_is_told_what_to_install(make_provider, monkeypatch):
    """The extra, the platforms, and which one this is; the configuration itself stays valid."""
    monkeypatch.setattr(local_model, "find_spec", lambda name: None)
    provider = await make_provider()
    with pytest.raises(ModelLoadError, match=r"pip install 'core-llm\[local\]'.*this is Linux") as caught:
        await provider.generate(chat())
    health = await provider.health_check()
    assert not health.healthy
    assert "core-llm[local]" in health.detail
    assert caught.value.model == "local/tiny"


async def test_a_relative_path_is_below_models_dir_and_cannot_leave_it_S35(make_provider, tmp_path):
    """Neither by dots, nor as an absolute path, nor through a link."""
    models = tmp_path / "models"
    models.mkdir()
    shutil.copy(embedded.path(), models / "inside.gguf")
    shutil.copy(embedded.path(), tmp_path / "outside.gguf")
    (models / "link.gguf").symlink_to(tmp_path / "outside.gguf")
    (models / "fine-link.gguf").symlink_to(models / "inside.gguf")
    entries = {
        "inside": "inside.gguf",
        "fine": "fine-link.gguf",
        "absolute": str(models / "inside.gguf"),
        "dots": "../outside.gguf",
        "outside": str(tmp_path / "outside.gguf"),
        "link": "link.gguf",
    }
    provider = await make_provider(entries, models_dir=str(models))
    found = {info.name: info.detail for info in await provider.list_models()}
    assert [name for name, detail in found.items() if detail == "llama"] == ["inside", "fine", "absolute"]
    for name in ("dots", "outside", "link"):
        assert "leaves models_dir" in found[name]
        with pytest.raises(ModelLoadError):
            await provider.load_model(name)


async def test_without_models_dir_a_relative_path_is_below_the_current_directory(make_provider, tmp_path, monkeypatch):
    """And the worker, which runs elsewhere, still finds the file."""
    shutil.copy(embedded.path(), tmp_path / "here.gguf")
    monkeypatch.chdir(tmp_path)
    provider = await make_provider({"here": "here.gguf"})
    assert (await provider.generate(chat("hello", model="here"))).content


@pytest.mark.parametrize(
    ("path", "reason"),
    [("model.bin", "not a .gguf file"), ("a\0b.gguf", "NUL"), ("folder.gguf", "not a regular file")],
)
async def test_only_regular_gguf_files_are_loaded_S37(make_provider, tmp_path, path, reason):
    """No pickles, no pipes, no folders."""
    (tmp_path / "folder.gguf").mkdir()
    (tmp_path / "model.bin").write_bytes(b"\x80\x02}q\x00.")
    provider = await make_provider({"bad": path}, models_dir=str(tmp_path))
    with pytest.raises(ModelLoadError, match=reason):
        await provider.load_model("bad")


async def test_a_worker_that_may_not_have_enough_memory_fails_to_load_F138(make_provider):
    """The limit ends the worker or its load, and never touches the host."""
    provider = await make_provider({"tiny": {"path": "embedded", "prompt_cache": "1MiB"}}, memory_limit="30MiB")
    with pytest.raises(ModelLoadError):
        await provider.load_model("tiny")
    assert (await provider.model_status("tiny")).pid is None


async def test_a_context_that_does_not_fit_into_memory_says_what_to_change_F138(make_provider):
    """It is no fault of the file."""
    provider = await make_provider({"tiny": {"path": "embedded", "n_ctx": 200_000}}, memory_limit="200MiB")
    with pytest.raises(ModelLoadError, match=r"does not fit into memory.*n_ctx.*memory_limit"):
        await provider.load_model("tiny")


def test_the_file_of_the_embedded_model_is_shipped():
    """`path: embedded` needs no download."""
    assert Path(embedded.path()).is_file()
