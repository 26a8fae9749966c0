"""Runs: a list, and bars of their counts, seconds and calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cprqueue.domain.records import Run
from cprqueue.domain.states import RunKind, RunState
from cprqueue.services.reports.overview import said_counts
from cprqueue.store import runs
from cprqueue.store.database import Database

PAGE = 50

KINDS = tuple(kind.value for kind in RunKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run with what its list shows. ``seconds``: None until it has ended."""

    run: Run
    counts: dict[str, int]
    number: int
    calls: int
    seconds: float | None

    @property
    def is_wrong(self) -> bool:
        """True for a run that failed or waits for a person."""
        return self.run.state in (RunState.FAILED, RunState.HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar of a chart, of ``height`` percent; ``text`` says it in words."""

    run_id: int
    height: float
    text: str
    is_wrong: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """The bars of one measure, the oldest run first. ``most``: what the highest bar stands for."""

    title: str
    most: str
    bars: list[Bar]


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """One page of runs, newest first; ``more``: the run from which to go on."""

    kind: str
    rows: list[RunRow]
    charts: list[Chart]
    more: int | None


def read(db: Database, *, kind: str = "", before: int | None = None) -> Runs:
    """Read one page: of this kind, or of all; before the run ``before``, where that is given."""
    with db.read() as conn:
        only = RunKind(kind) if kind else None
        found = runs.newest_few(conn, only, limit=PAGE + 1, before=before)
    rows = [_row(run) for run in found[:PAGE]]
    return Runs(
        kind=kind,
        rows=rows,
        charts=_charts(rows[::-1]),
        more=rows[-1].run.run_id if len(found) > PAGE else None,
    )


def read_one(db: Database, run_id: int) -> RunRow | None:
    """Read one run; None for one that is not known."""
    with db.read() as conn:
        run = runs.get(conn, run_id)
    return _row(run) if run is not None else None


def _row(run: Run) -> RunRow:
    seconds = (run.finished_at - run.began).total_seconds() if run.finished_at else None
    return RunRow(
        run=run,
        counts=said_counts(run),
        number=run.recorded,
        calls=run.own_calls or 0,
        seconds=max(seconds, 0.0) if seconds is not None else None,
    )


def _charts(rows: Sequence[RunRow]) -> list[Chart]:
    return [
        _chart("Jobs or jobcodes", rows, lambda row: row.number, lambda n: f"{n:,.0f}"),
        _chart("Seconds", rows, lambda row: row.seconds or 0, lambda n: f"{n:,.1f} s"),
        _chart("Calls to QuickBooks Time", rows, lambda row: row.calls, lambda n: f"{n:,.0f}"),
    ]


def _chart(
    title: str,
    rows: Sequence[RunRow],
    measure: Callable[[RunRow], float],
    words: Callable[[float], str],
) -> Chart:
    most = max((measure(row) for row in rows), default=0)
    bars = [
        Bar(
            run_id=row.run.run_id,
            height=round(100 * measure(row) / most, 1) if most else 0,
            text=f"run {row.run.run_id}, {row.run.kind}, {row.run.state}: {words(measure(row))}",
            is_wrong=row.is_wrong,
        )
        for row in rows
    ]
    return Chart(title=title, most=words(most), bars=bars)
