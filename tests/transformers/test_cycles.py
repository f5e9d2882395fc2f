"""Twenty loads and unloads of a real model. Only where there is time for them: each imports torch."""

from collections.abc import Callable
from typing import Any

import psutil
import pytest

CYCLES = 20


@pytest.mark.timeout(600)
async def test_WK08_loads_and_unloads_leave_nothing(make_provider: Callable[..., Any]) -> None:
    """No process, no descriptor, no memory of the host."""
    provider = await make_provider()
    own = psutil.Process()
    lived = []
    for cycle in range(CYCLES):
        # By its start as well, since numbers are given again.
        lived.append(psutil.Process((await provider.load_model("tiny")).pid))
        await provider.unload_model("tiny")
        if cycle == 0:
            descriptors, memory = own.num_fds(), own.memory_info().rss

    assert not any(process.is_running() for process in lived)
    assert own.num_fds() <= descriptors + 2
    assert own.memory_info().rss < memory + 50 * 2**20
