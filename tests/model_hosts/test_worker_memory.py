"""Memory of real worker processes: it runs out, and it comes back (F138, WK-08)."""

import gc

import psutil
import pytest

from core.llm.common.exceptions import ProviderError
from core.llm.providers.llama_cpp import local_model
from core.llm.testing import SCRIPTED
from tests.leaks import Resources, assert_nothing_left
from tests.residency.service import Served, llama

CYCLES = 50
GROWTH = 24 * 2**20
"""What the memory of this process may vary by; a loaded model takes more than that each time."""


@pytest.mark.leakcheck
async def test_a_worker_out_of_memory_is_not_asked_the_same_again_F138(monkeypatch):
    """It would end the next process as well; another candidate need not."""
    monkeypatch.setattr(local_model, "_ENGINE", "tests.model_hosts.starving_llama_worker")
    config = llama("a")
    config["providers"]["far"] = {"type": "scripted", "models": ["m"], "answers": ["from far"]}
    config["models"]["safe"] = {"use": "local/a", "fallback": ["far/m"]}
    config["retry"] = {"max_retries": 3, "initial_delay": "1ms"}
    async with Served(config, plugins=[SCRIPTED]) as served:
        with pytest.raises(ProviderError) as caught:
            await served.llm.generate("hi", model="local/a")
        assert (caught.value.code, caught.value.retryable) == ("out_of_memory", False)
        assert len(caught.value.trace.attempts) == 1
        answer = await served.llm.generate("hi", model="safe")
        assert answer.content == "from far"
        assert "failed to allocate" not in str(caught.value)


async def test_fifty_lives_of_a_model_leave_no_memory_descriptor_or_process_WK08():
    """Real loads with a call in between; what an unloaded model took is gone with its process."""
    async with Served(llama("a")) as served:
        for _ in range(3):  # what is imported and cached once is no growth
            await _life(served)
        gc.collect()
        before, held = psutil.Process().memory_info().rss, Resources.now()
        lived = [await _life(served) for _ in range(CYCLES)]
        await assert_nothing_left(held)
        gc.collect()
        grown = psutil.Process().memory_info().rss - before
        assert len(set(lived)) == CYCLES
        assert not any(process.is_running() for process in lived)
        assert grown < GROWTH, f"{CYCLES} loads and unloads have cost {grown / 2**20:.1f} MiB"


async def _life(served: Served) -> psutil.Process:
    """The process in which the model was: known by its start as well, since numbers are given again."""
    status = await served.models.load("local/a")
    process = psutil.Process(status.pid)
    await served.llm.generate("hi", model="local/a", max_tokens=2)
    await served.models.unload("local/a")
    return process
