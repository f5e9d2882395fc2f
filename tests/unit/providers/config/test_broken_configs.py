"""Every mistake is refused with file, line, column, field, what is wrong and what to do.

A row is a text with the mistake, and what must be said about it: `line:column`, the path, a piece of the message and a piece
of the advice.
"""

from pathlib import Path

import pytest

from tests.unit.providers.config.fake_types import issues_in

HEAD = "llm_service:\n"
PROVIDERS = "llm_service:\n  providers:\n"
OLLAMA = "llm_service:\n  providers:\n    ollama: {}\n"

ROWS = {
    # The text as YAML
    "tab": ("llm_service:\n\tproviders: {}\n", "2:1", "", "not valid YAML", "spaces, not tabs"),
    "open bracket": (HEAD + "  fallback_chain: [a, b\n  retry: {}\n", "3:8", "", "not valid YAML", "close the bracket"),
    "open quote": (HEAD + '  default_model: "abc\n', "3:1", "", "not valid YAML", "close the quotes"),
    "unquoted colon": (HEAD + "  default_model: a: b\n", "2:19", "", "mapping values", "in quotes"),
    "at sign": (HEAD + "  default_model: @fast\n", "2:18", "", "cannot start any token", "in quotes"),
    "substitution in flow": (PROVIDERS + "    ollama: {base_url: ${URL}}\n", "3:25", "", "not valid YAML", 'put "${…}" in quotes'),
    "wrong indentation": (HEAD + "  retry:\n      max_retries: 1\n    max_delay: 2s\n", "4:5", "", "not valid YAML", "indentation"),
    "undefined alias": (HEAD + "  default_model: *nowhere\n", "2:18", "default_model", "no anchor", "quote"),
    "two documents": (HEAD + "  retry: {}\n---\nother: 1\n", "3:1", "", "second document", "remove the `---`"),
    "custom tag": (HEAD + "  default_model: !secret abc\n", "2:18", "default_model", "tags are not allowed", "quote"),
    "python tag": (HEAD + "  retry: !!python/object:os.system {}\n", "2:10", "retry", "tags are not allowed", "remove"),
    "duplicate key": (HEAD + "  timeout: 1m\n  timeout: 2m\n", "3:3", "timeout", "duplicate key, first written in line 2", "remove one"),
    "duplicate provider": (OLLAMA + "    ollama: {}\n", "4:5", "providers.ollama", "duplicate key", "remove one"),
    "number as key": (HEAD + "  models:\n    42: openai/x\n", "3:5", "models", "a key must be text", 'quote it: "42"'),
    "yes as key": (HEAD + "  models:\n    on: openai/x\n", "3:5", "models", "a key must be text", 'quote it: "on"'),
    "template as key": (HEAD + "  default_model: {{ model }}\n", "2:19", "default_model", "a key must be text", "templates"),
    "merge of a list": (HEAD + "  retry:\n    <<: 5\n", "3:9", "retry", "mappings only", "refer to a mapping"),
    "not a mapping": ("- llm_service\n", "1:1", "", "is a mapping", "llm_service"),
    "empty": ("", "1:1", "", "the file is empty", "begin it with `llm_service:`"),
    "comments only": ("# nothing\n", "1:1", "", "comments only", "begin it with"),
    "no root key": ("app: {}\n", "1:1", "", "`llm_service` is missing", "put everything below"),
    "root key misspelt": ("llm_servce:\n  retry: {}\n", "1:1", "llm_servce", "unknown key", "did you mean `llm_service`?"),
    "key beside the root": (HEAD + "  retry: {}\nproviders: {}\n", "3:1", "providers", "unknown key", "indent it below"),
    "root is a list": ("llm_service: [1]\n", "1:14", "llm_service", "must be a mapping", "indented"),
    "control character": (HEAD + "  default_model: a\x01b\n", "2:19", "", "control character", "remove it"),
    # Scalars that YAML would change
    "no": (HEAD + "  cache: {enabled: no}\n", "2:20", "cache.enabled", "ambiguous", "true or false"),
    "octal": (HEAD + "  retry: {max_retries: 012}\n", "2:24", "retry.max_retries", "ambiguous", "leading zeros"),
    "sexagesimal": (HEAD + "  timeout: 1:30\n", "2:12", "timeout", "ambiguous", "quote this value"),
    "time": (HEAD + "  default_model: 12:30:00\n", "2:18", "default_model", "ambiguous", "quote this value"),
    "date": (HEAD + "  default_model: 2026-01-02\n", "2:18", "default_model", "ambiguous", "quote this value"),
    "number as text": (HEAD + "  default_model: 3.10\n", "2:18", "default_model", "must be text", "quote this value"),
    "boolean as text": (HEAD + "  default_model: true\n", "2:18", "default_model", "must be text", "quote this value"),
    "number as target": (HEAD + "  models: {a: {use: 3.10}}\n", "2:21", "models.a.use", "must be text", "quote this value"),
    "number as model": (PROVIDERS + "    ollama: {models: [a, 3.10]}\n", "3:26", "providers.ollama.models[1]", "must be text", "quote"),
    # Keys and values
    "unknown key": (HEAD + "  fallbak_chain: []\n", "2:3", "fallbak_chain", "unknown key", "did you mean `fallback_chain`?"),
    "unknown nested key": (HEAD + "  retry:\n    max_retry: 2\n", "3:5", "retry.max_retry", "unknown key", "`max_retries`?"),
    "unknown provider key": (PROVIDERS + "    openai: {api_kye: x}\n", "3:14", "providers.openai.api_kye", "unknown key", "`api_key`?"),
    "another tool's key": (PROVIDERS + "    ollama: {url: http://x}\n", "3:14", "providers.ollama.url", "unknown key", "`base_url`?"),
    "unlike any key": (HEAD + "  retry: {zzz: 1}\n", "2:11", "retry.zzz", "unknown key", "known here: max_retries"),
    "another type's key": (PROVIDERS + "    openai: {options: {}}\n", "3:14", "providers.openai.options", "unknown key", ""),
    "unknown type": (PROVIDERS + "    x: {type: olama}\n", "3:15", "providers.x.type", "unknown provider type `olama`", "`ollama`?"),
    "type left out": (PROVIDERS + "    acme: {base_url: http://x}\n", "3:5", "providers.acme.type", "unknown provider type `acme`", "known types: llama_cpp"),
    "missing field": (PROVIDERS + "    l: {type: llama_cpp, models: {tiny: {}}}\n", "3:41", "providers.l.models.tiny.path", "`path` is missing", "add `path: …`"),
    "alias without use": (HEAD + "  models: {a: {fallback: []}}\n", "2:15", "models.a.use", "`use` is missing", "add `use: …`"),
    "empty use": (HEAD + "  models: {a: {use: []}}\n", "2:21", "models.a.use", "must not be empty", ""),
    "negative duration": (PROVIDERS + "    ollama: {timeouts: {total: -1}}\n", "3:32", "providers.ollama.timeouts.total", "greater than 0 and at most 7d, not -1", "default, 10m"),
    "duration without meaning": (HEAD + "  timeout: soon\n", "2:12", "timeout", "a duration such as 250ms, 30s or 5m greater than 0 and at most 7d, not text", "default, 10m"),
    "duration of years": (HEAD + "  timeout: 1000000000000\n", "2:12", "timeout", "at most 7d, not 1000000000000", "default, 10m"),
    "not a number": (HEAD + "  retry: {backoff_factor: .nan}\n", "2:27", "retry.backoff_factor", "a number from 1 to 10, not nan", "default, 2"),
    "zero requests": (PROVIDERS + "    ollama: {rate_limits: {requests_per_minute: 0}}\n", "3:49", "providers.ollama.rate_limits.requests_per_minute", "a whole number from 1 to 1,000,000,000, not 0", "no limit"),
    "text as number": (HEAD + "  retry: {max_retries: two}\n", "2:24", "retry.max_retries", "a whole number from 0 to 10, not text", "default, 2"),
    "half a retry": (HEAD + "  retry: {max_retries: 1.5}\n", "2:24", "retry.max_retries", "a whole number from 0 to 10, not 1.5", "default, 2"),
    "too many retries": (HEAD + "  retry: {max_retries: 99}\n", "2:24", "retry.max_retries", "a whole number from 0 to 10, not 99", "default, 2"),
    "not a boolean": (HEAD + "  cache: {enabled: maybe}\n", "2:20", "cache.enabled", "must be true, false or on_request, not text", "default, false"),
    "true as a number": (HEAD + "  retry: {max_retries: true}\n", "2:24", "retry.max_retries", "a whole number from 0 to 10, not true", "default, 2"),
    "hedge of a word": (OLLAMA + "  models: {a: {use: ollama/q, hedge: soon}}\n", "4:38", "models.a.hedge", "must be true, a duration such as 800ms, p95 or a mapping, not text", "leave it out"),
    "number as section": (HEAD + "  retry: 3\n", "2:10", "retry", "must be a mapping, not 3", "key: value"),
    "list as mapping": (PROVIDERS + "    l: {type: llama_cpp, models: [tiny]}\n", "3:34", "providers.l.models", "must be a mapping, not a list", "key: value"),
    "mapping as list": (HEAD + "  fallback_chain: {first: ollama}\n", "2:19", "fallback_chain", "must be a list, not a mapping", "[a, b]"),
    "default of the wrong kind": (OLLAMA + "  models: {a: {use: ollama/q, defaults: {temperature: hot}}}\n", "4:55", "models.a.defaults.temperature", "cannot be sent: must be a number", "correct it"),
    "type that is a number": (PROVIDERS + "    x: {type: 5}\n", "3:15", "providers.x.type", "the name of a provider type, not 5", "known types: llama_cpp"),
    "alias of nothing": (OLLAMA + "  models: {a: ''}\n", "4:15", "models.a", "is empty", "name an alias"),
    "currency in small letters": (HEAD + "  costs: {currency: usd}\n", "2:21", "costs.currency", "must be text such as USD", ""),
    "no such choice": (HEAD + "  logging: {level: DEBGU}\n", "2:20", "logging.level", "must be one of", "did you mean `DEBUG`?"),
    "no such strategy": (OLLAMA + "  models: {a: {use: ollama/q, strategy: best}}\n", "4:41", "models.a.strategy", "`best` is no strategy", "known: ordered"),
    "misspelt strategy": (OLLAMA + "  models: {a: {use: ollama/q, strategy: latensy}}\n", "4:41", "models.a.strategy", "is no strategy", "did you mean `latency`?"),
    "strategy of no module": (OLLAMA + "  models: {a: {use: ollama/q, strategy: 'nowhere.at:all'}}\n", "4:41", "models.a.strategy", "there is no module `nowhere`", "package.module:function"),
    "strategy of no function": (OLLAMA + "  models: {a: {use: ollama/q, strategy: 'random:nothing'}}\n", "4:41", "models.a.strategy", "module `random` has no `nothing`", "name a function"),
    "strategy that is awaited": (OLLAMA + "  models: {a: {use: ollama/q, strategy: 'asyncio:sleep'}}\n", "4:41", "models.a.strategy", "is asynchronous", "`def`"),
    "sticky by nothing": (OLLAMA + "  models: {a: {use: ollama/q, strategy: sticky}}\n", "4:41", "models.a.strategy", "by what", "sticky_by: user"),
    "classes without classifier": (OLLAMA + "  models: {a: {use: ollama/q, classes: {hard: ollama/r}}}\n", "4:31", "models.a.classes", "without a classifier", "classifier"),
    "classifier without classes": (OLLAMA + "  models: {a: {use: ollama/q, classifier: 'operator:itemgetter'}}\n", "4:31", "models.a.classifier", "without classes", "classes:"),
    "unknown classifier": (OLLAMA + "  models: {a: {use: ollama/q, classifier: best, classes: {hard: ollama/r}}}\n", "4:43", "models.a.classifier", "`best` is no classifier", "module:name"),
    "every model of nobody": (OLLAMA + "  models: {a: 'ollama/*'}\n", "4:15", "models.a", "lists no models", "list them"),
    "class of an unknown model": (OLLAMA + "  models: {a: {use: ollama/q, classifier: 'operator:itemgetter', classes: {hard: olama/r}}}\n", "4:82", "models.a.classes.hard", "`olama` is no provider", "ollama/r"),
    "section is text": (HEAD + "  retry: often\n", "2:10", "retry", "must be a mapping", "key: value"),
    "provider is text": (PROVIDERS + "    ollama: yes please\n", "3:13", "providers.ollama", "must be a mapping", "key: value"),
    "providers is a list": (HEAD + "  providers: [ollama]\n", "2:14", "providers", "must be a mapping", "one key per provider"),
    "chain is text": (HEAD + "  fallback_chain: ollama\n", "2:19", "fallback_chain", "must be a list", "[a, b]"),
    "bad size": (PROVIDERS + "    ollama: {max_response_bytes: 64 elephants}\n", "3:34", "providers.ollama.max_response_bytes", "a size such as 500MB or 20GiB", "default, 64MiB"),
    "negative price": (PROVIDERS + "    ollama: {models: {m: {price: {input: -1, output: 1}}}}\n", "3:42", "providers.ollama.models.m.price.input", "a number from 0 to 1,000,000,000, not -1", ""),
    "unknown capability": (PROVIDERS + "    ollama: {models: {m: {capabilities: [tols]}}}\n", "3:42", "providers.ollama.models.m.capabilities[0]", "must be one of", "`tools`?"),
    "newer file": (HEAD + "  schema_version: 7\n", "2:19", "schema_version", "newer release", "upgrade"),
    "version zero": (HEAD + "  schema_version: 0\n", "2:19", "schema_version", "no version 0", "schema_version: 1"),
    # Substitution and secrets
    "unset variable": (PROVIDERS + '    ollama: {base_url: "${NOWHERE}"}\n', "3:24", "providers.ollama.base_url", "NOWHERE is not set", "${NOWHERE:-…}"),
    "demanded variable": (HEAD + '  default_model: "${MODEL:?choose a model}"\n', "2:18", "default_model", "MODEL is not set: choose a model", "set MODEL"),
    "substitution not closed": (HEAD + '  default_model: "${MODEL"\n', "2:18", "default_model", "never closed", "${NAME}"),
    "substitution of nothing": (HEAD + '  default_model: "${}"\n', "2:18", "default_model", "name of a variable", "${NAME}"),
    "secret of two kinds": (PROVIDERS + "    openai: {api_key: {env: A, file: b}}\n", "3:23", "providers.openai.api_key", "{env: NAME} or {file: path}", "one of the three"),
    "key with spaces": (PROVIDERS + '    openai: {api_key: "a key"}\n', "3:23", "providers.openai.api_key", "spaces", "copy the key again"),
    "key with letters of ours": (PROVIDERS + "    openai: {api_key: schlüssel}\n", "3:23", "providers.openai.api_key", "non-ASCII", "copy"),
    "header with a line break": (PROVIDERS + '    ollama: {headers: {X-A: "a\\nb"}}\n', "3:29", "providers.ollama.headers.X-A", "cannot carry", "ASCII"),
    # Names and rules
    "unknown default": (OLLAMA + "  default_model: fats\n  models: {fast: ollama/q}\n", "4:18", "default_model", "`fats` is no alias", "did you mean `fast`?"),
    "unknown in chain": (OLLAMA + "  fallback_chain: [ollama, olama]\n", "4:28", "fallback_chain[1]", "`olama` is no alias", "did you mean `ollama`?"),
    "unknown target": (OLLAMA + "  models: {a: {use: olama/q}}\n", "4:21", "models.a.use", "`olama` is no provider", "did you mean `ollama/q`?"),
    "unknown fallback": (OLLAMA + "  models: {a: {use: ollama/q, fallback: [b]}}\n", "4:42", "models.a.fallback[0]", "`b` is no alias", "known names"),
    "model that cannot exist": (PROVIDERS + "    l: {type: llama_cpp, models: {tiny: {path: x}}}\n  default_model: l/tyni\n", "4:18", "default_model", "no model `tyni`", "did you mean `tiny`?"),
    "alias of itself": (HEAD + "  models: {a: {use: a}}\n", "2:21", "models.a.use", "circle: a → a", "provider/model"),
    "circle of three": (HEAD + "  models:\n    a: b\n    b: {use: c}\n    c: {use: x, fallback: [a]}\n  providers: {x: {type: ollama}}\n", "5:28", "models.c.fallback[0]", "circle: a → b → c → a", "provider/model"),
    "unknown reason": (OLLAMA + "  models: {a: {use: ollama/q, fallback_on: {to_long: [ollama/p]}}}\n", "4:54", "models.a.fallback_on.to_long", "must be one of context_length", "allowed: authentication"),
    "unknown model for a reason": (OLLAMA + "  models: {a: {use: ollama/q, fallback_on: {outage: [b]}}}\n", "4:54", "models.a.fallback_on.outage[0]", "`b` is no alias", "known names"),
    "circle through reasons": (OLLAMA + "  models:\n    a: {use: ollama/q, fallback_on: {outage: b}}\n    b: {use: ollama/q, fallback_on: {timeout: a}}\n", "6:47", "models.b.fallback_on.timeout", "circle: a → b → a", "provider/model"),
    "unknown shadow": (OLLAMA + "  models: {a: {use: ollama/q, shadow: {model: olama/p}}}\n", "4:47", "models.a.shadow.model", "`olama` is no provider", "did you mean `ollama/p`?"),
    "shadow of everything twice": (OLLAMA + "  models: {a: {use: ollama/q, shadow: {model: ollama/p, fraction: 2}}}\n", "4:67", "models.a.shadow.fraction", "1", ""),
    "alias named like a provider": (OLLAMA + "  models: {ollama: ollama/q}\n", "4:12", "models.ollama", "name of a provider too", "another name"),
    "slash in provider name": (PROVIDERS + "    a/b: {type: ollama}\n", "3:5", "providers.a/b", "not a good name", "letters"),
    "nothing after the slash": (OLLAMA + "  default_model: ollama/\n", "4:18", "default_model", "no model after the slash", "`ollama` alone"),
    "no weight": (OLLAMA + "  models: {a: {use: [{model: ollama/q, weight: 0}], strategy: weighted}}\n", "4:21", "models.a.use", "every weight is zero", "weight"),
    "two ways to the key": (PROVIDERS + "    openai: {api_key: a, api_keys: [b]}\n", "3:36", "providers.openai.api_keys", "beside api_key", "one of the two"),
    "delays crossed": (HEAD + "  retry: {initial_delay: 9s, max_delay: 1s}\n", "2:26", "retry.initial_delay", "longer than retry.max_delay", "shorten"),
    "answer longer than context": (PROVIDERS + "    ollama: {models: {m: {context_window: 10, max_output_tokens: 20}}}\n", "3:66", "providers.ollama.models.m.max_output_tokens", "more than context_window", "lower"),
    "limit of nobody": (OLLAMA + "  costs: {limits: {olama_daily: 5}}\n", "4:20", "costs.limits.olama_daily", "no provider or alias", "`ollama`?"),
    "limit without period": (OLLAMA + "  costs: {limits: {ollama: 5}}\n", "4:20", "costs.limits.ollama", "_daily or _monthly", "_daily"),
    "limit that is negative": (OLLAMA + "  costs: {limits: {ollama_daily: -1}}\n", "4:34", "costs.limits.ollama_daily", "a number from 0 to", ""),
    "budget that is negative": (OLLAMA + "  costs: {daily_limit: -1}\n", "4:24", "costs.daily_limit", "a number from 0 to", "no limit"),
    "budget in nobody's zone": (OLLAMA + "  costs: {timezone: Europe/Berlinn}\n", "4:21", "costs.timezone", "write one such as Europe/Berlin", "UTC"),
    "budget by the week": (OLLAMA + "  costs: {limits: [{scope: {provider: ollama}, amount: 1, period: week}]}\n", "4:67", "costs.limits[0].period", "must be one of day, month, not text", ""),
    "budget of nothing": (OLLAMA + "  costs: {limits: [{scope: {}, amount: 1, period: day}]}\n", "4:28", "costs.limits[0].scope", "names nothing", "provider, model, alias or user"),
    "budget without amount": (OLLAMA + "  costs: {limits: [{scope: {user: a}, period: day}]}\n", "4:20", "costs.limits[0].amount", "is missing", ""),
    "budget of nobody": (OLLAMA + "  costs: {limits: [{scope: {provider: olama}, amount: 1, period: day}]}\n", "4:39", "costs.limits[0].scope.provider", "names no provider", "`ollama`?"),
    "budget of no alias": (OLLAMA + "  costs: {limits: [{scope: {alias: quick}, amount: 1, period: day}]}\n", "4:36", "costs.limits[0].scope.alias", "names no alias", ""),
    "budget of a team": (OLLAMA + "  costs: {limits: [{scope: {team: a}, amount: 1, period: day}]}\n", "4:29", "costs.limits[0].scope.team", "unknown key", ""),
    "budget twice": (OLLAMA + "  costs: {limits: [{scope: {model: ollama/q}, amount: 1, period: day}, {scope: {provider: ollama, model: q}, amount: 2, period: day}]}\n", "4:72", "costs.limits[1]", "scope and period of another", "one of the two"),
    "limit that is a word": (OLLAMA + "  costs: {limits: ten}\n", "4:19", "costs.limits", "must be a mapping", ""),
    "sqlite without path": (HEAD + "  state: {backend: sqlite}\n", "2:20", "state.backend", "needs a file", "path:"),
    "more pinned than loaded": (OLLAMA + "  residency: {max_loaded: 1, pinned: [ollama/a, ollama/b]}\n", "4:38", "residency.pinned", "more models than max_loaded", "raise"),
    "size of nothing": (OLLAMA + "  residency: {sizes: {olama/q: 1GiB}}\n", "4:23", "residency.sizes.olama/q", "names no provider", "`ollama`"),
    "device of nothing": (OLLAMA + "  residency: {devices: {nobody: cpu}}\n", "4:25", "residency.devices.nobody", "names no provider", "providers"),
    "preload of nothing": (OLLAMA + "  residency: {preload: [nobody]}\n", "4:25", "residency.preload[0]", "no alias", "known names"),
    "header of the connection": (PROVIDERS + "    ollama: {headers: {Host: x}}\n", "3:24", "providers.ollama.headers.Host", "by the connection itself", "remove"),
    "proxy without scheme": (PROVIDERS + "    ollama: {proxy: 'squid:3128'}\n", "3:21", "providers.ollama.proxy", "HTTP proxy", "http://host:port"),
    "no such authorities": (PROVIDERS + "    ollama: {ca_file: /nowhere.pem}\n", "3:23", "providers.ollama.ca_file", "no such file", "check the path"),
    "key over plain http": (PROVIDERS + "    openai: {api_key: abc, base_url: http://example.com}\n", "3:38", "providers.openai.base_url", "unencrypted", "https://"),
    "address without scheme": (PROVIDERS + "    openai: {api_key: abc, base_url: api.example.com}\n", "3:38", "providers.openai.base_url", "http:// or https://", "write http"),
    "include of nothing": ("include: [more.yaml]\n" + HEAD + "  retry: {}\n", "1:11", "include[0]", "no such file", "looked for at"),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_a_mistake_is_reported_with_place_path_words_and_advice(tmp_path: Path, name: str) -> None:
    """Every mistake says file, line, column, field, what is wrong and what to do (HR-02)."""
    text, place, path, message, advice = ROWS[name]

    issues = issues_in(tmp_path, text)

    assert len(issues) == 1, "\n".join(map(str, issues))
    issue = issues[0]
    assert (str(tmp_path / "llm.yaml"), place) == (issue.file, f"{issue.line}:{issue.column}"), str(issue)
    assert path == issue.path
    assert message in issue.message
    assert advice in (issue.suggestion or "")
    assert issue.suggestion or not advice


def test_the_table_is_long_enough_to_mean_something() -> None:
    """Sixty ways to be wrong at the least."""
    assert len(ROWS) >= 60
