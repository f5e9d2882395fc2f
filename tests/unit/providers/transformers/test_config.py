"""What cannot work is refused when the configuration is read, with what to do instead."""

from typing import Any

import pytest
from pydantic import ValidationError

from core.llm.providers.transformers.config import TransformersConfig

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def config(**entry: Any) -> TransformersConfig:
    """A configuration with one model."""
    return TransformersConfig(models={"m": entry})


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({}, "either `path`"),
        ({"path": "a", "hub_id": "a/b"}, "either `path`"),
        ({"path": "a", "revision": "main"}, "belong to `hub_id`"),
        ({"path": "a", "allow_download": True}, "belong to `hub_id`"),
        ({"hub_id": "a/b", "trust_remote_code": True}, "pin `revision`"),
        ({"hub_id": "a/b", "trust_remote_code": True, "revision": "main"}, "pin `revision`"),
        ({"hub_id": "../b"}, "no hub id"),
        ({"hub_id": "a/b/c"}, "no hub id"),
        ({"hub_id": "a/b", "revision": "../../etc"}, "revision is"),
        ({"path": "a", "device": "gpu"}, "unknown device"),
        ({"path": "a", "device": "cuda:x"}, "unknown device"),
        ({"path": "a", "device": "mps", "quantization": "4bit"}, "does not exist for mps"),
        ({"path": "a", "quantization": "8bit", "dtype": "float32"}, "half precision"),
        ({"path": "a", "quantization": "3bit"}, "4bit"),
        ({"path": "a", "chat_template": "x", "prompt_format": "chatml"}, "keep one of the two"),
    ],
)
def test_what_cannot_work_is_refused(entry: dict[str, Any], said: str) -> None:
    """S38 among it: code from the hub needs a pinned commit."""
    with pytest.raises(ValidationError, match=said):
        config(**entry)


def test_S38_pinned_code_may_be_trusted() -> None:
    """By whoever says so."""
    entry = config(hub_id="a/b", trust_remote_code=True, revision=COMMIT).models["m"]

    assert entry.trust_remote_code


@pytest.mark.parametrize("entry", [{"hub_id": "a/b"}, {"hub_id": "a/b", "revision": "main"}])
def test_S38_in_strict_mode_every_hub_id_needs_its_commit(entry: dict[str, Any]) -> None:
    """What a branch or a tag means, its author can change; a directory has no revision."""
    with pytest.raises(ValidationError, match=r"`second`.*40 hexadecimal digits"):
        TransformersConfig(pinned_revisions=True, models={"first": {"path": "a"}, "second": entry})

    strict = TransformersConfig(
        pinned_revisions=True, models={"first": {"path": "a"}, "second": {"hub_id": "a/b", "revision": COMMIT}}
    )
    assert strict.models["second"].revision == COMMIT


def test_S38_nothing_is_trusted_downloaded_or_unpickled_by_default() -> None:
    """Each takes a word in the configuration."""
    entry = config(hub_id="a/b").models["m"]

    assert (entry.trust_remote_code, entry.allow_download, entry.allow_pickle) == (False, False, False)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("owner/name", "hub_id"),
        ("./owner/name", "path"),
        ("/srv/m", "path"),
        ("~/m", "path"),
        ("m", "path"),
        ("a/b/c", "path"),
    ],
)
def test_a_text_is_a_hub_id_or_a_path(text: str, field: str) -> None:
    """Exactly one slash and no sign of a path: the hub."""
    entry = TransformersConfig(models={"m": text}).models["m"]  # type: ignore[dict-item]  # the short form

    assert getattr(entry, field) == text


def test_a_configuration_names_a_model() -> None:
    """And its default is one of them."""
    with pytest.raises(ValidationError, match="name at least one model"):
        TransformersConfig()
    with pytest.raises(ValidationError, match="none of the models"):
        TransformersConfig(models={"m": "./m"}, default_model="n")  # type: ignore[dict-item]  # the short form
