"""Tokens become text piece by piece, and no character is ever cut in two."""

from hypothesis import example, given
from hypothesis import strategies as st

from core.llm.providers.transformers.detokenizer import Detokenizer


def decode_bytes(ids: list[int]) -> str:
    """A tokenizer whose tokens are single bytes."""
    return bytes(ids).decode("utf-8", "replace")


@given(st.text())
def test_the_pieces_are_the_text(text: str) -> None:
    """Whatever characters there are."""
    data = text.encode("utf-8")
    detokenizer = Detokenizer(decode_bytes)

    pieces = [detokenizer.add(byte) for byte in data]

    assert "".join([*pieces, detokenizer.end()]) == text


@given(st.text(alphabet=st.characters(exclude_characters="\ufffd", exclude_categories=["Cs"])))
def test_no_piece_holds_half_a_character(text: str) -> None:
    """A character of four bytes comes with its last one."""
    detokenizer = Detokenizer(decode_bytes)

    assert all("\ufffd" not in detokenizer.add(byte) for byte in text.encode())


@given(st.binary() | st.binary(min_size=200, max_size=300))
@example(b"\x80" * 7 + b"\xc2\x80")
@example(b"\x80" * 100 + "é".encode())
def test_bytes_that_are_no_text_come_out_in_the_end(data: bytes) -> None:
    """A model may write anything; nothing of it is lost or held for ever."""
    detokenizer = Detokenizer(decode_bytes)

    pieces = [detokenizer.add(byte) for byte in data]

    assert "".join([*pieces, detokenizer.end()]).replace("\ufffd", "") == decode_bytes(list(data)).replace("\ufffd", "")


def test_a_blank_before_a_word_belongs_to_where_it_stands() -> None:
    """Some tokenizers leave it out at the beginning of a text only."""
    words = ["▁Hello", "▁there", "!"]

    def decode(ids: list[int]) -> str:
        return "".join(words[number] for number in ids).replace("▁", " ").removeprefix(" ")

    detokenizer = Detokenizer(decode)

    assert [detokenizer.add(number) for number in range(3)] == ["Hello", " there", "!"]


def test_a_token_without_text_adds_nothing() -> None:
    """Such as one that is hidden."""
    detokenizer = Detokenizer(lambda ids: "".join("abc"[number] for number in ids if number < 3))

    assert [detokenizer.add(number) for number in (0, 7, 1)] == ["a", "", "b"]
