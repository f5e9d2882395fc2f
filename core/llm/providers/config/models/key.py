"""A key of a pool: text, or text with a share of the calls."""

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, SecretStr

from core.llm.providers.config.models.frozen import Also, Frozen


class WeightedKey(Frozen):
    """One key of a pool, and how many calls it gets compared with the others."""

    is_secret_itself: ClassVar[bool] = True
    """In the file the key alone may stand in the place of the mapping."""

    key: SecretStr = Field(description="The credential.")
    weight: int = Field(default=1, ge=1, le=1000, description="Its share of the calls, beside the other keys.")

    def get_secret_value(self) -> str:
        """The key."""
        return self.key.get_secret_value()


def _key_from(value: object) -> Any:
    return {"key": value} if isinstance(value, str | SecretStr) else value


PooledKey = Annotated[
    WeightedKey, BeforeValidator(_key_from, json_schema_input_type=str | WeightedKey), Also("text", "text")
]
