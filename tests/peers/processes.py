"""The real servers: started on free ports, waited for, and ended with everything they started."""

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

ROOT = Path(__file__).parents[2]
KEY = "sk-peers"
MODEL = "tiny"
LLAMA_SERVER = os.environ.get("CORE_LLM_LLAMA_SERVER") or shutil.which("llama-server")
"""A `llama-server` that was built as a router: packaged ones are."""


@asynccontextmanager
async def llama_server(folder: Path) -> AsyncIterator[str]:
    """llama.cpp's server; its address."""
    port_file = folder / "address"
    command = [sys.executable, str(Path(__file__).with_name("llama_server.py")), str(port_file), KEY]
    async with _running(command, folder / "llama.log", {"PYTHONPATH": str(ROOT)}) as process:
        while not port_file.exists():
            _still_alive(process, folder / "llama.log")
            await asyncio.sleep(0.05)
        address = port_file.read_text()
        await _answers(f"{address}/health", process, folder / "llama.log")
        yield address


@asynccontextmanager
async def llama_router(folder: Path, *names: str) -> AsyncIterator[str]:
    """A `llama-server` in router mode over copies of the model that ships with the library; its address."""
    models = folder / "models"
    models.mkdir()
    for name in names:
        shutil.copy(ROOT / "core/llm/providers/llama_cpp/embedded/tiny-chat-q8_0.gguf", models / f"{name}.gguf")
    port = _free_port()
    command = [
        str(LLAMA_SERVER), "--models-dir", str(models), "--models-max", "2", "--host", "127.0.0.1", "--port",
        str(port), "--api-key", KEY, "-c", "1024", "-t", "1", "-np", "1", "--offline",
    ]  # fmt: skip
    async with _running(command, folder / "router.log", {}) as process:
        await _answers(f"http://127.0.0.1:{port}/health", process, folder / "router.log")
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def litellm_proxy(venv: Path, folder: Path, upstream: str) -> AsyncIterator[str]:
    """The LiteLLM proxy in front of *upstream*; its address."""
    config = folder / "litellm.yaml"
    config.write_text(
        f"model_list:\n  - model_name: {MODEL}\n"
        f"    litellm_params: {{model: openai/{MODEL}, api_base: '{upstream}/v1', api_key: {KEY}}}\n"
        f"litellm_settings: {{num_retries: 0}}\ngeneral_settings: {{master_key: {KEY}}}\n"
    )
    port = _free_port()
    command = [str(venv / "bin/litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    # The price list would be fetched from the network at every start.
    offline = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
    async with _running(command, folder / "litellm.log", offline) as process:
        await _answers(f"http://127.0.0.1:{port}/health/liveliness", process, folder / "litellm.log")
        yield f"http://127.0.0.1:{port}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def _running(
    command: Sequence[str], log: Path, environment: Mapping[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask first, then insist; the whole group, since the proxy has children."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is None:
            os.killpg(process.pid, sign)
            try:
                await asyncio.wait_for(process.wait(), 10)
            except TimeoutError:
                continue
    assert process.returncode is not None, f"process {process.pid} is still there"


async def _answers(url: str, process: asyncio.subprocess.Process, log: Path) -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        while True:
            _still_alive(process, log)
            try:
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.2)


def _still_alive(process: asyncio.subprocess.Process, log: Path) -> None:
    if process.returncode is not None:
        last = log.read_text(errors="replace")[-1500:]
        raise RuntimeError(f"the server ended with {process.returncode}; its last words:\n{last}")
