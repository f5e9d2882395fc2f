"""The directory of a model: where it is, whether it can be loaded, and what its files say. Loads nothing."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic_core import from_json

from core.llm.providers.local_config import Quantization
from core.llm.providers.local_files import FileState, ModelFileError, ModelRoots, file_state, weight_files
from core.llm.providers.transformers.config import Dtype
from core.llm.providers.transformers.safetensors_header import floats_and_bytes

_MAX_JSON: Final = 32 * 2**20
_BYTES: Final[Mapping[str, float]] = {"float32": 4, "float16": 2, "bfloat16": 2}
_QUANTIZED: Final[Mapping[str, float]] = {"4bit": 0.55, "8bit": 1.1}
"""Bytes per weight, the scales and the layers that stay as they are included."""
_OVERHEAD: Final = 256 * 2**20
"""What Python, torch and transformers take in every worker."""
_UNLIMITED: Final = 10**9
"""Tokenizers without a limit write a number like 10**30."""
_MAX_TEMPLATE: Final = 2**20


_ANYWHERE: Final = ModelRoots()


@dataclass(frozen=True, slots=True)
class FolderOptions:
    """Everything that decides which files are loaded."""

    path: str | None = None
    hub_id: str | None = None
    revision: str | None = None
    cache_dir: str | None = None
    roots: ModelRoots = _ANYWHERE
    allow_pickle: bool = False


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A directory that was checked, and what it says about itself."""

    path: Path
    weights: tuple[tuple[Path, FileState], ...]
    config_state: FileState
    architectures: tuple[str, ...]
    context_window: int | None
    dtype: str
    floats: int
    """Weights that are floating-point numbers; their size depends on the dtype they are loaded in."""
    other_bytes: int
    template: str
    """The chat template; empty where there is none. Never rendered outside of a worker."""
    sentence_model: bool
    """Made for the sentence-transformers library."""
    needs_code: bool
    """Comes with Python code of its own."""
    generates: bool
    """Whether it writes text; others only make vectors."""

    @property
    def files(self) -> tuple[Path, ...]:
        """What makes it another model when it changes."""
        return (self.path / "config.json", *(path for path, _ in self.weights))

    @property
    def states(self) -> tuple[FileState, ...]:
        """The states of `files`."""
        return (self.config_state, *(state for _, state in self.weights))

    @property
    def file_bytes(self) -> int:
        """Size of the weights on disk."""
        return sum(state.size for _, state in self.weights)

    def memory(self, dtype: Dtype, quantization: Quantization) -> int:
        """Bytes it takes once it is loaded like that, as far as can be said before."""
        per_weight = _QUANTIZED.get(quantization) or _BYTES.get(self.dtype if dtype == "auto" else dtype, 4)
        return int(self.floats * per_weight) + self.other_bytes + _OVERHEAD


def find_folder(options: FolderOptions) -> Path | None:
    """Where the model is; `None` for a hub id that the cache does not hold.

    Raises:
        ModelFileError: the path leaves the roots, or there is no such directory.
    """
    if options.hub_id is not None:
        return _cached(options)
    path = options.roots.resolve(options.path or "")
    if not path.is_dir():
        kind = "is a file; give the directory it lies in" if path.exists() else "does not exist; check `path`"
        raise ModelFileError(f"{path} {kind} (and `models_dir`)")
    return path


def inspect_folder(path: Path, options: FolderOptions, known: ModelFolder | None) -> ModelFolder:
    """The model in *path*, checked; *known* itself where nothing has changed since.

    Raises:
        ModelFileError: something is missing, damaged, or may not be loaded; the text says what.
    """
    # What the cache of the hub holds are links into its own store.
    roots = options.roots if options.hub_id is None else _ANYWHERE
    config_file = path / "config.json"
    if not config_file.exists():
        raise ModelFileError(f"{path} is no model directory: it holds no config.json")
    config_state = file_state(config_file.resolve())
    weights = tuple(weight_files(path, roots, allow_pickle=options.allow_pickle).items())
    if known is not None and (known.path, known.weights, known.config_state) == (path, weights, config_state):
        return known
    config = _json(config_file)
    _check_shards(path)
    floats = others = 0
    # Where a link leads to in the cache, no suffix tells what the file is.
    safe = any(entry.suffix.lower() == ".safetensors" for entry in path.iterdir())
    for file, state in weights:
        if safe:
            more, rest = floats_and_bytes(file, state)
            floats, others = floats + more, others + rest
        else:
            others += state.size
    tokenizer = _json(path / "tokenizer_config.json") if (path / "tokenizer_config.json").exists() else {}
    listed = config.get("architectures")
    names = tuple(str(name) for name in listed) if isinstance(listed, list) else ()
    sentence_model = (path / "modules.json").exists()
    return ModelFolder(
        path=path,
        weights=weights,
        config_state=config_state,
        architectures=names,
        context_window=_context(config, tokenizer),
        dtype=str(config.get("dtype") or config.get("torch_dtype") or "float32"),
        floats=floats,
        other_bytes=others,
        template=_template(path, tokenizer),
        sentence_model=sentence_model,
        needs_code="auto_map" in config,
        generates=not sentence_model and writes_text(names, config.get("is_encoder_decoder") is True),
    )


def writes_text(architectures: Sequence[str], encoder_decoder: bool) -> bool:
    """Whether a model of *architectures* goes on from a prompt; one that names none is tried."""
    if encoder_decoder:
        return False
    kinds = ("CausalLM", "LMHead", "ConditionalGeneration")
    return not architectures or any(kind in name for name in architectures for kind in kinds)


def _context(config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> int | None:
    text = config.get("text_config")
    inner = text if isinstance(text, dict) else config
    limits = (inner.get("max_position_embeddings"), inner.get("n_positions"), tokenizer.get("model_max_length"))
    known = [int(limit) for limit in limits if isinstance(limit, int | float) and 0 < limit < _UNLIMITED]
    return min(known, default=None)


def _template(path: Path, tokenizer: Mapping[str, Any]) -> str:
    file = path / "chat_template.jinja"
    if file.exists():
        if file_state(file.resolve()).size > _MAX_TEMPLATE:
            raise ModelFileError(f"{file.name} is far too large for a chat template")
        return file.read_text(encoding="utf-8", errors="replace")
    found = tokenizer.get("chat_template")
    if isinstance(found, list):  # several under names, the one for chat among them
        named = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
        found = named.get("default") or next(iter(named.values()), "")
    return found if isinstance(found, str) else ""


def _check_shards(path: Path) -> None:
    index = path / "model.safetensors.index.json"
    if not index.exists():
        return
    shards = _json(index).get("weight_map")
    named = {str(name) for name in shards.values()} if isinstance(shards, dict) else set()
    missing = sorted(name for name in named if not (path / name).exists())
    if missing:
        raise ModelFileError(f"{len(missing)} of {len(named)} weight files are missing, {missing[0]} among them")


def _json(path: Path) -> dict[str, Any]:
    if file_state(path.resolve()).size > _MAX_JSON:
        raise ModelFileError(f"{path.name} is far too large for what it should be")
    try:
        value = from_json(path.read_bytes())
    except ValueError:
        raise ModelFileError(f"{path.name} is damaged: it is not JSON") from None
    if not isinstance(value, dict):
        raise ModelFileError(f"{path.name} is damaged: it is not a JSON object")
    return value


def hub_cache(configured: str | None) -> Path:
    """The directory in which the hub's own tools keep models."""
    if configured is not None:
        return Path(configured).expanduser().absolute()
    if named := os.environ.get("HF_HUB_CACHE"):
        return Path(named).expanduser()
    home = os.environ.get("HF_HOME")
    return (Path(home) if home else Path("~/.cache/huggingface")).expanduser() / "hub"


def _cached(options: FolderOptions) -> Path | None:
    store = hub_cache(options.cache_dir) / ("models--" + (options.hub_id or "").replace("/", "--"))
    revision = options.revision or "main"
    reference = store / "refs" / revision
    commit = reference.read_text(encoding="ascii").strip() if reference.is_file() else revision
    snapshot = store / "snapshots" / commit
    return snapshot if snapshot.is_dir() and snapshot.parent == store / "snapshots" else None
