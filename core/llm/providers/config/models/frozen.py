"""The base of all configuration classes: immutable, strict about keys, silent about values in errors."""

from typing import Any, NoReturn

from pydantic import BaseModel, ConfigDict, model_validator


class FrozenDict(dict[Any, Any]):
    """A dict that cannot be changed: a published configuration is shared by every call."""

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("configuration is read-only: edit the file, or use ProviderConfigManager.replace()")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as a plain dict."""
        return (dict, (dict(self),))


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return FrozenDict({key: _frozen(entry) for key, entry in value.items()})
    if isinstance(value, list):
        return tuple(_frozen(entry) for entry in value)
    return value


class Frozen(BaseModel):
    """Base of all configuration: immutable, strict about keys, silent about values in errors."""

    # Built when the first configuration is validated, not when the library is imported.
    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False, defer_build=True
    )

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        # `retry:` with every line below it commented out is null: it means the defaults, as if it were not there.
        if isinstance(data, dict) and None in data.values():
            return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}
        return data

    def model_post_init(self, context: Any, /) -> None:  # noqa: ARG002 - the signature is pydantic's
        """Make the mappings inside as immutable as the model."""
        values = self.__dict__
        for name, value in values.items():
            if isinstance(value, dict | list):
                values[name] = _frozen(value)

    def __reduce__(self) -> Any:
        """Refuse to be pickled: configuration holds secrets."""
        raise TypeError(f"{type(self).__name__} is not picklable: configuration may hold secrets")
