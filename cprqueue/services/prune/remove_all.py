"""The emergency: archive every managed jobcode (or every one), after a typed confirmation.

A rehearsal counts and changes nothing. The real run writes the plan with the state before,
suspends the ordinary sync, and archives in steps of 50 that can be stopped and taken up again.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable
from dataclasses import dataclass

from sqlalchemy import Connection

from cprqueue.clients.budget import Budget
from cprqueue.clients.qbtime import QuickBooksTime, whole
from cprqueue.domain.hierarchy import children_of, family_of, locations_by_jobcode
from cprqueue.domain.models import BATCH, Jobcode, Location
from cprqueue.domain.prune_plan import Managed, parents_of_others
from cprqueue.domain.records import NewPlanItem, PlanItem, StateBefore
from cprqueue.domain.states import Outcome, RunKind, RunState
from cprqueue.errors import Permanent, Transient, UsageError
from cprqueue.services import gates
from cprqueue.services.prune import facts, on_the_clock, steps, turns
from cprqueue.services.prune.archive import Archive, Renew
from cprqueue.services.prune.prune import outcome_text
from cprqueue.store import exports, keeps, plan_items, runs
from cprqueue.store.database import Database, clock

LIVE = turns.LIVE[RunKind.REMOVE_ALL]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What a remove-all would do, and the phrase that orders it.

    ``kept``: whose jobcodes a person keeps; they leave too, because a person orders it.
    ``calls`` are needed, ``free`` can be used now; ``minutes`` is how long it waits for the rest.
    """

    managed: int
    unmanaged: int
    leaving: int
    on_the_clock: tuple[str, ...]
    kept: tuple[str, ...]
    calls: int
    free: int
    minutes: float
    phrase: str


@dataclass(slots=True, kw_only=True)
class RemoveAll:
    """Rehearses and carries out remove-alls."""

    db: Database
    qbt: QuickBooksTime
    archive: Archive
    budget: Budget

    def rehearse(self, snapshot_id: int, *, include_unmanaged: bool) -> Rehearsal:
        """Count from a fresh export; changes nothing. Costs the calls that ask for the clock."""
        codes, _places, managed = self._read(snapshot_id)
        chosen = _chosen(codes, managed, include_unmanaged=include_unmanaged)
        with self.db.read() as conn:
            now = clock(conn)
            kept = keeps.standing(conn, now)
        children = children_of(codes.values())
        families = {code.id: family_of(code.id, children) for code in chosen}
        busy = on_the_clock.in_use(self.qbt, families, now)
        names = [code.name for code in chosen if code.id in busy]
        ours = [managed[code.id] for code in chosen if code.id in managed]
        calls = 2 * math.ceil(len(chosen) / BATCH)
        with self.db.read() as conn:
            free = self.budget.free(conn, urgent=False)
        per_window = self.budget.limit - self.budget.reserve
        unmanaged = sum(c.active and c.id not in managed for c in codes.values())
        return Rehearsal(
            managed=sum(c.active and c.id in managed for c in codes.values()),
            unmanaged=unmanaged,
            leaving=len(chosen),
            on_the_clock=tuple(sorted(names)),
            kept=tuple(sorted(row.job_number for row in ours if row.job_id in kept)),
            calls=calls,
            free=free,
            minutes=waiting_minutes(calls, free, per_window, self.budget.window_ms / 60_000),
            phrase=phrase(len(chosen), include_unmanaged=include_unmanaged),
        )

    def resumable(self, confirmation: str) -> int | None:
        """Queue the run that was stopped under the same phrase again; None without one.

        Raises AlreadyRunning while an order is live.
        """
        with self.db.begin() as conn:
            turns.take_turn(conn)
            row = runs.newest(conn, RunKind.REMOVE_ALL, RunState.STOPPED)
            if row is None or row.requested_by != confirmation:
                return None
            suspension = gates.suspended(conn)
            if suspension is None or suspension.run_id != row.run_id:
                return None  # undone, or lifted by a full sync: what is in its plan is over
            runs.requeue(conn, row.run_id)
            return row.run_id

    def request(self, snapshot_id: int, confirmation: str, *, include_unmanaged: bool) -> int:
        """Record the plan and suspend the sync; return the run id.

        Raises UsageError for a phrase that is not the rehearsal's, letter for letter, and
        AlreadyRunning while another order is live.
        """
        codes, places, managed = self._read(snapshot_id)
        chosen = _chosen(codes, managed, include_unmanaged=include_unmanaged)
        expected = phrase(len(chosen), include_unmanaged=include_unmanaged)
        if confirmation != expected:
            raise UsageError(f"the phrase is not right: to archive them all, type {expected!r}")
        if not chosen:
            raise UsageError("there is nothing to remove")
        people = self._people(chosen) if include_unmanaged else {}
        children = children_of(codes.values())
        near = locations_by_jobcode(places.values())
        rows = [
            NewPlanItem(
                job_id=managed[code.id].job_id if code.id in managed else None,
                job_number=managed[code.id].job_number if code.id in managed else "",
                jobcode_id=code.id,
                name=code.name,
                reason="remove-all",
                state_before=StateBefore.of(
                    code,
                    near.get(code.id, ()),
                    family_of(code.id, children),
                    people.get(code.id, ()),
                ),
                outcome=Outcome.PLANNED,
            )
            for code in chosen
        ]
        return self._store(rows, confirmation)

    def _store(self, rows: list[NewPlanItem], confirmation: str) -> int:
        with self.db.begin() as conn:
            turns.take_turn(conn)
            run_id = runs.create(conn, RunKind.REMOVE_ALL, requested_by=confirmation)
            plan_items.add(conn, run_id, rows)
            runs.progress(conn, run_id, emitted=len(rows))
            gates.suspend(conn, run_id)
        return run_id

    def _people(self, chosen: Iterable[Jobcode]) -> dict[int, list[int]]:
        """Return who is assigned singly to the jobcodes that are not for everybody."""
        single = {code.id for code in chosen if not code.assigned_to_all}
        found: dict[int, list[int]] = {}
        for row in self.qbt.assignments() if single else ():
            code, user = whole(row.get("jobcode_id")), whole(row.get("user_id"))
            if code in single and user:
                found.setdefault(code, []).append(user)
        return found

    def _read(
        self, snapshot_id: int
    ) -> tuple[dict[int, Jobcode], dict[int, Location], dict[int, Managed]]:
        with self.db.read() as conn:
            run = runs.existing(conn, snapshot_id)
            facts.refuse_older_than_undo(conn, run, "call it again")
            codes, places = exports.read_whole(conn, run)
            rows = plan_items.managed(conn)
        return codes, places, {row.jobcode_id: row for row in rows}

    def run(self, run_id: int) -> str:
        """Archive step by step until done or stopped; returns one line.

        It stops once the sync is not suspended by it any more: then it was undone, or a full
        sync restores the jobs.
        """

        def stop_asked() -> bool:
            with self.db.read() as conn:
                return _is_over(conn, run_id)

        def work(renew: Renew) -> str:
            try:
                finished = steps.execute(
                    self.archive,
                    run_id,
                    renew,
                    why_stay=_none,
                    in_use=on_the_clock.in_use,
                    stop_asked=stop_asked,
                )
            except Transient as error:
                with self.db.begin() as conn:
                    runs.progress(conn, run_id, only_from=LIVE, note=str(error))
                raise
            except Permanent as error:  # the same each time: no other order waits for it
                with self.db.begin() as conn:
                    state, note = RunState.STOPPED, f"stopped: {error}"
                    runs.finish(conn, run_id, state, only_from=LIVE, note=note)
                raise
            return self._end(run_id, finished=finished)

        return self.archive.carry_out(run_id, RunKind.REMOVE_ALL, LIVE, work)

    def _end(self, run_id: int, *, finished: bool) -> str:
        with self.db.begin() as conn:
            row = runs.existing(conn, run_id, to_write=True)
            if row.state not in LIVE:
                return f"run {run_id} is {row.state} already"  # an undo has ended it
            found = plan_items.counts(conn, run_id)
            text = outcome_text(found)
            left = sum(found.get(outcome, 0) for outcome in plan_items.OPEN)
            if not finished and not _is_over(conn, run_id):
                raise Transient(f"run {run_id} is not finished: {left} left")
            state = RunState.DONE if finished else RunState.STOPPED
            note = text if finished else f"stopped: {text}, {left} left"
            runs.finish(conn, run_id, state, note=note)
        return text

    def stop(self, run_id: int) -> None:
        """Ask a remove-all to stop after the step that is under way."""
        with self.db.begin() as conn:
            runs.change(conn, run_id, only_from=turns.OPEN, state=RunState.STOPPING)


def _none(_conn: Connection, _item: PlanItem) -> None:
    return None


def _is_over(conn: Connection, run_id: int) -> bool:
    """Tell whether a run was asked to stop, or does not suspend the sync any more."""
    row = runs.get(conn, run_id)
    suspension = gates.suspended(conn)
    suspends = suspension is not None and suspension.run_id == run_id
    return row is None or row.state not in turns.OPEN or not suspends


def waiting_minutes(calls: int, free: int, per_window: int, window_minutes: float) -> float:
    """Return how long this many calls wait at most, where only ``free`` can be made now."""
    return math.ceil(max(0, calls - free) / per_window) * window_minutes


def phrase(number: int, *, include_unmanaged: bool) -> str:
    """Return what must be typed: it holds the count, so that it cannot be typed by habit."""
    which = "ALL" if include_unmanaged else "MANAGED"
    return f"REMOVE {which} {number}"


def _chosen(
    codes: dict[int, Jobcode], managed: Container[int], *, include_unmanaged: bool
) -> list[Jobcode]:
    """Choose who leaves: regular jobcodes, children before parents.

    A managed parent whose archive would take an unmanaged child along stays.
    """
    chosen = {
        code.id: code
        for code in codes.values()
        if code.active and code.type == "regular" and (include_unmanaged or code.id in managed)
    }
    staying = parents_of_others(chosen, codes)
    leaving = [code for code in chosen.values() if code.id not in staying]
    return sorted(leaving, key=lambda code: (not code.parent_id, code.id))
