"""The signals that end a supervisor, and the one that does not: a terminal that was closed."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextlib.contextmanager
def caught(end: Callable[[], None]) -> Iterator[None]:
    """Call ``end``, in the main thread, for each signal in the block that asks for the end.

    A signal that was ignored (nohup, ``&``) stays ignored. SIGHUP counts where somebody sends
    it; when it comes because the terminal was closed, the work goes on without it.
    """
    here = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in _ENDING if here}
    had_terminal = _has_terminal()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP and had_terminal and not _has_terminal():
            return
        end()

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _has_terminal() -> bool:
    """Tell whether this process has a terminal that controls it, and that is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
