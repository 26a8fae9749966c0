"""What people are told of: everything that is wrong now, or was done, out of the database.

Nothing here is remembered between two rounds, so nothing is missed because a process was killed.
"""

from __future__ import annotations

import socket
from collections.abc import Container, Iterator
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Connection

from cprqueue import private_files
from cprqueue.domain.alerting import Condition, Level
from cprqueue.domain.records import Run
from cprqueue.domain.states import RunKind, RunState
from cprqueue.services import gates
from cprqueue.services.prune.undo_orders import ENDED_BY_UNDO
from cprqueue.services.reports.warnings import held_pushes_texts
from cprqueue.services.signs import FETCH, SWEEP, Signs
from cprqueue.store import held_pushes, links, runs

HOST = socket.gethostname()
PARKED_MANY = 20
ORDERS_SHOWN = 10
"""So many prunes and remove-alls that ended last are looked at, of each kind."""

NEWS = timedelta(hours=1)
"""What ended longer ago is no news to whoever listens for the first time."""

TOLD_STATES = {
    RunKind.PRUNE: {RunState.DONE: Level.INFO, RunState.FAILED: Level.ERROR},
    RunKind.REMOVE_ALL: {RunState.DONE: Level.INFO, RunState.STOPPED: Level.WARNING},
}


def find(
    conn: Connection, signs: Signs, known: Container[str], var_dir: Path, *, listened: bool
) -> list[Condition]:
    """Return all that is the case.

    ``known``: the names of what was told before; ``listened``: whether anybody listened before.
    """
    return [
        *_fetches(signs),
        *_beat(signs),
        *_queues(signs),
        *_push(conn),
        *_held_pushes(conn, known),
        *_parked(conn),
        *_held_prunes(conn),
        *_orders(conn, signs, listened=listened),
        *_disk(var_dir),
    ]


def _fetches(signs: Signs) -> Iterator[Condition]:
    """One condition at a time: a refusal, or else that no fetch succeeds."""
    if signs.refused is not None:
        yield Condition(
            name="rm",
            title="RestorationManager refuses our fetches",
            text=f"run {signs.refused.run_id}: {signs.refused.note}. See `cprqueue check`.",
            over="RestorationManager: fetches succeed again",
        )
        return
    if signs.ticks is None or RunKind.FETCH in signs.moving:
        return
    good = signs.good_fetch.finished_at if signs.good_fetch else None
    if signs.is_late(FETCH, max(filter(None, (good, signs.ticks.on_since)))):
        failed = signs.failed_fetch
        why = f" The last one (run {failed.run_id}) failed: {failed.note}." if failed else ""
        last = f"since {good:%Y-%m-%d %H:%M} UTC" if good else "yet"
        yield Condition(
            name="fetch",
            title="no fetch succeeds",
            text=f"None has succeeded {last}.{why} See `cprqueue check` and `cprqueue history`.",
            over="fetches succeed again",
        )


def _beat(signs: Signs) -> Iterator[Condition]:
    if signs.ticks is None or signs.ticks.beat_at is None:
        return
    if signs.is_late(SWEEP, max(signs.ticks.beat_at, signs.ticks.on_since)):
        yield Condition(
            name="beat",
            title="beat is silent",
            text=(
                f"Nothing has come from it since {signs.ticks.beat_at:%Y-%m-%d %H:%M} UTC: no "
                "fetch and no prune begins by itself. See what `cprqueue up` says of beat, or "
                "start it: `celery -A cprqueue beat`."
            ),
            over="beat is back",
        )


def _queues(signs: Signs) -> Iterator[Condition]:
    """The queues of which a worker once took messages, and takes none any more."""
    for queue in signs.taken if signs.ticks else ():
        if not signs.took(queue, or_at=signs.ticks.on_since if signs.ticks else None):
            yield Condition(
                name=f"queue/{queue}",
                title=f"no worker takes messages of the queue {queue}",
                text=f"See `cprqueue health`, and what `cprqueue up` says of {queue}.",
                over=f"a worker takes messages of the queue {queue} again",
            )


def _push(conn: Connection) -> Iterator[Condition]:
    stopped = gates.push_stopped(conn)
    if stopped is not None:
        yield Condition(
            name=f"push/{stopped.status}",
            title="QuickBooks Time push stopped",
            text=f"{stopped.text}. Then: `cprqueue check`.",
            over="QuickBooks Time push goes on",
            kind_of="push",
        )


def _held_pushes(conn: Connection, known: Container[str]) -> Iterator[Condition]:
    for run_id, text in held_pushes_texts(conn).items():
        name = f"held/{run_id}"
        if name not in known:  # none is held any more where a person has decided this moment
            reasons = (row.error_reason for row in held_pushes.held(conn, run_id))
            text = next(filter(None, reasons), text)
        yield Condition(
            name=name,
            title="push held",
            text=text,
            level=Level.WARNING,
            over=f"the held push of run {run_id} is decided",
        )


def _parked(conn: Connection) -> Iterator[Condition]:
    number = links.counts(conn)["parked"]
    if number > PARKED_MANY:
        yield Condition(
            name="parked",
            title="many jobs are parked",
            text=f"{number} jobs wait for a person: `cprqueue failures`.",
            level=Level.WARNING,
            over=f"no more than {PARKED_MANY} jobs are parked",
        )


def _held_prunes(conn: Connection) -> Iterator[Condition]:
    for run in runs.newest_few(conn, RunKind.PRUNE, RunState.HELD, limit=ORDERS_SHOWN):
        yield Condition(
            name=f"prune/{run.run_id}",
            title="prune held",
            text=run.note or "",
            level=Level.WARNING,
            over=f"the held prune of run {run.run_id} is decided",
        )


def _orders(conn: Connection, signs: Signs, *, listened: bool) -> Iterator[Condition]:
    """What prunes and remove-alls came to; not those that a person ended."""
    for kind, states in TOLD_STATES.items():
        for run in runs.newest_few(conn, kind, *states, limit=ORDERS_SHOWN):
            if not (run.note or "").startswith(ENDED_BY_UNDO):
                old = not listened and run.moved < signs.now - NEWS
                yield _ended(run, states[run.state], old=old)


def _ended(run: Run, level: Level, *, old: bool) -> Condition:
    is_prune = run.kind is RunKind.PRUNE
    word = f" {run.state}" if is_prune else ""
    see = f"cprqueue prune show {run.run_id}" if is_prune else "cprqueue history"
    return Condition(
        name=f"run/{run.run_id}/{run.state}",
        title=f"{run.kind.replace('_', '-')}{word}",
        text=f"run {run.run_id}: {run.note}. See `{see}`.",
        level=level,
        old=old,
    )


def _disk(var_dir: Path) -> Iterator[Condition]:
    if text := private_files.nearly_full(var_dir):
        yield Condition(
            name=f"disk/{HOST}",
            title="the disk is nearly full",
            text=text,
            level=Level.WARNING,
            over="the disk has space again",
            host=HOST,
        )
