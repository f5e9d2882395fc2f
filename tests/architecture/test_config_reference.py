"""The page that lists every key of the configuration."""

from scripts.config_reference import TARGET, page


def test_every_key_is_on_the_page_as_the_classes_have_it():
    """`make schema` writes it."""
    assert TARGET.read_text(encoding="utf-8") == page(), "docs/configuration-keys.md is not current: run `make schema`"


def test_a_key_says_what_it_takes_what_holds_without_it_and_what_it_means():
    """One of each kind: a section, a duration, a size, a choice, a secret, a number."""
    rows = set(page().splitlines())

    assert {
        "| `retry` | a section |  | How often and how fast the same model is tried again. |",
        "| `poll_interval` | a duration | `2s` | How often the files are compared, events or not. |",
        "| `max_bytes` | a size | `64MiB` | Of all answers together; the ones not used for longest go first. |",
        "| `otherwise` | `error`, `restart` | `error` | What `continue` does where no model can go on from what was delivered. |",
        "| `proxy` | a text, or `{env: NAME}`, or `{file: path}` |  | HTTP proxy; may hold credentials. |",
        "| `max_retries` | a number, 0 to 10 | `2` | Tries after the first, per model. |",
    } <= rows


def test_every_key_says_what_it_means():
    """A name and a type leave a reader guessing."""
    assert [row for row in page().splitlines() if row.endswith("|  |")] == []
