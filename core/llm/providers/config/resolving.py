"""What stands behind the text of a tree: the types of its providers, the variables and secrets it refers to."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from core.llm.common.exceptions import ConfigIssue
from core.llm.common.secrets import MASK
from core.llm.providers.config.allowed import found
from core.llm.providers.config.fields import is_secret, secret_nodes, secret_shape
from core.llm.providers.config.interpolation import BadSubstitution, UnsetVariable, substitute
from core.llm.providers.config.issues import suggest_name
from core.llm.providers.config.models.provider import ProviderConfig
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.providers.config.plugin_types import AllowedPlugins, PluginLoader
from core.llm.providers.config.scalars import retyped
from core.llm.providers.config.secret_values import SecretReader
from core.llm.providers.config.sources import SourceReader
from core.llm.providers.config.tree import Node, dotted, find, walk
from core.llm.providers.config.tree import Path as TreePath
from core.llm.routing.functions import NO_FUNCTIONS, RoutingFunctions

TypeResolver = Callable[[str], type[ProviderConfig] | None]
"""The configuration class of a provider type; None where there is no such type."""


@dataclass(frozen=True, slots=True)
class ProviderTypes:
    """Which provider types there are."""

    resolve: TypeResolver
    known: Callable[[], Iterable[str]] = tuple
    """Their names, for messages."""
    plugins: PluginLoader = field(default_factory=PluginLoader)
    """What `plugins.allow` adds to them."""
    functions: RoutingFunctions = NO_FUNCTIONS
    """Strategies and classifiers of the host's own, which aliases may name."""


class TreeResolver:
    """Replaces every reference in one tree by what it refers to."""

    def __init__(
        self, reader: SourceReader, env: Mapping[str, str], types: ProviderTypes, issues: list[ConfigIssue]
    ) -> None:
        self._types = types
        self._env = env
        self._issues = issues
        self._secrets = SecretReader(env, reader, issues)
        self.classes: dict[str, type[ProviderConfig]] = {}
        """The configuration class of each provider whose type is known."""
        self.disabled: dict[str, str] = {}
        """Providers that cannot be used, with the reason."""
        self._plugins = AllowedPlugins()

    @property
    def secrets(self) -> frozenset[str]:
        """Every secret that was seen."""
        return frozenset(self._secrets.known)

    def resolve(self, tree: Node, entries: Mapping[str, Node]) -> None:
        """Resolve *tree* in place; *entries* are its providers."""
        self._allow_plugins(tree)
        for name, node in entries.items():
            if node.value is None:
                node.value = {}
            self._resolve_type(name, node)
        self._interpolate(tree)
        self._resolve_secrets(tree, entries)

    def forget_secrets(self, tree: Node, entries: Mapping[str, Node]) -> None:
        """Blank every secret in *tree*, which is kept to tell where values came from."""
        places = [*secret_nodes(tree, secret_shape(LLMServiceConfig))]
        for name, node in entries.items():
            places += secret_nodes(node, secret_shape(self.classes.get(name, ProviderConfig)), ("providers", name))
        for _, node in places:
            layer: Node | None = node
            while layer is not None:
                layer.value, layer.text, layer.secret = MASK, None, True
                layer = layer.under

    def _allow_plugins(self, tree: Node) -> None:
        """Load what stands in `plugins.allow`: the types of the providers beside it depend on that."""
        path: TreePath = ("plugins", "allow")
        listed = find(tree, path)
        places: dict[str, tuple[TreePath, Node]] = {}
        for index, item in enumerate(listed.value if listed is not None and isinstance(listed.value, list) else ()):
            if isinstance(item.value, str):
                if "$" in item.value and not item.literal:
                    self._substitute(item, (*path, index), secret=False)
                places.setdefault(str(item.value), ((*path, index), item))
        if not places:
            return
        self._plugins = self._types.plugins.allow(tuple(places))
        for name, reason in {**self._plugins.broken, **self._plugins.missing}.items():
            place, item = places[name]
            advice = "install its package" if name in self._plugins.missing else "its providers are off"
            message = f"the plugin `{name}` cannot be used: {reason}"
            self._issues.append(item.at.issue(message, place, suggestion=advice, warning=True))

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
        if given is not None and isinstance(given.value, str):
            self._substitute(given, (*path, "type"), secret=False)
        kind = name if given is None else given.value
        if not isinstance(kind, str):
            if given is not None and not any(issue.path == dotted((*path, "type")) for issue in self._issues):
                message = f"must be the name of a provider type, not {found(kind, secret=False)}"
                self._issues.append(given.at.issue(message, (*path, "type"), suggestion=self._advice("")))
            return
        if kind in self._plugins.broken:
            self.disabled[name] = f"the plugin `{kind}` cannot be used: {self._plugins.broken[kind]}"
            return
        try:
            owner = self._plugins.classes.get(kind) or self._types.resolve(kind)
        except Exception as error:  # noqa: BLE001 - a plugin that cannot be imported switches itself off, nothing else
            self.disabled[name] = f"type {kind!r} cannot be imported: {type(error).__name__}"
            return
        if owner is not None:
            self.classes[name] = owner
            return
        where = node.key_origin if given is None else given.at
        missing = "" if given is not None else "; add `type: …` where the name is not the type"
        message = f"unknown provider type `{kind}`{missing}"
        self._issues.append(where.issue(message, (*path, "type"), suggestion=self._advice(kind)))

    def _advice(self, kind: str) -> str:
        """What to do about the unknown type *kind*."""
        if kind in self._plugins.missing:
            return f"`plugins.allow` names it, but {self._plugins.missing[kind]}: install its package"
        package = self._types.plugins.offering(kind)
        if package is not None:
            return f"the installed package {package} offers it: add {kind} to `plugins.allow`"
        known = (*self._types.known(), *self._plugins.classes)
        advice = suggest_name(kind, known, "known types")
        return f"{advice} known types: {', '.join(sorted(known))}" if advice.startswith("did you mean") else advice

    def _interpolate(self, tree: Node) -> None:
        for path, node in walk(tree):
            if isinstance(node.value, str) and "$" in node.value and not node.literal:
                self._substitute(node, path, secret=self._is_secret(path))

    def _is_secret(self, path: TreePath) -> bool:
        if len(path) > 2 and path[0] == "providers":
            owner = self.classes.get(str(path[1]), ProviderConfig)
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
            own = secret_shape(self.classes.get(name, ProviderConfig))
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
        # Found before any is removed: removing one item of a list moves those after it.
        places = [(path, find(node, _whole(path)[2:-1]), find(node, _whole(path)[2:])) for path in gone]
        for path, parent, leaf in places:
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
                self.disabled.setdefault(name, f"{dotted(path[2:])} ({place}): {gone[path]}")


def _whole(path: TreePath) -> TreePath:
    """What goes with the secret at *path*: a key of a pool that is missing takes its weight with it."""
    return path[:-1] if path[-1] == "key" and isinstance(path[-2], int) else path
