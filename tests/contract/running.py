"""Runs the contract on a provider without pytest, and tells which rules it breaks."""

import asyncio
import inspect
from collections.abc import Callable
from contextlib import suppress

from core.llm.providers.base.provider import BaseLLMProvider
from core.llm.testing import ContractUpstream, ProviderContract, SecretCanary


async def broken_rules(
    upstream: Callable[[], ContractUpstream],
    provider: Callable[[ContractUpstream], BaseLLMProvider],
    contract: type[ProviderContract] = ProviderContract,
) -> dict[str, str]:
    """Name and message of every check that fails."""
    case, broken = contract(), {}
    for name, check in inspect.getmembers(case, inspect.iscoroutinefunction):
        if not name.startswith("test_"):
            continue
        server, canary = upstream(), SecretCanary("sk-contract")
        under_test = provider(server)
        given = {"provider": under_test, "upstream": server, "canary": canary}
        try:
            async with asyncio.timeout(30):
                await check(**{key: given[key] for key in inspect.signature(check).parameters})
        except Exception as error:
            broken[name] = str(error)
        finally:
            with suppress(Exception):
                await under_test.close()
    return broken
