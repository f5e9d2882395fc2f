"""Files on top of each other, files inside each other, and the environment above all."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from core.llm.common.exceptions import ConfigError
from core.llm.providers.config.explain import explain
from core.llm.providers.config.loader import load_config
from tests.unit.providers.config.fake_types import PROVIDER_TYPES, dedented, issues_in, load_text


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """Write *files*; the first is the configuration."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(dedented(text))
    return folder / next(iter(files))


def test_cf_07_layers_merge_maps_replace_lists_and_remove_by_null(tmp_path: Path) -> None:
    """CF-07: file, environment, local, variables."""
    path = write(
        tmp_path,
        {
            "llm.yaml": """
                llm_service:
                  fallback_chain: [ollama, a]
                  providers:
                    ollama: {timeouts: {connect: 1s, total: 60s}, options: {x: 1, y: 2}}
                    a: {type: ollama}
                """,
            "llm.production.yaml": """
                llm_service:
                  providers: {ollama: {timeouts: {connect: 2s}, options: {x: null}}}
                """,
            "llm.local.yaml": """
                llm_service: {fallback_chain: [ollama], providers: {a: null, ollama: {timeouts: {connect: 3s}}}}
                """,
        },
    )
    env = {"LLM__PROVIDERS__OLLAMA__TIMEOUTS__CONNECT": "4s"}
    loaded = load_config(path, env, PROVIDER_TYPES, environment="production")
    ollama = loaded.config.providers["ollama"]

    assert set(loaded.config.providers) == {"ollama"}
    assert loaded.config.fallback_chain == ("ollama",)
    assert (ollama.timeouts.connect, ollama.timeouts.total, ollama.options) == (4.0, 60.0, {"y": 2})
    origins = [(o.value, Path(o.layer).name, o.line) for o in explain(loaded, "providers.ollama.timeouts.connect")]
    assert origins == [
        ("4s", "LLM__PROVIDERS__OLLAMA__TIMEOUTS__CONNECT", None),
        ("3s", "llm.local.yaml", 1),
        ("2s", "llm.production.yaml", 2),
        ("1s", "llm.yaml", 4),
    ]


def test_cf_07_a_mistake_is_reported_in_the_layer_that_made_it(tmp_path: Path) -> None:
    """Not in the file that everybody looks at first."""
    path = write(
        tmp_path,
        {
            "llm.yaml": "llm_service: {providers: {ollama: {timeouts: {total: 5s}}}}\n",
            "llm.local.yaml": "llm_service:\n  providers: {ollama: {timeouts: {total: -5s}}}\n",
        },
    )
    with pytest.raises(ConfigError, match=r"llm.local.yaml:2:42: providers.ollama.timeouts.total"):
        load_config(path, {}, PROVIDER_TYPES)


def test_cf_08_includes_lie_below_the_file_that_names_them(tmp_path: Path) -> None:
    """CF-08: sorted, relative to the including file, nested."""
    path = write(
        tmp_path,
        {
            "llm.yaml": "include: [providers/*.yaml, base.yaml]\nllm_service: {retry: {max_retries: 1}}\n",
            "base.yaml": "llm_service: {retry: {max_retries: 3, max_attempts: 9}}\n",
            "providers/b.yaml": "llm_service: {providers: {ollama: {timeouts: {connect: 2s}}}}\n",
            "providers/a.yaml": "include: deeper/x.yaml\nllm_service: {providers: {ollama: {timeouts: {connect: 1s}}}}\n",
            "providers/deeper/x.yaml": "llm_service: {providers: {ollama: {timeouts: {total: 7s}}}}\n",
        },
    )
    config = load_config(path, {}, PROVIDER_TYPES).config
    timeouts = config.providers["ollama"].timeouts
    assert (timeouts.connect, timeouts.total) == (2.0, 7.0)
    assert (config.retry.max_retries, config.retry.max_attempts) == (1, 9)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"llm.yaml": "include: [a.yaml]\n", "a.yaml": "include: [llm.yaml]\n"}, "includes itself: .*llm.yaml → .*a.yaml → .*llm.yaml"),
        ({"llm.yaml": "include: [no.yaml]\n"}, r"llm.yaml:1:11: include\[0\]: there is no such file"),
        ({"llm.yaml": "include: ['*/x.yaml']\n"}, "only the last part of an include may be a pattern"),
        ({"llm.yaml": "include: [3]\n"}, "must be the name of a file"),
        ({"llm.yaml": "include: a0.yaml\n", **{f"a{i}.yaml": f"include: a{i + 1}.yaml\n" for i in range(8)}}, "more than 5 levels deep"),
        ({"llm.yaml": "include: a.yaml\nllm_service: {timeout: no}\n", "a.yaml": "llm_service: [\n"}, "2 problems"),
    ],
)  # fmt: skip
def test_cf_08_bad_includes_are_refused_with_their_place(tmp_path: Path, files: dict[str, str], said: str) -> None:
    """CF-08: circles with the chain; every file's mistakes in one report."""
    with pytest.raises(ConfigError, match=said):
        load_config(write(tmp_path, files), {}, PROVIDER_TYPES)


def test_a_pattern_may_match_nothing_yet(tmp_path: Path) -> None:
    """A folder that fills later is watched until then."""
    path = write(tmp_path, {"llm.yaml": "include: [more/*.yaml]\nllm_service: {}\n"})
    assert load_config(path, {}, PROVIDER_TYPES).config.providers == {}


def test_other_root_keys_belong_to_the_host(tmp_path: Path) -> None:
    """One file may configure a whole application."""
    assert issues_in(tmp_path, "database: {url: x}\nx-anchors: &a {max_retries: 1}\nllm_service: {retry: *a}\n") == []


@pytest.mark.parametrize(
    ("name", "value", "path", "expected"),
    [
        ("LLM__TIMEOUT", "30s", ("timeout",), 30.0),
        ("LLM__FALLBACK_CHAIN", "[my-llm, ollama]", ("fallback_chain",), ("my-llm", "ollama")),
        ("LLM__PROVIDERS__MY_LLM__TIMEOUTS__TOTAL", "5s", ("providers", "my-llm", "timeouts", "total"), 5.0),
        ("LLM__PROVIDERS__MY_LLM__MODELS__QWEN3_8B__CONTEXT_WINDOW", "99", ("providers", "my-llm", "models", "qwen3:8b", "context_window"), 99),
        ("LLM__PROVIDERS__OLLAMA__OPTIONS__NUM_CTX", "4096", ("providers", "ollama", "options", "num_ctx"), 4096),
        ("LLM__PROVIDERS__OLLAMA__OPTIONS__NAME", "${NOT_READ}", ("providers", "ollama", "options", "name"), "${NOT_READ}"),
        ("LLM__CACHE__ENABLED", "yes", ("cache", "enabled"), True),
        ("LLM__RETRY", "{max_retries: 7}", ("retry", "max_retries"), 7),
        ("LLM__DEFAULT_MODEL", "null", ("default_model",), None),
    ],
)  # fmt: skip
def test_environment_variables_override_any_key(
    tmp_path: Path, name: str, value: str, path: tuple[str, ...], expected: object
) -> None:
    """Case does not matter, and what a variable's name cannot hold is one underscore."""
    text = """
        llm_service:
          default_model: ollama
          providers:
            ollama: {options: {num_ctx: 1}}
            my-llm: {type: ollama, models: {"qwen3:8b": {context_window: 1}}}
        """
    found: object = load_text(tmp_path, text, {name: value}).config
    for step in path:
        found = found[step] if isinstance(found, Mapping) else getattr(found, step)
    assert found == expected


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LLM__TIMEOUTT", "30s", "LLM__TIMEOUTT: timeoutt: unknown key (did you mean `timeout`?)"),
        (
            "LLM__RETRY__MAX_RETRIES",
            "-1",
            "LLM__RETRY__MAX_RETRIES: retry.max_retries: must be a whole number from 0 to 10, not -1",
        ),
        ("LLM__PROVIDERS__OLLAMA__MODELS__A__CONTEXT_WINDOW", "1", "cannot override a part of a list"),
        ("LLM__MODELS__FAST__FALLBACK", "[]", "cannot override a part of a single value"),
        ("LLM__PROVIDERS__A_B__ENABLED", "false", "fits several keys: a-b, a_b"),
        ("LLM__", "1", "a key is missing between the underscores"),
        ("LLM__RETRY____X", "1", "a key is missing between the underscores"),
        ("LLM__RETRY", "{max_retries: [", "not a YAML list or mapping"),
    ],
)
def test_bad_overrides_are_refused_by_the_name_of_the_variable(
    tmp_path: Path, name: str, value: str, said: str
) -> None:
    """A variable has no line; its name is the place."""
    text = """
        llm_service:
          models: {fast: ollama/a}
          providers: {ollama: {models: [a]}, a-b: {type: ollama}, a_b: {type: ollama}}
        """
    issues = issues_in(tmp_path, text, {name: value})
    assert said in str(issues[0])
    assert issues[0].file == name


def test_toml_has_the_same_keys_and_places(tmp_path: Path) -> None:
    """TOML: lines of keys and tables, and the same messages."""
    good = """
        [llm_service]
        default_model = "fast"
        [llm_service.models]
        fast = "my-llm/q"
        [llm_service.providers.my-llm]
        type = "ollama"
        base_url = "${URL:-http://localhost:1}"
        timeouts = {connect = "5s"}
        """
    loaded = load_text(tmp_path, good, name="llm.toml")
    assert loaded.config.providers["my-llm"].timeouts.connect == 5.0
    assert loaded.config.providers["my-llm"].base_url == "http://localhost:1"

    broken = dedented(good).replace("base_url", "base_ulr").replace('"5s"', "-1").replace('"my-llm/q"', '"my-lm/q"')
    issues = issues_in(tmp_path, broken, name="llm.toml")
    assert [(issue.line, issue.column, issue.path) for issue in issues] == [
        (4, 1, "models.fast"),
        (7, 1, "providers.my-llm.base_ulr"),
        (8, 1, "providers.my-llm.timeouts.connect"),
    ]


@pytest.mark.parametrize(
    ("text", "place"), [("[llm_service\n", (1, 13)), ("a = \n", (1, 5)), ("a = 1\na = 2\n", (2, 6)), ("x = 'sk-canary\n", (1, 15))]
)  # fmt: skip
def test_toml_mistakes_have_a_place_and_no_value(tmp_path: Path, text: str, place: tuple[int, int]) -> None:
    """The same rule as for YAML."""
    issue = issues_in(tmp_path, text, name="llm.toml")[0]
    assert (issue.line, issue.column) == place
    assert "not valid TOML" in issue.message
    assert "canary" not in str(issue)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"llm_service: {default_model: \xff}\n", "1:30: not UTF-8 text"),
        (b"#" * (2**20 + 1), "larger than 1048576 bytes"),
        (b"\xef\xbb\xbfllm_service: {timeout: -1}\n", "1:24: timeout"),
    ],
)
def test_f109_files_that_are_no_text_or_too_large_are_refused(tmp_path: Path, data: bytes, said: str) -> None:
    """F109; a byte order mark is no part of the first line."""
    path = tmp_path / "llm.yaml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=said):
        load_config(path, {}, PROVIDER_TYPES)


def test_an_environment_that_is_a_path_is_refused_by_the_name_of_its_variable(tmp_path: Path) -> None:
    """Nothing in the file is wrong, so nobody has to look for it there."""
    with pytest.raises(ConfigError, match=r"^LLM_ENV: is a part of a file's name.*llm\.production\.yaml"):
        load_text(tmp_path, "llm_service: {}\n", environment="eu/production")
