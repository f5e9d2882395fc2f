"""Which models an alias admits at all. What nobody knows about a model does not meet a condition."""

from core.llm.common.types import ModelFacts
from core.llm.providers.config.models.aliases import WhereOptions


def unmet(where: WhereOptions, facts: ModelFacts) -> str | None:
    """Why a model with *facts* is not admitted by *where*; `None` where it is."""
    for capability in where.capabilities:
        if capability not in facts.capabilities:
            known = "does not support" if facts.capabilities else "is not known to support"
            return f"it {known} {capability}"
    least = where.min_context_window
    if least is not None:
        window = facts.context_window
        if window is None:
            return "its context window is not known"
        if window < least:
            return f"its context window is {window}"
    longest = where.min_output_tokens
    if longest is not None:
        output = facts.max_output_tokens
        if output is None:
            return "the length of its answers is not known"
        if output < longest:
            return f"its answers have at most {output} tokens"
    return _too_dear(where, facts)


def _too_dear(where: WhereOptions, facts: ModelFacts) -> str | None:
    if where.max_input_price is None and where.max_output_price is None:
        return None
    price = facts.price
    if price is None:
        return "its price is not known"
    if where.max_input_price is not None and price.input > where.max_input_price:
        return f"its input costs {price.input}"
    if where.max_output_price is not None and price.output > where.max_output_price:
        return f"its output costs {price.output}"
    return None
