"""`ProviderModule`: what a host adds to its container."""

import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from injector import Binder, Module

if TYPE_CHECKING:
    from core.llm.common.clock import Clock
    from core.llm.common.guardrail import Guardrail
    from core.llm.providers.base.spec import ProviderSpec
    from core.llm.providers.config.models.service import LLMServiceConfig
    from core.llm.routing.strategies.contract import Classifier, Strategy


class ProviderModule(Module):
    """Binds `LLMService` and everything behind it, as singletons.

    Args:
        config: path of a YAML or TOML file, a mapping with the same keys, or an `LLMServiceConfig`.
        watch: follow edits of the file while the application runs.
        env: environment variables for `${NAME}` and `LLM__…`; `None` is the process's own environment.
        plugins: specifications of further provider types, which need no entry in `plugins.allow`.
        clock: source of time; tests pass a fake one.
        rng: source of randomness for routing and jitter; tests pass a seeded one.
        strategies: functions of your own that order candidates, by the name that an alias's `strategy` gives them.
        classifiers: functions of your own that name the class of a request, by the name that `classifier` gives them.
        guardrails: checks of requests and answers, the first outermost; see docs/guardrails.md.
    """

    def __init__(
        self,
        config: "str | Path | Mapping[str, Any] | LLMServiceConfig",
        *,
        watch: bool = True,
        env: Mapping[str, str] | None = None,
        plugins: Iterable["ProviderSpec"] = (),
        clock: "Clock | None" = None,
        rng: random.Random | None = None,
        strategies: "Mapping[str, Strategy] | None" = None,
        classifiers: "Mapping[str, Classifier] | None" = None,
        guardrails: Iterable["Guardrail"] = (),
    ) -> None:
        # Here the library is imported: a program that only names the module does not wait for it.
        from core.llm.bindings import Bindings  # noqa: PLC0415

        self._bindings = Bindings(
            config,
            watch=watch,
            env=env,
            plugins=plugins,
            clock=clock,
            rng=rng,
            strategies=strategies,
            classifiers=classifiers,
            guardrails=guardrails,
        )

    def configure(self, binder: Binder) -> None:
        """Bind everything; nothing is created."""
        binder.install(self._bindings)
