"""The base of all configuration classes: immutable, strict about keys, silent about values in errors."""

from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Final, NamedTuple, NoReturn

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator

from core.llm.providers.config.models.annotations import members


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


Tokens = Annotated[int, Field(gt=0, le=10**12)]
Price = Annotated[Decimal, Field(ge=0, le=10**9)]
"""Per million tokens. What is multiplied with tokens stays an amount that can be stored."""


class Also(NamedTuple):
    """What may stand in a place besides what its type says: a validator turns it into that."""

    kind: str
    """text, list, boolean or quantity."""
    words: str
    types: tuple[str, ...] = ("string",)
    """Its types in a JSON schema."""

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Either what the type says, or this."""
        return {"anyOf": [handler(core), *({"type": name} for name in self.types)]}


A_LIST: Final = Also("list", "a list", ("array",))


@cache
def _numbers(model: type[BaseModel]) -> frozenset[str]:
    """The fields of *model* that hold a number and nothing else."""
    fields = {name: set(members(info.annotation)) for name, info in model.model_fields.items()}
    return frozenset(name for name, kinds in fields.items() if kinds <= {int, float, Decimal})


class Frozen(BaseModel):
    """Base of all configuration: immutable, strict about keys, silent about values in errors."""

    # Built when the first configuration is validated, not when the library is imported.
    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False, defer_build=True
    )

    @model_validator(mode="before")
    @classmethod
    def _mean_what_is_written(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        # `retry:` with every line below it commented out is null: it means the defaults, as if it were not there.
        if None in data.values():
            data = {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}
        # `true` is no number, although it can be counted with: as text it is refused like any other.
        wrong = [name for name in _numbers(cls) if isinstance(data.get(name), bool)]
        return data if not wrong else {**data, **{name: str(data[name]).lower() for name in wrong}}

    def model_post_init(self, context: Any, /) -> None:  # noqa: ARG002 - the signature is pydantic's
        """Make the mappings inside as immutable as the model."""
        values = self.__dict__
        for name, value in values.items():
            if isinstance(value, dict | list):
                values[name] = _frozen(value)

    def __reduce__(self) -> Any:
        """Refuse to be pickled: configuration holds secrets."""
        raise TypeError(f"{type(self).__name__} is not picklable: configuration may hold secrets")


def own_defaults() -> Any:
    """A field that has the defaults of its class where nobody sets it.

    They are made when a configuration is: an object that stands in the class would be validated, and its class built,
    when the library is imported.
    """
    return Field(default={}, validate_default=True)
