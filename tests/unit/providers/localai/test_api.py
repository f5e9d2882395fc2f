"""What LocalAI's own endpoints answer, in the shapes of its versions."""

import json

import pytest

from core.llm.common.clock import SystemClock
from core.llm.common.exceptions import ProviderError
from core.llm.providers.localai.api import LocalAIApi
from core.llm.providers.localai.config import LocalAIConfig
from core.llm.providers.openai_server import NativeApi


class Answers:
    """A transport that answers with one status and body."""

    headers = {"content-type": "application/json"}

    def __init__(self, body, status=200):
        self.status = status
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def send(self, call, limits):
        return self

    async def read(self):
        return self.body

    def close(self):
        """Nothing is open."""


def api(body, status=200):
    transport = Answers(body, status)
    return LocalAIApi(NativeApi(lambda: transport, SystemClock()))


@pytest.mark.parametrize(
    ("status", "state", "message"),
    [
        ({"processed": False, "progress": 12.5, "message": "processing"}, "running", "processing"),
        ({"processed": True, "progress": 100, "message": "completed", "error": None}, "done", "completed"),
        ({"processed": True, "message": "completed", "error": "disk full"}, "failed", "disk full"),
        ({"processed": True, "message": "error: no such model", "error": {}}, "failed", "error: no such model"),
        ({"processed": True, "message": "error: no such model"}, "failed", "error: no such model"),
        ({"processed": True, "message": "cancelled", "cancelled": True}, "failed", "it was cancelled on the server"),
        (
            {"processed": True, "message": "already being processed by another instance (op 1)"},
            "failed",
            "already being processed by another instance (op 1)",
        ),
    ],
)
async def test_a_job_is_done_only_when_it_says_so_without_an_error(status, state, message):
    """Older versions write an error as an empty object, or only in the message."""
    job = await api(status).job("1")

    assert (job.state, job.progress.message) == (state, message)


@pytest.mark.parametrize("body", [{}, {"processed": "yes"}, [], b"<html>"])
async def test_a_job_without_a_state_is_an_error(body):
    """Never taken for one that is done."""
    with pytest.raises(ProviderError):
        await api(body).job("1")


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (500, "backend m is not currently loaded"),
        (404, 'model "m" is not loaded on this instance'),
        (500, "model m not found"),
    ],
)
async def test_not_loaded_is_said_in_several_ways(status, message):
    """It is an answer, not an error."""
    body = {"error": {"code": status, "message": message, "type": ""}}

    assert await api(body, status).monitor("m") is None
    await api(body, status).shutdown("m")


async def test_a_backend_without_a_state_is_not_initialised():
    """The field is left out when it is zero."""
    seen = await api({"memory": {"total": 5}}).monitor("m")

    assert (seen.state, seen.memory_bytes) == (0, 5)


async def test_a_broken_server_is_not_an_unloaded_model():
    """The failure is told as one."""
    with pytest.raises(ProviderError, match="boom"):
        await api({"error": {"code": 500, "message": "boom", "type": ""}}, 500).monitor("m")


def test_the_address_has_a_default_port():
    """As the server has."""
    assert LocalAIConfig().base_url == "http://localhost:8080"
    assert LocalAIConfig(base_url="gpu-box").base_url == "http://gpu-box:8080"
