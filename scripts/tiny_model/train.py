"""Train the model from zero on one CPU core and write a Hugging Face folder.

    python scripts/tiny_model/train.py --work /tmp/tiny_model

The stages are counted in steps and every source of chance has a seed, so the result does not depend on the speed of the
machine. Equal bits need equal versions of torch and tokenizers and a processor with the same instructions.
A stopped run goes on where it was when it is started again with the same folder.
"""

import argparse
import json
import math
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import samples
import template
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SEED = 20261120
VOCABULARY = 1024
CONTEXT = 1024
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
# The answers are what is learned; a little weight on the rest keeps the model's feeling for questions.
WEIGHT_OF_PROMPT = 0.05
MUON_RATE = 0.02
ADAM_RATE = 3e-3
WARM_UP = 30
COOLING = 2800
EMBEDDING_WEIGHT = 0.2
EMBEDDING_EVERY = 3
EMBEDDING_PAIRS = 32
EMBEDDING_TEMPERATURE = 0.07


KNOWLEDGE = samples.Mix(
    facts=0.47,
    identity=0.07,
    small_talk=0.04,
    off_topic=0.11,
    extraction=0.15,
    echo=0.11,
    summary=0.03,
    counting=0.02,
    spelling=0.0,
    tool_share=0.15,
    most_tools=1,
    highest_count=30,
)
# Declining is learned early, copying late.
COPYING = replace(KNOWLEDGE, facts=0.44, identity=0.05, off_topic=0.08, extraction=0.19, echo=0.15)
LONG = replace(COPYING, tool_share=0.25, most_tools=5, highest_count=60)
# The corpus is written in small letters. Whoever writes "ChatGPT" and "JSON" must be understood as well.
SPELLING = replace(LONG, spelling=0.6, identity=0.09, echo=0.11)


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the training with rows of one length."""

    name: str
    steps: int
    rows: int
    length: int
    mix: samples.Mix


# Short rows are cheap and teach most of the text. The last stage must have the full length: a model that never saw a
# long row answers every long prompt with noise, and three offered tools are a long prompt.
STAGES = (
    Stage("knowledge", steps=1000, rows=16, length=256, mix=KNOWLEDGE),
    Stage("copying", steps=1600, rows=16, length=256, mix=COPYING),
    Stage("length", steps=600, rows=5, length=896, mix=LONG),
    Stage("spelling", steps=300, rows=5, length=896, mix=SPELLING),
)


def train_tokenizer() -> Tokenizer:
    """Byte-level BPE, digits one by one: what llama.cpp calls the pre-tokenizer ``smollm``.

    Single digits matter: a number cut into chance pieces is hard to copy.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    rng = random.Random(SEED)
    mix = replace(KNOWLEDGE, tool_share=0.1)
    conversations = ("".join(piece for piece, _ in samples.conversation(rng, mix)) for _ in range(8000))
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        min_frequency=3,
        show_progress=False,
    )
    tokenizer.train_from_iterator(conversations, trainer)
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def new_model(tokenizer: Tokenizer) -> LlamaForCausalLM:
    """A fresh llama network of 1.8 million parameters."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=-(-tokenizer.get_vocab_size() // 32) * 32,
            hidden_size=192,
            intermediate_size=512,
            num_hidden_layers=4,
            num_attention_heads=6,
            num_key_value_heads=2,
            max_position_embeddings=CONTEXT,
            rope_theta=10000.0,
            rms_norm_eps=1e-5,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.token_to_id("<|im_end|>"),
            pad_token_id=tokenizer.token_to_id("<|endoftext|>"),
        )
    )


def rows(stage: Stage, tokenizer: Tokenizer, rng: random.Random) -> Iterator[tuple[list[int], list[float]]]:
    """Endless rows of token ids and weights. A row starts with the start of a conversation, as a prompt does."""
    need = stage.length + 1
    while True:
        ids: list[int] = []
        weights: list[float] = []
        while len(ids) < need:
            talk = samples.conversation(rng, stage.mix)
            pieces = [(tokenizer.encode(text, add_special_tokens=False).ids, learn) for text, learn in talk]
            if sum(len(piece) for piece, _ in pieces) > need:
                continue  # its answer would be cut off
            for piece, learn in pieces:
                ids += piece
                weights += [1.0 if learn else WEIGHT_OF_PROMPT] * len(piece)
        yield ids[:need], weights[:need]


def language_loss(model: LlamaForCausalLM, batch: list[tuple[list[int], list[float]]]) -> torch.Tensor:
    """Mean cross-entropy of the next token, weighted."""
    ids = torch.tensor([row for row, _ in batch])
    weights = torch.tensor([weight for _, weight in batch])[:, 1:].reshape(-1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(ids[:, :-1], use_cache=False).logits
    losses = functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].reshape(-1), reduction="none")
    return (losses * weights).sum() / weights.sum()


def embedding_loss(model: LlamaForCausalLM, pairs: list[tuple[str, str]], tokenizer: Tokenizer) -> torch.Tensor:
    """Pull texts of one meaning together and push the others apart, on the mean of the last hidden states."""
    encoded = [
        tokenizer.encode(text, add_special_tokens=False).ids for side in zip(*pairs, strict=True) for text in side
    ]
    width = max(map(len, encoded))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in encoded])
    mask = torch.tensor([[1.0] * len(row) + [0.0] * (width - len(row)) for row in encoded])[..., None]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = model.model(ids, use_cache=False).last_hidden_state
    vectors = functional.normalize((hidden.float() * mask).sum(1) / mask.sum(1), dim=-1)
    first, second = vectors.chunk(2)
    similarity = first @ second.T / EMBEDDING_TEMPERATURE
    target = torch.arange(len(pairs))
    return (functional.cross_entropy(similarity, target) + functional.cross_entropy(similarity.T, target)) / 2


class Training:
    """The model, its optimisers and its dice; can be stopped and taken up again at any saved step."""

    def __init__(self, work: Path, tokenizer: Tokenizer) -> None:
        self.state_file = work / "state.pt"
        self.tokenizer = tokenizer
        self.model = new_model(tokenizer)
        matrices = [p for p in self.model.model.layers.parameters() if p.ndim == 2]
        known = {id(p) for p in matrices}
        others = [p for p in self.model.parameters() if id(p) not in known]
        self.optimisers = [
            torch.optim.Muon(matrices, lr=MUON_RATE, momentum=0.95, weight_decay=0.01),
            torch.optim.AdamW(others, lr=ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.0),
        ]
        self.step = 0
        self.loss = 0.0

    def rate(self) -> float:
        """The factor of the learning rates: warm-up, constant in the first stage, a cosine, at last a line to zero."""
        first, last = STAGES[0].steps, STAGES[-1].steps
        left = sum(stage.steps for stage in STAGES) - self.step
        if self.step < first:
            return min(1.0, (self.step + 1) / WARM_UP)
        if left <= last:
            return 0.01 + 0.11 * left / last
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (self.step - first) / COOLING))

    def train_step(self, batch: list[tuple[list[int], list[float]]]) -> None:
        """One step of the optimisers."""
        rate = self.rate()
        for optimiser, base in zip(self.optimisers, (MUON_RATE, ADAM_RATE), strict=True):
            optimiser.param_groups[0]["lr"] = base * rate
            optimiser.zero_grad(set_to_none=True)
        loss = language_loss(self.model, batch)
        total = loss
        if self.step % EMBEDDING_EVERY == 0:
            pairs = samples.same_meaning(random.Random(f"{SEED} pairs {self.step}"), EMBEDDING_PAIRS)
            total = loss + EMBEDDING_WEIGHT * embedding_loss(self.model, pairs, self.tokenizer)
        if not torch.isfinite(total):
            raise FloatingPointError(f"the loss of step {self.step} is not a number")
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
        self.loss = loss.item() if self.step == 0 else 0.97 * self.loss + 0.03 * loss.item()
        self.step += 1

    def save(self) -> None:
        """Keep everything that the next step needs; by renaming, so that a kill leaves the old state whole."""
        state = {
            "step": self.step,
            "loss": self.loss,
            "model": self.model.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }
        temporary = self.state_file.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(self.state_file)

    def load(self) -> None:
        """Take up a saved state, if there is one."""
        if self.state_file.exists():
            state: dict[str, Any] = torch.load(self.state_file, weights_only=True)
            self.step, self.loss = state["step"], state["loss"]
            self.model.load_state_dict(state["model"])
            for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
                optimiser.load_state_dict(saved)


def stage_at(step: int) -> Stage:
    """The stage that a step belongs to."""
    for stage in STAGES:
        if step < stage.steps:
            return stage
        step -= stage.steps
    raise IndexError("past the last step")


def train(work: Path, *, save_every: int = 200) -> Path:
    """Run all stages and return the Hugging Face folder inside *work*."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    torch.manual_seed(SEED)
    work.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer()
    training = Training(work, tokenizer)
    training.load()
    steps = sum(stage.steps for stage in STAGES)
    parameters = sum(p.numel() for p in training.model.parameters()) / 1e6
    print(f"{parameters:.2f} million parameters, steps {training.step} to {steps}", flush=True)
    started, first = time.monotonic(), training.step
    training.model.train()
    while training.step < steps:
        stage = stage_at(training.step)
        # Each step has its own dice, so that a resumed run sees the same rows as one that was never stopped.
        supply = rows(stage, tokenizer, random.Random(f"{SEED} rows {training.step}"))
        training.train_step([next(supply) for _ in range(stage.rows)])
        if training.step % 25 == 0:
            per_step = (time.monotonic() - started) / (training.step - first)
            left = f"{(steps - training.step) * per_step / 60:.0f} min left"
            print(f"step {training.step}/{steps} {stage.name}, loss {training.loss:.4f}, {left}", flush=True)
        if training.step % save_every == 0:
            training.save()
    training.save()
    return write_folder(work / "huggingface", training)


def write_folder(folder: Path, training: Training) -> Path:
    """Weights, configuration and tokenizer as transformers reads them."""
    training.model.eval()
    training.model.save_pretrained(folder, safe_serialization=True)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=training.tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT,
    )
    fast.chat_template = template.CHAT_TEMPLATE
    fast.save_pretrained(folder)
    record = {"seed": SEED, "steps": training.step, "loss": round(training.loss, 4), "torch": torch.__version__}
    (folder / "training.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    return folder


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--work", type=Path, default=Path("build/tiny_model"), help="folder for checkpoints and the result"
    )
    parser.add_argument("--save-every", type=int, default=200, help="steps between two checkpoints")
    arguments = parser.parse_args()
    print(train(arguments.work, save_every=arguments.save_every))


if __name__ == "__main__":
    main()
