"""What Ollama's errors mean."""

import pytest

from core.llm.providers.ollama.errors import error_from, error_from_text


def said(text: str) -> bytes:
    return f'{{"error": "{text}"}}'.encode()


@pytest.mark.parametrize(
    ("status", "text", "kind", "code", "retryable"),
    [
        (400, "invalid option provided", "invalid_request", None, False),
        (400, "registry.ollama.ai/library/x:latest does not support tools", "invalid_request", "unsupported", False),
        (400, "'x' does not support thinking", "invalid_request", "unsupported", False),
        (400, "input length exceeds maximum context length", "context_length", "context_length", False),
        (400, "the input length exceeds the context length", "context_length", "context_length", False),
        (401, "unauthorized", "authentication", None, False),
        (403, "forbidden", "permission", None, False),
        (404, "model 'x' not found", "model_not_found", "model_not_found", False),
        (404, "model 'x' not found, try pulling it first", "model_not_found", "model_not_found", False),
        (404, "404 page not found", "invalid_request", "not_found", False),
        (429, "slow down", "rate_limit", None, True),
        (499, "request canceled", "server_error", None, True),
        (500, "option 'num_ctx' must be of type integer", "invalid_request", None, False),
        (500, "model requires more system memory (9 GiB) than is available", "server_error", "out_of_memory", False),
        (500, "llama runner process has terminated", "server_error", None, True),
        (503, "server busy, please try again. maximum pending requests exceeded", "overloaded", "busy", True),
        (502, "bad gateway", "server_error", None, True),
    ],
)
def test_status_and_words_decide(status, text, kind, code, retryable):
    """Ollama sends no codes, so the words are all there is."""
    error = error_from(status, {}, said(text))

    assert (error.type, error.code, error.retryable, error.status_code) == (kind, code, retryable, status)
    assert text[:12] in error.message


def test_a_missing_model_comes_with_the_command_that_fetches_it():
    """Both ways out are named."""
    error = error_from(404, {}, said("model 'qwen3:8b' not found"))

    assert "ollama pull qwen3:8b" in error.message
    assert "pull: when_missing" in error.message


def test_unsupported_says_something_about_the_model_only():
    """Another model of the same server may well support it."""
    assert error_from(400, {}, said("'x' does not support tools")).scope == "model"


def test_a_cloud_model_without_account_says_how_to_sign_in():
    """The link of the server holds a key of the machine and stays out of the message."""
    body = b'{"error": "unauthorized", "signin_url": "https://ollama.com/connect?key=abcdef123456"}'
    error = error_from(401, {}, body)

    assert error.type == "authentication"
    assert "ollama signin" in error.message
    assert "abcdef123456" not in error.message


def test_a_hint_to_wait_is_read_where_a_proxy_sends_one():
    assert error_from(503, {"retry-after": "7"}, b"busy").retry_after == 7


@pytest.mark.parametrize(
    ("text", "kind", "code", "retryable"),
    [
        ("pull model manifest: file does not exist", "model_not_found", "model_not_found", False),
        ("write /models/x: no space left on device", "server_error", "disk_full", False),
        ("digest mismatch, file must be downloaded again", "protocol", "digest_mismatch", True),
        ("max retries exceeded: unexpected EOF", "server_error", None, True),
        ("cudaMalloc failed: out of memory", "server_error", "out_of_memory", False),
    ],
)
def test_an_error_line_has_only_words(text, kind, code, retryable):
    """F66, F148: inside a stream the status was sent long ago."""
    error = error_from_text(text)

    assert (error.type, error.code, error.retryable, error.status_code) == (kind, code, retryable, None)


@pytest.mark.parametrize(
    "body", [b"", b"<html><h1>Bad gateway", b"\xff\xfe", b"[]", b"null", b'{"error": {"message": "x"}}']
)
def test_a_body_that_is_no_ollama_error_is_still_an_error(body):
    """A proxy in front of the server answers in its own words."""
    assert error_from(502, {}, body).type == "server_error"


def test_the_words_of_a_server_cannot_break_a_log_line():
    assert "\n" not in error_from(500, {}, b'{"error": "a\\nb\\u001b[31m"}').message
