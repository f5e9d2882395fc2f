"""Several files as one tree: includes below the file that names them, layers on top of each other.

Lowest first: the includes of a file, the file itself, its variant for the environment (`llm.production.yaml`), the
local one (`llm.local.yaml`). Mappings merge, lists and scalars replace, `null` removes what a lower layer said
(RFC 7396). A value remembers what it replaced.
"""

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from core.llm.common.exceptions import ConfigIssue
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.providers.config.sources import SourceReader, TooLarge
from core.llm.providers.config.tree import Node, Origin, printable_key

ROOT: Final = "llm_service"
MAX_INCLUDE_DEPTH: Final = 5


def merge(lower: Node | None, upper: Node) -> Node:
    """*upper* laid over *lower*."""
    if lower is None:
        return upper
    if not isinstance(lower.value, dict) or not isinstance(upper.value, dict):
        return replace(upper, under=lower, key_at=upper.key_at or lower.key_at)
    merged: dict[str, Node] = dict(lower.value)
    for key, node in upper.value.items():
        if node.value is None and key in merged:
            del merged[key]
        else:
            merged[key] = merge(merged.get(key), node)
    return replace(lower, value=merged)


def layer_paths(path: Path, environment: str | None) -> list[Path]:
    """The files that may lie on top of each other, lowest first, *path* included."""
    names = [path]
    for variant in (environment, "local"):
        if variant:
            layer = path.with_name(f"{path.stem}.{variant}{path.suffix}")
            if layer not in names:
                names.append(layer)
    return names


def read_layers(path: Path, environment: str | None, reader: SourceReader, issues: list[ConfigIssue]) -> Node | None:
    """The tree below `llm_service` of *path* and every layer and include; complaints are added to *issues*."""
    if environment and "/" in environment:
        advice = f"write a name such as production, which stands for {path.stem}.production{path.suffix} beside it"
        issues.append(Origin("LLM_ENV").issue("is a part of a file's name, so it holds no `/`", suggestion=advice))
        return None
    files = FileTrees(reader, issues)
    tree: Node | None = None
    for index, layer in enumerate(layer_paths(path, environment)):
        upper = files.service(layer, (), optional=index > 0)
        if upper is not None:
            tree = merge(tree, upper)
    return tree


class FileTrees:
    """Turns files into trees."""

    def __init__(self, reader: SourceReader, issues: list[ConfigIssue]) -> None:
        self._reader = reader
        self._issues = issues

    def service(self, path: Path, chain: tuple[Path, ...], *, optional: bool) -> Node | None:
        """What *path* and its includes say below `llm_service`."""
        root = self._parse(path, optional=optional)
        if root is None:
            return None
        if not isinstance(root.value, dict):
            self._complain(root.at, "a configuration file is a mapping", f"begin it with `{ROOT}:`")
            return None
        tree = self._includes(root, path, (*chain, path))
        self._check_root_keys(root, required=not chain and not optional and "include" not in root.value)
        own = root.value.get(ROOT)
        if own is None:
            return tree
        if own.value is None:
            own = replace(own, value={})
        if not isinstance(own.value, dict):
            self._complain(own.at, "must be a mapping", "write its keys indented below it", ROOT)
            return tree
        return merge(tree, own)

    def _complain(self, origin: Origin, message: str, suggestion: str | None = None, *path: str | int) -> None:
        self._issues.append(origin.issue(message, path, suggestion=suggestion))

    def _parse(self, path: Path, *, optional: bool) -> Node | None:
        name = str(path)
        try:
            data = self._reader.read(path)
        except TooLarge as problem:
            advice = "split it with `include`" if "larger" in str(problem) else "point at a text file"
            self._complain(Origin(name), f"the file {problem}", advice)
            return None
        except OSError as error:
            self._complain(Origin(name), f"cannot be read: {error.strerror}", "check its permissions")
            return None
        if data is None:
            if not optional:
                self._complain(Origin(name), "there is no such file", "check the path, or create it")
            return None
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = data[: error.start]
            line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
            self._complain(Origin(name, line, column), "not UTF-8 text", "save the file as UTF-8")
            return None
        if not text.strip():
            if not optional:
                self._complain(Origin(name, 1, 1), "the file is empty", f"begin it with `{ROOT}:`")
            return None
        found = len(self._issues)
        # What reads a language is imported with the first file in it, not with the library.
        if path.suffix == ".toml":
            from core.llm.providers.config.toml_tree import parse_toml  # noqa: PLC0415 - see above

            tree = parse_toml(text, name, self._issues)
        else:
            from core.llm.providers.config.yaml_tree import parse_yaml  # noqa: PLC0415 - see above

            tree = parse_yaml(text, name, self._issues)
        # Paths begin below the root key, here as everywhere.
        self._issues[found:] = [replace(i, path=i.path.removeprefix(f"{ROOT}.")) for i in self._issues[found:]]
        if tree is None and len(self._issues) == found and not optional:
            self._complain(Origin(name, 1, 1), "the file holds comments only", f"begin it with `{ROOT}:`")
        return tree

    def _check_root_keys(self, root: Node, *, required: bool) -> None:
        """Other root keys belong to the host, unless they are ours in the wrong place."""
        for key, node in root.value.items():
            if key in {ROOT, "include"}:
                continue
            if key in LLMServiceConfig.model_fields:
                self._complain(node.key_origin, "unknown key", f"indent it below `{ROOT}:`", key)
            elif close := get_close_matches(key, (ROOT, "include"), 1, 0.75):
                self._complain(node.key_origin, "unknown key", f"did you mean `{close[0]}`?", printable_key(key))
                required = False
        if required and ROOT not in root.value:
            self._complain(root.at, f"the key `{ROOT}` is missing", f"put everything below `{ROOT}:`")

    def _includes(self, root: Node, path: Path, chain: tuple[Path, ...]) -> Node | None:
        node: Node | None = root.value.get("include")
        if node is None or node.value is None:
            return None
        tree: Node | None = None
        for index, item in enumerate(node.value if isinstance(node.value, list) else [node]):
            where = ("include", index) if isinstance(node.value, list) else ("include",)
            if not isinstance(item.value, str):
                self._complain(item.at, "must be the name of a file", "quote it", *where)
                continue
            for included in self._matches(item, path, where):
                if included in chain:
                    names = " → ".join(str(step) for step in (*chain, included))
                    self._complain(item.at, f"includes itself: {names}", "remove one of these includes", *where)
                elif len(chain) > MAX_INCLUDE_DEPTH:
                    self._complain(item.at, f"included more than {MAX_INCLUDE_DEPTH} levels deep", None, *where)
                else:
                    upper = self.service(included, chain, optional=False)
                    tree = merge(tree, upper) if upper is not None else tree
        return tree

    def _matches(self, item: Node, path: Path, where: tuple[str | int, ...]) -> tuple[Path, ...]:
        pattern = Path(item.value)
        folder = pattern.parent if pattern.is_absolute() else path.parent / pattern.parent
        if not any(sign in item.value for sign in "*?["):
            target = folder / pattern.name
            if self._reader_has(target):
                return (target,)
            self._complain(item.at, "there is no such file", f"it was looked for at {target}", *where)
            return ()
        if any(sign in str(pattern.parent) for sign in "*?["):
            self._complain(item.at, "only the last part of an include may be a pattern", "list the folders", *where)
            return ()
        return self._reader.glob(folder, pattern.name)

    def _reader_has(self, path: Path) -> bool:
        try:
            return self._reader.read(path) is not None
        except (OSError, TooLarge):
            # Reading it again as a source says what is wrong with it.
            return True


def mapping_root(data: Mapping[str, object]) -> Mapping[str, object]:
    """What stands below `llm_service` in *data*, which may leave that key out."""
    inner = data.get(ROOT)
    return inner if isinstance(inner, Mapping) else data
