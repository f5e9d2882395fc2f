"""A call that is cancelled at any point leaves nothing behind, and the next call works."""

import asyncio

import pytest

from core.llm.common.wire import HttpCall
from core.llm.testing.wire_server import WireServer
from core.llm.testing.wire_steps import answer, stream
from core.llm.transport.http import HttpTransport
from core.llm.transport.http_options import HttpOptions
from tests.cancelling import CancelAt, outcome_of
from tests.unit.transport.conftest import limits, nothing_live


async def one_call(transport: HttpTransport, call: HttpCall) -> bytes:
    reply = await transport.send(call, limits())
    try:
        if call.streaming:
            return b"".join([piece async for piece in reply.chunks()])
        return await reply.read()
    finally:
        reply.close()


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("warm", [False, True], ids=["new-connection", "pooled-connection"])
async def test_cancelled_at_every_suspension_point(no_leaks, streaming, warm):
    """The pool has its slots back, no timer or attempt is left, and the task ends as cancelled."""
    call = HttpCall("POST", "/", b"{}", streaming=streaming)
    async with WireServer() as server:
        server.otherwise(stream([b"one", b"two", b"three"], gap=0.002) if streaming else answer(b"onetwothree"))
        for nth in range(200):
            transport = HttpTransport(HttpOptions(server.url, max_connections=1))
            if warm:
                await one_call(transport, call)
            sweep = CancelAt(one_call(transport, call), nth)
            outcome = await outcome_of(sweep)
            if sweep.hit:
                assert isinstance(outcome, asyncio.CancelledError)
            else:
                assert outcome == b"onetwothree"
            await nothing_live(transport)
            # One connection is all there is: the next call would hang if the cancelled one had kept it.
            assert await asyncio.wait_for(one_call(transport, call), 20) == b"onetwothree"
            await transport.close()
            if not sweep.hit:
                break
        else:
            pytest.fail("the call never came to its end")
        assert nth >= 1
