"""F15 to F36: refusals, limits, hints to wait, redirects."""

import pytest

from core.llm.testing.wire_steps import Send, answer
from tests.faults.rig import OPENAI, SOON, TEXT

FULL_WIDTH = "\uff11\uff12"


def refusal(dialect, status, message="no", headers=None, **fields):
    """An error of *dialect* with *status*."""
    return answer(dialect.error(message, **fields), status, headers)


@pytest.mark.parametrize("status", [400, 422])
async def test_f15_refused_request(rig, status):
    """A wrong request is sent once, and nobody else is bothered with it."""
    rig.server.otherwise(refusal(rig.dialect, status, "temperature must be below 2"))
    outcome = await rig.generate("chain")
    assert outcome.kind[0] == "invalid_request"
    assert outcome.error.status_code == status
    assert outcome.billing == ["none"]
    assert (rig.hits, len(rig.spare.requests)) == (1, 0)


@pytest.mark.parametrize(("model", "answered"), [("chain", True), ("shrinking", False)])
async def test_f16_context_length_exceeded(rig, model, answered):
    """Only a larger model gets the same request."""
    words = {
        "openai": "This model's maximum context length is 8000 tokens. However, your messages resulted in 9000 tokens.",
        "ollama": "the input length exceeds maximum context length",
    }[rig.dialect.name]
    rig.server.otherwise(refusal(rig.dialect, 400, words, code="context_length_exceeded", type="invalid_request_error"))
    outcome = await rig.generate(model)
    assert rig.hits == 1
    assert len(rig.spare.requests) == int(answered)
    if answered:
        assert outcome.text == "spare"
        assert outcome.attempts[0].error_type == "context_length"
    else:
        assert outcome.error is not None
        assert "larger" in str(outcome.error)


async def test_f17_unauthorized(rig):
    """One try per key; another provider is used where there is one."""
    rig.server.otherwise(refusal(rig.dialect, 401, "Incorrect API key provided: sk-canary-0123456789abcdef"))
    outcome = await rig.generate()
    assert outcome.kind[0] == "authentication"
    assert outcome.billing == ["none"]
    assert rig.hits == 1
    assert (await rig.generate("chain")).text == "spare"


async def test_f17_unauthorized_tries_the_next_key_once(make_rig):
    """The refused key is set aside; the next one of the pool answers."""
    rig = await make_rig(OPENAI, provider={"api_key": None, "api_keys": ["sk-first-01234567", "sk-second-0123456"]})
    rig.server.will(refusal(OPENAI, 401, "bad key"))
    rig.server.otherwise(OPENAI.answer())
    assert (await rig.generate()).text == TEXT
    used = [request.headers["authorization"] for request in rig.server.requests]
    assert len(used) == 2
    assert used[0] != used[1]
    for _ in range(2):
        await rig.generate()
    assert {request.headers["authorization"] for request in rig.server.requests[2:]} == {used[1]}


async def test_f18_forbidden(rig):
    rig.server.otherwise(refusal(rig.dialect, 403, "not allowed"))
    outcome = await rig.generate()
    assert outcome.kind[0] == "permission"
    assert outcome.billing == ["none"]
    assert rig.hits == 1
    assert (await rig.generate("chain")).text == "spare"


async def test_f19_model_not_found(rig):
    rig.server.otherwise(refusal(rig.dialect, 404, "model 'm' not found", code="model_not_found"))
    outcome = await rig.generate()
    assert outcome.kind[0] == "model_not_found"
    assert outcome.billing == ["none"]
    assert rig.hits == 1
    assert (await rig.generate("chain")).text == "spare"


@pytest.mark.parametrize("status", [402, 429])
async def test_f20_quota_used_up(make_rig, status):
    """Waiting does not help, although the status may be that of a rate limit."""
    rig = await make_rig(OPENAI)
    body = {"type": "insufficient_quota", "code": "insufficient_quota"}
    rig.server.otherwise(refusal(OPENAI, status, "You exceeded your current quota", **body))
    outcome = await rig.generate()
    assert outcome.kind[0] == "quota_exceeded"
    assert outcome.billing == ["none"]
    assert rig.hits == 1
    assert (await rig.generate("chain")).text == "spare"
    assert rig.hits == 1, "the key rests: it is not tried again"


@pytest.mark.parametrize("status", [408, 409, 425])
async def test_f21_transient_refusals(rig, status):
    """Tried again with back-off."""
    rig.server.will(refusal(rig.dialect, status))
    rig.server.otherwise(rig.dialect.answer())
    outcome = await rig.generate()
    assert outcome.text == TEXT
    assert rig.hits == 2
    assert outcome.billing == ["none", "settled"]


async def test_f22_payload_too_large(rig):
    rig.server.otherwise(answer(b"", 413))
    outcome = await rig.generate("chain")
    assert outcome.kind[0] == "invalid_request"
    assert outcome.billing == ["none"]
    assert (rig.hits, len(rig.spare.requests)) == (1, 0)


async def test_f23_rate_limited_with_a_hint(rig):
    """Waits at least as long as told, and not much longer."""
    rig.server.will(refusal(rig.dialect, 429, headers={"Retry-After": "0.3"}))
    rig.server.otherwise(rig.dialect.answer())
    outcome = await rig.generate()
    assert outcome.text == TEXT
    assert rig.hits == 2
    assert rig.server.requests[1].at - rig.server.requests[0].at >= 0.3
    assert 0.3 <= outcome.attempts[1].waited < 0.6


async def test_f23_the_hint_holds_for_every_call(rig):
    """Another call does not reach the upstream before the time has come either; it goes to the spare."""
    rig.server.will(refusal(rig.dialect, 429, headers={"Retry-After": "4"}))
    rig.server.otherwise(rig.dialect.answer())
    assert (await rig.generate("chain")).text == "spare"
    assert (await rig.generate("chain")).text == "spare"
    assert rig.hits == 1


async def test_f24_milliseconds_win(rig):
    rig.server.will(refusal(rig.dialect, 429, headers={"Retry-After": "9", "Retry-After-Ms": "50"}))
    rig.server.otherwise(rig.dialect.answer())
    outcome = await rig.generate()
    assert outcome.text == TEXT
    assert 0.05 <= outcome.attempts[1].waited < 0.3
    assert 0.05 <= outcome.seconds < 9


async def test_f25_hint_as_a_date(rig):
    """The date is read against the answer's own clock, so that a wrong clock here does no harm."""
    headers = {"Date": "Fri, 01 Jan 2100 10:00:00 GMT", "Retry-After": "Fri, 01 Jan 2100 10:01:30 GMT"}
    rig.server.otherwise(refusal(rig.dialect, 429, headers=headers))
    outcome = await rig.generate()
    assert outcome.error.retry_after == 90


@pytest.mark.parametrize("hint", ["0", "-5", "nan", "inf", "1e400", "abc", "", "1, 2", FULL_WIDTH])
async def test_f26_nonsense_hints_are_ignored(rig, hint):
    """Back-off as usual: neither a busy loop nor a sleep of years."""
    script = refusal(rig.dialect, 429)
    head = script.steps[0]
    if hint == "1, 2":
        lines = [b"HTTP/1.1 429 X", b"Retry-After: 1", b"Retry-After: 2", b"Content-Length: 0", b"", b""]
        script = answer(b"").__class__((Send(b"\r\n".join(lines), raw=True),))
    elif hint == FULL_WIDTH:
        lines = [b"HTTP/1.1 429 X", b"Retry-After: " + hint.encode(), b"Content-Length: 0", b"", b""]
        script = answer(b"").__class__((Send(b"\r\n".join(lines), raw=True),))
    else:
        script = refusal(rig.dialect, 429, headers={**head.headers, "Retry-After": hint})
    rig.server.otherwise(script)
    outcome = await rig.generate()
    assert outcome.kind[0] == "rate_limit"
    assert outcome.error.retry_after is None
    assert rig.hits == 3
    assert sum(attempt.waited for attempt in outcome.attempts) < 0.5
    assert outcome.seconds < SOON


async def test_f27_a_hint_beyond_patience(rig):
    """Decided at once: no sleep, the caller learns how long it would take, the spare answers."""
    rig.server.otherwise(refusal(rig.dialect, 429, headers={"Retry-After": "3600"}))
    alone = await rig.generate()
    assert alone.kind[0] == "rate_limit"
    assert alone.error.retry_after == 3600
    assert alone.seconds < SOON
    chained = await rig.generate("chain")
    assert chained.text == "spare"
    assert chained.seconds < SOON
    assert rig.hits == 1


async def test_f29_hint_only_in_the_limit_headers(rig):
    """The dimension with nothing left decides, not the one with time to spare."""
    limits = {
        "x-ratelimit-remaining-requests": "5",
        "x-ratelimit-reset-requests": "6m0s",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "120ms",
    }
    rig.server.will(refusal(rig.dialect, 429, headers=limits))
    rig.server.otherwise(rig.dialect.answer())
    outcome = await rig.generate()
    assert outcome.text == TEXT
    assert 0.12 <= outcome.attempts[1].waited < 0.4
    assert outcome.seconds >= 0.12


async def test_f30_limit_headers_of_minus_one(rig):
    """Azure sends them on good answers; they mean nothing."""
    headers = {"x-ratelimit-limit-tokens": "-1", "x-ratelimit-remaining-tokens": "-1", "x-ratelimit-reset-tokens": "0"}
    rig.server.otherwise(answer(rig.dialect.body(TEXT), headers=headers))
    assert [(await rig.generate()).text for _ in range(3)] == [TEXT] * 3
    assert rig.hits == 3


@pytest.mark.parametrize(("status", "told", "hits"), [(500, "false", 1), (429, "false", 1), (400, "true", 2)])
async def test_f31_the_server_says_whether_to_retry(rig, status, told, hits):
    """Its word wins over its status."""
    rig.server.will(refusal(rig.dialect, status, headers={"x-should-retry": told}))
    rig.server.otherwise(rig.dialect.answer())
    outcome = await rig.generate()
    assert rig.hits == hits
    assert (outcome.error is None) == (told == "true")


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 524, 529])
async def test_f32_one_server_error(rig, status):
    """Recovered by one retry; one answer, billed once."""
    rig.server.will(refusal(rig.dialect, status))
    rig.server.otherwise(rig.dialect.answer())
    outcome = await rig.generate()
    assert outcome.text == TEXT
    assert rig.hits == 2
    assert outcome.billing == ["none", "settled"]


async def test_f33_server_errors_for_ever(rig):
    """At most three attempts a call, then the breaker spares the upstream; rejections are quick."""
    rig.server.otherwise(refusal(rig.dialect, 500))
    first = await rig.generate()
    assert first.kind[0] == "server_error"
    assert rig.hits == 3
    others = [await rig.generate() for _ in range(20)]
    assert rig.hits <= 5
    assert others[-1].kind == ("overloaded", "circuit_open")
    assert min(other.seconds for other in others if other.kind[1] == "circuit_open") < 0.005


async def test_f34_overloaded_with_a_hint(rig):
    rig.server.will(refusal(rig.dialect, 503, headers={"Retry-After": "0.2"}))
    rig.server.otherwise(rig.dialect.answer())
    outcome = await rig.generate()
    assert outcome.text == TEXT
    assert 0.2 <= outcome.attempts[1].waited < 0.5
    assert outcome.seconds >= 0.2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_f35_redirect(rig, status):
    """Never followed: the target gets nothing, neither key nor prompt."""
    target = f"http://127.0.0.1:{rig.spare.port}/v1/chat/completions?key=1"
    rig.server.otherwise(answer(b"", status, {"Location": target}))
    outcome = await rig.generate()
    assert outcome.kind == ("protocol", "redirect")
    assert outcome.billing == ["none"]
    assert (rig.hits, len(rig.spare.requests)) == (1, 0)
    assert "key=1" not in str(outcome.error)
    assert (await rig.generate("chain")).text == "spare"


@pytest.mark.parametrize(
    "interim", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"]
)
async def test_f36_interim_answers(rig, interim):
    """Accepted and forgotten."""
    rig.server.will(answer(b"").__class__((Send(interim, raw=True), *rig.dialect.answer().steps)))
    assert (await rig.generate()).text == TEXT
