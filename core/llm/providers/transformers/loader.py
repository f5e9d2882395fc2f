"""Loads one model into this process, and says in words why it cannot."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self

import torch
import transformers
from transformers.utils import logging

from core.llm.providers.local_files import FileState, ModelFileError, file_state
from core.llm.providers.transformers.memory import out_of_memory
from core.llm.providers.transformers.model_folder import writes_text
from core.llm.transport.worker_main import EngineError

Tell = Callable[[str, float | None, float | None], None]
"""Message, completed, total."""

_TURN_ENDS: Final = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>")
"""What ends a turn in the common chat formats; some models do not say that it ends an answer."""
_EVERY: Final = 0.1
_UNUSED: Final = ("pooler.", "position_ids")
"""Weights that may be missing: nothing here reads them."""


@dataclass(slots=True)
class Loaded:
    """A model in memory."""

    model: Any
    tokenizer: Any
    device: str
    generates: bool
    defaults: Mapping[str, Any]
    """How the model is to be sampled, by those who made it."""
    ends: list[int]
    pad: int
    sentence: Any = None
    """The sentence-transformers pipeline around it, where it is one."""


def load(params: Mapping[str, Any], tell: Tell) -> Loaded:
    """The model that *params* name.

    Raises:
        EngineError: it cannot be loaded; the text says why and what to do.
    """
    _compare(params["files"])
    device = device_of(params["device"])
    quantization = _quantization(params["quantization"], device, params["dtype"])
    try:
        with _Reporting(tell):
            loaded = _load(params, device, quantization)
    except EngineError:
        raise
    except Exception as error:  # noqa: BLE001 - the libraries raise anything, and all of it means the same
        raise out_of_memory(error) or _refused(error) from None
    _compare(params["files"])
    return loaded


def _refused(error: Exception) -> EngineError:
    if type(error).__name__ == "UnpicklingError":
        said = "a .bin file holds more than weights, and reading that could run any code: convert it to .safetensors"
    else:
        # What the libraries say while they load comes from the files; no request has been seen yet.
        said = f"transformers refuses it: {' '.join(str(error).split())[:500] or type(error).__name__}"
    return EngineError("server_error", said, code="load_failed")


def device_of(wanted: str) -> str:
    """The device that *wanted* stands for on this machine.

    Raises:
        EngineError: it is not there.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            return "cuda:0"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    if wanted.startswith("cuda"):
        number = int(wanted.partition(":")[2] or 0)
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if number >= count:
            why = f"torch {torch.__version__} sees {count} of them"
            raise EngineError(
                "server_error", f"device {wanted} is not there: {why}; set another device, or install a CUDA build"
            )
        return f"cuda:{number}"
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise EngineError("server_error", "device mps is not there: this is no Mac with an Apple processor")
    return wanted


def _quantization(wanted: str, device: str, dtype: str) -> Any:
    if wanted == "none":
        return None
    if device == "mps":
        raise EngineError(
            "server_error", f"quantization {wanted} does not exist for mps: set it to none, or use the cpu"
        )
    missing = [name for name in ("bitsandbytes", "accelerate") if find_spec(name) is None]
    if missing:
        raise EngineError(
            "server_error",
            f"quantization {wanted} needs {' and '.join(missing)}: `pip install bitsandbytes accelerate`",
            code="missing_extra",
        )
    compute = torch.bfloat16 if dtype == "auto" else getattr(torch, dtype)
    if wanted == "8bit":
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    return transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=compute)


def _load(params: Mapping[str, Any], device: str, quantization: Any) -> Loaded:
    source = params["source"]
    common: dict[str, Any] = {
        "revision": params["revision"],
        "cache_dir": params["cache_dir"],
        "local_files_only": not params["allow_download"],
        "trust_remote_code": params["trust_remote_code"],
    }
    config = transformers.AutoConfig.from_pretrained(source, **common)
    sentence = _sentence_transformer(params, device) if params["sentence_model"] else None
    generates = (
        sentence is None
        and params["generates"] is not False
        and writes_text(config.architectures or (), bool(getattr(config, "is_encoder_decoder", False)))
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(source, **common)
    if sentence is not None:
        model = sentence[0].auto_model
    else:
        kind = transformers.AutoModelForCausalLM if generates else transformers.AutoModel
        more: dict[str, Any] = {"attn_implementation": params["attention"]} if params["attention"] else {}
        if quantization is not None:
            more |= {"quantization_config": quantization, "device_map": {"": device}}
        model, told = kind.from_pretrained(
            source,
            **common,
            dtype=params["dtype"] if params["dtype"] == "auto" else getattr(torch, params["dtype"]),
            # Pickles are refused; where they are allowed they are read without running code.
            use_safetensors=None if params["allow_pickle"] else True,
            weights_only=True,
            output_loading_info=True,
            **more,
        )
        _check_complete(told)
        if quantization is None:
            model = model.to(device)
    model.eval()
    defaults, ends = _generation(model, tokenizer)
    pad = tokenizer.pad_token_id
    if pad is None:
        pad = ends[0] if ends else 0
    return Loaded(model, tokenizer, device, generates, defaults, ends, int(pad), sentence)


def _check_complete(told: Mapping[str, Any]) -> None:
    """Weights that no file has would be made up."""
    missing = sorted(name for name in told.get("missing_keys", ()) if not name.startswith(_UNUSED))
    if missing:
        raise EngineError(
            "server_error",
            f"the files lack {len(missing)} weights that the model needs, {missing[0]} among them: they are of another "
            "model, or not complete",
            code="load_failed",
        )


def _sentence_transformer(params: Mapping[str, Any], device: str) -> Any:
    if find_spec("sentence_transformers") is None:
        _check_pooling(Path(params["source"]))
        return None
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - optional, and heavy

    return SentenceTransformer(
        params["source"],
        device=device,
        trust_remote_code=params["trust_remote_code"],
        local_files_only=not params["allow_download"],
        cache_folder=params["cache_dir"],
        revision=params["revision"],
        model_kwargs={"use_safetensors": None if params["allow_pickle"] else True},
    )


def _check_pooling(folder: Path) -> None:
    """Without the library the mean is taken; a model that was trained otherwise would make useless vectors."""
    file = folder / "1_Pooling" / "config.json"
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    if text and '"pooling_mode_mean_tokens": true' not in text and '"pooling_mode": "mean"' not in text:
        raise EngineError(
            "server_error",
            "this model pools its vectors in a way of its own: `pip install sentence-transformers`",
            code="missing_extra",
        )


def _generation(model: Any, tokenizer: Any) -> tuple[dict[str, Any], list[int]]:
    """How the model is meant to be sampled, and what ends its answers. Takes both out of the model itself."""
    own = getattr(model, "generation_config", None)
    known = own.to_dict() if own is not None else {}
    names = ("do_sample", "temperature", "top_p", "top_k", "min_p", "repetition_penalty")
    defaults = {name: known[name] for name in names if known.get(name) is not None}
    said = known.get("eos_token_id")
    ends = [*said] if isinstance(said, list) else [] if said is None else [said]
    if tokenizer.eos_token_id is not None:
        ends.append(tokenizer.eos_token_id)
    special = tokenizer.get_added_vocab()
    ends += [special[text] for text in _TURN_ENDS if text in special]
    if own is not None:
        # Each answer is sampled by settings of its own; these would be applied to all of them once more.
        model.generation_config = transformers.GenerationConfig(bos_token_id=known.get("bos_token_id"))
    return defaults, sorted({int(token) for token in ends})


def _compare(files: Mapping[str, list[int]]) -> None:
    """What is loaded has to be what was checked."""
    for name, state in files.items():
        try:
            same = file_state(Path(name)) == FileState.from_json(state)
        except ModelFileError:
            same = False
        if not same:
            raise EngineError(
                "server_error", f"{Path(name).name} was replaced while it was loaded; load it again", code="load_failed"
            )


class _Reporting:
    """Passes the library's progress bars on; restores them at the end."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._before: Any = None

    def __enter__(self) -> None:
        self._before = logging.set_tqdm_hook(self._bar)

    def __exit__(self, *_: object) -> None:
        logging.set_tqdm_hook(self._before)

    def _bar(self, factory: Any, args: Any, options: Mapping[str, Any]) -> "_Bar":  # noqa: ARG002 - as it is called
        items = args[0] if args else options.get("iterable", ())
        return _Bar(self._tell, items, options.get("total"), str(options.get("desc") or "loading"))


class _Bar:
    """What a progress bar can do, as far as transformers uses it."""

    def __init__(self, tell: Tell, items: Any, total: float | None, message: str) -> None:
        self._tell = tell
        self._items = items
        self._total = total if total is not None else len(items) if hasattr(items, "__len__") else None
        self._message = message.lower()
        self._done = 0.0
        self._next = 0.0

    def __iter__(self) -> Iterator[Any]:
        for item in self._items:
            yield item
            self.update(1)
        self._report()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._report()

    def __getattr__(self, name: str) -> Any:
        # Descriptions and postfixes are for terminals.
        return lambda *args, **options: None  # noqa: ARG005 - takes whatever a bar takes

    def update(self, count: float = 1) -> None:
        """So many more are done."""
        self._done += count
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _EVERY
            self._report()

    def _report(self) -> None:
        self._tell(self._message, self._done, self._total)
