"""What is wrong with how an alias chooses among its models: unknown functions, and options that do not go together."""

from collections.abc import Iterator, Mapping
from typing import Final

from core.llm.providers.config.models.aliases import AliasOptions
from core.llm.providers.config.names import Finding
from core.llm.routing.functions import RoutingFunctions, UnknownFunction

_A_FUNCTION: Final = "name one of your functions, or `package.module:function`"


def route_findings(alias: AliasOptions, functions: RoutingFunctions) -> Iterator[Finding]:
    """Everything that is wrong with the routing of *alias*; imports the modules that it names."""
    try:
        functions.strategy(alias.strategy)
    except UnknownFunction as error:
        yield Finding(("strategy",), str(error), error.advice)
    if alias.strategy == "sticky" and alias.sticky_by is None:
        yield Finding(
            ("strategy",), "needs to know by what", "add `sticky_by: user`, `prompt`, or a key of the metadata"
        )
    if alias.strategy == "weighted":
        for kind, targets in alias.classes.items():
            if not any(target.weight for target in targets):
                yield Finding(("classes", kind), "every weight is zero", "give one of them a weight")
    yield from _without_effect(alias)
    if alias.classifier is None:
        if alias.classes:
            yield Finding(("classes",), "stands without a classifier", f"add `classifier`: {_A_FUNCTION}", at_key=True)
        return
    if not alias.classes:
        yield Finding(("classifier",), "stands without classes", "add `classes: {simple: …, complex: …}`", at_key=True)
    try:
        functions.classifier(alias.classifier)
    except UnknownFunction as error:
        yield Finding(("classifier",), str(error), error.advice)


def _without_effect(alias: AliasOptions) -> Iterator[Finding]:
    """Options that nobody looks at, because of what another one says. Somebody meant something by them."""
    looked_at = alias.strategy not in _WITHOUT_WEIGHTS or alias.sticky_by is not None
    if not looked_at and len(alias.use) > 1 and any(target.weight != 1 for target in alias.use):
        text = f"has weights, which the strategy `{alias.strategy}` does not look at"
        yield Finding(("use",), text, "add `strategy: weighted`, or take them out", warning=True)
    if "bandit" in alias.model_fields_set and alias.strategy != "bandit":
        yield Finding(("bandit",), "has no effect without `strategy: bandit`", "add it", warning=True, at_key=True)
    broken = alias.mid_stream
    for option, policies in _OF_POLICIES.items():
        if option in broken.model_fields_set and broken.policy not in policies:
            text = f"has no effect with the policy `{broken.policy}`"
            advice = f"choose {' or '.join(policies)}, or take it out"
            yield Finding(("mid_stream", option), text, advice, warning=True, at_key=True)
    if alias.hedge is not None and len(alias.use) == 1 and alias.fallback == () and not alias.classes:
        advice = "name a model of another provider under `fallback`, or take it out"
        yield Finding(("hedge",), "has nobody else to ask", advice, warning=True, at_key=True)


_WITHOUT_WEIGHTS: Final = frozenset(
    {"ordered", "round_robin", "latency", "first_token", "cost", "headroom", "prefer_loaded", "bandit"}
)
_OF_POLICIES: Final[Mapping[str, tuple[str, ...]]] = {
    "buffer_tokens": ("buffer",),
    "max_recoveries": ("restart", "continue"),
    "otherwise": ("continue",),
}
"""The policies under which an option of `mid_stream` means anything."""
