"""Reads the packaged tables, each once and only when somebody asks."""

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any, Final, cast

from pydantic_core import from_json

from core.llm.common.types import Capability, ModelFacts, Price

_SEPARATORS = "-:@"
_SAME_MODEL: Final = re.compile(r"[-@:](latest|default|v?[0-9]+([-.][0-9]+)*|(preview|exp|experimental)([-.0-9].*)?)")


@cache
def table(name: str) -> Mapping[str, Any]:
    """The packaged table *name*, as it stands in its file."""
    loaded: Mapping[str, Any] = from_json((files("core.llm.data") / f"{name}.json").read_bytes())
    return loaded


def model_facts(name: str, model: str) -> ModelFacts:
    """What table *name* says about *model*: the row of that name, else of the longest name it is a variant of.

    A variant adds a date or a suffix (`gpt-4.1-mini-2025-04-14`). One that is more than another date of the same model
    (`-pro`, `-lite`) costs something else: it has no price. Unknown models have empty facts.
    """
    rows = table(name)["models"]
    row = rows.get(model)
    if row is None:
        base = max(
            (known for known in rows if model.startswith(known) and model[len(known)] in _SEPARATORS),
            key=len,
            default=None,
        )
        row = rows[base] if base is not None else {}
        if base is not None and not _SAME_MODEL.fullmatch(model, len(base)):
            row = {key: value for key, value in row.items() if key != "price"}
    return facts_from_row(row, f"packaged {table(name)['dated']}")


def facts_from_row(row: Mapping[str, Any], source: str) -> ModelFacts:
    """One row as facts; prices are strings of dollars per million tokens, exact to the last digit."""
    prices = row.get("price")
    price = Price(**{bucket: Decimal(amount) for bucket, amount in prices.items()}, source=source) if prices else None
    return ModelFacts(
        context_window=row.get("context_window"),
        max_output_tokens=row.get("max_output_tokens"),
        capabilities=cast("frozenset[Capability]", frozenset(row.get("capabilities", ()))),
        price=price,
        quirks=row.get("quirks", {}),
    )
