"""What becomes of parameters that a model does not take, through the whole service."""

from pathlib import Path
from typing import Any

import pytest

from core.container import Container
from core.llm.common.events import EventBus, RequestAdjusted
from core.llm.common.exceptions import AllAttemptsFailed, ConfigError, UnknownModel, UnsupportedFeature
from core.llm.module import ProviderModule
from core.llm.providers.config.manager import ProviderConfigManager
from core.llm.service import LLMService
from core.llm.testing.ollama_script import OllamaAnswer, OllamaModelSpec
from core.llm.testing.ollama_server import OllamaServer
from tests.unit.llm.support import serving


async def outcome(policy: str | None, asked: str | None = None) -> tuple[Any, list[RequestAdjusted], int]:
    """The answer to a call with a parameter that Ollama lacks, what was published, and how often it was asked."""
    config: dict[str, Any] = {"health_check": {"enabled": False}}
    if policy is not None:
        config["parameter_policy"] = policy
    async with OllamaServer(OllamaModelSpec("tiny")) as server:
        server.script(OllamaAnswer("hello"))
        config["providers"] = {"ollama": {"base_url": server.url}}
        async with Container([ProviderModule({"llm_service": config}, watch=False, env={})]) as container:
            seen: list[RequestAdjusted] = []
            container.get(EventBus).subscribe(
                lambda event: seen.append(event) if isinstance(event, RequestAdjusted) else None, RequestAdjusted
            )
            try:
                answer: Any = await container.get(LLMService).generate(
                    "hi", model="ollama/tiny", user="u", parameter_policy=asked
                )
            except (UnsupportedFeature, AllAttemptsFailed) as error:
                answer = error
            return answer, seen, len(server.calls_to("/api/chat"))


@pytest.mark.parametrize(("policy", "asked"), [(None, None), ("warn", None), ("error", "warn")])
async def test_warn_says_so_on_the_response_and_in_the_log(policy: str | None, asked: str | None) -> None:
    """It is the default; the request wins over the configuration."""
    response, seen, sent = await outcome(policy, asked)
    assert [(one.code, one.parameter) for one in response.warnings] == [("dropped", "user")]
    assert [(str(one.target), one.adjustments) for one in seen] == [("ollama/tiny", response.warnings)]
    assert sent == 1


async def test_drop_says_so_on_the_response_only() -> None:
    """Never in silence."""
    response, seen, sent = await outcome("drop")
    assert [(one.code, one.parameter) for one in response.warnings] == [("dropped", "user")]
    assert (seen, sent) == ([], 1)


@pytest.mark.parametrize(("policy", "asked"), [("error", None), ("warn", "error")])
async def test_error_refuses_before_anything_is_sent(policy: str, asked: str | None) -> None:
    """And names the parameter."""
    error, seen, sent = await outcome(policy, asked)
    assert isinstance(error, UnsupportedFeature)
    assert "take user out of the request" in str(error)
    assert (seen, sent) == ([], 0)


async def warnings_of(**config: Any) -> list[tuple[str, str]]:
    """Paths and texts of the warnings of a configuration."""
    module = ProviderModule({"llm_service": {"health_check": {"enabled": False}, **config}}, watch=False, env={})
    async with Container([module]) as container:
        return [(one.path, one.message) for one in container.get(ProviderConfigManager).status.warnings]


async def test_models_that_will_be_shut_down_are_named_when_the_file_is_read() -> None:
    """Where they are listed, or where an alias names them; with what replaces them where that is known."""
    found = await warnings_of(
        providers={
            "openai": {
                "api_key": "key-0123456789abcdef",
                "models": {
                    "o3": {},
                    "gpt-4.1": {},
                    "own": {"quirks": {"shut_down": "2027-01-01", "replaced_by": "newer"}},
                },
            },
            "anthropic": {"api_key": "key-0123456789abcdef"},
        },
        models={"old": "anthropic/claude-sonnet-4-5", "new": "anthropic/claude-haiku-5-5", "again": "openai/o3"},
    )
    assert found == [
        ("providers.openai.models.o3", "o3 is shut down on 2026-12-11: move to gpt-6.1-sol before"),
        ("providers.openai.models.own", "own is shut down on 2027-01-01: move to newer before"),
        ("models.old.use", "claude-sonnet-4-5 is shut down on 2026-11-30: move to claude-sonnet-5-5 before"),
    ]


async def test_the_warning_has_the_place_in_the_file(tmp_path: Path) -> None:
    """Also where the file is shorter than the path."""
    file = tmp_path / "llm.yaml"
    file.write_text(
        "llm_service:\n  providers:\n    openai:\n      api_key: key-0123456789abcdef\n      models: [o3]\n"
        "  models:\n    old: openai/gpt-5\n"
    )
    async with Container([ProviderModule(file, watch=False, env={})]) as container:
        found = container.get(ProviderConfigManager).status.warnings
    assert [(one.path, one.line, one.severity) for one in found] == [
        ("providers.openai.models.o3", 5, "warning"),
        ("models.old.use", 7, "warning"),
    ]


@pytest.mark.parametrize(
    ("place", "defaults", "path", "word"),
    [
        ("alias", {"temprature": 0.5}, "models.fast.defaults.temprature", "did you mean `temperature`"),
        ("alias", {"temperature": -1}, "models.fast.defaults.temperature", "greater than or equal to 0"),
        ("alias", {"thinking": "very"}, "models.fast.defaults.thinking", "positive token budget"),
        ("alias", {"model": "x"}, "models.fast.defaults.model", "no field"),
        ("model", {"max_tokens": 0}, "providers.alpha.models.m.defaults.max_tokens", "greater than or equal to 1"),
        ("model", {"tools": 3}, "providers.alpha.models.m.defaults.tools", "list"),
    ],
)
async def test_defaults_that_no_request_could_carry_are_found_when_the_file_is_read(
    place: str, defaults: dict[str, Any], path: str, word: str
) -> None:
    """Not by the first call."""
    config: dict[str, Any] = (
        {"models": {"fast": {"use": "alpha/m", "defaults": defaults}}}
        if place == "alias"
        else {"providers": {"alpha": {"models": {"m": {"defaults": defaults}}}}}
    )
    with pytest.raises(ConfigError) as caught:
        async with serving(**config):
            pass
    (issue,) = caught.value.issues
    assert issue.path == path
    assert word in str(issue)


async def test_an_alias_at_one_provider_means_its_models_there() -> None:
    """It is never sent as the name of a model."""
    models = {
        "fast": {"use": ["alpha/m", "beta/m"], "fallback": [], "defaults": {"temperature": 0.5}},
        "odd": "alpha/m",
    }
    async with serving(models=models) as world:
        world.beta.will_answer("beta's")
        response = await world.service.generate("hi", model="fast", provider="beta")
        assert (response.provider, response.model, response.content) == ("beta", "m", "beta's")
        assert world.beta.last_request.params.temperature == 0.5
        with pytest.raises(UnknownModel, match="alias 'odd' has no model at provider 'beta'"):
            await world.service.generate("hi", model="odd", provider="beta")
