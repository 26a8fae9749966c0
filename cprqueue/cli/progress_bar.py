"""Shows how a sync comes along: live bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cprqueue.cli.console import err, note
from cprqueue.records import RunState
from cprqueue.services.progress import Progress as Look

LINE_EVERY_SECONDS = 10.0


class SyncDisplay:
    """Give it each look, in a ``with`` block."""

    def __init__(self) -> None:
        self._live = _Bars() if err.is_terminal else _Lines()

    def show(self, look: Look) -> None:
        """Bring the picture up to date."""
        self._live.show(look)

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
            TextColumn("{task.fields[said]}", style="dim"),
            console=err,
        )
        self._fetch = self._progress.add_task("recorded", total=None, said="")
        self._push = self._progress.add_task("pushed", total=None, said="")

    def start(self) -> None:
        self._progress.start()

    def stop(self) -> None:
        self._progress.stop()

    def show(self, look: Look) -> None:
        sent = look.state in (RunState.EMITTED, RunState.DONE)
        self._progress.update(
            self._fetch,
            total=look.emitted if sent else None,
            completed=look.recorded,
            said=_WAITING.get(look.state, ""),
        )
        all_active = look.in_sync + look.due + look.parked
        self._progress.update(
            self._push,
            total=all_active if sent else None,
            completed=look.in_sync + look.parked,
            said=look.stopped or f"{look.parked} parked, {look.calls} calls",
        )


class _Lines:
    def __init__(self) -> None:
        self._next = time.monotonic() + LINE_EVERY_SECONDS / 5
        self._last: Look | None = None
        self._said: Look | None = None

    def start(self) -> None:
        pass

    def stop(self) -> None:
        if self._last is not None:
            self._say(self._last)

    def show(self, look: Look) -> None:
        self._last = look
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_EVERY_SECONDS
            self._say(look)

    def _say(self, look: Look) -> None:
        if look != self._said:
            note(_line(look))
        self._said = look


_WAITING = {
    RunState.QUEUED: "waiting for the fetch worker",
    RunState.RUNNING: "asking RestorationManager",
    RunState.FAILED: "failed",
}


def _line(look: Look) -> str:
    return (
        f"run {look.run_id} {look.state}: {look.recorded} of {look.emitted or '?'} recorded, "
        f"{look.in_sync} in step, {look.due} due, {look.parked} parked, {look.calls} calls"
    )
