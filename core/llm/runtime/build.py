"""From a configuration to a runtime: unchanged providers are taken over, changed ones are built and started.

If anything fails, what was built for this attempt is closed again and the runtime in force is left as it was.
"""

import asyncio
from collections.abc import Mapping

from core.llm.common.exceptions import ConfigError, ConfigIssue, LLMError
from core.llm.common.log import log
from core.llm.factory.provider import LLMProviderFactory
from core.llm.providers.base.provider import BaseLLMProvider
from core.llm.providers.config.models.service import LLMServiceConfig
from core.llm.runtime.runtime import Runtime
from core.llm.runtime.state import RuntimeState

START_TIMEOUT = 10.0
"""Seconds a provider's `start` may take; it opens pools and loads no model."""


async def build_runtime(
    generation: int,
    config: LLMServiceConfig,
    disabled: Mapping[str, str],
    factory: LLMProviderFactory,
    state: RuntimeState,
    previous: Runtime | None,
) -> Runtime:
    """The runtime of *config*.

    Raises:
        ConfigError: a provider cannot be built or started; nothing is left behind.
    """
    providers: dict[str, BaseLLMProvider] = {}
    fresh: list[BaseLLMProvider] = []
    try:
        for name, options in config.providers.items():
            if name in disabled or not options.enabled:
                continue
            if previous is not None and previous.config.providers.get(name) == options and name in previous.providers:
                providers[name] = previous.providers[name]
                continue
            provider = _create(factory, name, config)
            fresh.append(provider)
            await _start(provider, name)
            providers[name] = provider
        off = {name: "enabled: false" for name, options in config.providers.items() if not options.enabled}
        return Runtime(generation, config, providers, {**off, **disabled}, state)
    except BaseException:
        for provider in reversed(fresh):
            await discard(provider)
        raise


async def discard(provider: BaseLLMProvider) -> None:
    """Close a provider that never came into use; whatever it raises is logged."""
    try:
        await provider.close()
    except Exception as error:  # noqa: BLE001 - what refused the configuration matters more, and the others must close
        log("WARNING", "provider {} raised {} while closing", provider.name, type(error).__name__)


def _create(factory: LLMProviderFactory, name: str, config: LLMServiceConfig) -> BaseLLMProvider:
    try:
        return factory.build(name, config.providers[name])
    except LLMError as error:
        raise ConfigError([ConfigIssue(str(error), f"providers.{name}")]) from None
    except Exception as error:  # noqa: BLE001 - whatever a provider raises refuses the edit, nothing else
        text = f"the provider cannot be built: {type(error).__name__} in its constructor"
        raise ConfigError([ConfigIssue(text, f"providers.{name}")]) from None


async def _start(provider: BaseLLMProvider, name: str) -> None:
    try:
        async with asyncio.timeout(START_TIMEOUT):
            await provider.start()
    except TimeoutError:
        text = f"the provider did not start within {START_TIMEOUT:g} s"
        raise ConfigError([ConfigIssue(text, f"providers.{name}")]) from None
    except ConfigError:
        raise
    except LLMError as error:
        raise ConfigError([ConfigIssue(str(error), f"providers.{name}")]) from None
    except Exception as error:  # noqa: BLE001 - whatever a provider raises refuses the edit, nothing else
        text = f"the provider cannot be started: {type(error).__name__}"
        raise ConfigError([ConfigIssue(text, f"providers.{name}")]) from None
