"""How long a model stays in memory, from the YAML to the wire."""

import pytest
from pydantic import TypeAdapter, ValidationError

from core.llm.providers.ollama.keep_alive import ConfiguredKeepAlive, checked_keep_alive, keep_alive_to_wire
from core.llm.testing.ollama_types import keep_alive_seconds

configured = TypeAdapter(ConfiguredKeepAlive)


@pytest.mark.parametrize(
    ("written", "wire"),
    [
        ("5m", 300),
        ("1h30m", 5400),
        (90, 90),
        (0.5, "500ms"),
        ("250ms", "250ms"),
        ("never", -1),
        ("Never", -1),
        (-1, -1),
        ("-1", -1),
        ("-1m", -1),
        ("immediate", 0),
        (0, 0),
        ("0", 0),
        ("0s", 0),
    ],
)
def test_every_way_to_write_it_reaches_the_wire_in_a_form_the_server_accepts(written, wire):
    """The string "-1" and fractions of a second are what the server gets wrong or refuses."""
    value = configured.validate_python(written)

    assert keep_alive_to_wire(value) == wire
    keep_alive_seconds(keep_alive_to_wire(value))


def test_a_configured_fraction_means_the_same_to_the_server():
    """Numbers lose their fraction there, so half a second would unload at once."""
    assert keep_alive_seconds(keep_alive_to_wire(configured.validate_python("1500ms"))) == 1.5


@pytest.mark.parametrize("written", ["soon", "", "5 minutes", [], "-soon", float("nan")])
def test_nonsense_is_refused_when_the_file_is_read(written):
    """Not when the first call fails."""
    with pytest.raises(ValidationError):
        configured.validate_python(written)


def test_nothing_is_sent_where_nothing_is_configured():
    """The server's own default applies."""
    assert keep_alive_to_wire(None) is None


@pytest.mark.parametrize(
    ("given", "sent"), [("5m", "5m"), ("-1", -1), ("-1m", "-1m"), ("30", 30), (1.5, 1.5), ("0", 0)]
)
def test_a_typed_request_repairs_a_number_in_quotes(given, sent):
    """Ollama refuses "-1" and "30" as strings; what is meant is clear."""
    assert checked_keep_alive(given) == sent


@pytest.mark.parametrize("given", ["soon", "5 m", "1d", float("inf")])
def test_a_typed_request_refuses_what_the_server_would(given):
    with pytest.raises(ValueError, match="keep_alive"):
        checked_keep_alive(given)
