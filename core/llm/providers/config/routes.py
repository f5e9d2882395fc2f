"""What is wrong with how an alias chooses among its models: unknown functions, and options that do not go together."""

from collections.abc import Iterator
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
