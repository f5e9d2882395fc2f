"""An error answer of any shape becomes one of our types, with the provider's words and without its keys."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from core.llm.common.exceptions import ProviderError
from core.llm.dialects.errors import error_of, http_error, read_error


def error(status: int, body: Any, **headers: str) -> ProviderError:
    """The error of an answer."""
    data = body if isinstance(body, bytes) else to_json(body)
    return http_error(status, {name.replace("_", "-"): value for name, value in headers.items()}, data)


SHAPES = {
    "openai": ({"error": {"message": "no", "type": "t", "code": "c"}}, "no", "c"),
    "ollama": ({"error": "no"}, "no", None),
    "xai": ({"code": "Some words here", "error": "no"}, "no", None),
    "fastapi": ({"detail": "no"}, "no", None),
    "fastapi list": ({"detail": [{"loc": ["body"], "msg": "no"}, {"msg": "never"}]}, "no; never", None),
    "mistral": ({"object": "error", "message": "no", "type": "t", "code": "1300"}, "no", "1300"),
    "mistral detail": ({"detail": {"error": "no"}}, "no", None),
    "bedrock": ({"message": "no"}, "no", None),
    "bedrock capital": ({"type": "error", "error": {"type": "t", "message": "no"}}, "no", "t"),
    "numeric code": ({"error": {"message": "no", "code": 429}}, "no", "429"),
    "google list": ([{"error": {"message": "no", "status": "X", "code": 400}}], "no", "400"),
    "gateway": ({"error": {"message": "Provider returned error", "metadata": {"raw": "no"}}}, "Provider returned error: no", None),
    "cerebras": ({"message": "no", "type": "t", "param": "p", "code": "c"}, "no", "c"),
    "plain text": (b"no\n", "no", None),
    "json string": (b'"no"', "no", None),
    "web page": (b"<html><title>502 Bad Gateway</title>", "an HTML page, '502 Bad Gateway'", None),
    "empty": (b"", "", None),
    "null": (b"null", "", None),
    "not text": (b"\xff\xfe", "\ufffd\ufffd", None),
}  # fmt: skip


@pytest.mark.parametrize("shape", list(SHAPES))
def test_every_shape_of_error_body_is_read(shape: str) -> None:
    """The message and the code, wherever they stand."""
    body, message, code = SHAPES[shape]
    parsed = read_error(body if isinstance(body, bytes) else to_json(body))
    assert parsed.message == message
    assert (parsed.code or parsed.kind) == (code or parsed.kind)


def oai(message: str = "no", code: Any = None, kind: str | None = None) -> dict[str, Any]:
    """An error body in OpenAI's shape."""
    return {"error": {"message": message, "code": code, "type": kind, "param": None}}


TABLE = [
    (400, oai(), "invalid_request"),
    (422, {"detail": "bad"}, "invalid_request"),
    (405, b"Method Not Allowed", "invalid_request"),
    (400, oai("This model's maximum context length is 8192 tokens.", "context_length_exceeded"), "context_length"),
    (400, oai("the request exceeds the available context size", 400, "exceed_context_size_error"), "context_length"),
    (413, oai("input is too long"), "context_length"),
    (400, oai("Prompt too long; exceeded max context length by 3 tokens"), "context_length"),
    (400, oai("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"), "context_length"),
    (400, {"code": "Client specified an invalid argument", "error": "This model's maximum prompt length is 131072 but the request contains 200000 tokens."}, "context_length"),
    (422, {"error": "Input validation error: `inputs` must have less than 4095 tokens. Given: 5000", "error_type": "validation"}, "context_length"),
    (422, oai("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 `inputs` tokens"), "context_length"),
    (400, oai("<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]"), "context_length"),
    (400, oai("Invalid request: Your request exceeded model token limit: 8192"), "context_length"),
    (400, oai("Prompt exceeds max length", "1261"), "context_length"),
    (400, oai("max_tokens must be at least 1, got -904.", 400, "BadRequestError"), "context_length"),
    (413, oai("Request body too large for gpt-4o model. Max size: 8000 tokens.", "tokens_limit_reached"), "context_length"),
    (400, oai("Invalid 'messages[0].content': string too long. Expected a string with maximum length 10", "string_above_max_length"), "context_length"),
    (400, oai("Invalid 'tools[0].function.name': string too long. Expected a string with maximum length 64", "string_above_max_length"), "invalid_request"),
    (400, oai("max_tokens is too large: 200000. This model supports at most 128000 completion tokens"), "invalid_request"),
    (403, oai("Your API key was reported as leaked. Please use another API key."), "authentication"),
    (401, oai("Principal does not have access to API/Operation.", "PermissionDenied"), "permission"),
    (400, oai("You have reached your specified API usage limits. You will regain access on 2026-12-01"), "quota_exceeded"),
    (403, {"code": "The caller does not have permission", "error": "Your newly created team doesn't have any credits yet."}, "quota_exceeded"),
    (412, oai("Account x is suspended, possibly due to reaching the monthly spending limit or failure to pay past invoices."), "quota_exceeded"),
    (429, oai("Your account is not active", None, "exceeded_current_quota_error"), "quota_exceeded"),
    (429, oai("Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000", 429), "quota_exceeded"),
    (429, {"message": "You are using a Trial key, which is limited to 1000 API calls / month."}, "quota_exceeded"),
    (400, oai("System detected potentially unsafe or sensitive content in input or generation.", "1301"), "content_filter"),
    (400, {"error": "The model has crashed without additional information. (Exit code: 6)"}, "server_error"),
    (401, oai("Unauthorized"), "authentication"),
    (400, {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: in***ey."}, "authentication"),
    (400, oai("API key not valid. Please pass a valid API key."), "authentication"),
    (403, oai("Country not supported", "unsupported_country_region_territory"), "permission"),
    (403, oai("Your input was flagged by moderation"), "content_filter"),
    (404, oai("no", "model_not_found"), "model_not_found"),
    (404, b"404 page not found", "model_not_found"),
    (400, oai("Invalid model identifier", "model_not_found"), "model_not_found"),
    (400, oai("foo/bar is not a valid model ID", 400), "model_not_found"),
    (400, oai("Model Not Exist", "invalid_request_error"), "model_not_found"),
    (400, oai("The response was filtered due to Azure OpenAI's content management policy", "content_filter"), "content_filter"),
    (402, oai("Insufficient Balance"), "quota_exceeded"),
    (429, oai("You exceeded your current quota, please check your plan", "insufficient_quota"), "quota_exceeded"),
    (429, oai("slow", "rate_limit_exceeded", "requests"), "rate_limit"),
    (429, b"", "rate_limit"),
    (413, oai("Request too large for model", "rate_limit_exceeded", "tokens"), "rate_limit"),
    (408, b"upstream request timeout", "timeout"),
    (409, oai(), "server_error"),
    (425, b"", "server_error"),
    (500, oai("The server had an error"), "server_error"),
    (500, oai("That model is currently overloaded"), "overloaded"),
    (502, b"<html>", "server_error"),
    (503, oai("Loading model", 503, "unavailable_error"), "overloaded"),
    (504, b"", "server_error"),
    (520, b"", "server_error"),
    (524, b"", "server_error"),
    (529, oai("Overloaded", None, "overloaded_error"), "overloaded"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "wanted"), TABLE)
def test_f15_to_f22_status_and_code_decide(status: int, body: Any, wanted: str) -> None:
    """F15 to F22, F32: and none of them may be billed."""
    found = error(status, body)
    assert found.type == wanted
    assert (found.status_code, found.billing) == (status, "none")
    retryable = {"rate_limit", "server_error", "overloaded", "timeout"}
    assert found.retryable == (wanted in retryable and "Request too large" not in found.message)


def test_f20_quota_is_not_a_rate_limit() -> None:
    """F20: it is not tried again although the status is 429, and it says something about the key."""
    found = error(429, oai("You exceeded your current quota", "insufficient_quota"))
    assert (found.retryable, found.scope) == (False, "key")


def test_a_request_that_never_fits_is_not_tried_again() -> None:
    """A 429 that no waiting helps; the key is not to blame."""
    body = oai(
        "Request too large for gpt on tokens per min (TPM): Limit 4, Requested 9. Please try again in 2s",
        "rate_limit_exceeded",
        "tokens",
    )
    found = error(429, body, retry_after="2")
    assert (found.type, found.retryable, found.retry_after, found.scope) == ("rate_limit", False, None, "request")


def test_f22_too_large_has_a_code_of_its_own() -> None:
    """F22."""
    assert error(413, b"length limit exceeded").code == "too_large"


def test_f31_the_header_wins_over_the_status() -> None:
    """F31: in both directions."""
    assert not error(503, oai(), x_should_retry="false").retryable
    assert error(400, oai(), x_should_retry="true").retryable


def test_f34_a_503_carries_its_hint() -> None:
    """F23, F34: seconds to wait, kept on the error."""
    assert error(503, oai(), retry_after="4").retry_after == 4.0
    assert error(429, oai(), retry_after="2").retry_after == 2.0
    assert error(401, oai(), retry_after="2").retry_after is None


def test_f35_a_redirect_names_only_the_host() -> None:
    """F35: it is never followed, and what may be secret in it stays out of the message."""
    found = error(307, b"", location="https://evil.example/path?token=SECRET")
    assert (found.type, found.code, found.retryable) == ("protocol", "redirect", False)
    assert "evil.example" in found.message
    assert "SECRET" not in str(found)
    assert error(302, b"", location="http://[").code == "redirect"


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: canary-4711-key. You can find",
        "Incorrect API key provided: sk-canary4711abcdefgh.",
        "Your api key: canary4711 is invalid",
        "bad header 'Authorization: Bearer canary4711xyz'",
        "GET /models?key=canary4711abc failed",
    ],
)
def test_s9_an_echoed_key_leaves_the_message(text: str) -> None:
    """S9: whether or not it looks like one."""
    found = error(401, oai(text))
    assert "canary" not in f"{found} {found!r} {found.args}"


def test_s12_a_message_is_one_bounded_line() -> None:
    """S12: control characters are escaped, a novel is cut."""
    found = error(400, oai("a\r\nb\x1b[31m" + "x" * 5000))
    assert "\n" not in found.message
    assert "\x1b" not in found.message
    assert len(found.message) < 400


def test_the_request_id_is_kept() -> None:
    """Whatever its header is called."""
    assert error(500, b"", x_request_id="req_1").request_id == "req_1"
    assert error(500, b"", apim_request_id="a").request_id == "a"
    assert error(500, b"").request_id is None


def test_f58_only_the_beginning_of_a_long_body_is_read() -> None:
    """F58: and a cut JSON text is shown as text."""
    found = error(500, b'{"error": {"message": "' + b"x" * 10_000_000)
    assert found.type == "server_error"
    assert len(found.message) < 400


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["error", "message", "code", "type", "detail", "status", "metadata", "raw"]), inner
        )
    ),
)


@given(st.integers(300, 599), st.binary(), json_values)
def test_it_is_total(status: int, body: bytes, value: object) -> None:
    """Any status, any bytes, any JSON: always one classified error."""
    assert isinstance(http_error(status, {}, body), ProviderError)
    error_of(value)
