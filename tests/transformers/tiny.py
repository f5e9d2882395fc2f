"""A real small model, made here: a tokenizer trained on a few sentences, and two layers that learn them by heart."""

import json
import shutil
from pathlib import Path

ANSWERS = {
    "Say hello": "Hello there, dear friend.",
    "Count": "one two three four five six seven eight nine ten eleven twelve",
    "Greet the world": "Grüße an die 🌍! 日本語 🚀 done",
    "Weather in Paris?": '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>',
    "Weather in Paris and Rome?": '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>\n'
    '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>',
}
"""What the model answers, greedily, to the letter."""

WEATHER = {
    "name": "weather",
    "description": "The weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TEMPLATE = (
    "{% if tools %}<|im_start|>system\nTools: {% for t in tools %}{{ t.function.name }} {% endfor %}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<tool_call>{{ c.function.name }} {{ c.function.arguments.city }}</tool_call>"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WINDOW = 256
STEPS = 220


def make(folder: Path) -> Path:
    """Train it, the same each time, and save it into *folder*."""
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(7)
    torch.set_num_threads(1)
    tokenizer = _tokenizer(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=WINDOW,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    ids, labels, mask = _samples(tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for _ in range(STEPS):
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    model.eval().save_pretrained(folder)
    return folder


def copy(model: Path, folder: Path) -> Path:
    """*model* once more, to be changed by a test."""
    shutil.copytree(model, folder)
    return folder


def edit(folder: Path, name: str, **fields: object) -> None:
    """Change *fields* of one of the JSON files of a model; `None` takes one away."""
    file = folder / name
    value = {**json.loads(file.read_text()), **fields}
    file.write_text(json.dumps({key: entry for key, entry in value.items() if entry is not None}))


def _tokenizer(folder: Path):
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<|pad|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([*ANSWERS, *(text for text in ANSWERS.values() if text.isascii())], trainer)
    raw.add_tokens([AddedToken("<tool_call>", special=False), AddedToken("</tool_call>", special=False)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|pad|>", model_max_length=WINDOW
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return tokenizer


def _samples(tokenizer):
    import torch

    tools = [{"type": "function", "function": WEATHER}]
    rows = []
    for question, answer in ANSWERS.items():
        for offered in [None, tools] if "Weather" not in question else [tools]:
            prompt = tokenizer.apply_chat_template(
                [{"role": "user", "content": question}], tools=offered, tokenize=False, add_generation_prompt=True
            )
            begun = tokenizer.encode(prompt, add_special_tokens=False)
            rows.append((begun, tokenizer.encode(f"{answer}<|im_end|>", add_special_tokens=False)))
    longest = max(len(prompt) + len(answer) for prompt, answer in rows)
    ids, labels, mask = [], [], []
    for prompt, answer in rows:
        fill = longest - len(prompt) - len(answer)
        ids.append([*prompt, *answer, *[tokenizer.pad_token_id] * fill])
        labels.append([*[-100] * len(prompt), *answer, *[-100] * fill])
        mask.append([1] * (longest - fill) + [0] * fill)
    return torch.tensor(ids), torch.tensor(labels), torch.tensor(mask)
