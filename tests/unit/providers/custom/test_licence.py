"""A licence that has to pass before a model is loaded, whatever runs the model."""

import asyncio
import hashlib

import pytest
from pydantic import ValidationError

from core.llm.common.exceptions import ModelLoadError
from core.llm.providers.base.load_gate import LoadRequest
from core.llm.providers.custom.config import CustomConfig
from core.llm.providers.custom.licence import CustomGate, LicenceRequest
from core.llm.providers.llama_cpp import embedded
from tests.unit.providers.custom.conftest import ECHO
from tests.unit.providers.llama_cpp.conftest import chat
from tests.workers import own_engines

pytestmark = pytest.mark.leakcheck

HERE = "tests.workers.own_engines"
MODELS = [{"engine": ECHO}, {"engine": ECHO, "isolation": "none"}, {"model_path": "embedded"}]


@pytest.fixture(autouse=True)
def asked():
    """What the licences of a test were asked."""
    own_engines.licence_asked.clear()
    return own_engines.licence_asked


@pytest.mark.parametrize("entry", MODELS)
@pytest.mark.parametrize("check", ["passes", "passes_later"])
async def test_it_is_asked_before_each_load_and_not_before_each_call(make_provider, asked, entry, check):
    """With what it may want to know; synchronous or not."""
    provider = await make_provider({"tiny": {**entry, "licence_check": f"{HERE}:{check}"}})
    assert asked == []
    await asyncio.gather(*(provider.generate(chat("x", max_tokens=1)) for _ in range(5)))
    path = str(embedded.path()) if "model_path" in entry else ""
    engine = entry.get("engine", "llama_cpp")
    assert asked == [LicenceRequest("local", "tiny", engine, path)]
    await provider.unload_model("tiny")
    await provider.load_model("tiny")
    assert len(asked) == 2


@pytest.mark.parametrize("entry", MODELS)
@pytest.mark.parametrize(
    ("check", "reason"),
    [
        ("refuses", r"refuses: no licence for tiny"),
        ("denies", r"denies refuses$"),
        ("breaks", r"PermissionError: key \*\*\* is not valid\\nsecond line"),
        ("missing", r"AttributeError"),
    ],
)
async def test_a_refusal_is_a_load_error_and_an_event_and_starts_nothing(make_provider, entry, check, reason):
    """The reason is told without what it should not hold; calls and loads get it alike."""
    provider = await make_provider({"tiny": {**entry, "licence_check": f"{HERE}:{check}"}})
    for call in (provider.load_model("tiny"), provider.generate(chat("x"))):
        with pytest.raises(ModelLoadError, match=reason) as caught:
            await call
        assert caught.value.model == "local/tiny"
        assert "sk-abc" not in str(caught.value)
    status = await provider.model_status("tiny")
    assert (status.state, status.pid) == ("failed", None)
    failed = [event for event in provider.told if event.state == "failed"]
    assert len(failed) == 2
    assert "licence check" in failed[0].message
    assert "ready" not in {event.state for event in provider.told}


async def test_one_that_does_not_answer_has_not_passed(make_provider, hanging):
    """Within `licence_timeout`; nobody has to wait for its thread."""
    provider = await make_provider(
        {"tiny": {"engine": ECHO, "licence_check": f"{HERE}:hangs"}}, licence_timeout="100ms"
    )
    with pytest.raises(ModelLoadError, match=r"did not answer within 0\.1 s"):
        await provider.load_model("tiny")


async def test_one_that_looks_for_something_and_finds_nothing_refuses_at_once(monkeypatch):
    """`next` over no licence raises what no future can hold; nobody waits for the time-out then."""
    monkeypatch.setattr(own_engines, "passes", lambda request: next(iter(())))
    gate = CustomGate("llama_cpp", f"{HERE}:passes", 5.0)
    with pytest.raises(ModelLoadError, match="passes refuses: RuntimeError: StopIteration"):
        await gate(LoadRequest("local/tiny", ""))


async def test_a_crashed_model_is_asked_about_again(make_provider, asked):
    """Its restart is a load."""
    provider = await make_provider({"tiny": {"engine": ECHO, "licence_check": f"{HERE}:passes"}})
    with pytest.raises(Exception, match="exit code 9"):
        await provider.generate(chat("die"))
    assert (await provider.generate(chat("x"))).content == "X "
    assert len(asked) == 2


async def test_an_edited_check_is_another_model_in_memory(make_provider):
    """What was loaded under one licence does not serve under another."""
    entry = {"model_path": "embedded"}
    old = await make_provider({"tiny": {**entry, "licence_check": f"{HERE}:passes"}})
    pid = (await old.load_model("tiny")).pid
    same = await make_provider({"tiny": {**entry, "licence_check": f"{HERE}:passes"}})
    assert (await same.model_status("tiny")).pid == pid
    assert same.placement("tiny") == old.placement("tiny")
    other = await make_provider({"tiny": {**entry, "licence_check": f"{HERE}:refuses"}})
    assert (await other.model_status("tiny")).pid is None
    assert other.placement("tiny").identity != old.placement("tiny").identity
    with pytest.raises(ModelLoadError):
        await other.generate(chat("x"))


@pytest.mark.parametrize("name", ["weights.safetensors", "gone.safetensors"])
async def test_files_of_a_directory_have_digests_of_their_own_S41(tmp_path, name):
    """Those that are named are compared before the load, and have to be there."""
    (tmp_path / "weights.safetensors").write_bytes(b"x")
    digest = hashlib.sha256(b"x").hexdigest()
    request = LoadRequest("local/tiny", str(tmp_path))
    if name == "weights.safetensors":
        await CustomGate("transformers", None, 1.0, ((name, digest),))(request)
        with pytest.raises(ModelLoadError, match="does not have the configured sha256"):
            await CustomGate("transformers", None, 1.0, ((name, "0" * 64),))(request)
    else:
        with pytest.raises(ModelLoadError, match="there is no file"):
            await CustomGate("transformers", None, 1.0, ((name, digest),))(request)


@pytest.mark.parametrize("check", ["check", "a.b", "a.b:c.d", "os:", ":f", "a b:c", "../x:y"])
def test_what_names_no_function_is_refused_in_the_configuration(check):
    """Before anything is imported."""
    with pytest.raises(ValidationError, match="is a function as"):
        CustomConfig(model_path="m.gguf", licence_check=check)
