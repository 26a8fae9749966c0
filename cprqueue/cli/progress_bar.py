"""Show how far a sync is: live bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cprqueue.cli.console import clean, err, note
from cprqueue.domain.states import RunState
from cprqueue.services.reports.progress import SyncProgress
from cprqueue.services.reports.words import counted

LINE_EVERY_SECONDS = 10.0


class SyncDisplay:
    """Shows each ``SyncProgress`` that it is given, in a ``with`` block."""

    def __init__(self) -> None:
        self._live = _Bars() if err.is_terminal else _Lines()

    def show(self, current: SyncProgress) -> None:
        """Show the newest."""
        self._live.show(current)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()


class _Bars:
    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<9}"),
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[text]}", style="dim", markup=False),
            console=err,
        )
        self._fetch = self._progress.add_task("recorded", total=None, text="")
        self._push = self._progress.add_task("pushed", total=None, text="")

    def start(self) -> None:
        self._progress.start()

    def stop(self) -> None:
        self._progress.stop()

    def show(self, current: SyncProgress) -> None:
        sent = current.state in _SENT
        self._progress.update(
            self._fetch,
            total=current.emitted if sent else None,
            completed=current.recorded,
            text=_WAITING.get(current.state, ""),
        )
        all_active = current.in_sync + current.due + current.parked + current.held
        self._progress.update(
            self._push,
            total=all_active if sent else None,
            completed=current.in_sync + current.parked + current.held,
            text=clean(current.stopped) or _tail(current),
        )


class _Lines:
    def __init__(self) -> None:
        self._next = time.monotonic() + LINE_EVERY_SECONDS / 5
        self._last: SyncProgress | None = None
        self._printed: SyncProgress | None = None

    def start(self) -> None:
        pass

    def stop(self) -> None:
        if self._last is not None:
            self._print(self._last)

    def show(self, current: SyncProgress) -> None:
        self._last = current
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_EVERY_SECONDS
            self._print(current)

    def _print(self, current: SyncProgress) -> None:
        if current != self._printed:
            note(_line(current))
        self._printed = current


_SENT = (RunState.RECORDING, RunState.DONE)
_WAITING = {
    RunState.QUEUED: "waiting for the fetch worker",
    RunState.RUNNING: "asking RestorationManager",
    RunState.FAILED: "failed",
}


def _line(current: SyncProgress) -> str:
    emitted = current.emitted if current.state in _SENT else "?"
    return (
        f"run {current.run_id} {current.state}: {current.recorded} of {emitted} recorded, "
        f"{current.in_sync} in step, {current.due} due, {_tail(current)}"
    )


def _tail(current: SyncProgress) -> str:
    held = f"{current.held} held, " if current.held else ""
    return f"{current.parked} parked, {held}{counted(current.calls, 'call')}"
