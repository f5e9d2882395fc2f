"""A host that makes calls until it is killed. Arguments: the server's URL, and the file of its ledger.

It prints `ready` with what it found in the ledger, then one line for each call that was answered.
"""

import asyncio
import json
import sys

from core.container import Container
from core.llm import LLMService, ProviderModule
from core.llm.accounting.ledger import UsageLedger


async def main() -> None:
    """Call for ever."""
    url, path = sys.argv[1:]
    provider = {"type": "openai_compatible", "base_url": url, "models": ["m"]}
    config = {
        "default_model": "p/m",
        "providers": {"p": provider},
        "state": {"backend": "sqlite", "path": path},
        "health_check": {"enabled": False},
        "logging": {"level": "ERROR"},
    }
    async with Container([ProviderModule({"llm_service": config}, watch=False, env={})]) as container:
        llm, ledger = container.get(LLMService), container.get(UsageLedger)
        rows = await ledger.rows(limit=100_000)
        print(json.dumps({"ready": len(rows), "open": sum(row.state == "open" for row in rows)}), flush=True)

        async def caller() -> None:
            while True:
                response = await llm.generate("go")
                print(json.dumps({"answered": response.trace.call_id}), flush=True)

        await asyncio.gather(*(caller() for _ in range(8)))


if __name__ == "__main__":
    asyncio.run(main())
