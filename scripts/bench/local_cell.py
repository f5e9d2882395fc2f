"""One measurement of one engine for local models, in a fresh process, through the service as a host uses it.

Prints one line of JSON: seconds of a load, milliseconds to the first piece of text, tokens per second of one stream and
of four at once, and the megabytes of the worker.
"""

import argparse
import asyncio
import json
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TOKENS = 128
VOCABULARY = 1024
TOGETHER = 4
PROMPT = "Tell me about dependency injection."


def llama_cpp(folder: Path) -> dict[str, Any]:
    """The model that ships with the library."""
    del folder
    model = {"path": "embedded", "n_threads": 1, "n_parallel": TOGETHER}
    # The embedded model would say when it is done, after a sentence.
    return {"type": "llama_cpp", "models": {"m": model}, "extra": {"ignore_eos": True}}


def transformers(folder: Path) -> dict[str, Any]:
    """A model of the same shape with random weights, made here: how fast it is does not depend on what it says."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(7)
    # Every token is a word, so that each of them is text at once.
    raw = Tokenizer(models.WordLevel({f"word{number}": number for number in range(VOCABULARY)}, unk_token="word0"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=1024)
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    tokenizer.save_pretrained(folder)
    shape = {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 6}
    config = LlamaConfig(
        vocab_size=VOCABULARY, num_key_value_heads=2, max_position_embeddings=1024, tie_word_embeddings=True,
        bos_token_id=None, eos_token_id=None, pad_token_id=0, **shape,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    model = {"path": str(folder), "device": "cpu", "n_threads": 1, "max_batch": TOGETHER}
    return {"type": "transformers", "models": {"m": model}}


ENGINES = {"llama_cpp": llama_cpp, "transformers": transformers}


async def measure(provider: dict[str, Any], loads: int) -> dict[str, float]:
    """Load, stream once to warm up, stream once alone, stream four times at once."""
    from core.container import Container
    from core.llm import LLMService, ProviderModule

    config = {"default_model": "local/m", "providers": {"local": provider}}
    async with Container([ProviderModule(config, watch=False)]) as container:
        llm = container.get(LLMService)

        async def stream() -> tuple[float, float, int]:
            """Seconds to the first text, seconds to the end, tokens."""
            began, first = time.perf_counter(), 0.0
            async with llm.stream(PROMPT, temperature=0, max_tokens=TOKENS, seed=1) as events:
                async for event in events:
                    if event.text and not first:
                        first = time.perf_counter()
                usage = (await events.response()).usage
            return first - began, time.perf_counter() - began, usage.output

        spent = []
        for _ in range(loads):
            began = time.perf_counter()
            await llm.load_model("local/m")
            spent.append(time.perf_counter() - began)
            if len(spent) < loads:
                await llm.unload_model("local/m")
        await stream()
        first, whole, tokens = await stream()
        began = time.perf_counter()
        together = await asyncio.gather(*(stream() for _ in range(TOGETHER)))
        all_at_once = time.perf_counter() - began
        memory = (await llm.model_status("local/m")).memory_bytes or 0
    return {
        "load_s": min(spent),
        "first_ms": first * 1000,
        "per_second": tokens / whole,
        "together": sum(tokens for _, _, tokens in together) / all_at_once,
        "memory_mb": memory / 2**20,
        "tokens": tokens,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("--loads", type=int, default=3)
    given = parser.parse_args()
    logging.disable()
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(measure(ENGINES[given.engine](Path(folder)), given.loads))
    sys.stdout.write(json.dumps(result) + "\n")
