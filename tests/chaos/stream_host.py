"""A host application with many open streams, as a process of its own.

Arguments: the configuration, then one model per stream. It writes JSON lines: `streaming` with the process ids of its
children once every stream has output, `stopping` when new calls are refused first, and `report` at its end.
"""

import asyncio
import json
import os
import sys
import threading
import time
from pathlib import Path

import psutil

from core.container import Container, ContainerState
from core.llm import LLMError, LLMService, ProviderError, ProviderModule, ServiceStopping

LOCAL_ENDLESS = {"local": {"ignore_eos": True}}


def tell(kind: str, **facts: object) -> None:
    """Write a line for the test that waits for it."""
    print(json.dumps({"kind": kind, **facts}), flush=True)


class Streams:
    """Every stream's delivered text and end."""

    def __init__(self, llm: LLMService, models: list[str]) -> None:
        self.llm = llm
        self.models = models
        self.delivered = 0
        self.begun = 0
        self.outcomes: list[dict[str, object]] = []
        self.cut_at = 0.0

    async def one(self, model: str) -> None:
        text = ""
        seen = False
        outcome: dict[str, object] = {"model": model}
        try:
            async with self.llm.stream("go", model=model, extra=LOCAL_ENDLESS) as stream:
                async for event in stream:
                    text += event.text
                    if event.text and not seen:
                        seen = True
                        self.begun += 1
                outcome["finish"] = str((await stream.response()).finish_reason)
        except ProviderError as error:
            outcome |= {"error": error.type, "code": error.code, "message": str(error), "retryable": error.retryable}
            outcome["partial"] = error.partial.text if error.partial else None
            self.cut_at = time.monotonic()
        self.outcomes.append({**outcome, "text": text})

    async def probe(self) -> list[dict[str, str]]:
        """Make new calls until one is refused; then try every other way to call."""
        while True:
            try:
                self.llm.explain("x")
                stream = self.llm.stream("go")
                await stream.open()
                await stream.aclose()
            except ServiceStopping as error:
                refused = [{"type": type(error).__name__, "message": str(error)}]
                break
            except ProviderError:
                pass  # admitted at the last moment, and cut with the others
            await asyncio.sleep(0.02)
        tell("stopping", message=refused[0]["message"])
        for call in (
            self.llm.generate("go"),
            self.llm.embed("go"),
            self.llm.count_tokens("go"),
            anext(self.llm.stream_generate("go")),
        ):
            try:
                await call
            except LLMError as error:
                refused.append({"type": type(error).__name__, "message": str(error)})
        return refused


def sockets() -> list[object]:
    """The network sockets of this process that are not closed."""
    return [str(one) for one in psutil.Process().net_connections(kind="inet")]


def what_is_left() -> dict[str, list[object]]:
    """What the container could have left behind; sockets are closed a turn of the loop after their transports."""
    return {
        "tasks": [str(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()],
        "threads": [
            t.name for t in threading.enumerate() if t.name != "MainThread" and not t.name.startswith("asyncio_")
        ],
        "sockets": sockets(),
        "children": [child.pid for child in psutil.Process().children(recursive=True)],
    }


async def main() -> int:
    """Run the container, stream, and report what is left when it has stopped."""
    container = Container([ProviderModule(Path(sys.argv[1]))])
    running = asyncio.create_task(container.run())
    while container.state is not ContainerState.STARTED:
        await asyncio.sleep(0.005)
    llm = container.get(LLMService)
    streams = Streams(llm, sys.argv[2:])
    tasks = [asyncio.create_task(streams.one(model)) for model in streams.models]
    while streams.begun < len(tasks):
        await asyncio.sleep(0.005)
    tell("streaming", children=[child.pid for child in psutil.Process().children(recursive=True)], pid=os.getpid())
    refused = await streams.probe()
    began = time.monotonic()
    code = await running
    stopped = time.monotonic()
    await asyncio.gather(*tasks)
    try:
        await llm.generate("go")
    except ServiceStopping as error:
        refused.append({"type": "after the stop", "message": str(error)})
    patience = time.monotonic() + 20
    while any((left := what_is_left()).values()) and time.monotonic() < patience:
        await asyncio.sleep(0.02)
    tell("report", outcomes=streams.outcomes, refused=refused, seconds=stopped - began, **left)
    return code


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
