"""What differs between two configurations: models compared field by field, secrets only as `changed`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, SecretBytes, SecretStr

from core.llm.common.secrets import one_line, redact
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.providers.config.tree import dotted

_SECRET_WORDS: Final = ("key", "token", "secret", "password", "credential", "authorization", "cookie")
_NAMED_BY_USERS: Final = ("providers", "models")
_NEEDS_RESTART: Final = (
    ("state",),
    ("audit",),
    ("reload", "enabled"),
    ("reload", "on_sighup"),
)

Steps = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class ConfigDiff:
    """The difference between two configurations."""

    changes: tuple[str, ...] = ()
    """One line each, `path: old → new`, secrets masked."""
    providers_added: frozenset[str] = frozenset()
    providers_removed: frozenset[str] = frozenset()
    providers_changed: frozenset[str] = frozenset()
    aliases_changed: frozenset[str] = frozenset()
    """Aliases that were added, removed or changed."""
    restart_required: tuple[str, ...] = ()
    """Paths whose new value takes effect at the next start only."""

    def __bool__(self) -> bool:
        return bool(self.changes)


def compare(old: LLMServiceConfig | None, new: LLMServiceConfig) -> ConfigDiff:
    """What *new* changes; everything is new where there is no *old*."""
    if old is None:
        return ConfigDiff(
            tuple(f"providers.{name}: added" for name in new.providers),
            providers_added=frozenset(new.providers),
            aliases_changed=frozenset(new.models),
        )
    lines = list(_compare(old, new, ()))
    before, after = old.providers.keys(), new.providers.keys()
    return ConfigDiff(
        tuple(f"{dotted(path)}: {text}" for path, text in lines),
        providers_added=frozenset(after - before),
        providers_removed=frozenset(before - after),
        providers_changed=frozenset(n for n in before & after if old.providers[n] != new.providers[n]),
        aliases_changed=frozenset(n for n in {*old.models, *new.models} if old.models.get(n) != new.models.get(n)),
        restart_required=tuple(
            dict.fromkeys(dotted(path) for path, _ in lines for start in _NEEDS_RESTART if path[: len(start)] == start)
        ),
    )


def _compare(old: Any, new: Any, path: Steps, *, ours: bool = True) -> Iterator[tuple[Steps, str]]:
    """The lines of what differs at *path*, whose last step is a name of *ours* or of the user's."""
    if isinstance(old, BaseModel) and isinstance(new, BaseModel):
        if type(old) is not type(new):
            yield path, f"{_kind(old)} → {_kind(new)}"
            return
        for name in type(new).model_fields:
            yield from _compare(getattr(old, name), getattr(new, name), (*path, name))
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            if key not in new:
                yield (*path, key), "removed"
            elif key not in old:
                yield (*path, key), "added"
            else:
                yield from _compare(old[key], new[key], (*path, key), ours=False)
    elif old != new:
        yield path, _change(old, new, path, ours=ours)


def _kind(config: BaseModel) -> str:
    return str(getattr(config, "type", "") or type(config).__name__)


def _change(old: Any, new: Any, path: Steps, *, ours: bool) -> str:
    counted = ours and all(isinstance(value, int | float | None) for value in (old, new))
    if _secret(old) or _secret(new) or (_names_a_secret(path) and not counted):
        return "changed" if old and new else ("set" if new else "removed")
    return f"{show(old)} → {show(new)}"


def _names_a_secret(path: Steps) -> bool:
    """Whether a step says so; what providers, models and aliases are called says nothing."""
    said = [str(step).lower() for before, step in zip(("", *path), path, strict=False) if before not in _NAMED_BY_USERS]
    return any(word in step for word in _SECRET_WORDS for step in said)


def _secret(value: Any) -> bool:
    if isinstance(value, SecretStr | SecretBytes):
        return True
    return isinstance(value, tuple) and any(_secret(item) for item in value)


def show(value: Any) -> str:
    """*value* as it may stand in a log line."""
    if isinstance(value, SecretStr | SecretBytes):
        return "***"
    if value is None:
        return "unset"
    if isinstance(value, tuple | list | frozenset):
        items = sorted(value) if isinstance(value, frozenset) else value
        return one_line(f"[{', '.join(show(item) for item in items)}]", 200)
    if isinstance(value, BaseModel):
        return one_line(
            redact(", ".join(f"{n}: {show(getattr(value, n))}" for n in sorted(value.model_fields_set))), 200
        )
    return one_line(redact(str(value)), 200)
