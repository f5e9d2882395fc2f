"""Code of the user that may block, away from the event loop."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any


async def in_thread(work: Callable[[], Any], name: str) -> Any:
    """The result of *work*, done in a thread of its own that nobody has to wait for at the end of the program."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    def run() -> None:
        result: Any = None
        failure: Exception | None = None
        try:
            result = work()
        except StopIteration:  # as of a `next` that found nothing; no future takes it
            failure = RuntimeError("StopIteration")
        except Exception as error:  # noqa: BLE001 - it is raised where the result is wanted
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
