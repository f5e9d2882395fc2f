"""Every provider has its page, with an example that loads, and the table says what the code does."""

import re
from functools import cache

import pytest
import yaml

from core.llm.factory.discovery import builtin_names, builtin_spec
from scripts.provider_table import PAGES, TARGET, page_text, row
from tests.architecture.source import ROOT

FOLDER = ROOT / "docs" / "providers"
every_provider = pytest.mark.parametrize("name", builtin_names())
row_of = cache(row)


def page_of(name):
    return (FOLDER / f"{name.replace('_', '-')}.md").read_text()


def test_the_table_is_what_the_code_says():
    """`python -m scripts.provider_table` writes it anew."""
    page = TARGET.read_text()
    assert page == page_text(page)


def test_every_provider_is_on_the_page():
    """And no page is there without its provider."""
    assert PAGES.keys() == set(builtin_names())
    pages = {path.stem for path in FOLDER.glob("*.md")} - {"README"}
    assert pages == {name.replace("_", "-") for name in builtin_names()}


@every_provider
def test_a_page_has_an_example_that_its_configuration_takes(name):
    """Under its own type, with the models named."""
    blocks = re.findall(r"```yaml\n(.*?)```", page_of(name), re.DOTALL)
    entries = [
        entry
        for block in blocks
        for key, entry in yaml.safe_load(block)["llm_service"]["providers"].items()
        if entry.get("type", key) == name
    ]
    assert entries
    for entry in entries:
        builtin_spec(name).config_class().model_validate({"type": name, **entry})
    assert any("models" in entry for entry in entries)


@every_provider
def test_a_page_says_what_it_needs_what_it_cannot_do_and_how_to_log_in(name):
    """The four things a user looks for."""
    page = page_of(name)
    assert re.search(r"^## .*Limits", page, re.MULTILINE)
    assert re.search(r"api_key|[Cc]redentials|No key", page)
    assert "models" in page
    extra = builtin_spec(name).extra
    assert extra is None or f"core-llm[{extra}]" in page


LIMITS = {
    "by URL": r"only as bytes|not from a web address|as bytes or|Text only",
    "PDF": r"[Nn]o PDF|[Nn]o documents|documents and sound not at all|Text only",
    "forced tool": r"cannot be forced",
}
"""How a page says that something is not taken."""


@every_provider
@pytest.mark.parametrize("what", LIMITS)
def test_what_the_table_denies_the_page_explains(name, what):
    """Nobody learns it from an error first."""
    if not row_of(name)[what]:
        assert re.search(LIMITS[what], page_of(name)), f"{name}: {what}"
