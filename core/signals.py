"""SIGINT and SIGTERM: the first one asks, the second one kills."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from core.exceptions import SignalsUnavailable

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_signals(wanted: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Call *wanted* on the event loop at the first SIGINT or SIGTERM.

    From then on the system's default action applies, so that a second signal ends the process at once, even when a
    component blocks the event loop. On leaving, the handlers of before are put back.

    Raises:
        SignalsUnavailable: this is not the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        raise SignalsUnavailable
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def first(number: signal.Signals) -> None:
        for each in STOP_SIGNALS:
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        wanted(number)

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, first, number)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            # None: installed by C code, which Python can neither see nor put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
