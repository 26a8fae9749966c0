"""Ctrl-C while a command waits for work that others do: one line says what goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cprqueue.errors import CprqueueError


class Interrupted(CprqueueError):
    """The operator ended the waiting; the text says what goes on, and under which run."""

    exit_code = 130


@contextmanager
def interrupted(goes_on: Callable[[], str]) -> Iterator[None]:
    """Let Ctrl-C in the block end the command with the one line that ``goes_on`` returns.

    ``goes_on`` is called only then; it may withdraw the work first.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(goes_on()) from None


def run_goes_on(run_id: int, what: str = "run") -> str:
    """Return the line for work that the workers carry on with."""
    return f"stopped waiting: {what} {run_id} goes on: see `cprqueue history`"
