"""The brake on pushes: a fetch that would change too much at once is held for a person.

What a fetch makes due is claimed by no worker before the fetch has closed and this has decided
on all of it (``links.due_run_id``). The decision is one transaction: killed before its commit,
the next sweep decides; decided twice, the second finds nothing undecided.

A fetch that failed decides nothing: its jobs are decided with those of the next one that does
not, and where it was complete, of the next complete one. Another would show but a part of what
this one was about to change, and the rest would come as a change by itself. The first push of an
account has no brake.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection

from cprqueue.domain.models import Desired, built
from cprqueue.domain.push_brake import Effect, PushLimits, Tally, effect_of, held_text, tripped
from cprqueue.domain.push_plan import Compared, differences
from cprqueue.domain.records import ClaimedLink, Run
from cprqueue.domain.states import ErrorCode, RunKind, RunState
from cprqueue.errors import AlreadyDone, UsageError
from cprqueue.store import events, held_pushes, runs
from cprqueue.store.database import Database, clock

log = logging.getLogger(__name__)

BRAKED = "braked"
REPORT = "push_brake"
DECIDED = "decided"
FETCHES = (RunKind.FETCH, RunKind.IMPORT)
TRIES = 3


def applies(conn: Connection) -> bool:
    """Tell whether a run that begins now has a brake: not before the first push."""
    first = runs.newest(conn, RunKind.FETCH, RunState.DONE, complete=True)
    return (first or runs.newest(conn, RunKind.IMPORT, RunState.DONE)) is not None


def is_braked(db: Database, run_id: int) -> bool:
    """Tell whether what this run makes due waits for its end; it is fixed when it begins."""
    with db.read() as conn:
        run = runs.get(conn, run_id)
    return run is None or run.details.get(BRAKED) is not False


def settle(conn: Connection, limits: PushLimits, *, now: datetime) -> list[int]:
    """Decide on what closed fetches have made due; return the ids of the jobs that are let go."""
    let_go = []
    for run, sources in _deciding(conn):
        # Locked: what a person approves at this moment is not forgotten.
        run = runs.existing(conn, run.run_id, to_write=True)
        let_go += _decide(conn, run, held_pushes.undecided(conn, sources), limits, now)
    return let_go


def _deciding(conn: Connection) -> list[tuple[Run, list[int]]]:
    """Return the closed fetches that decide, each with those whose jobs it decides on."""
    found: dict[int, tuple[Run, list[int]]] = {}
    for run_id in held_pushes.undecided_runs(conn):
        run = _decider(conn, run_id)
        if run is not None:
            found.setdefault(run.run_id, (run, []))[1].append(run_id)
    return list(found.values())


def _decider(conn: Connection, run_id: int) -> Run | None:
    """Return the run itself where it is done, the next like it that is where it failed, or None."""
    run = runs.get(conn, run_id)
    if run is not None and run.state is RunState.DONE:
        return run
    if run is not None and run.state in runs.OPEN:
        return None
    if run is None or run.kind is not RunKind.FETCH:
        return runs.next_done(conn, FETCHES, after=run_id)
    return runs.next_done(conn, (RunKind.FETCH,), after=run_id, complete=run.complete)


def owes_complete(conn: Connection) -> bool:
    """Tell whether jobs wait for a complete fetch, because one failed after it had shown them.

    After TRIES that failed one after another the next may be another: changes go on to come.
    """
    ended = (RunState.DONE, RunState.FAILED)
    last = runs.newest_few(conn, RunKind.FETCH, *ended, limit=TRIES)
    if len(last) == TRIES and all(run.complete and run.state is RunState.FAILED for run in last):
        return False
    waiting = (runs.get(conn, run_id) for run_id in held_pushes.undecided_runs(conn))
    return any(run and run.complete and run.state is RunState.FAILED for run in waiting)


def _decide(
    conn: Connection, run: Run, rows: list[ClaimedLink], limits: PushLimits, now: datetime
) -> list[int]:
    """Hold all that would be written, or nothing; what is held already stays so.

    The counts of the run are kept, so that jobs which are recorded late count with the others.
    """
    report = _report(run)
    effects = {row.job_id: _effect(row) for row in rows}
    tally = Tally(creates=report["creates"], changes=report["changes"]).plus(effects.values())
    reason = tripped(tally, held_pushes.managed(conn), limits)
    if report["approved"]:
        reason = ""

    def stays(row: ClaimedLink) -> bool:
        held = row.error_code == ErrorCode.HELD
        return effects[row.job_id] is not Effect.NOTHING and (held or bool(reason))

    staying = [row for row in rows if stays(row)]
    going = [row for row in rows if not stays(row)]
    if staying:
        _hold(conn, run, staying, reason or "change again what was held", now)
    runs.set_detail(conn, run.run_id, {**run.details, REPORT: {**report, **asdict(tally)}})
    return held_pushes.let_go(conn, going, now=now)


def _hold(conn: Connection, run: Run, rows: list[ClaimedLink], reason: str, now: datetime) -> None:
    text = held_text(run.run_id, reason, sorted(row.job_number for row in rows))
    held_pushes.hold(conn, rows, run.run_id, text, now=now)
    log.warning("push held", extra={"run_id": run.run_id, "jobs": len(rows), "reason": reason})


def _effect(row: ClaimedLink) -> Effect:
    return effect_of(Desired(name=row.job_number, address=row.address), row.observed)


def _report(run: Run) -> dict[str, int]:
    found = run.details.get(REPORT)
    known = found if isinstance(found, dict) else {}
    return {name: _number(known.get(name)) for name in ("creates", "changes", "approved")}


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def held(db: Database, run_id: int) -> list[ClaimedLink]:
    """Return the jobs that this run holds. Raises UsageError for a run that never held any."""
    with db.read() as conn:
        rows = held_pushes.held(conn, run_id)
        if not rows:
            _require_brake(conn, run_id)
    return rows


def changes(row: ClaimedLink) -> list[Compared]:
    """Return the fields that the push of a job would change."""
    desired = Desired(name=row.job_number, address=row.address)
    return [field for field in differences(desired, row.observed) if not field.equal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What became of what a run held: ``outcome`` in a word, by whom, when, of how many jobs."""

    outcome: str
    by: str
    at: str
    jobs: int


def decision(run: Run) -> Decision | None:
    """Return the last decision on what a run held, if there was one."""
    found = run.details.get(DECIDED)
    return built(Decision, found) if isinstance(found, dict) else None


def approve(db: Database, run_id: int, *, requested_by: str = "a person") -> list[int]:
    """Let the workers push what this run holds; return the ids of those jobs.

    Of two who approve at once, the second gets AlreadyDone. Raises UsageError for a run that
    held nothing.
    """
    with db.begin() as conn:
        now = clock(conn)
        runs.get(conn, run_id, to_write=True)  # the run first, then its jobs, as ``settle`` does
        ids = held_pushes.approve(conn, run_id, now=now)
        _note_decision(conn, run_id, ids, "approved", requested_by, now)
        run = runs.existing(conn, run_id)
        report = {**_report(run), "approved": 1}
        runs.set_detail(conn, run_id, {**run.details, REPORT: report})
    return ids


def dismiss(db: Database, run_id: int, *, requested_by: str = "a person") -> list[int]:
    """Park what this run holds, until each job changes again; raises as ``approve`` does."""
    why = f"the change of run {run_id} was dismissed: `cprqueue retry JOB` pushes it after all"
    with db.begin() as conn:
        now = clock(conn)
        runs.get(conn, run_id, to_write=True)
        ids = held_pushes.dismiss(conn, run_id, why)
        _note_decision(conn, run_id, ids, "dismissed", requested_by, now)
    return ids


def _note_decision(
    conn: Connection, run_id: int, ids: list[int], outcome: str, by: str, now: datetime
) -> None:
    if not ids:
        _require_brake(conn, run_id)
        raise AlreadyDone(f"run {run_id} holds nothing any more: it was decided")
    text = f"{outcome} by {by}"
    log.warning("held push decided", extra={"run_id": run_id, "jobs": len(ids), "outcome": text})
    happened = [events.event(job_id, "held", text, at=now, run_id=run_id) for job_id in ids]
    events.add(conn, happened)
    made = Decision(outcome=outcome, by=by, at=now.isoformat(), jobs=len(ids))
    details = runs.existing(conn, run_id).details
    runs.set_detail(conn, run_id, {**details, DECIDED: asdict(made)})


def _require_brake(conn: Connection, run_id: int) -> None:
    run = runs.get(conn, run_id)
    if run is None or run.kind not in FETCHES:
        raise UsageError(f"run {run_id} is no fetch: see `cprqueue status` for what is held")
    if not (_report(run)["creates"] or _report(run)["changes"]):
        raise UsageError(f"run {run_id} held nothing: see `cprqueue status` for what is held")
