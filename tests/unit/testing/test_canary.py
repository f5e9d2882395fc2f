"""The secret canary: found in whatever form and wherever it got out, and never shown by the search itself."""

import base64
import io
from collections import deque
from dataclasses import dataclass
from urllib.parse import quote

import pytest
from pydantic import BaseModel, SecretStr

from core.llm.common.events import AttemptFailed
from core.llm.common.trace import AttemptTrace
from core.llm.common.types import ModelRef
from core.llm.testing import SecretCanary, SecretLeaked


@pytest.fixture
def canary() -> SecretCanary:
    """A fresh secret."""
    return SecretCanary()


def test_each_secret_is_unique():
    """Two tests never take the one's secret for the other's."""
    assert SecretCanary().secret != SecretCanary().secret


@pytest.mark.parametrize(
    "encode",
    [
        lambda secret: secret,
        lambda secret: quote(secret, safe=""),
        lambda secret: base64.b64encode(secret.encode()).decode(),
        lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
        lambda secret: base64.b64encode(f"user:{secret}".encode()).decode(),
        lambda secret: base64.b64encode(f"ab{secret}, and more".encode()).decode(),
        lambda secret: secret.encode().hex(),
        lambda secret: secret[10:34],
        lambda secret: "***" + secret[-15:],
        lambda secret: secret[::-1],
    ],
    ids=[
        "plain",
        "url",
        "base64",
        "base64url",
        "basic-auth",
        "base64-inside",
        "hex",
        "its middle",
        "its end",
        "reversed",
    ],
)
def test_it_is_found_in_every_form(canary, encode):
    """Encoding a secret does not hide it."""
    assert canary.find(f"before {encode(canary.secret)} after")


def test_an_innocent_text_is_no_leak(canary):
    """Nothing is found where nothing is."""
    assert canary.find("sk-canary", "Bearer ***", b"\xff\x00", ["x"], {"a": None}, ValueError("no"), 3) == []


@dataclass
class _Holder:
    inner: object


class _Model(BaseModel):
    key: object


class _Speaks:
    def __init__(self, secret: str) -> None:
        self._repr = f"<{secret}>"

    __slots__ = ("_repr",)

    def __repr__(self) -> str:
        return self._repr


@pytest.mark.parametrize(
    "wrap",
    [
        lambda secret: [{"deep": (secret,)}],
        lambda secret: {secret: 1},
        lambda secret: deque([secret]),
        lambda secret: _Holder(_Holder(secret)),
        lambda secret: _Model(key=secret),
        _Speaks,
        lambda secret: secret.encode(),
        lambda secret: io.StringIO(f"log {secret}"),
        lambda secret: AttemptFailed("1", AttemptTrace(1, ModelRef("a", "b"), 0.0, error=f"bad key {secret}")),
    ],
    ids=["nested", "key", "deque", "dataclass", "model", "repr", "bytes", "stream", "event"],
)
def test_it_is_found_wherever_it_hangs(canary, wrap):
    """Containers, attributes, reprs and events are searched."""
    assert canary.find(wrap(canary.secret))


def _chained(secret: str) -> BaseException:
    try:
        try:
            raise RuntimeError(f"header {secret}")
        except RuntimeError:
            raise ValueError("hidden") from None
    except ValueError as error:
        return error


def _noted(secret: str) -> BaseException:
    error = ValueError("x")
    error.add_note(secret)
    return error


def _with_attribute(secret: str) -> BaseException:
    error = ValueError("x")
    error.request = {"authorization": f"Bearer {secret}"}
    return error


@pytest.mark.parametrize(
    "make",
    [
        ValueError,
        _chained,
        _noted,
        _with_attribute,
        lambda secret: ExceptionGroup("many", [ValueError(secret)]),
    ],
    ids=["message", "context", "note", "attribute", "group"],
)
def test_it_is_found_in_exceptions(canary, make):
    """Also where `raise … from None` hides it from the traceback but not from a debugger or a logger."""
    with pytest.raises(SecretLeaked) as caught:
        canary.check(make(canary.secret))

    assert canary.secret not in str(caught.value)


def test_a_secret_string_is_no_leak(canary):
    """Holding a secret in a SecretStr is what it is for."""
    assert canary.find(_Model(key=SecretStr(canary.secret)), [SecretStr(canary.secret)]) == []


def test_files_and_folders_are_searched(canary, tmp_path):
    """Names, texts and binary files."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "cache.bin").write_bytes(b"\x00\xff" + canary.secret.encode())
    (tmp_path / "innocent").write_text("nothing")

    (leak,) = canary.find(tmp_path)

    assert "deep/cache.bin" in leak.where


def test_what_is_watched_is_searched_at_the_end(canary):
    """A log that fills during a test is registered once, at the start."""
    lines: list[str] = []
    canary.watch("the log", lines)
    canary.check()
    lines.append(f"authorization: {canary.secret}")

    with pytest.raises(SecretLeaked, match=r"the log\[0\] \(as it is\)"):
        canary.check()


def test_a_ring_of_objects_ends(canary):
    """Objects that refer to each other do not hang the search."""
    ring = _Holder(None)
    ring.inner = [ring]

    assert canary.find(ring) == []


def test_the_canary_does_not_sing_by_itself(canary):
    """Its own repr is safe to print."""
    assert canary.secret not in repr(canary)
    assert canary.find(repr(canary), [canary]) == []
