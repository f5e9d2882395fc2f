"""The annotations of the public interface, as the type checker of a host application reads them."""

import subprocess
import sys
from pathlib import Path

from core.llm.providers.base.request import LLMRequest, RequestOptions
from tests.architecture.source import ROOT

HOST = Path(__file__).with_name("typed_host.py")


def test_a_strict_type_checker_accepts_what_the_documentation_shows_and_finds_misspelt_options():
    """A host that is checked with `mypy --strict`: no error in what is right, one in each line of `mistakes`.

    `--warn-unused-ignores`, a part of `--strict`, makes a mistake that is not found an error.
    """
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--follow-imports", "silent", str(HOST)]

    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)

    assert found.returncode == 0, found.stdout + found.stderr


def test_the_keywords_of_a_call_are_the_fields_of_a_request():
    """What an editor offers behind `llm.generate(` is what a request has."""
    assert RequestOptions.__annotations__.keys() == LLMRequest.model_fields.keys() - {"messages"}
