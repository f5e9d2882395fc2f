"""Models with a prompt format of their own go past Ollama's template, to `/api/generate`."""

import json
from itertools import count
from typing import Any

import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.providers.base.response import ResponseCollector
from core.llm.providers.ollama.config import OllamaConfig
from core.llm.providers.ollama.prompts import OllamaPromptDialect
from tests.unit.providers.ollama.support import NDJSON, chat_request

MODELS = {"base": {"prompt_format": "chatml"}, "tiny": {}}
LINES = (
    b'{"model":"base","response":"Hel","done":false}\n{"model":"base","response":"lo \xc3\xa9","done":false}\n'
    b'{"model":"base","response":"","done":true,"done_reason":"stop","prompt_eval_count":7,"eval_count":3}\n'
)


def dialect(**config: Any) -> OllamaPromptDialect:
    """The dialect of a server with one model that has a format, and one that has none."""
    numbers = count()
    return OllamaPromptDialect(OllamaConfig(models=MODELS, **config), lambda: f"call_{next(numbers)}")


def test_the_finished_prompt_is_sent_raw() -> None:
    """With everything else that belongs to the call: options, keep-alive, format."""
    request = chat_request(
        [{"role": "system", "content": "Brief."}, {"role": "user", "content": "Hi"}],
        model="base",
        max_tokens=5,
        stop="END",
        response_format="json",
    )
    call = dialect(keep_alive="5m", options={"num_ctx": 512}).encode(request)
    body = json.loads(call.body)
    assert call.path == "/api/generate"
    assert body.pop("keep_alive")
    assert body == {
        "model": "base",
        "prompt": "<|im_start|>system\nBrief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
        "raw": True,
        "stream": False,
        "format": "json",
        "options": {"num_ctx": 512, "num_predict": 5, "stop": ["END", "<|im_end|>"]},
    }


def test_a_tag_of_the_model_makes_no_difference() -> None:
    """`base` and `base:latest` are one model."""
    assert dialect().encode(chat_request(model="base:latest")).path == "/api/generate"


def test_other_models_chat_as_ever() -> None:
    """The format belongs to one model."""
    call = dialect().encode(chat_request(model="tiny"))
    assert (call.path, "prompt" in json.loads(call.body)) == ("/api/chat", False)


def test_the_stream_is_read_at_every_cut() -> None:
    """Text, usage and the end, whatever the pieces."""
    for cut in range(len(LINES) + 1):
        decoder = dialect().decoder(chat_request(model="base", stream=True), NDJSON)
        collector = ResponseCollector()
        for event in [*decoder.feed(LINES[:cut]), *decoder.feed(LINES[cut:]), *decoder.end()]:
            collector.add(event)
        response = collector.response()
        assert (response.content, response.usage.input, response.usage.output) == ("Hello é", 7, 3)
        assert response.finish_reason.unified == "stop"


def test_a_whole_answer_is_read() -> None:
    """Without a stream."""
    body = (
        b'{"model":"base","response":"Hello","done":true,"done_reason":"length","prompt_eval_count":7,"eval_count":1}'
    )
    response = dialect().decode(chat_request(model="base"), 200, {}, body)
    assert (response.content, response.finish_reason.unified) == ("Hello", "length")


@pytest.mark.parametrize(
    "body", [LINES[:40], LINES[: LINES.index(b'{"model":"base","response":""')], b'{"error":"no"}\n']
)
def test_what_is_not_whole_is_an_error(body: bytes) -> None:
    """As in a chat."""
    decoder = dialect().decoder(chat_request(model="base", stream=True), NDJSON)
    decoder.feed(body)
    with pytest.raises(ProviderError):
        decoder.end()
