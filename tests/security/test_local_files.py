"""Which files of this machine may be loaded as models: rows S35, S37, S39 and S41, for every engine."""

import asyncio
import hashlib
import os
import shutil
from functools import partial

import pytest
from pydantic import ValidationError

from core.llm.common.exceptions import ModelLoadError, ProviderError
from core.llm.common.types import PhaseLimits
from core.llm.providers.custom.config import CustomConfig
from core.llm.providers.custom.provider import CustomProvider
from core.llm.providers.llama_cpp import embedded, local_model
from core.llm.providers.llama_cpp.config import LlamaCppConfig
from core.llm.providers.llama_cpp.provider import LlamaCppProvider
from core.llm.providers.local_files import (
    FileState,
    ModelFileError,
    ModelRoots,
    check_sha256,
    file_state,
    opened,
    path_of,
    weight_files,
)
from core.llm.testing.services import provider_services
from core.llm.transport.process import WorkerSpec
from tests.unit.providers.llama_cpp.conftest import chat

pytestmark = pytest.mark.leakcheck


@pytest.fixture
def tree(tmp_path):
    """A root with a model in it, one outside, and links that lead in and out."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    for place in (root / "in.gguf", root / "sub" / "in.gguf", tmp_path / "out.gguf", tmp_path / "rootish.gguf"):
        shutil.copy(embedded.path(), place)
    (root / "link-in.gguf").symlink_to("sub/in.gguf")
    (root / "link-out.gguf").symlink_to("../out.gguf")
    (root / "chain.gguf").symlink_to("link-out.gguf")
    (root / "dir-out").symlink_to(tmp_path)
    (root / "circle.gguf").symlink_to("circle.gguf")
    return root


@pytest.fixture
async def make():
    """Start a provider of either kind over model paths; closed at the end."""
    made = []

    async def start(kind, path, **fields):
        name = "model_path" if kind == "custom" else "path"
        entry = {name: path, **fields.pop("entry", {})}
        config_class, provider_class = (
            (CustomConfig, CustomProvider) if kind == "custom" else (LlamaCppConfig, LlamaCppProvider)
        )
        provider = provider_class(config_class(models={"m": entry}, **fields), provider_services("local"))
        made.append(provider)
        await provider.start()
        return provider

    yield start
    for provider in made:
        await provider.close()


OUTSIDE = [
    ("../out.gguf", "leaves"),
    ("sub/../../out.gguf", "leaves"),
    ("../rootish.gguf", "leaves"),
    ("/etc/hostname.gguf", "leaves"),
    ("link-out.gguf", "leaves"),
    ("chain.gguf", "leaves"),
    ("dir-out/out.gguf", "leaves"),
    ("~/out.gguf", "begins with `~`"),
    ("~root/out.gguf", "begins with `~`"),
    ("in.gguf\0.txt", "NUL"),
    ("circle.gguf", "check its links"),
]


@pytest.mark.parametrize("kind", ["llama_cpp", "custom"])
@pytest.mark.parametrize(("path", "reason"), OUTSIDE)
async def test_s35_a_path_that_leaves_its_roots_is_not_loaded(make, tree, kind, path, reason):
    """By dots, as an absolute path, through links of files or directories, or written in some clever way."""
    provider = await make(kind, path, models_dir=str(tree), entry={"engine": "llama_cpp"} if kind == "custom" else {})
    with pytest.raises(ModelLoadError, match=reason):
        await provider.load_model("m")
    assert (await provider.model_status("m")).pid is None


@pytest.mark.parametrize("path", ["in.gguf", "./sub/../in.gguf", "link-in.gguf", "sub/in.gguf", "{root}/in.gguf"])
def test_s35_a_path_that_stays_inside_is_followed_to_its_end(tree, path):
    """Links inside of a root are fine."""
    found = ModelRoots(models_dir=str(tree)).resolve(path.format(root=tree))
    assert found.is_relative_to(tree.resolve())
    assert not found.is_symlink()


def test_s35_every_root_counts_and_a_root_may_be_a_link(tree, tmp_path):
    """Relative paths begin in `models_dir`, else in the first of `model_roots`."""
    (tmp_path / "alias").symlink_to(tree)
    roots = ModelRoots(model_roots=(str(tmp_path / "alias"), "/srv/none"))
    assert roots.resolve("in.gguf") == tree.resolve() / "in.gguf"
    both = ModelRoots(models_dir=str(tree / "sub"), model_roots=(str(tree),))
    assert both.resolve("../in.gguf") == tree.resolve() / "in.gguf"
    with pytest.raises(ModelFileError, match="leaves model_roots"):
        both.resolve("../../out.gguf")


@pytest.mark.parametrize("change", ["another file", "a link to one outside", "another content", "a pipe", "nothing"])
def test_s35_a_file_that_is_swapped_after_the_check_is_not_opened(tree, tmp_path, change):
    """What is opened is compared with what was checked."""
    path = tree / "in.gguf"
    state = file_state(path)
    if change == "another content":
        path.write_bytes(path.read_bytes() + b"more")
    else:
        path.unlink()
    if change == "another file":
        shutil.copy(tmp_path / "out.gguf", path)
    elif change == "a link to one outside":
        path.symlink_to(tmp_path / "out.gguf")
    elif change == "a pipe":
        os.mkfifo(path)
    with pytest.raises(ModelFileError, match="after it had been checked"), opened(path, state):
        raise AssertionError("it was opened")


def test_s35_a_directory_that_becomes_a_link_after_the_check_is_noticed(tree, tmp_path):
    """Also where the very same file lies at its end."""
    path = tree / "sub" / "in.gguf"
    state = file_state(path)
    (tree / "sub").rename(tmp_path / "moved")
    (tree / "sub").symlink_to(tmp_path / "moved")
    assert file_state(path) == state
    with pytest.raises(ModelFileError, match="after it had been checked"), opened(path, state):
        raise AssertionError("it was opened")


def test_s35_what_is_open_is_what_is_read_whatever_lies_there_by_then(tree):
    """The engine is handed the descriptor of the file that was checked."""
    path = tree / "in.gguf"
    content = path.read_bytes()
    with opened(path, file_state(path)) as descriptor:
        path.unlink()
        path.write_bytes(b"another")
        with open(path_of(descriptor, path), "rb") as file:
            assert file.read() == content


async def test_s35_the_worker_compares_once_more_before_it_loads(make, tree, monkeypatch):
    """A file that is swapped between the check of the host and the load is refused."""
    provider = await make("llama_cpp", "in.gguf", models_dir=str(tree))
    whole = local_model.verify

    def verify_then_swap(options, file):
        whole(options, file)
        (tree / "in.gguf").unlink()
        (tree / "in.gguf").symlink_to("sub/in.gguf")

    monkeypatch.setattr(local_model, "verify", verify_then_swap)
    with pytest.raises(ModelLoadError, match="replaced or changed after it had been checked"):
        await provider.load_model("m")


PICKLES = ["model.bin", "model.pt", "model.PTH", "model.ckpt", "model.pkl"]


@pytest.mark.parametrize("name", PICKLES)
async def test_s37_what_may_hold_a_pickle_is_refused_by_every_engine(make, tmp_path, name):
    """Reading one runs whatever its author put into it."""
    (tmp_path / name).write_bytes(b"\x80\x02}q\x00.")
    for kind, entry in (
        ("llama_cpp", {}),
        ("custom", {"engine": "llama_cpp"}),
        ("custom", {"engine": "any.where:Class"}),
    ):
        provider = await make(kind, name, models_dir=str(tmp_path), entry=entry)
        with pytest.raises(ModelLoadError, match="may hold a pickle"):
            await provider.load_model("m")


def test_s37_a_directory_needs_safetensors(tmp_path):
    """Pickles beside them are left alone; alone they need to be allowed."""
    folder = tmp_path / "model"
    folder.mkdir()
    with pytest.raises(ModelFileError, match=r"no \.safetensors"):
        weight_files(folder, ModelRoots())
    (folder / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(ModelFileError, match="may hold a pickle"):
        weight_files(folder, ModelRoots())
    assert [path.name for path in weight_files(folder, ModelRoots(), allow_pickle=True)] == ["pytorch_model.bin"]
    (folder / "model.safetensors").write_bytes(b"x")
    assert [path.name for path in weight_files(folder, ModelRoots(), allow_pickle=True)] == ["model.safetensors"]


def test_s37_weights_that_are_links_have_to_stay_inside(tmp_path):
    """A directory inside of the roots may be full of links that lead out."""
    folder = tmp_path / "root" / "model"
    folder.mkdir(parents=True)
    (tmp_path / "blob").write_bytes(b"x")
    (folder / "model.safetensors").symlink_to(tmp_path / "blob")
    with pytest.raises(ModelFileError, match="leaves"):
        weight_files(folder, ModelRoots(model_roots=(str(tmp_path / "root"),)))
    assert weight_files(folder, ModelRoots()) == {tmp_path / "blob": file_state(tmp_path / "blob")}


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("kind", ["llama_cpp", "custom"])
async def test_s41_a_configured_sha256_is_compared_before_the_load(make, tree, kind, right):
    """One other byte, and nothing is started."""
    digest = hashlib.sha256((tree / "in.gguf").read_bytes()).hexdigest()
    provider = await make(kind, str(tree / "in.gguf"), entry={"sha256": digest if right else "0" * 64})
    if right:
        assert (await provider.load_model("m")).state == "ready"
        return
    with pytest.raises(ModelLoadError, match="does not have the configured sha256"):
        await provider.load_model("m")
    assert (await provider.model_status("m")).pid is None


def test_s41_a_file_that_changes_while_it_is_read_has_no_digest(tree):
    """The digest is that of the file which was checked."""
    path = tree / "in.gguf"
    state = file_state(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    check_sha256(path, state, digest.upper())
    with pytest.raises(ModelFileError, match="after it had been checked"):
        check_sha256(path, FileState(state.device, state.inode, state.size, state.modified_ns - 1), digest)


@pytest.mark.parametrize("digest", ["abc", "g" * 64, ["0" * 64], {"a/b": "0" * 64}, {"../x": "0" * 64}])
def test_s41_what_is_no_digest_is_refused_in_the_configuration(digest):
    """And so are files of other directories."""
    with pytest.raises(ValidationError):
        CustomConfig(model_path="/srv/model", sha256=digest)


ENDLESS = "{% for i in range(1000000) %}{% for j in range(1000000) %}{% endfor %}{% endfor %}"
GROWING = (
    "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}"
)


@pytest.mark.parametrize("template", [ENDLESS, GROWING])
async def test_s39_a_hostile_template_costs_a_worker_at_its_load_and_nothing_else(make, template):
    """Time and memory of the worker are bounded; other models answer meanwhile."""
    hostile = await make(
        "llama_cpp", "embedded", load_timeout="1500ms", memory_limit="1GiB", entry={"chat_template": template}
    )
    fine = await make("llama_cpp", "embedded")
    with pytest.raises(ModelLoadError):
        await hostile.load_model("m")
    assert (await hostile.model_status("m")).pid is None
    assert (await fine.generate(chat("hello", model="m", max_tokens=2))).content


async def test_s39_a_template_that_turns_hostile_later_loses_its_worker(make, monkeypatch):
    """It renders well until a conversation is long enough: the call ends in time, the worker is replaced."""
    monkeypatch.setattr(local_model, "WorkerSpec", partial(WorkerSpec, cancel_timeout=1.0))
    plain = "{% for m in messages %}{{ m.content }}{% endfor %}"
    template = "{% if messages|length > 6 %}" + ENDLESS + "{% else %}" + plain + "{% endif %}"
    provider = await make("llama_cpp", "embedded", entry={"chat_template": template})
    pid = (await provider.load_model("m")).pid
    long = [{"role": role, "content": "x"} for role in ("user", "assistant") * 4][:7]
    with pytest.raises(ProviderError) as caught:
        await provider.generate(chat(long, model="m", limits=PhaseLimits(first_token=0.5), max_tokens=2))
    assert caught.value.type == "timeout"
    async with asyncio.timeout(30):
        while (await provider.model_status("m")).pid == pid:
            await asyncio.sleep(0.05)
    answer = await provider.generate(chat("hello", model="m", max_tokens=2))
    assert answer.finish_reason.unified in {"length", "stop"}


@pytest.mark.parametrize(
    "template", ["{{ ''.__class__.__mro__ }}|", "{{ cycler.__init__.__globals__ }}|", "{{ self.__init__ }}|"]
)
async def test_s39_a_template_reaches_no_python(make, template):
    """llama.cpp has an engine of its own, in C++: there is nothing behind an attribute."""
    rendered = template + "{% for m in messages %}{{ m.content }}{% endfor %}"
    provider = await make("llama_cpp", "embedded", entry={"chat_template": rendered, "embeddings": False})
    request = chat("hello", model="m")
    plain = await make("llama_cpp", "embedded", entry={"chat_template": "|" + rendered.partition("|")[2]})
    assert await provider.count_tokens(request) <= await plain.count_tokens(request) + 4


async def test_s39_a_template_cannot_read_files(make):
    """There is no loader."""
    provider = await make("llama_cpp", "embedded", entry={"chat_template": "{% include '/etc/hostname' %}"})
    with pytest.raises(ModelLoadError, match="Unknown statement: include"):
        await provider.load_model("m")
