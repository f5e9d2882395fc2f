"""From files, a mapping or a model to a validated configuration, or to the list of everything that is wrong.

    files and layers → environment overrides → ${…} → secrets → validation → rules across fields

Every step adds its complaints to one list and goes on with what is left, so that one run reports all mistakes. A place
that has been complained about is not complained about again by a later step.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from core.llm.common.exceptions import ConfigError, ConfigIssue
from core.llm.common.secrets import one_line, redact
from core.llm.providers.config.fields import is_secret, secret_nodes, secret_shape
from core.llm.providers.config.interpolation import BadSubstitution, UnsetVariable, substitute
from core.llm.providers.config.issues import MAX_ISSUES, located, suggest_name, validation_issues
from core.llm.providers.config.layers import mapping_root, read_layers
from core.llm.providers.config.migrations import migrate
from core.llm.providers.config.models import LLMServiceConfig, ProviderConfig
from core.llm.providers.config.names import Finding
from core.llm.providers.config.overrides import apply_overrides
from core.llm.providers.config.scalars import retyped
from core.llm.providers.config.secret_values import SecretReader
from core.llm.providers.config.sources import SourceReader
from core.llm.providers.config.tree import Node, dotted, find, from_data, plain, walk
from core.llm.providers.config.tree import Path as TreePath
from core.llm.providers.config.validator import cross_check

TypeResolver = Callable[[str], type[ProviderConfig] | None]
"""The configuration class of a provider type; None where there is no such type."""

Source = Path | Mapping[str, Any] | LLMServiceConfig
_LONGEST_MESSAGE: Final = 500
_TEXT_ERRORS: Final = frozenset({"string_type", "model_type", "model_attributes_type"})


@dataclass(frozen=True, slots=True)
class ProviderTypes:
    """Which provider types there are."""

    resolve: TypeResolver
    known: Callable[[], Iterable[str]] = tuple
    """Their names, for messages."""


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
    loading = _Loading(reader, env, types, issues)
    loaded = None
    if tree is not None and isinstance(tree.value, dict):
        overridden = tree if isinstance(source, LLMServiceConfig) else apply_overrides(tree, env, issues)
        loaded = loading.load(overridden)
    if reader.moved:
        raise SourcesMoving
    if loaded is None or any(issue.severity == "error" for issue in issues):
        raise ConfigError(_ordered(issues, loading.secrets)) from None
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

    def __init__(
        self, reader: SourceReader, env: Mapping[str, str], types: ProviderTypes, issues: list[ConfigIssue]
    ) -> None:
        self._types = types
        self._env = env
        self._issues = issues
        self._secrets = SecretReader(env, reader, issues)
        self._classes: dict[str, type[ProviderConfig]] = {}
        self._disabled: dict[str, str] = {}
        self._broken: set[str] = set()

    @property
    def secrets(self) -> frozenset[str]:
        """Every secret that was seen."""
        return frozenset(self._secrets.known)

    def load(self, tree: Node) -> LoadedConfig | None:
        migrate(tree, self._issues)
        providers = find(tree, ("providers",))
        entries: dict[str, Node] = providers.value if providers and isinstance(providers.value, dict) else {}
        for name, node in entries.items():
            if node.value is None:
                node.value = {}
            self._resolve_type(name, node)
        self._interpolate(tree)
        self._resolve_secrets(tree, entries)
        self._broken.update(issue.path for issue in self._issues if issue.severity == "error")
        instances = {name: self._provider(name, node) for name, node in entries.items()}
        config = self._service(tree, {name: item for name, item in instances.items() if item is not None})
        if config is None:
            return None
        names = frozenset(entries)
        for finding in islice(cross_check(config, names), MAX_ISSUES):
            self._add(tree, finding)
        warnings = tuple(_scrubbed(issue, self.secrets) for issue in self._issues if issue.severity == "warning")
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

    def _resolve_type(self, name: str, node: Node) -> None:
        path: TreePath = ("providers", name)
        if not isinstance(node.value, dict):
            self._issues.append(
                node.at.issue("must be a mapping", path, suggestion="write `key: value` lines below it")
            )
            return
        given = node.value.get("type")
        if given is not None and given.value is None:
            given = None
        if given is not None:
            self._substitute(given, (*path, "type"), secret=False)
        kind = name if given is None else given.value
        if not isinstance(kind, str):
            return
        try:
            found = self._types.resolve(kind)
        except Exception as error:  # noqa: BLE001 - a plugin that cannot be imported switches itself off, nothing else
            self._disabled[name] = f"type {kind!r} cannot be imported: {type(error).__name__}"
            return
        if found is not None:
            self._classes[name] = found
            return
        known = tuple(self._types.known())
        where = node.key_origin if given is None else given.at
        advice = suggest_name(kind, known, "known types")
        if advice.startswith("did you mean"):
            advice += f" known types: {', '.join(sorted(known))}"
        missing = "" if given is not None else "; add `type: …` where the name is not the type"
        message = f"unknown provider type `{kind}`{missing}"
        self._issues.append(where.issue(message, (*path, "type"), suggestion=advice))

    def _interpolate(self, tree: Node) -> None:
        for path, node in walk(tree):
            if isinstance(node.value, str) and "$" in node.value and not node.literal:
                self._substitute(node, path, secret=self._is_secret(path))

    def _is_secret(self, path: TreePath) -> bool:
        if len(path) > 2 and path[0] == "providers":
            owner = self._classes.get(str(path[1]), ProviderConfig)
            return is_secret(owner, path[2:])
        return False

    def _substitute(self, node: Node, path: TreePath, *, secret: bool) -> None:
        try:
            result = substitute(node.value, self._env)
        except UnsetVariable as unset:
            if secret:
                self._secrets.unset[path] = str(unset)
                self._secrets.required.add(path)
                node.value = None
            else:
                advice = f"set {unset.name}, or give a default: ${{{unset.name}:-…}}"
                self._issues.append(node.at.issue(str(unset), path, suggestion=advice))
            return
        except BadSubstitution as bad:
            self._issues.append(node.at.issue(str(bad), path, suggestion="write ${NAME} or ${NAME:-default}"))
            return
        node.literal = True
        if secret and not result.text and result.variables:
            empty = "empty" if result.variables[0] in self._env else "not set"
            self._secrets.unset[path] = f"environment variable {result.variables[0]} is {empty}"
            if "" in result.values:
                self._secrets.required.add(path)
        value = retyped(result.text) if result.whole and node.plain else result.text
        node.value, node.text = value, None if isinstance(value, str) else result.text

    def _resolve_secrets(self, tree: Node, entries: Mapping[str, Node]) -> None:
        shape = secret_shape(LLMServiceConfig)
        for path, node in list(secret_nodes(tree, shape)):
            if path[0] != "providers":
                self._secrets.resolve(node, path)
        for name, node in entries.items():
            own = secret_shape(self._classes.get(name, ProviderConfig))
            for path, leaf in list(secret_nodes(node, own, ("providers", name))):
                self._secrets.resolve(leaf, path)
            self._drop_unset(name, node)
        for path, reason in self._secrets.unset.items():
            if path[0] != "providers":
                where = find(tree, path) or tree
                self._issues.append(where.at.issue(f"needs a value, but {reason}", path, suggestion="set it"))

    def _drop_unset(self, name: str, node: Node) -> None:
        """Take secrets that are not there out of the tree; without a key that it was given, a provider is off."""
        gone = {path: why for path, why in self._secrets.unset.items() if path[:2] == ("providers", name)}
        for path in sorted(gone, key=lambda path: str(path[-1]), reverse=True):
            parent, leaf = find(node, path[2:-1]), find(node, path[2:])
            if parent is None or leaf is None:
                continue
            if isinstance(parent.value, list):
                parent.value = [item for item in parent.value if item is not leaf]
            else:
                parent.value.pop(path[-1], None)
            emptied = isinstance(parent.value, list) and not parent.value
            if (
                path[2] == "api_key"
                or emptied
                or (path in self._secrets.required and not isinstance(parent.value, list))
            ):
                place = f"{leaf.at.layer}:{leaf.at.line}" if leaf.at.line else leaf.at.layer
                self._disabled.setdefault(name, f"{dotted(path[2:])} ({place}): {gone[path]}")

    def _provider(self, name: str, node: Node) -> ProviderConfig | None:
        found = self._classes.get(name)
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
        elif config.needs_key and not config.api_key and not config.api_keys and not config.headers:
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
                for issue in found:
                    if not any(issue.path == other or _within(issue.path, other) for other in self._broken):
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
