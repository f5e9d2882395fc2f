"""What each exception of Bedrock means: by its name, wherever the name stands, and by its words where there is none."""

import json

import pytest

from core.llm.providers.bedrock.errors import error_from_frame, error_from_http

NAMES = [
    (429, "ThrottlingException", "Too many tokens, please wait before trying again.", "rate_limit", True),
    (429, "ThrottlingException", "Too many tokens per day, please wait before trying again.", "quota_exceeded", False),
    (400, "ServiceQuotaExceededException", "limit", "quota_exceeded", False),
    (429, "ModelNotReadyException", "Model is not ready for inference.", "overloaded", True),
    (503, "ServiceUnavailableException", "try later", "overloaded", True),
    (408, "ModelTimeoutException", "took too long", "timeout", True),
    (424, "ModelErrorException", "the model failed", "server_error", True),
    (500, "InternalServerException", "oops", "server_error", True),
    (403, "AccessDeniedException", "You don't have access to the model with the specified model ID.", "permission", False),
    (403, "AccessDeniedException", "Please make sure your API Key is valid.", "authentication", False),
    (403, "ExpiredTokenException", "The security token included in the request is expired", "authentication", False),
    (403, "UnrecognizedClientException", "The security token is invalid.", "authentication", False),
    (403, "InvalidSignatureException", "The request signature we calculated does not match", "authentication", False),
    (403, "InvalidSignatureException", "Signature expired: 2026 is now earlier than 2027", "network_error", True),
    (403, "InvalidSignatureException", "Signature not yet current: 2028 is still later than 2027", "network_error", True),
    (403, "RequestTimeTooSkewed", "The difference is too large.", "network_error", True),
    (404, "ResourceNotFoundException", "This model version has reached the end of its life.", "model_not_found", False),
    (400, "ValidationException", "The provided model identifier is invalid.", "model_not_found", False),
    (400, "ValidationException", "Invocation of model ID x with on-demand throughput isn't supported.", "model_not_found", False),
    (400, "ValidationException", "Input is too long for requested model.", "context_length", False),
    (400, "ValidationException", "prompt is too long: 300000 tokens > 200000 maximum", "context_length", False),
    (400, "ValidationException", "input length and `max_tokens` exceed context limit: 1 + 2 > 3", "context_length", False),
    (400, "ValidationException", "The model returned the following errors: Output blocked by content filtering policy", "content_filter", False),
    (400, "ValidationException", "The text field in the ContentBlock object is blank.", "invalid_request", False),
]  # fmt: skip


@pytest.mark.parametrize(("status", "name", "message", "kind", "retryable"), NAMES)
def test_an_exception_means_the_same_wherever_its_name_stands(status, name, message, kind, retryable):
    """In the header with a suffix, in the body with a prefix, in a frame."""
    body = json.dumps({"message": message}).encode()
    typed = json.dumps({"__type": f"com.amazon.coral#{name}", "Message": message, "message": message}).encode()
    errors = [
        error_from_http(status, {"x-amzn-errortype": f"{name}:http://internal.amazon.com/coral/"}, body),
        error_from_http(status, {}, typed),
        error_from_frame(name[0].lower() + name[1:], body, "estimated"),
    ]
    assert {(error.type, error.retryable) for error in errors} == {(kind, retryable)}
    assert errors[0].status_code == status
    assert errors[2].billing == "estimated"
    if kind == "network_error":
        assert {error.code for error in errors} == {"clock_skew"}
    else:
        assert errors[0].code == name


def test_a_missing_profile_is_named_as_the_remedy():
    """The most common mistake with new models."""
    message = "Invocation of model ID anthropic.x with on-demand throughput isn't supported."
    error = error_from_http(400, {}, json.dumps({"message": message}).encode())
    assert "inference profile" in error.message


def test_no_access_to_a_model_is_no_matter_of_the_key():
    """Another model may well be allowed."""
    body = b'{"message": "You don\'t have access to the model with the specified model ID."}'
    error = error_from_http(403, {"x-amzn-errortype": "AccessDeniedException"}, body)
    assert error.scope == "model"
    body = b'{"message": "User: arn:aws:iam::1:user/x is not authorized to perform: bedrock:InvokeModel"}'
    assert error_from_http(403, {"x-amzn-errortype": "AccessDeniedException"}, body).scope == "model"


def test_a_hint_is_honoured_and_a_page_is_no_riddle():
    """Bedrock sends no hints of its own, gateways in front of it do; and they send pages."""
    error = error_from_http(429, {"x-amzn-errortype": "ThrottlingException", "retry-after": "7"}, b"{}")
    assert error.retry_after == 7
    page = error_from_http(502, {"content-type": "text/html"}, b"<html><title>Bad gateway</title></html>")
    assert (page.type, page.retryable) == ("server_error", True)
    assert error_from_http(302, {"location": "https://login.example.com"}, b"").code == "redirect"
