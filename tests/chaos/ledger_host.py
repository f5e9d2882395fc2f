"""A host application that keeps a ledger in a file and calls without end, as a process of its own.

Arguments: the address of an OpenAI-compatible server and the file. It writes `acknowledged` for each answer.
"""

import asyncio
import itertools
import os
import sys

from core.container import Container
from core.llm import LLMService, ProviderModule, UsageLedger
from tests.chaos.stream_host import tell


async def main(url: str, path: str) -> None:
    """Eight callers, each one call after the other; every fourth is a stream."""
    config = {
        "default_model": "far/m",
        "providers": {
            "far": {
                "type": "openai_compatible",
                "base_url": url,
                "models": {"m": {"price": {"input": 1, "output": 2}}},
            }
        },
        "state": {"backend": "sqlite", "path": path},
    }
    numbers = itertools.count()
    async with Container([ProviderModule({"llm_service": config})]) as container:
        llm = container.get(LLMService)
        tell("ready", rows=len(await container.get(UsageLedger).rows()))

        async def caller() -> None:
            while True:
                number = next(numbers)
                user = f"{os.getpid()}-{number}"
                if number % 4:
                    response = await llm.generate("one two", user=user)
                else:
                    async with llm.stream("one two", user=user) as stream:
                        response = await stream.response()
                assert response.trace is not None
                tell("acknowledged", call=response.trace.call_id, user=user)

        await asyncio.gather(*(caller() for _ in range(8)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
