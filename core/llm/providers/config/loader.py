"""From files, a mapping or a model to a validated configuration, or to the list of everything that is wrong.

    files and layers → environment overrides → ${…} → secrets → validation → rules across fields

Every step adds its complaints to one list and goes on with what is left, so that one run reports all mistakes. A place
that has been complained about is not complained about again by a later step.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from core.llm.common.exceptions import ConfigError, ConfigIssue
from core.llm.common.secrets import one_line, redact
from core.llm.providers.config.issues import MAX_ISSUES, located, validation_issues
from core.llm.providers.config.layers import mapping_root, read_layers
from core.llm.providers.config.migrations import migrate
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.providers.config.names import Finding
from core.llm.providers.config.overrides import apply_overrides
from core.llm.providers.config.resolving import ProviderTypes, TreeResolver
from core.llm.providers.config.sources import SourceReader
from core.llm.providers.config.tree import Node, dotted, find, from_data, plain
from core.llm.providers.config.tree import Path as TreePath
from core.llm.providers.config.validator import cross_check
from core.llm.routing.functions import RoutingFunctions

Source = Path | Mapping[str, Any] | LLMServiceConfig
_LONGEST_MESSAGE: Final = 500
_TEXT_ERRORS: Final = frozenset({"string_type", "model_type", "model_attributes_type"})


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A valid configuration and where it came from."""

    config: LLMServiceConfig
    tree: Node = field(repr=False)
    disabled: Mapping[str, str]
    """Providers that are configured and off, with the reason."""
    warnings: tuple[ConfigIssue, ...]


class SourcesMoving(Exception):
    """A file changed while the files were being read."""


def load_config(
    source: Source, env: Mapping[str, str], types: ProviderTypes, *, environment: str | None = None
) -> LoadedConfig:
    """Load *source* once.

    Raises:
        ConfigError: with every issue that was found.
        SourcesMoving: a file changed meanwhile; try again.
    """
    return load_with(SourceReader(), source, env, types, environment=environment)


def load_with(
    reader: SourceReader,
    source: Source,
    env: Mapping[str, str],
    types: ProviderTypes,
    *,
    environment: str | None = None,
) -> LoadedConfig:
    """Like `load_config`; *reader* tells afterwards what was read, whether or not it was any good."""
    issues: list[ConfigIssue] = []
    if isinstance(source, LLMServiceConfig):
        tree: Node | None = from_data(_unwrapped(source), literal=True)
    elif isinstance(source, Path):
        tree = read_layers(source, environment, reader, issues)
    else:
        tree = from_data(mapping_root(source))
    resolver = TreeResolver(reader, env, types, issues)
    loaded = None
    if tree is not None and isinstance(tree.value, dict):
        overridden = tree if isinstance(source, LLMServiceConfig) else apply_overrides(tree, env, issues)
        loaded = _Loading(resolver, types.functions, issues).load(overridden)
    if reader.moved:
        raise SourcesMoving
    if loaded is None or any(issue.severity == "error" for issue in issues):
        raise ConfigError(_ordered(issues, resolver.secrets)) from None
    return loaded


def _unwrapped(value: Any) -> Any:
    """Models as the fields that were set, so that each provider is validated by its own class."""
    if isinstance(value, BaseModel):
        return {name: _unwrapped(getattr(value, name)) for name in value.model_fields_set}
    if isinstance(value, Mapping):
        return {name: _unwrapped(entry) for name, entry in value.items()}
    return [_unwrapped(entry) for entry in value] if isinstance(value, list | tuple) else value


def _scrubbed(issue: ConfigIssue, secrets: Iterable[str]) -> ConfigIssue:
    """Messages repeat names; secrets and what looks like one are taken out, line breaks are escaped."""
    advice = one_line(redact(issue.suggestion, *secrets), _LONGEST_MESSAGE) if issue.suggestion else None
    return replace(issue, message=one_line(redact(issue.message, *secrets), _LONGEST_MESSAGE), suggestion=advice)


def _ordered(issues: Iterable[ConfigIssue], secrets: Iterable[str]) -> list[ConfigIssue]:
    """The errors in the order of the file, as many as anybody reads."""
    errors = [issue for issue in issues if issue.severity == "error"]
    errors.sort(key=lambda issue: (issue.file or "", issue.line or 0, issue.column or 0))
    return [_scrubbed(issue, secrets) for issue in errors[:MAX_ISSUES]]


class _Loading:
    """One run over one tree."""

    def __init__(self, resolver: TreeResolver, functions: RoutingFunctions, issues: list[ConfigIssue]) -> None:
        self._resolver = resolver
        self._functions = functions
        self._issues = issues
        self._disabled = resolver.disabled
        self._broken: set[str] = set()

    def load(self, tree: Node) -> LoadedConfig | None:
        """A valid configuration of what is right in *tree*; None where too little is."""
        migrate(tree, self._issues)
        providers = find(tree, ("providers",))
        entries: dict[str, Node] = providers.value if providers and isinstance(providers.value, dict) else {}
        self._resolver.resolve(tree, entries)
        self._broken.update(issue.path for issue in self._issues if issue.severity == "error")
        instances = {name: self._provider(name, node) for name, node in entries.items()}
        config = self._service(tree, {name: item for name, item in instances.items() if item is not None})
        if config is None:
            return None
        names = frozenset(entries)
        for finding in islice(cross_check(config, names, self._functions), MAX_ISSUES):
            self._add(tree, finding)
        self._resolver.forget_secrets(tree, entries)
        secrets = self._resolver.secrets
        warnings = tuple(_scrubbed(issue, secrets) for issue in self._issues if issue.severity == "warning")
        return LoadedConfig(config, tree, dict(sorted(self._disabled.items())), warnings)

    def _add(self, tree: Node, finding: Finding) -> None:
        """Complain, unless something at, above or below the place has been complained about."""
        path, node, complete = located(tree, finding.path)
        # A shorthand is the scalar itself; what is not there at all is shown where it would stand.
        path = path if complete or not isinstance(node.value, dict) else finding.path
        text = dotted(path)
        if any(text == other or _within(text, other) or _within(other, text) for other in self._broken if other):
            return
        origin = node.at if not finding.at_key and (complete or not isinstance(node.value, dict)) else node.key_origin
        self._issues.append(origin.issue(finding.message, path, suggestion=finding.advice, warning=finding.warning))

    def _provider(self, name: str, node: Node) -> ProviderConfig | None:
        found = self._resolver.classes.get(name)
        if found is None or not isinstance(node.value, dict):
            return None
        models = node.value.get("models")
        for index, item in enumerate(models.value if models is not None and isinstance(models.value, list) else ()):
            path: TreePath = ("providers", name, "models", index)
            if not isinstance(item.value, str) and dotted(path) not in self._broken:
                self._issues.append(item.at.issue("must be text", path, suggestion="quote this value"))
                self._broken.add(dotted(path))
        kind = node.value.get("type")
        config: ProviderConfig | None = self._validated(
            found, node, ("providers", name), {} if kind else {"type": name}
        )
        if config is None:
            return None
        if not config.enabled:
            self._disabled[name] = "enabled: false"
        elif config.key_needed and not config.api_key and not config.api_keys and not config.headers:
            self._disabled.setdefault(name, "it has no api_key")
        off = name in self._disabled and config.enabled
        return config.model_copy(update={"enabled": False}) if off else config

    def _service(self, tree: Node, providers: Mapping[str, ProviderConfig]) -> LLMServiceConfig | None:
        """Everything but the providers, together with them."""
        rest = Node({key: node for key, node in tree.value.items() if key != "providers"}, tree.at)
        entry = tree.value.get("providers")
        if entry is not None and entry.value is not None and not isinstance(entry.value, dict):
            self._issues.append(
                entry.at.issue("must be a mapping", ("providers",), suggestion="write one key per provider")
            )
        config: LLMServiceConfig | None = self._validated(LLMServiceConfig, rest, (), {"providers": providers})
        return config

    def _validated(self, model: Any, tree: Node, prefix: TreePath, more: Mapping[str, Any]) -> Any:
        """An instance of *model* without whatever is wrong, which is reported; None where nothing is left."""
        data = tree
        for attempt in range(8):
            try:
                return model.model_validate({**plain(data), **more})
            except ValidationError as error:
                if attempt == 0 and self._as_text(error, data):
                    continue
                found = validation_issues(error, data, model, prefix)
                wrong = {*self._broken, *(issue.path for issue in found)}
                for issue in found:
                    # What misses something that was taken out because it is wrong says nothing new.
                    told = any(_within(other, issue.path) for other in wrong)
                    if not told and not any(issue.path == o or _within(issue.path, o) for o in self._broken):
                        self._issues.append(issue)
                        self._broken.add(issue.path)
                data = _without(data, error)
        return None

    @staticmethod
    def _as_text(error: ValidationError, tree: Node) -> bool:
        """Give fields that want text the text of a substituted value; True where that may have helped."""
        helped = False
        for detail in error.errors(include_input=False, include_url=False, include_context=False):
            _, node, _ = located(tree, detail["loc"])
            if node.text is not None and detail["type"] in _TEXT_ERRORS:
                node.value, node.text, helped = node.text, None, True
        return helped


def _within(path: str, parent: str) -> bool:
    return path.startswith((f"{parent}.", f"{parent}["))


def _without(tree: Node, error: ValidationError) -> Node:
    """A copy of *tree* without the entries that *error* is about."""
    gone: set[TreePath] = set()
    for detail in error.errors(include_input=False, include_url=False, include_context=False):
        gone.add(located(tree, detail["loc"])[0])

    def keep(node: Node, path: TreePath) -> Node:
        if isinstance(node.value, dict):
            kept = {k: keep(child, (*path, k)) for k, child in node.value.items() if (*path, k) not in gone}
            return Node(kept, node.at, node.key_at)
        if isinstance(node.value, list):
            items = [keep(child, (*path, i)) for i, child in enumerate(node.value) if (*path, i) not in gone]
            return Node(items, node.at, node.key_at)
        return node

    return keep(tree, ())
