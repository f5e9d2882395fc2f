"""Write a Hugging Face folder as one GGUF file: weights, tokenizer, chat template, licence.

python scripts/tiny_model/export.py /tmp/tiny_model/huggingface tiny-chat-q8_0.gguf
"""

import argparse
import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import quants
from safetensors import safe_open

NAME = "core-llm tiny chat"
DESCRIPTION = (
    "Demonstration model of core-llm with 2 million parameters. Trained from zero on the text in "
    "scripts/tiny_model/corpus; knows this library only."
)
TYPES = {
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
    "f16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "f32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
}
TENSORS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def add_facts(writer: gguf.GGUFWriter, config: dict[str, Any], file_type: gguf.LlamaFileType) -> None:
    """What the model is and how its network is built."""
    writer.add_name(NAME)
    writer.add_description(DESCRIPTION)
    writer.add_license("MIT")
    writer.add_size_label("1.8M")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_rope_freq_base((config.get("rope_parameters") or config)["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    # Where a caller names no temperature, the likeliest answer is the right one: there is one answer per question.
    writer.add_sampling_temp(0.0)


def add_tokenizer(writer: gguf.GGUFWriter, source: Path, size: int) -> None:
    """The vocabulary, its merges, the special tokens and the chat template."""
    tokenizer = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    words = {number: word for word, number in tokenizer["model"]["vocab"].items()}
    special = {token["id"]: token["content"] for token in tokenizer["added_tokens"]}
    numbers = {word: number for number, word in special.items()}
    tokens, types = [], []
    for number in range(size):
        if number in special:
            tokens.append(special[number])
            types.append(gguf.TokenType.CONTROL)
        elif number in words:
            tokens.append(words[number])
            types.append(gguf.TokenType.NORMAL)
        else:
            tokens.append(f"<|unused{number}|>")
            types.append(gguf.TokenType.UNUSED)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(
        [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]]
    )
    writer.add_eos_token_id(numbers["<|im_end|>"])
    writer.add_eot_token_id(numbers["<|im_end|>"])
    writer.add_pad_token_id(numbers["<|endoftext|>"])
    writer.add_bos_token_id(numbers["<|endoftext|>"])
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_chat_template((source / "chat_template.jinja").read_text(encoding="utf-8"))


def interleaved(matrix: np.ndarray, heads: int) -> np.ndarray:
    """Rotary pairs side by side, as GGUF wants them for a llama; Hugging Face keeps them in two halves."""
    return (
        matrix.reshape(heads, 2, matrix.shape[0] // heads // 2, *matrix.shape[1:]).swapaxes(1, 2).reshape(matrix.shape)
    )


def add_weights(writer: gguf.GGUFWriter, source: Path, config: dict[str, Any], kind: gguf.GGMLQuantizationType) -> None:
    """All tensors under their GGUF names; vectors stay in full precision."""
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    with safe_open(source / "model.safetensors", framework="np") as tensors:
        for name in sorted(tensors.keys()):
            values = tensors.get_tensor(name).astype(np.float32)
            if name == "lm_head.weight":
                continue  # tied to the embeddings
            if name == "model.embed_tokens.weight":
                target = "token_embd.weight"
            elif name == "model.norm.weight":
                target = "output_norm.weight"
            else:
                _, _, layer, rest = name.split(".", 3)
                short = TENSORS[rest.removesuffix(".weight")]
                target = f"blk.{layer}.{short}.weight"
                if short in heads:
                    values = interleaved(values, heads[short])
            if values.ndim == 1 or kind == gguf.GGMLQuantizationType.F32:
                writer.add_tensor(target, values)
            else:
                writer.add_tensor(target, quants.quantize(values, kind), raw_dtype=kind)


def export(source: Path, target: Path, kind: str = "q8_0") -> Path:
    """Write *target* whole or not at all: a server may have the old file mapped into its memory."""
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    quantization, file_type = TYPES[kind]
    temporary = target.with_name(target.name + ".tmp")
    writer = gguf.GGUFWriter(temporary, "llama")
    add_facts(writer, config, file_type)
    add_tokenizer(writer, source, config["vocab_size"])
    add_weights(writer, source, config, quantization)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    temporary.replace(target)
    return target


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="Hugging Face folder written by train.py")
    parser.add_argument("target", type=Path, help="GGUF file to write")
    parser.add_argument(
        "--type", choices=sorted(TYPES), default="q8_0", help="precision of the matrices (default: q8_0)"
    )
    arguments = parser.parse_args()
    target = export(arguments.source, arguments.target, arguments.type)
    print(f"{target}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
