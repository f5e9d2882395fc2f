"""From a file to a configuration: substitution, secrets, what is off and why, all mistakes at once."""

import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from core.llm.common.exceptions import ConfigError
from core.llm.providers.config.loader import load_config
from core.llm.providers.config.migrations import migrate
from core.llm.providers.config.tree import from_data, plain
from tests.unit.providers.config.fake_types import PROVIDER_TYPES, TYPES, issues_in, load_text

OPENAI = "llm_service: {providers: {openai: {api_key: %s}}}\n"


def test_hr_02_all_mistakes_of_a_file_are_reported_at_once(tmp_path: Path) -> None:
    """HR-02: those of the text, of substitution, of fields and of rules, each once, in the order of the file."""
    issues = issues_in(
        tmp_path,
        """
        llm_service:
          default_model: fats
          models: {fast: olama/q}
          providers:
            ollama: {base_url: "${NOWHERE}", timeouts: {conect: 1s, total: no}}
            openai: {type: opnai}
          retry: {max_retries: 99, max_retries: 100}
          cahce: {}
        """,
    )
    assert [(issue.line, issue.path) for issue in issues] == [
        (2, "default_model"),
        (3, "models.fast"),
        (5, "providers.ollama.base_url"),
        (5, "providers.ollama.timeouts.conect"),
        (5, "providers.ollama.timeouts.total"),
        (6, "providers.openai.type"),
        (7, "retry.max_retries"),
        (8, "cahce"),
    ]
    assert all(issue.column and issue.suggestion for issue in issues)


def test_cf_02_the_place_is_that_of_the_value(tmp_path: Path) -> None:
    """CF-02, as seen in practice: a limit deep inside."""
    text = "llm_service:\n  providers:\n    openai:\n      rate_limits: {requests_per_minute: -5}\n"
    assert str(issues_in(tmp_path, text)[0]).startswith(
        f"{tmp_path}/llm.yaml:4:42: providers.openai.rate_limits.requests_per_minute: must be a whole number from 1 to"
    )


def test_cf_05_a_value_cannot_inject_structure(tmp_path: Path) -> None:
    """CF-05: a line break in a variable stays in the text."""
    loaded = load_text(
        tmp_path, 'llm_service: {providers: {openai: {organization: "${ORG}"}}}\n', {"ORG": "a\nproviders: {x: {}}"}
    )
    assert loaded.config.providers["openai"].organization == "a\nproviders: {x: {}}"
    assert set(loaded.config.providers) == {"openai"}


def test_cf_05_plain_substitutions_take_their_fields_type(tmp_path: Path) -> None:
    """A number for a number, text for text, although both look like numbers."""
    loaded = load_text(
        tmp_path,
        """
        llm_service:
          retry:
            max_retries: ${TRIES}
          providers:
            openai:
              organization: ${ORG}
              api_key: ${KEY}
              extra: {}
            ollama:
              options:
                num_ctx: ${CONTEXT}
                name: "${CONTEXT}"
        """,
        {"TRIES": "4", "ORG": "4711", "KEY": "123456", "CONTEXT": "8192"},
    )
    openai = loaded.config.providers["openai"]
    assert loaded.config.retry.max_retries == 4
    assert openai.organization == "4711"
    assert openai.api_key == SecretStr("123456")
    assert loaded.config.providers["ollama"].options == {"num_ctx": 8192, "name": "8192"}


@pytest.mark.parametrize(
    ("key", "env", "reason"),
    [
        ('"${KEY}"', {}, "environment variable KEY is not set"),
        ('"${KEY}"', {"KEY": ""}, "environment variable KEY is empty"),
        ('"${KEY:-}"', {}, "environment variable KEY is not set"),
        ('""', {}, "it is empty"),
        ("{env: KEY}", {}, "environment variable KEY is not set"),
        ("{env: KEY}", {"KEY": ""}, "environment variable KEY is empty"),
        ("{file: nowhere}", {}, "there is no file"),
        ("null", {}, "it has no api_key"),
    ],
)
def test_f112_a_missing_key_switches_its_provider_off(
    tmp_path: Path, key: str, env: dict[str, str], reason: str
) -> None:
    """F112: only that provider, with the reason; nothing like `${` is ever sent."""
    loaded = load_text(tmp_path, OPENAI % key, env)
    assert reason in loaded.disabled["openai"]
    assert loaded.config.providers["openai"].api_key is None
    assert not loaded.config.providers["openai"].enabled


def test_f112_a_pool_of_keys_loses_those_that_are_missing(tmp_path: Path) -> None:
    """A provider is off only when no key is left."""
    text = 'llm_service: {providers: {openai: {api_keys: ["${A:-}", "${B}", {env: C}]}}}\n'
    some = load_text(tmp_path, text, {"B": "key-b"})
    assert [key.get_secret_value() for key in some.config.providers["openai"].api_keys] == ["key-b"]
    assert some.disabled == {}
    assert "openai" in load_text(tmp_path, text, {}).disabled

    many = ", ".join(f'"${{K{number}:-}}"' for number in range(14))
    text = f"llm_service: {{providers: {{openai: {{api_keys: [{many}]}}}}}}\n"
    pool = load_text(tmp_path, text, {"K3": "three", "K11": "eleven"}).config.providers["openai"].api_keys
    assert [key.get_secret_value() for key in pool] == ["three", "eleven"]


def test_f112_other_secrets_switch_off_unless_they_may_be_empty(tmp_path: Path) -> None:
    """A header that is demanded is not left out in silence; one with an empty default is."""
    demanded = load_text(tmp_path, 'llm_service: {providers: {ollama: {headers: {X-Token: "Bearer ${T}"}}}}\n')
    assert "headers.X-Token" in demanded.disabled["ollama"]
    optional = load_text(tmp_path, 'llm_service: {providers: {ollama: {proxy: "${PROXY:-}"}}}\n')
    assert optional.disabled == {}
    assert optional.config.providers["ollama"].proxy is None


def test_cf_06_secrets_come_from_variables_and_files(tmp_path: Path) -> None:
    """CF-06: the final line break is not part of the key; a relative path starts at the file."""
    (tmp_path / "key").write_text("from-file\n")
    (tmp_path / "key").chmod(0o600)
    assert load_text(tmp_path, OPENAI % "{file: key}").config.providers["openai"].api_key == SecretStr("from-file")
    loaded = load_text(tmp_path, OPENAI % "{env: KEY}", {"KEY": "from-env"})
    assert loaded.config.providers["openai"].api_key == SecretStr("from-env")
    header = load_text(tmp_path, "llm_service: {providers: {ollama: {headers: {file: a, X: {file: key}}}}}\n")
    assert header.config.providers["ollama"].headers == {"file": SecretStr("a"), "X": SecretStr("from-file")}


def test_cf_06_a_secret_file_has_a_limit(tmp_path: Path) -> None:
    """CF-06: 64 KiB, text, and readable."""
    (tmp_path / "key").write_bytes(b"x" * (64 * 1024 + 1))
    assert "larger than 65536 bytes" in issues_in(tmp_path, OPENAI % "{file: key}")[0].message
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in issues_in(tmp_path, OPENAI % "{file: key}")[0].message
    assert "not a regular file" in issues_in(tmp_path, OPENAI % "{file: /dev/zero}")[0].message


def test_s17_a_key_file_that_others_can_read_is_warned_about(tmp_path: Path) -> None:
    """S17."""
    (tmp_path / "key").write_text("k")
    (tmp_path / "key").chmod(0o644)
    warning = load_text(tmp_path, OPENAI % "{file: key}").warnings[0]
    assert (warning.path, warning.severity) == ("providers.openai.api_key", "warning")
    assert "chmod 600" in (warning.suggestion or "")


def test_f113_a_trailing_line_break_is_removed_with_a_warning(tmp_path: Path) -> None:
    """F113: keys are pasted with it."""
    loaded = load_text(tmp_path, OPENAI % '"${KEY}"', {"KEY": "pasted\r\n"})
    assert loaded.config.providers["openai"].api_key == SecretStr("pasted")
    assert "line break" in loaded.warnings[0].message


@pytest.mark.parametrize("key", ["a\nb", "a\x00b", '"quoted"', "'quoted'", "a b", " a", "ключ", "a\tb"])
def test_f113_keys_that_cannot_be_sent_are_refused_at_load(tmp_path: Path, key: str) -> None:
    """F113, M16: never a ValueError in a call."""
    issues = issues_in(tmp_path, OPENAI % "{env: KEY}", {"KEY": key})
    assert [issue.path for issue in issues] == ["providers.openai.api_key"]


def test_f123_a_plugin_that_cannot_be_imported_is_off(tmp_path: Path) -> None:
    """F123: the service starts without it, and other things may refer to it."""
    loaded = load_text(
        tmp_path,
        "llm_service: {fallback_chain: [p, ollama], providers: {p: {type: broken_plugin}, ollama: {}}}\n",
    )
    assert "cannot be imported: ImportError" in loaded.disabled["p"]
    assert set(loaded.config.providers) == {"ollama"}


def test_a_section_whose_lines_are_all_commented_out_means_the_defaults(tmp_path: Path) -> None:
    """`retry:` with nothing below it is null, and harmless."""
    loaded = load_text(tmp_path, "llm_service:\n  retry:\n    # max_retries: 5\n  providers:\n    ollama:\n")
    assert loaded.config.retry.max_retries == 2
    assert loaded.config.providers["ollama"].type == "ollama"


def test_warnings_do_not_stop_a_load(tmp_path: Path) -> None:
    """A model that is not listed may exist all the same."""
    text = "llm_service: {default_model: ollama/qwen3-8c, providers: {ollama: {models: [qwen3-8b]}}}\n"
    loaded = load_text(tmp_path, text)
    assert "did you mean `qwen3-8b`?" in str(loaded.warnings[0])


def test_cf_07_a_total_from_the_environment_wins_over_longer_phases_with_a_warning(tmp_path: Path) -> None:
    """The call ends at the total; the phase that can no longer end it is named with its place."""
    text = "llm_service:\n  providers:\n    ollama:\n      timeouts: {first_token: 60s, total: 10m}\n"
    loaded = load_text(tmp_path, text, {"LLM__PROVIDERS__OLLAMA__TIMEOUTS__TOTAL": "30s"})
    timeouts = loaded.config.providers["ollama"].timeouts
    assert (timeouts.total, timeouts.first_token) == (30.0, 60.0)
    assert f"{tmp_path / 'llm.yaml'}:4:31: providers.ollama.timeouts.first_token: is longer" in str(loaded.warnings[0])


def test_cf_10_older_versions_are_migrated_with_a_warning_each(tmp_path: Path) -> None:
    """CF-10: in memory; the file is not touched."""
    tree, issues = from_data({"schema_version": 1, "retries": 3}), []

    def rename(root: object) -> list[str]:
        tree.value["retry"] = tree.value.pop("retries")
        return ["`retries` is called `retry` now"]

    migrate(tree, issues, {1: rename}, current=2)
    assert plain(tree) == {"schema_version": 2, "retry": 3}
    assert [(issue.severity, issue.message) for issue in issues] == [("warning", "`retries` is called `retry` now")]


def test_240_models_load_within_a_second(tmp_path: Path) -> None:
    """A generated catalogue of models does not hold a reload up."""
    models = "".join(
        f"        model-{i}: {{context_window: 128000, max_output_tokens: 16000, capabilities: [tools, vision],"
        f" price: {{input: 1.5, output: 7.5}}}}\n"
        for i in range(240)
    )
    aliases = "".join(f"    alias-{i}: {{use: ollama/model-{i}, fallback: [ollama]}}\n" for i in range(240))
    path = tmp_path / "llm.yaml"
    path.write_text(f"llm_service:\n  models:\n{aliases}  providers:\n    ollama:\n      models:\n{models}")
    began = time.process_time()
    loaded = load_config(path, {}, PROVIDER_TYPES)
    spent = time.process_time() - began
    assert len(loaded.config.providers["ollama"].models) == 240
    assert spent < 1.0


def test_the_error_holds_no_way_to_the_values(tmp_path: Path) -> None:
    """S2: neither cause nor context leads to what pydantic saw."""
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, "llm_service: {providers: {openai: {api_key: [sk-canary], api_kye: sk-canary}}}\n")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert "sk-canary" not in str(caught.value) + repr(caught.value.issues)


def test_s1_s3_every_configuration_class_is_silent_strict_and_frozen() -> None:
    """S1, S3, S16: the models and those of the fake providers."""
    import pickle
    import pkgutil
    from importlib import import_module

    from core.llm.providers.config import models
    from core.llm.providers.config.models.frozen import Frozen
    from core.llm.providers.config.models.provider import ProviderConfig

    modules = [import_module(f"{models.__name__}.{found.name}") for found in pkgutil.iter_modules(models.__path__)]
    classes = {item for one in modules for item in vars(one).values() if isinstance(item, type)}
    found = [cls for cls in classes if issubclass(cls, Frozen)]
    assert len(found) > 15
    for cls in [*found, *TYPES.values()]:
        assert cls.model_config["hide_input_in_errors"], cls
        assert cls.model_config["extra"] == "forbid", cls
        assert cls.model_config["frozen"], cls
    with pytest.raises(TypeError, match="not picklable"):
        pickle.dumps(ProviderConfig(api_key=SecretStr("x")))


def test_section_3_7_mappings_inside_are_as_frozen_as_the_model(tmp_path: Path) -> None:
    """A published configuration is shared by every call."""
    config = load_text(tmp_path, "llm_service: {providers: {ollama: {options: {stop: [a]}, models: [m]}}}\n").config
    for mapping in (config.providers, config.providers["ollama"].options, config.providers["ollama"].models):
        with pytest.raises(TypeError, match="read-only"):
            mapping["x"] = 1  # type: ignore[index]  # that it is refused is the point
    assert config.providers["ollama"].options["stop"] == ("a",)
