"""Undo a prune or a remove-all: bring archived jobcodes back as they were.

What a run archived stands in its plan with the state before. The run itself is over from the
moment that its undo is on record: nobody goes on with it. Parents come back first, then
``assigned_to_all``, the links of locations and the assignments of single people. What cannot
come back is said, item by item, and kept on record. What if the process dies
- in the middle of a batch: its items are "restoring", and the next try does them again;
  restoring what is active changes nothing.
- between two batches: the next try goes on with the items that are left.
A jobcode that an active job has by now is the sync's: it is left alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace

from sqlalchemy import Connection

from cprqueue import log as logs
from cprqueue.clients import listings
from cprqueue.clients.qbtime import QuickBooksTime
from cprqueue.domain.hierarchy import depth
from cprqueue.domain.models import BATCH, Json, Location, built, name_key
from cprqueue.domain.records import (
    Link,
    LinkState,
    LocationBefore,
    Outcome,
    PlanItem,
    Run,
    RunKind,
    RunState,
    VerificationKind,
)
from cprqueue.errors import AlreadyRunning, UsageError
from cprqueue.services import gates
from cprqueue.services.prune.archive import Archive
from cprqueue.store import events, jobs, links, plan_items, push_queue, runs
from cprqueue.store.database import Database, clock

LEFT = (Outcome.SENDING, Outcome.ARCHIVED, Outcome.RESTORING)
KINDS = (RunKind.PRUNE, RunKind.REMOVE_ALL)

Lost = list[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What an undo was asked for, and what it has lost so far; stands in its run's detail."""

    of_run: int
    numbers: list[str]
    lost: list[dict[str, str]]

    @classmethod
    def of(cls, run: Run) -> Order:
        """Read it from the undo's run."""
        return built(cls, run.details)


@dataclass(slots=True, kw_only=True)
class UndoResult:
    """What an undo did. ``lost``: (job number or name, what could not come back)."""

    restored: int = 0
    lost: Lost = field(default_factory=list)

    def text(self) -> str:
        """Say it in one line."""
        more = f", {len(self.lost)} not wholly" if self.lost else ""
        return f"{self.restored} restored{more}"


@dataclass(slots=True, kw_only=True)
class Undo:
    """Undoes runs with ``qbt``."""

    db: Database
    qbt: QuickBooksTime
    archive: Archive

    def request(self, of_run: int, numbers: Sequence[str] = ()) -> int:
        """Put an undo on record and return its run id; one that was cut off is taken up again.

        Without ``numbers`` the run itself is over: what it has not archived yet stays. Raises
        UsageError for a run without a plan, and for a number that it did not archive.
        """
        order = Order(of_run=of_run, numbers=list(numbers), lost=[])
        with self.db.begin() as conn:
            row = runs.get(conn, of_run)
            if row is None or row.kind not in KINDS:
                raise UsageError(
                    f"run {of_run} is no prune and no remove-all: see `cprqueue history`"
                )
            _chosen(conn, order)
            run_id = _cut_off(conn, order)
            if run_id is None:
                run_id = runs.create(conn, RunKind.UNDO, now=clock(conn), requested_by="operator")
                runs.set_detail(conn, run_id, asdict(order))
            if not numbers:
                _end_undone(conn, row, run_id)
        return run_id

    def run(self, run_id: int) -> UndoResult:
        """Carry out the undo of ``run_id``.

        Raises AlreadyRunning while the step of a prune or remove-all, or a push, is under way,
        and the client's errors; run it again to go on.
        """
        with logs.bound(run_id=run_id), self.archive.alone() as keep:
            with self.db.begin() as conn:
                row = runs.existing(conn, run_id)
                order, began = Order.of(row), row.started_at or clock(conn)
                runs.change(conn, run_id, state=RunState.RUNNING, started_at=began)
                if not order.numbers:
                    _end_undone(conn, runs.existing(conn, order.of_run), run_id)
                items = _chosen(conn, order)
            for level in _levels(items):
                for start in range(0, len(level), BATCH):
                    keep()
                    self._restore_batch(run_id, level[start : start + BATCH])
            return self._end(run_id)

    def _restore_batch(self, run_id: int, items: list[PlanItem]) -> None:
        lease = str(uuid.uuid4())
        try:
            mine = self._begin(run_id, lease, items)
            if mine:
                self._restore(run_id, lease, mine)
        finally:
            with self.db.begin() as conn:
                push_queue.release(conn, lease)

    def _begin(self, run_id: int, lease: str, items: list[PlanItem]) -> list[PlanItem]:
        """Lease the jobs of these jobcodes; leave to the sync what is the sync's by now."""
        with self.db.begin() as conn:
            now = clock(conn)
            ids = [item.jobcode_id for item in items]
            until = now + self.archive.lease_time
            free = push_queue.lease_jobcodes(conn, lease, ids, now=now, until=until)
            owners = _owned_by_the_sync(conn, ids)
            mine = [item for item in items if item.jobcode_id not in owners]
            if any(item.jobcode_id not in free for item in mine):
                raise AlreadyRunning("a push of one of these jobs is under way")
            owned = [item for item in items if item.jobcode_id in owners]
            self._leave_to_the_sync(conn, run_id, owned, owners)
            plan_items.set_outcome(
                conn, [item.item_id for item in mine], Outcome.RESTORING, now=now
            )
        return mine

    def _leave_to_the_sync(
        self, conn: Connection, run_id: int, items: list[PlanItem], owners: dict[int, Link]
    ) -> None:
        """Let the sync bring these back; one whose push waits for a person is not back."""
        now = clock(conn)
        lost: Lost = []
        for item in items:
            link = owners[item.jobcode_id]
            if link.state is LinkState.PARKED:
                reason = f"its job is active but parked: {link.error_reason}"
                lost.append(_note_lost(conn, item, reason))
            else:  # what is on record of it may be older than the archive
                push_queue.make_due(conn, link.job_id, now=now, verification=VerificationKind.FULL)
                note = "its job is active: the sync brings it back"
                plan_items.set_outcome(conn, [item.item_id], Outcome.RESTORED, now=now, note=note)
        _count(conn, run_id, len(items) - len(lost), lost)

    def _restore(self, run_id: int, lease: str, items: list[PlanItem]) -> None:
        payload = [_restoring(item) for item in items]
        results = self.qbt.change_jobcodes(payload)
        back = [item for item, result in zip(items, results, strict=True) if result.done]
        lost = self._restore_locations(back) + self._restore_people(back)
        with self.db.begin() as conn:
            for item, result in zip(items, results, strict=True):
                if result.done:
                    self._note(conn, lease, item)
                else:
                    lost.append(_note_lost(conn, item, f"stays archived: {result.text}"))
            _count(conn, run_id, len(back), lost)

    def _note(self, conn: Connection, lease: str, item: PlanItem) -> None:
        now = clock(conn)
        plan_items.set_outcome(conn, [item.item_id], Outcome.RESTORED, now=now)
        state = item.state_before
        to_all = state.assigned_to_all
        self.archive.note_active(conn, item.jobcode_id, lease, active=True, assigned_to_all=to_all)
        if item.job_id is not None:
            text = f"jobcode {item.jobcode_id} restored as {state.name}"
            events.add(conn, [events.event(item.job_id, "restored", text, at=now)])

    def _restore_locations(self, items: list[PlanItem]) -> Lost:
        """Link and restore the locations that the archive unlinked; the others are left alone."""
        wanted: dict[int, LocationBefore] = {}
        names: dict[int, str] = {}
        for item in items:
            for place in item.state_before.locations:
                wanted[place.id] = place
                names[place.id] = item.label
        now = {p.id: p for p in listings.by_ids(self.qbt.locations, wanted, active="both")}
        changes = {i: c for i, place in wanted.items() if (c := _relinking(place, now.get(i)))}
        lost: Lost = []
        for start in range(0, len(changes), BATCH):
            part = list(changes)[start : start + BATCH]
            results = self.qbt.change_locations([changes[id_] for id_ in part])
            for id_, result in zip(part, results, strict=True):
                if not result.done:
                    lost.append((names[id_], f"location {id_}: {result.text}"))
        return lost

    def _restore_people(self, items: list[PlanItem]) -> Lost:
        pairs = [
            (item, {"user_id": user, "jobcode_id": item.jobcode_id})
            for item in items
            for user in item.state_before.assignees
        ]
        lost: Lost = []
        for start in range(0, len(pairs), BATCH):
            part = pairs[start : start + BATCH]
            results = self.qbt.assign([assignment for _, assignment in part])
            for (item, _), result in zip(part, results, strict=True):
                if not result.done:
                    text = f"one person's assignment: {result.text}"
                    lost.append((item.label, text))
        return lost

    def _end(self, run_id: int) -> UndoResult:
        with self.db.begin() as conn:
            row = runs.existing(conn, run_id)
            order = Order.of(row)
            lost = [(entry["what"], entry["text"]) for entry in order.lost]
            undone = UndoResult(restored=row.recorded, lost=lost)
            note, now = undone.text(), clock(conn)
            runs.change(conn, run_id, note=note, state=RunState.DONE, finished_at=now)
            halted = gates.suspended(conn)
            if not order.numbers and halted and halted.run_id == order.of_run:
                gates.lift_suspension(conn)
        return undone


def _cut_off(conn: Connection, order: Order) -> int | None:
    """Return the undo of the same order that never came to its end."""
    open_ = (RunState.QUEUED, RunState.RUNNING)
    for row in runs.newest_few(conn, RunKind.UNDO, *open_, limit=20):
        if replace(Order.of(row), lost=[]) == order:
            return row.run_id
    return None


def _end_undone(conn: Connection, row: Run, undo_id: int) -> None:
    """Nobody goes on with a run that is undone: what it has not archived yet stays."""
    now = clock(conn)
    note = f"not archived: run {undo_id} undid the plan"
    plan_items.drop_planned(conn, row.run_id, now=now, note=note)
    if row.state is not RunState.DONE:
        note = f"ended by the undo of run {undo_id}"
        runs.change(conn, row.run_id, note=note, state=RunState.DONE, finished_at=now)


def _chosen(conn: Connection, order: Order) -> list[PlanItem]:
    """Return the items that are to come back. Raises UsageError for a number that is unknown."""
    items = plan_items.of_run(conn, order.of_run, *LEFT, Outcome.RESTORED)
    keys = {name_key(number) for number in order.numbers}
    chosen = [item for item in items if not keys or name_key(item.label) in keys]
    unknown = keys - {name_key(item.label) for item in chosen}
    if unknown:
        raise UsageError(f"run {order.of_run} archived no {', '.join(sorted(unknown))}")
    return [item for item in chosen if item.outcome in LEFT]


def _owned_by_the_sync(conn: Connection, jobcode_ids: Sequence[int]) -> dict[int, Link]:
    """Return the links of the active jobs that have these jobcodes now, while the sync goes on."""
    owners: dict[int, Link] = {}
    if gates.suspended(conn):
        return owners
    for jobcode_id, job_id in links.with_jobcodes(conn, jobcode_ids).items():
        job = jobs.get(conn, job_id)
        if job is not None and job.active:
            owners[jobcode_id] = links.existing(conn, job_id)
    return owners


def _note_lost(conn: Connection, item: PlanItem, text: str) -> tuple[str, str]:
    plan_items.set_outcome(conn, [item.item_id], Outcome.ARCHIVED, now=clock(conn), note=text)
    return item.label, text


def _count(conn: Connection, run_id: int, restored: int, lost: Lost) -> None:
    """Add to what the undo has done so far."""
    row = runs.existing(conn, run_id)
    order = Order.of(row)
    entries = [{"what": name, "text": text} for name, text in lost]
    runs.set_detail(conn, run_id, asdict(replace(order, lost=[*order.lost, *entries])))
    runs.change(conn, run_id, recorded=row.recorded + restored, touched_at=clock(conn))


def _levels(items: Iterable[PlanItem]) -> list[list[PlanItem]]:
    """Group items so that parents come before their children."""
    found = list(items)
    parents = {item.jobcode_id: item.state_before.parent_id for item in found}
    levels: dict[int, list[PlanItem]] = {}
    for item in found:
        levels.setdefault(depth(item.jobcode_id, parents), []).append(item)
    return [levels[number] for number in sorted(levels)]


def _restoring(item: PlanItem) -> dict[str, Json]:
    """Build the item that restores a jobcode; the name goes along, for an edited one."""
    state = item.state_before
    payload: dict[str, Json] = {"id": item.jobcode_id, "active": True, "name": state.name}
    return payload | ({"assigned_to_all": True} if state.assigned_to_all else {})


def _relinking(before: LocationBefore, now: Location | None) -> dict[str, Json] | None:
    """Build the item that links a location as it was, or None where it still is."""
    if now is None:
        return None
    linked = sorted(set(before.jobcode_ids) | set(now.jobcode_ids))
    same = sorted(now.jobcode_ids) == linked and now.active == before.active
    if same and now.address == before.address:
        return None
    change: dict[str, Json] = {"id": now.id, "linked_objects": {"jobcodes": linked}}
    if before.active != now.active:
        change["active"] = before.active
    change.update(before.address.as_dict())
    return change
