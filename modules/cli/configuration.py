"""Commands about the configuration: `explain`, `check`, `schema`."""

import json
from argparse import Namespace

from core.container import Container
from core.llm import LLMProviderFactory, ProviderModule
from modules.cli.application import opened
from modules.cli.output import Output


async def explain(given: Namespace, output: Output) -> bool:
    """`core-llm explain [PROMPT] [--model NAME]`; fails where no candidate would be asked."""
    async with opened(given.config) as app:
        prompt = " ".join(given.prompt) or "hello"
        explanation = app.llm.explain(prompt, model=given.model, stream=given.stream)
        output.result(str(explanation))
        return explanation.first is not None


async def check(given: Namespace, output: Output) -> bool:
    """`core-llm check`. What is wrong with the configuration is raised as `ConfigError`."""
    async with opened(given.config) as app:
        wrong = app.container.check()
        for error in wrong:
            output.note(f"the container: {error}")
        state, config = app.manager.status, app.config
        for warning in state.warnings:
            output.note(f"{warning} (a warning)")
        models = sum(len(provider.models) for provider in config.providers.values())
        numbers = {"provider": len(config.providers), "model": models, "alias": len(config.models)}
        count = ", ".join(_many(number, name) for name, number in numbers.items())
        if not wrong:
            output.result(f"{given.config} can be used: {count}")
        for name, reason in state.disabled.items():
            output.result(f"  {name} is off: {reason}")
        return not wrong


async def schema(_given: Namespace, output: Output) -> bool:
    """`core-llm schema`. Reads no configuration: it is the same for all."""
    factory = Container([ProviderModule({}, watch=False)]).get(LLMProviderFactory)
    output.result(json.dumps(factory.config_schema(), indent=2, ensure_ascii=False, sort_keys=True))
    return True


def _many(number: int, name: str) -> str:
    plural = f"{name}es" if name.endswith("s") else f"{name}s"
    return f"{number} {name if number == 1 else plural}"
