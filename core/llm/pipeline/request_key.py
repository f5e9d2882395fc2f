"""What a request means, as a key: two requests have the same one only if they ask for the same thing. Pure.

Every field counts unless it is named here as one that changes nothing about the answer, so a field that is added later
counts by itself. What cannot be written down exactly (a link whose content may change, an object of the caller's own)
has no key.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from functools import lru_cache
from hashlib import blake2b
from struct import pack
from typing import Any, Final

from pydantic import BaseModel, SecretStr

from core.llm.common.messages import MediaPart
from core.llm.providers.base.request import LLMRequest
from core.llm.providers.config.models.aliases import AliasOptions
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.routing.strategies.registry import STRATEGIES

_SAME_ANSWER: Final = frozenset({"cache", "timeout", "cost_limit", "metadata"})
"""Fields of a request that say nothing about its answer."""
_ALIAS_SAME: Final = frozenset({"hedge", "shadow", "mid_stream", "limits"})
_PROVIDER_SAME: Final = frozenset(
    {
        "api_key",
        "api_keys",
        "timeouts",
        "rate_limits",
        "slow_calls",
        "max_retries",
        "proxy",
        "ca_file",
        "max_connections",
        "max_response_bytes",
    }
)
_NONE: Final[Mapping[str, tuple[str, ...]]] = {}
_ALL: Final = ""
"""Every key of the metadata: a function of the host's own chooses the model, and may look at any of them."""
_MEANING: Final = ("default_model", "fallback_chain", "parameter_policy")


class NoKey(Exception):
    """The value has no exact form."""


class RequestKeys:
    """Keys of the requests of one configuration: what its names stand for is a part of them."""

    __slots__ = ("_configuration", "_default", "_routed_by", "_tenant")

    def __init__(self, config: LLMServiceConfig) -> None:
        self._tenant = config.cache.tenant
        self._default = config.default_model or ""
        routed_by = {name: _routed_by(alias) for name, alias in config.models.items()}
        self._routed_by = {name: key for name, key in routed_by.items() if key is not None}
        aliases = {name: _but(alias, _ALIAS_SAME) for name, alias in config.models.items()}
        providers = {name: _but(provider, _PROVIDER_SAME) for name, provider in config.providers.items()}
        found: list[bytes] = []
        _write([aliases, providers, *(getattr(config, name) for name in _MEANING)], found, exact=False)
        self._configuration = _digest(found)

    def key(self, request: LLMRequest, form: str = "", swapped: Mapping[str, tuple[str, ...]] = _NONE) -> str | None:
        """The key of *request*; `None` where its answer must not be shared.

        *form* is what else tells answers apart; *swapped* are the aliases that mean other models than is written.
        """
        written = [self._configuration, form.encode()]
        try:
            if swapped:
                _write(swapped, written, exact=True)
            if self._tenant is not None:
                tenant = request.metadata.get(self._tenant)
                if tenant is None:
                    return None
                _write(tenant, written, exact=True)
            if self._routed_by:
                self._write_what_routes(request, written)
            for name in LLMRequest.model_fields:
                if name not in _SAME_ANSWER:
                    value = getattr(request, name)
                    if value is not None:
                        written.append(name.encode())
                        _write(value, written, exact=True)
        except (NoKey, RecursionError):
            return None
        return _digest(written).hex()

    def _write_what_routes(self, request: LLMRequest, written: list[bytes]) -> None:
        """What of the metadata decides which model answers."""
        key = self._routed_by.get(request.model or self._default)
        if key is not None and request.provider is None:
            _write(request.metadata if key == _ALL else request.metadata.get(key), written, exact=True)


def _routed_by(alias: AliasOptions) -> str | None:
    """The key of the metadata that decides which model of *alias* answers; `None` where none does."""
    if alias.classifier is not None or alias.strategy not in STRATEGIES:
        return _ALL
    return None if alias.sticky_by in {None, "user", "prompt"} else alias.sticky_by


def _digest(written: Sequence[bytes]) -> bytes:
    # With all lengths before them no piece can be taken for a part of another.
    lengths = pack(f">{len(written) + 1}Q", len(written), *map(len, written))
    return blake2b(lengths + b"".join(written), digest_size=24).digest()


def _but(options: BaseModel, left_out: AbstractSet[str]) -> dict[str, Any]:
    return {name: getattr(options, name) for name in type(options).model_fields if name not in left_out}


def _write(value: Any, into: list[bytes], *, exact: bool) -> None:
    """Append *value* in a form that no other value has. The order in a mapping counts: models read it."""
    kind = value.__class__
    if kind is str:
        into.append(b"s")
        into.append(value.encode("utf-8", "surrogatepass"))
    elif value is None or kind is bool:
        into.append(b"%r" % value)
    elif kind is int:
        into.append(b"i%d" % value)
    elif kind is float:
        into.append(b"f" + pack(">d", value))
    elif kind is bytes:
        into.append(b"b")
        into.append(value)
    elif kind is tuple or kind is list:
        into.append(b"l%d" % len(value))
        for item in value:
            _write(item, into, exact=exact)
    elif isinstance(value, MediaPart) and value.data is None:
        raise NoKey("what a link or a path leads to may change")
    # In this order: whether something is a mapping takes as long to find out as a message to write.
    elif is_dataclass(value) and not isinstance(value, type):
        into.append(b"d" + kind.__qualname__.encode())
        for name in _names(kind):
            _write(getattr(value, name), into, exact=exact)
    elif isinstance(value, Mapping):
        into.append(b"m%d" % len(value))
        for key, item in value.items():
            _write(key, into, exact=exact)
            _write(item, into, exact=exact)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        into.append(b"l%d" % len(value))
        for item in value:
            _write(item, into, exact=exact)
    elif isinstance(value, type):
        into.append(f"t{value.__module__}.{value.__qualname__}".encode())
    elif exact:
        raise NoKey(f"a {kind.__name__} has no exact form")
    else:
        _write_setting(value, into)


def _write_setting(value: Any, into: list[bytes]) -> None:
    if isinstance(value, BaseModel):
        _write(_but(value, frozenset()), into, exact=False)
    elif isinstance(value, SecretStr):
        _write(value.get_secret_value(), into, exact=False)
    elif isinstance(value, AbstractSet):
        into.append(b"u%d" % len(value))
        into.extend(sorted(repr(item).encode() for item in value))
    else:
        into.append(f"r{type(value).__qualname__}{value!r}".encode())


@lru_cache(maxsize=64)
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))
