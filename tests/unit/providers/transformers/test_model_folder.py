"""What can be known of a model without loading it: whether it is whole, how large it is, what it can do."""

import json
from pathlib import Path

import pytest

from core.llm.providers.local_files import ModelFileError, ModelRoots, file_state
from core.llm.providers.transformers.model_folder import FolderOptions, find_folder, inspect_folder
from core.llm.providers.transformers.safetensors_header import floats_and_bytes
from tests.unit.providers.transformers import folders


def look(path: Path, **options: object):
    """The folder at *path*, as the configuration *options* allow it."""
    asked = FolderOptions(path=str(path), **options)
    found = find_folder(asked)
    assert found is not None
    return inspect_folder(found, asked, None)


def test_a_model_is_described(tmp_path: Path) -> None:
    """By its own files."""
    found = look(folders.model(tmp_path / "m"))

    assert (found.architectures, found.context_window, found.dtype) == (("LlamaForCausalLM",), 128, "bfloat16")
    assert (found.floats, found.other_bytes, found.template) == (32, 0, folders.TEMPLATE)
    assert (found.generates, found.sentence_model, found.needs_code) == (True, False, False)


def test_the_estimate_follows_type_and_quantization(tmp_path: Path) -> None:
    """Weights times their size, over what every worker takes."""
    folder = folders.model(tmp_path / "m")
    folders.safetensors(folder / "model.safetensors", {"w": ("F32", (1000, 1000), 4_000_000)})
    found = look(folder)

    base = found.memory("float32", "none") - 4_000_000
    sizes = [
        found.memory("auto", "none"),
        found.memory("float16", "none"),
        found.memory("auto", "8bit"),
        found.memory("auto", "4bit"),
    ]

    assert [size - base for size in sizes] == [2_000_000, 2_000_000, 1_100_000, 550_000]


@pytest.mark.parametrize(
    ("config", "writes"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, True),
        ({"architectures": ["GPT2LMHeadModel"]}, True),
        ({"architectures": ["Gemma3ForConditionalGeneration"]}, True),
        ({"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True}, False),
        ({"architectures": ["BertModel"]}, False),
        ({"architectures": None}, True),
    ],
)
def test_an_encoder_only_makes_vectors(tmp_path: Path, config: dict[str, object], writes: bool) -> None:
    """What a model is for stands in its configuration; where nothing stands there, it is tried."""
    assert look(folders.model(tmp_path / "m", **config)).generates is writes


@pytest.mark.parametrize("length", [0, 4, 8, 20, 200])
def test_F140_a_file_that_was_cut_off_is_refused(tmp_path: Path, length: int) -> None:
    """Wherever it ends."""
    folder = folders.model(tmp_path / "m")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:length])

    with pytest.raises(ModelFileError, match=r"cut off|only the beginning"):
        look(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff" * 64,
        b"\x02\x00\x00\x00\x00\x00\x00\x00[]",
        b"\x10\x00\x00\x00\x00\x00\x00\x00this is not json" + bytes(64),
        b"GGUF" + bytes(100),
    ],
)
def test_F140_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    """It is never handed to a loader."""
    folder = folders.model(tmp_path / "m")
    (folder / "model.safetensors").write_bytes(content)

    with pytest.raises(ModelFileError, match="safetensors"):
        look(folder)


@pytest.mark.parametrize(
    "tensor",
    [("F32", (4, 8), 64), ("F99", (1,), 4), ("F32", (-1, 4), 16), ("F32", (2**62, 2**62), 4)],
    ids=["too short", "unknown type", "negative shape", "absurd shape"],
)
def test_F140_a_header_that_contradicts_itself_is_refused(
    tmp_path: Path, tensor: tuple[str, tuple[int, ...], int]
) -> None:
    """Type, shape and place have to agree."""
    file = folders.safetensors(tmp_path / "model.safetensors", {"w": tensor})

    with pytest.raises(ModelFileError, match="damaged"):
        floats_and_bytes(file, file_state(file))


def test_F140_a_missing_shard_is_named(tmp_path: Path) -> None:
    """The index says what there should be."""
    folder = folders.model(tmp_path / "m")
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    with pytest.raises(ModelFileError, match=r"1 of 2 weight files are missing, model-00002"):
        look(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", '"text"'])
def test_F140_a_damaged_configuration_is_refused(tmp_path: Path, content: str) -> None:
    """And named."""
    folder = folders.model(tmp_path / "m")
    (folder / "config.json").write_text(content)

    with pytest.raises(ModelFileError, match=r"config\.json is damaged"):
        look(folder)


def test_F140_what_is_not_there_is_told(tmp_path: Path) -> None:
    """The directory, its configuration, its weights."""
    with pytest.raises(ModelFileError, match="does not exist"):
        look(tmp_path / "nowhere")
    folder = folders.model(tmp_path / "m")
    with pytest.raises(ModelFileError, match="is a file"):
        look(folder / "config.json")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelFileError, match=r"no \.safetensors"):
        look(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ModelFileError, match="no model directory"):
        look(folder)


def test_S37_pickles_are_refused_unless_allowed(tmp_path: Path) -> None:
    """Reading one runs what its author put into it."""
    folder = folders.model(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    with pytest.raises(ModelFileError, match="pickle"):
        look(folder)
    assert look(folder, allow_pickle=True).file_bytes > 0


def test_S35_nothing_outside_of_the_roots_is_loaded(tmp_path: Path) -> None:
    """Neither by its path, nor by a link in the path or in the directory."""
    roots = ModelRoots(str(tmp_path / "models"))
    outside = folders.model(tmp_path / "outside")
    inside = folders.model(tmp_path / "models" / "m")
    (tmp_path / "models" / "link").symlink_to(outside)

    for path in ("../outside", str(outside), "link"):
        with pytest.raises(ModelFileError, match="leaves"):
            find_folder(FolderOptions(path=path, roots=roots))
    assert find_folder(FolderOptions(path="m", roots=roots)) == inside
    (inside / "model.safetensors").unlink()
    (inside / "model.safetensors").symlink_to(outside / "model.safetensors")
    with pytest.raises(ModelFileError, match="leaves"):
        inspect_folder(inside, FolderOptions(path="m", roots=roots), None)


def test_the_cache_of_the_hub_is_read_without_its_library(tmp_path: Path) -> None:
    """By branch and by commit; its links into its own store are followed."""
    store = tmp_path / "models--owner--name"
    snapshot = folders.model(store / "snapshots" / "abc123")
    (store / "blobs").mkdir()
    (snapshot / "model.safetensors").rename(store / "blobs" / "deadbeef")
    (snapshot / "model.safetensors").symlink_to("../../blobs/deadbeef")
    (store / "refs").mkdir()
    (store / "refs" / "main").write_text("abc123")
    cached = {"hub_id": "owner/name", "cache_dir": str(tmp_path)}

    assert find_folder(FolderOptions(**cached)) == find_folder(FolderOptions(**cached, revision="abc123")) == snapshot
    assert find_folder(FolderOptions(**cached, revision="other")) is None
    assert inspect_folder(snapshot, FolderOptions(**cached), None).floats == 32
    (store / "blobs" / "deadbeef").write_bytes(b"nothing of the kind")
    with pytest.raises(ModelFileError, match="only the beginning"):
        inspect_folder(snapshot, FolderOptions(**cached), None)


def test_a_folder_that_has_not_changed_is_not_read_again(tmp_path: Path) -> None:
    """A health check every few seconds costs next to nothing."""
    folder = folders.model(tmp_path / "m")
    options = FolderOptions(path=str(folder))
    found = inspect_folder(folder, options, None)

    assert inspect_folder(folder, options, found) is found
    folders.safetensors(folder / "model.safetensors", {"w": ("F32", (8, 8), 256)})
    assert inspect_folder(folder, options, found) is not found
