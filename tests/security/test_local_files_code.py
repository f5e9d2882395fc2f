"""S37 to S39 for Hugging Face models: no code that comes with a model runs unless somebody asked for exactly that."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

import core.llm.providers.transformers as folder
from core.llm.providers.custom.config import CustomConfig
from core.llm.providers.transformers.config import TransformersConfig

SOURCES = sorted(Path(folder.__path__[0]).glob("*.py"))
COMMIT = "0123456789" * 4


def calls(name):
    """Every call of a function of that name in the provider, each with its module's tree."""
    for source in SOURCES:
        tree = ast.parse(source.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and name == getattr(node.func, "attr", getattr(node.func, "id", "")):
                yield node, tree


def says(call, tree, argument):
    """Whether *call* has the keyword, itself or in a dict of its module that it spreads."""
    names = {keyword.arg for keyword in call.keywords}
    spread = {
        keyword.value.id for keyword in call.keywords if keyword.arg is None and isinstance(keyword.value, ast.Name)
    }
    for node in ast.walk(tree):
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if isinstance(getattr(node, "value", None), ast.Dict) and spread & {getattr(one, "id", "") for one in targets}:
            names |= {key.value for key in node.value.keys if isinstance(key, ast.Constant)}
    return argument in names


@pytest.mark.parametrize("function", ["from_pretrained", "SentenceTransformer"])
def test_s38_whoever_loads_says_whether_foreign_code_may_run(function):
    """Explicitly, in every call: a default may change."""
    found = list(calls(function))
    assert found
    for call, tree in found:
        assert says(call, tree, "trust_remote_code"), f"line {call.lineno} leaves trust_remote_code out"


def test_s37_pickled_weights_are_read_without_running_them():
    """Every call that reads weights says so, and asks for safetensors."""
    weights = [(call, tree) for call, tree in calls("from_pretrained") if says(call, tree, "dtype")]
    assert weights
    for call, tree in weights:
        assert says(call, tree, "use_safetensors")
        assert any(
            keyword.arg == "weights_only" and getattr(keyword.value, "value", None) is True for keyword in call.keywords
        )
    assert not list(calls("load_pickle"))


@pytest.mark.parametrize("revision", [None, "main", "v1.0", COMMIT[:39], COMMIT.upper().replace("0", "A")])
def test_s38_foreign_code_needs_a_flag_and_a_commit(revision):
    """A branch or tag may mean other code tomorrow."""
    entry = {"hub_id": "owner/name", "trust_remote_code": True, "revision": revision}
    with pytest.raises(ValidationError, match="pin `revision`"):
        TransformersConfig(models={"m": entry})
    assert TransformersConfig(models={"m": {**entry, "revision": COMMIT}}).models["m"].trust_remote_code
    assert not TransformersConfig(models={"m": {"hub_id": "owner/name"}}).models["m"].trust_remote_code


def test_s38_the_custom_provider_is_no_way_around():
    """It loads from this machine only; what its options say is checked as the engine's own provider would."""
    with pytest.raises(ValidationError, match="has a place of its own"):
        CustomConfig(model_path="m", options={"hub_id": "owner/name", "trust_remote_code": True})


def test_s39_templates_are_not_even_imported_by_the_host():
    """Rendering is the worker's: the host has no template engine in memory."""
    host = "core.llm, core.llm.providers.transformers.provider, core.llm.providers.llama_cpp.provider"
    script = f"import sys, {host}; print(sorted({{'jinja2', 'torch', 'transformers', 'xllamacpp'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
