"""What Bedrock's refusals stand for: exceptions with a name, in a header, in the body, or in a frame of a stream."""

import re
from collections.abc import Mapping
from typing import Final

from core.llm.common.exceptions import ErrorScope, ErrorType, ProviderError
from core.llm.common.secrets import one_line
from core.llm.common.types import Billing
from core.llm.dialects.errors import ErrorBody, classify, clean, http_error, read_error
from core.llm.dialects.retry_hints import retry_after

_TYPES: Final[dict[str, ErrorType]] = {
    "throttling": "rate_limit",
    "toomanyrequests": "rate_limit",
    "requestlimitexceeded": "rate_limit",
    "servicequotaexceeded": "quota_exceeded",
    "modelnotready": "overloaded",
    "serviceunavailable": "overloaded",
    "modeltimeout": "timeout",
    "modelerror": "server_error",
    "modelstreamerror": "server_error",
    "internalserver": "server_error",
    "internalfailure": "server_error",
    "accessdenied": "permission",
    "notauthorized": "permission",
    "optinrequired": "permission",
    "resourcenotfound": "model_not_found",
    "unrecognizedclient": "authentication",
    "invalidclienttokenid": "authentication",
    "expiredtoken": "authentication",
    "invalidtoken": "authentication",
    "invalidsignature": "authentication",
    "signaturedoesnotmatch": "authentication",
    "incompletesignature": "authentication",
    "missingauthenticationtoken": "authentication",
    "validation": "invalid_request",
    "conflict": "invalid_request",
}
"""By the name of the exception, in lower case and without `Exception` at its end."""
_SKEW: Final = frozenset({"requesttimetooskewed", "requestexpired", "requestinthefuture"})
_STATUS: Final = {
    "throttling": 429, "modelnotready": 429, "modeltimeout": 408, "modelerror": 424, "modelstreamerror": 424,
    "internalserver": 500, "serviceunavailable": 503, "validation": 400,
}  # fmt: skip

_WRONG_TIME: Final = re.compile(r"signature (not yet current|expired)|is (now )?(earlier|later) than", re.IGNORECASE)
_CONTEXT: Final = re.compile(
    r"input tokens exceeded|(input|prompt) is too long|too many (total text bytes|input tokens)"
    r"|context (length|window|limit)|exceeds? the (maximum|max)[^.]{0,40}(tokens|length)"
    r"|maximum (number of )?(input )?tokens",
    re.IGNORECASE,
)
_MODEL: Final = re.compile(
    r"model identifier is invalid|model (id|identifier|version)[^.]{0,80}(not found|end of its life|isn.t supported)"
    r"|on-demand throughput isn.t supported|could not (find|resolve) the (foundation )?model",
    re.IGNORECASE,
)
_FILTER: Final = re.compile(r"blocked by content filter", re.IGNORECASE)
_PROFILE: Final = re.compile(r"on-demand throughput isn.t supported", re.IGNORECASE)
_BAD_KEY: Final = re.compile(r"api key is (valid|invalid)|authentication failed|bearer token", re.IGNORECASE)
_DAILY: Final = re.compile(r"per day|daily", re.IGNORECASE)
# A refused signature is explained with the whole request, session token included.
_RECITAL: Final = re.compile(r"\s*the canonical string for this request.*", re.IGNORECASE | re.DOTALL)

_WHAT: Final[dict[str, str]] = {
    "rate_limit": "rate limited",
    "quota_exceeded": "a quota of this account is used up",
    "overloaded": "the model or service is not available right now",
    "timeout": "the model took too long",
    "server_error": "the model or service failed",
    "permission": "access was denied",
    "model_not_found": "no such model here",
    "authentication": "the credentials were refused",
    "invalid_request": "the request was refused",
    "context_length": "the request does not fit the model's context",
    "content_filter": "blocked by the model's content filter",
    "network_error": "this machine's clock is wrong for AWS",
}
_ADVICE: Final[dict[str, str]] = {
    "quota_exceeded": "Waiting does not help: ask AWS for a higher quota, or use another region or account",
    "permission": "Check that the account has access to this model in this region, and that its policy allows "
    "bedrock:InvokeModel",
    "model_not_found": "Check the model's name and the region",
    "authentication": "Check api_key, or the AWS credentials and the region",
    "context_length": "Shorten the messages or use a model with a larger context window",
    "network_error": "Another attempt is signed with the time that AWS told; set this machine's clock",
}


def error_from_http(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """The error of an answer with *status* 300 or more."""
    if status < 400:
        return http_error(status, headers, body)
    parsed = read_error(body)
    name = _name(headers.get("x-amzn-errortype", "")) or _name(_type_in(parsed)) or _name(parsed.code or "")
    return _error(name, parsed, status, headers, "ambiguous" if _key(name) == "modeltimeout" else "none")


def error_from_frame(name: str, payload: bytes, billing: Billing) -> ProviderError:
    """The error of an exception *name* in the middle of a stream."""
    parsed = read_error(payload)
    return _error(_name(name), parsed, _STATUS.get(_key(name)), {}, billing)


def request_id(headers: Mapping[str, str]) -> str | None:
    """AWS's own id of the request."""
    value = headers.get("x-amzn-requestid") or headers.get("x-amz-request-id")
    return one_line(value, 100) if value else None


def _error(
    name: str, body: ErrorBody, status: int | None, headers: Mapping[str, str], billing: Billing
) -> ProviderError:
    message = _RECITAL.sub("", body.message)
    kind = _kind(_key(name), status, message)
    if kind is None:
        error = classify(
            ErrorBody(message, name or body.code, body.kind, body.status, body.value),
            status=status,
            headers=headers,
            billing=billing,
        )
        error.request_id = error.request_id or request_id(headers)
        return error
    skewed = kind == "network_error"
    text = clean(message)
    advice = _ADVICE.get(kind, "")
    if _PROFILE.search(message):
        advice = "Use the id of an inference profile, such as us. or global. before the model's name"
    elif _key(name) == "expiredtoken":
        advice = "The temporary credentials have expired: renew them (aws sso login, or a new session token)"
    scope: ErrorScope | None = "model" if kind == "permission" and "model" in message.lower() else None
    waits = kind in {"rate_limit", "quota_exceeded", "overloaded", "server_error", "timeout"}
    return ProviderError(
        kind,
        ". ".join(part.rstrip(". ") for part in (f"{_WHAT[kind]}: {text}" if text else _WHAT[kind], advice) if part),
        code="clock_skew" if skewed else one_line(name, 80) or None,
        status_code=status,
        retry_after=retry_after(headers, body.value) if waits else None,
        scope="request" if skewed else scope,
        request_id=request_id(headers),
        billing=billing,
    )


def _kind(key: str, status: int | None, message: str) -> ErrorType | None:
    """What the exception *key* stands for; `None` leaves it to the status."""
    if key in _SKEW or (key in {"invalidsignature", "signaturedoesnotmatch"} and _WRONG_TIME.search(message)):
        return "network_error"
    kind = _TYPES.get(key)
    if kind == "rate_limit" and _DAILY.search(message):
        return "quota_exceeded"
    if kind == "permission" and _BAD_KEY.search(message):
        return "authentication"
    if kind == "invalid_request" or (kind is None and status == 400):
        if _CONTEXT.search(message):
            return "context_length"
        if _MODEL.search(message):
            return "model_not_found"
        if _FILTER.search(message):
            return "content_filter"
    if kind is None and status == 403:
        return "authentication" if _BAD_KEY.search(message) or "security token" in message else "permission"
    return kind


def _name(text: str) -> str:
    """`ThrottlingException` out of `com.amazon#ThrottlingException:http://…`."""
    return text.partition(":")[0].rpartition("#")[2].strip()


def _key(name: str) -> str:
    return _name(name).lower().removesuffix("exception")


def _type_in(body: ErrorBody) -> str:
    found = body.value.get("__type") if isinstance(body.value, dict) else None
    return found if isinstance(found, str) else ""
