"""A host with five secrets that takes every path with them, logging as much as can be logged.

Arguments: a folder to work in, and a file outside of it to write to at the end: the secrets, and where in the process
they were found. What it prints is for the test to search.
"""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from loguru import logger

from core.container import Container
from core.llm import (
    CallFinished,
    ConfigApplied,
    ConfigRejected,
    EventBus,
    LLMError,
    LLMProviderFactory,
    LLMService,
    ProviderConfigManager,
    ProviderModule,
)
from core.llm.runtime.swap import RuntimeHolder
from core.llm.testing import EventRecorder, SecretCanary, WireServer
from core.llm.testing.wire_dialects import openai_answer, openai_chunk, openai_error, openai_stream
from core.llm.testing.wire_steps import Head, Rst, Send, Stall, WireScript, answer, script, stream

# No vendor's key looks like this: nothing but knowing it can hide it.
NAMES = ("key", "header", "proxy", "file", "rotated")

CONFIG = """\
llm_service:
  default_model: acme/m
  retry: {{max_retries: 1, initial_delay: 1ms, max_delay: 2ms, max_retry_after: 1ms}}
  health_check: {{enabled: false}}
  reload: {{debounce: 20ms, poll_interval: 100ms}}
  logging: {{level: TRACE}}
  providers:
{acmes}
    filed: {{type: openai_compatible, base_url: '{url}/filed', api_key: {{file: key.txt}}, models: [m]}}
    proxied: {{type: openai_compatible, base_url: 'http://model.invalid/v1', proxy: "${{PROXY}}", models: [m]}}
    local: {{type: llama_cpp, models: {{tiny: embedded}}}}
"""

# One for each way to fail: a provider that has failed often or refused a key is asked no more.
ACME = """\
    {name}:
      type: openai_compatible
      base_url: {url}
      api_key: {key}
      models: [m]
      max_retries: 0
      timeouts: {timeouts}
      headers: {{x-tenant: "${{TENANT}}"}}
"""
FAILURES = ("unauthorised", "server_error", "error_page", "no_json", "redirect", "silence", "cut", "refused_midway")


class Journey:
    """Everything that is done with the secrets, and everything that came out of it."""

    def __init__(self, folder: Path, canaries: dict[str, SecretCanary], server: WireServer) -> None:
        self.folder = folder
        self.path = folder / "llm.yaml"
        self.canaries = canaries
        self.server = server
        self.found: dict[str, Any] = {}
        self.steps: list[str] = []

    def write(self, key: str = "${ACME_KEY}") -> None:
        """Save the configuration."""
        # Only silence is to be waited out; a machine may be slow with everything else.
        timeouts = {"silence": "{first_token: 150ms, total: 400ms}"}
        acmes = "".join(
            ACME.format(name=name, url=self.server.url, key=key, timeouts=timeouts.get(name, "{}"))
            for name in ("acme", *FAILURES)
        )
        self.path.write_text(CONFIG.format(acmes=acmes, url=self.server.url))

    async def call(self, name: str, wanted: str, call: Awaitable[Any]) -> None:
        """Do one step, which must end in an error of the type *wanted* or be answered."""
        try:
            self.found[name] = await call
            got = "answered"
        except LLMError as error:
            logger.opt(exception=error).error("{} failed: {}", name, error)
            logging.getLogger("host").exception("%s failed", name)
            self.found[name] = error
            got = getattr(error, "type", type(error).__name__)
        self.steps.append(f"{name}: {got}" + ("" if got == wanted else f" (expected {wanted})"))

    async def calls(self, llm: LLMService) -> None:
        """Answers and failures of every kind, whole and streamed."""
        # A server can quote what it was sent: what another one was sent it does not know.
        echo = " ".join(self.canaries[name].secret for name in ("key", "header"))
        repeats = {"x-echo": echo, "x-request-id": echo, "retry-after": echo}
        refused = answer(openai_error(f"Incorrect API key: {echo}", code=echo), 401, repeats)
        broken = WireScript(
            (
                Head(200, {"Content-Type": "text/event-stream", **repeats}),
                *map(Send, openai_stream("Hel lo")[:2]),
                Rst(),
            )
        )
        in_stream = stream([openai_chunk({"content": "Hel"}), b"data: " + openai_error(f"bad key {echo}") + b"\n\n"])
        scripts = {
            "unauthorised": (refused, "authentication"),
            "server_error": (answer(openai_error(echo), 500, repeats), "server_error"),
            "error_page": (answer(f"<html>{echo}</html>", 200, {"Content-Type": "text/html"}), "protocol"),
            "no_json": (answer('{"choices": [' + echo), "protocol"),
            "redirect": (answer("", 302, {"Location": f"http://x.invalid/?key={echo}"}), "protocol"),
            "silence": (script(Stall()), "timeout"),
        }
        self.server.otherwise(answer(openai_answer("fine")))
        await self.call("answer", "answered", llm.generate("hi"))
        self.server.otherwise(stream(openai_stream("fi ne")))
        await self.call("stream", "answered", _read(llm, "acme/m"))
        for name, (what, wanted) in scripts.items():
            self.server.otherwise(what)
            await self.call(f"{name}, streamed", wanted, _read(llm, f"{name}/m"))
            await self.call(name, wanted, llm.generate("hi", model=f"{name}/m"))
        self.server.otherwise(broken)
        await self.call("cut stream", "network_error", _read(llm, "cut/m"))
        self.server.otherwise(in_stream)
        await self.call("error in a stream", "server_error", _read(llm, "refused_midway/m"))
        self.server.otherwise(answer(openai_error(self.canaries["file"].secret), 401))
        await self.call("from a file", "authentication", llm.generate("hi", model="filed/m"))
        self.server.otherwise(answer("<html>proxy authentication required</html>", 407))
        await self.call("by a proxy", "network_error", llm.generate("hi", model="proxied/m"))

    async def edits(self, events: EventRecorder, manager: ProviderConfigManager) -> None:
        """Bad edits with the key on the broken line, then the key rotated in the YAML and in the file."""
        secret = self.canaries["rotated"].secret
        for broken in (f"{secret}: [", f"'{secret}'\n      {secret}", f"[{secret}]", f"x\n      api_kee: {secret}"):
            events.clear()
            self.write(broken)
            refused = await events.wait_for(ConfigRejected)
            self.found[f"refused {len(self.steps)}"] = refused
            self.found[f"check {len(self.steps)}"] = await manager.reload(dry_run=True)
            self.steps.append("refused")
        events.clear()
        self.write(f"'{secret}'")
        self.found["rotated"] = await events.wait_for(ConfigApplied)
        events.clear()
        (self.folder / "key.txt").write_text(secret)
        self.found["file rotated"] = await events.wait_for(ConfigApplied)
        self.steps.append("rotated")

    async def worker(self, llm: LLMService) -> None:
        """What the worker process was given, as anybody on the machine can read it."""
        await self.call("local", "answered", llm.generate("hello", model="local/tiny"))
        pid = (await llm.model_status("local/tiny")).pid
        for name in ("environ", "cmdline"):
            self.found[f"worker {name}"] = Path(f"/proc/{pid}/{name}").read_bytes()

    async def look_around(self, container: Container) -> None:
        """Everything that a host can ask for or print."""
        llm, manager = container.get(LLMService), container.get(ProviderConfigManager)
        factory, holder = container.get(LLMProviderFactory), container.get(RuntimeHolder)
        self.found |= {
            "explain": [llm.explain("hi"), str(llm.explain("hi", model="filed/m"))],
            "models": llm.get_available_models(),
            "status": [llm.get_provider_status(), manager.status],
            "origins": [
                manager.explain(f"providers.{path}") for path in ("acme.api_key", "filed.api_key", "proxied.proxy")
            ],
            "configuration": [repr(manager.current), str(manager.current), manager.current.model_dump_json()],
            "reprs": [repr(one) for one in (container, llm, manager, factory, holder, holder.current.__dict__)],
            "providers": [repr(vars(provider)) for name, provider in holder.current.providers.items()],
            "state": repr(vars(holder.current.state)),
            "bindings": [str(error) for error in container.check()],
        }

    def leaks(self) -> list[str]:
        """Where a secret was found."""
        return [
            f"{secret}: {name}: {leak}"
            for secret, canary in self.canaries.items()
            for name, thing in self.found.items()
            for leak in canary.find(thing)
        ]


async def _read(llm: LLMService, model: str) -> list[object]:
    async with llm.stream("hi", model=model) as events:
        return [event async for event in events]


async def main() -> None:
    """Take the journey, and leave what was found."""
    folder, result = Path(sys.argv[1]), Path(sys.argv[2])
    canaries = {name: SecretCanary(f"zq{name}") for name in NAMES}
    logging.basicConfig(level=0)
    logger.remove()
    for sink in (sys.stderr, folder / "host.log"):
        logger.add(sink, level=0, diagnose=True, backtrace=True, format="{message} {extra} {exception}")
    async with WireServer() as server:
        os.environ["ACME_KEY"], os.environ["TENANT"] = canaries["key"].secret, canaries["header"].secret
        password = canaries["proxy"].secret.replace("/", "%2F").replace("+", "%2B").replace("=", "%3D")
        os.environ["PROXY"] = f"http://user:{password}@127.0.0.1:{server.port}"
        (folder / "key.txt").write_text(canaries["file"].secret)
        journey = Journey(folder, canaries, server)
        journey.write()
        container = Container([ProviderModule(journey.path)])
        async with container:
            llm = container.get(LLMService)
            with EventRecorder(container.get(EventBus)) as events, EventRecorder(container.get(EventBus)) as everything:
                await journey.calls(llm)
                await journey.worker(llm)
                await journey.look_around(container)
                await journey.edits(events, container.get(ProviderConfigManager))
                await journey.look_around(container)
            journey.found["events"] = list(everything)
            journey.found["traces"] = [event.trace.describe() for event in everything.of(CallFinished)]
        journey.found["paths on the wire"] = [request.path for request in server.requests]
        sent = "".join(str(request.headers) for request in server.requests)
    # The journey's own files, which are where the secrets live.
    journey.path.unlink()
    (folder / "key.txt").unlink()
    facts = {
        "steps": journey.steps,
        "leaks": journey.leaks(),
        "forms": [form for canary in canaries.values() for form in canary._forms],
        "sent": [name for name, canary in canaries.items() if canary.secret in sent],
    }
    result.write_text(json.dumps(facts))


if __name__ == "__main__":
    asyncio.run(main(), debug=True)
