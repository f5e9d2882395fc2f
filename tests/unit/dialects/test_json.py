"""Nothing that a stranger sends as JSON makes the parser raise anything but `ProviderError`."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from core.llm.common.exceptions import ProviderError, RequestError
from core.llm.dialects.json import encode_json, parse_json, parse_object

HOSTILE = {
    "not a number": (b'{"a": NaN}', "json"),
    "infinity": (b'{"a": Infinity}', "json"),
    "negative infinity": (b'{"a": -Infinity}', "json"),
    "ten thousand digits": (b'{"a": ' + b"9" * 10_000 + b"}", "json"),
    "deep": (b"[" * 101 + b"]" * 101, "json"),
    "very deep": (b"[" * 200_000, "json"),
    "deep objects": (b'{"a":' * 150 + b"1" + b"}" * 150, "json"),
    "lone surrogate": (b'{"a": "\\ud800"}', "json"),
    "cut": (b'{"a": ', "json"),
    "two values": (b"{}{}", "json"),
    "latin-1": (b'{"a": "\xe9"}', "encoding"),
    "not utf-8": (b"\xff\xfe{", "encoding"),
    "empty": (b"", "json"),
}


@pytest.mark.parametrize("name", ["not a number", "infinity", "negative infinity", "deep", "ten thousand digits"])
def test_f47_what_will_be_the_same_again_is_not_asked_for_again(name: str) -> None:
    """A server that writes NaN does so by design; a cut answer may be whole the next time."""
    with pytest.raises(ProviderError) as caught:
        parse_json(HOSTILE[name][0])
    assert not caught.value.retryable
    with pytest.raises(ProviderError) as cut:
        parse_json(HOSTILE["cut"][0])
    assert cut.value.retryable


@pytest.mark.parametrize("name", list(HOSTILE))
def test_f47_hostile_json_is_a_protocol_error_within_a_second(name: str) -> None:
    """F45, F46, F47: with the code that says which, and without a word of the data."""
    data, code = HOSTILE[name]
    began = time.process_time()
    with pytest.raises(ProviderError) as caught:
        parse_json(data)
    assert time.process_time() - began < 5
    assert (caught.value.type, caught.value.code, caught.value.billing) == ("protocol", code, "ambiguous")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", ["ten thousand digits", "deep", "very deep", "lone surrogate"])
def test_f47_what_cannot_be_an_accident_is_not_tried_again(name: str) -> None:
    """A cut answer may be whole the next time; a bomb will be a bomb again."""
    with pytest.raises(ProviderError) as caught:
        parse_json(HOSTILE[name][0])
    assert not caught.value.retryable


def test_s31_size_is_limited() -> None:
    """S31: larger texts are not even looked at."""
    with pytest.raises(ProviderError) as caught:
        parse_json(b'"' + b"x" * 100 + b'"', limit=100)
    assert caught.value.code == "too_large"


def test_depth_at_the_limit_and_leading_bytes_are_fine() -> None:
    """A hundred levels, white space, a byte order mark."""
    assert parse_json(b"[" * 100 + b"]" * 100)
    assert parse_json(b'\xef\xbb\xbf {"a": 1}\n') == {"a": 1}
    assert parse_json(b"[" + b"[]," * 500 + b"[]]")


def test_only_an_object_is_an_object() -> None:
    """Arrays, strings and null are named as what they are."""
    for data, kind in (
        (b"[]", "an array"),
        (b'"x"', "a string"),
        (b"null", "null"),
        (b"1", "a number"),
        (b"true", "a boolean"),
    ):
        with pytest.raises(ProviderError, match=kind) as caught:
            parse_object(data)
        assert caught.value.code == "schema"


@given(st.binary())
def test_random_bytes_raise_only_protocol_errors(data: bytes) -> None:
    """Whatever they are."""
    raised: ProviderError | None = None
    try:
        parse_json(data)
    except ProviderError as error:
        raised = error
    assert raised is None or raised.type == "protocol"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
        max_leaves=10,
    )
)
def test_what_is_written_is_read_back(value: object) -> None:
    """Every JSON value survives."""
    assert parse_json(encode_json(value)) == value == parse_json(to_json(value))


@pytest.mark.parametrize("value", ["\ud800", {"a": object()}, b"\xff"])
def test_what_json_cannot_hold_is_the_callers_mistake(value: object) -> None:
    """A request error, before anything is sent."""
    with pytest.raises(RequestError):
        encode_json(value)
