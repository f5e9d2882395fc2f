"""Directories that look like models, without torch: real headers, weights of zeros."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TEMPLATE = "{% if tools %}{{ tools }}{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}"


def safetensors(path: Path, tensors: Mapping[str, tuple[str, Sequence[int], int]] | None = None) -> Path:
    """A file with *tensors*: name to type, shape and bytes."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape, size) in (tensors or {"w": ("F32", (4, 8), 128)}).items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))
    return path


def model(folder: Path, **config: Any) -> Path:
    """A directory in the format of the hub."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 128, "dtype": "bfloat16", **config}
    (folder / "config.json").write_text(json.dumps(values))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE, "model_max_length": 10**30}))
    safetensors(folder / "model.safetensors")
    return folder
