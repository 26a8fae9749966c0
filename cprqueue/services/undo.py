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
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from cprqueue import log as logs
from cprqueue.errors import AlreadyRunning, UsageError
from cprqueue.models import BATCH, Address, Location, name_key
from cprqueue.qbtime import QuickBooksTime
from cprqueue.services import looks, suspension
from cprqueue.services.archive import Archive
from cprqueue.services.batch import WHOLE
from cprqueue.services.families import depth
from cprqueue.store import events, jobs, links, plans, runs
from cprqueue.store.database import Database, clock

LEFT = ("sending", "archived", "restoring")
KINDS = ("prune", "remove_all")

Lost = list[tuple[str, str]]


@dataclass(slots=True, kw_only=True)
class Undone:
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
        order = {"of_run": of_run, "numbers": list(numbers)}
        with self.db.begin() as conn:
            row = runs.get(conn, of_run)
            if row is None or row.kind not in KINDS:
                raise UsageError(
                    f"run {of_run} is no prune and no remove-all: see `cprqueue history`"
                )
            _chosen(conn, order)
            run_id = _cut_off(conn, order)
            if run_id is None:
                run_id = runs.create(conn, "undo", now=clock(conn), requested_by="operator")
                runs.set_detail(conn, run_id, {**order, "lost": []})
            if not numbers:
                _end_undone(conn, row, run_id)
        return run_id

    def run(self, run_id: int) -> Undone:
        """Carry out the undo of ``run_id``.

        Raises AlreadyRunning while the step of a prune or remove-all, or a push, is under way,
        and the client's errors; run it again to go on.
        """
        with logs.bound(run_id=run_id), self.archive.alone() as keep:
            with self.db.begin() as conn:
                row: Any = runs.get(conn, run_id)
                order = runs.detail(row)
                runs.change(conn, run_id, state="running", started_at=row.started_at or clock(conn))
                if not order["numbers"]:
                    _end_undone(conn, runs.get(conn, order["of_run"]), run_id)
                items = _chosen(conn, order)
            for level in _levels(items):
                for start in range(0, len(level), BATCH):
                    keep()
                    self._restore_batch(run_id, level[start : start + BATCH])
            return self._end(run_id)

    def _restore_batch(self, run_id: int, items: list[Any]) -> None:
        lease = str(uuid.uuid4())
        try:
            mine = self._begin(run_id, lease, items)
            if mine:
                self._restore(run_id, lease, mine)
        finally:
            with self.db.begin() as conn:
                links.release(conn, lease)

    def _begin(self, run_id: int, lease: str, items: list[Any]) -> list[Any]:
        """Lease the jobs of these jobcodes; leave to the sync what is the sync's by now."""
        with self.db.begin() as conn:
            now = clock(conn)
            ids = [item.jobcode_id for item in items]
            until = now + self.archive.lease_time
            free = links.lease_jobcodes(conn, lease, ids, now=now, until=until)
            owners = _owned_by_the_sync(conn, ids)
            mine = [item for item in items if item.jobcode_id not in owners]
            if any(item.jobcode_id not in free for item in mine):
                raise AlreadyRunning("a push of one of these jobs is under way")
            owned = [item for item in items if item.jobcode_id in owners]
            self._leave_to_the_sync(conn, run_id, owned, owners)
            plans.set_outcome(conn, [item.item_id for item in mine], "restoring", now=now)
        return mine

    def _leave_to_the_sync(
        self, conn: Connection, run_id: int, items: list[Any], owners: dict[int, Any]
    ) -> None:
        """Let the sync bring these back; one whose push waits for a person is not back."""
        now = clock(conn)
        lost: Lost = []
        for item in items:
            link = owners[item.jobcode_id]
            if link.state == links.PARKED:
                reason = f"its job is active but parked: {link.error_reason}"
                lost.append(_note_lost(conn, item, reason))
            else:  # what is on record of it may be older than the archive
                links.ring(conn, link.job_id, now=now, look=WHOLE)
                note = "its job is active: the sync brings it back"
                plans.set_outcome(conn, [item.item_id], "restored", now=now, note=note)
        _count(conn, run_id, len(items) - len(lost), lost)

    def _restore(self, run_id: int, lease: str, items: list[Any]) -> None:
        before = {item.item_id: plans.state_before(item) for item in items}
        payload = [_restoring(item, before[item.item_id]) for item in items]
        results = self.qbt.change_jobcodes(payload)
        back = [item for item, result in zip(items, results, strict=True) if result.done]
        lost = self._restore_locations(back, before) + self._restore_people(back, before)
        with self.db.begin() as conn:
            for item, result in zip(items, results, strict=True):
                if result.done:
                    self._note(conn, lease, item, before[item.item_id])
                else:
                    lost.append(_note_lost(conn, item, f"stays archived: {result.text}"))
            _count(conn, run_id, len(back), lost)

    def _note(self, conn: Connection, lease: str, item: Any, state: dict[str, Any]) -> None:
        now = clock(conn)
        plans.set_outcome(conn, [item.item_id], "restored", now=now)
        to_all = bool(state["assigned_to_all"])
        self.archive.note_active(conn, item.jobcode_id, lease, active=True, assigned_to_all=to_all)
        if item.job_id is not None:
            text = f"jobcode {item.jobcode_id} restored as {state['name']}"
            events.add(conn, [events.event(item.job_id, "restored", text, at=now)])

    def _restore_locations(self, items: list[Any], before: dict[int, dict[str, Any]]) -> Lost:
        """Link and restore the locations that the archive unlinked; the others are left alone."""
        wanted: dict[int, dict[str, Any]] = {}
        names: dict[int, str] = {}
        for item in items:
            for place in before[item.item_id]["locations"]:
                wanted[place["id"]] = place
                names[place["id"]] = _name(item)
        now = {p.id: p for p in looks.by_ids(self.qbt.locations, wanted, active="both")}
        changes = [c for place in wanted.values() if (c := _relinking(place, now.get(place["id"])))]
        lost: Lost = []
        for start in range(0, len(changes), BATCH):
            part = changes[start : start + BATCH]
            results = self.qbt.change_locations(part)
            for change, result in zip(part, results, strict=True):
                if not result.done:
                    text = f"location {change['id']}: {result.text}"
                    lost.append((names[change["id"]], text))
        return lost

    def _restore_people(self, items: list[Any], before: dict[int, dict[str, Any]]) -> Lost:
        pairs = [
            (item, {"user_id": user, "jobcode_id": item.jobcode_id})
            for item in items
            for user in before[item.item_id].get("assignees", [])
        ]
        lost: Lost = []
        for start in range(0, len(pairs), BATCH):
            part = pairs[start : start + BATCH]
            results = self.qbt.assign([assignment for _, assignment in part])
            for (item, _), result in zip(part, results, strict=True):
                if not result.done:
                    text = f"one person's assignment: {result.text}"
                    lost.append((_name(item), text))
        return lost

    def _end(self, run_id: int) -> Undone:
        with self.db.begin() as conn:
            row: Any = runs.get(conn, run_id)
            order = runs.detail(row)
            lost = [(entry["what"], entry["text"]) for entry in order["lost"]]
            undone = Undone(restored=row.recorded, lost=lost)
            values: dict[str, Any] = {"state": "done", "finished_at": clock(conn)}
            runs.change(conn, run_id, note=undone.text(), **values)
            halted = suspension.suspended(conn)
            if not order["numbers"] and halted and halted["run_id"] == order["of_run"]:
                suspension.lift(conn)
        return undone


def _cut_off(conn: Connection, order: dict[str, Any]) -> int | None:
    """Return the undo of the same order that never came to its end."""
    for row in runs.newest_few(conn, "undo", "queued", "running", limit=20):
        detail = runs.detail(row) or {}
        if {name: detail.get(name) for name in order} == order:
            return int(row.run_id)
    return None


def _end_undone(conn: Connection, row: Any, undo_id: int) -> None:
    """Nobody goes on with a run that is undone: what it has not archived yet stays."""
    now = clock(conn)
    note = f"not archived: run {undo_id} undid the plan"
    plans.drop_planned(conn, row.run_id, now=now, note=note)
    if row.state != "done":
        values: dict[str, Any] = {"state": "done", "finished_at": now}
        runs.change(conn, row.run_id, note=f"ended by the undo of run {undo_id}", **values)


def _chosen(conn: Connection, order: dict[str, Any]) -> list[Any]:
    """Return the items that are to come back. Raises UsageError for a number that is unknown."""
    items = plans.of_run(conn, order["of_run"], *LEFT, "restored")
    keys = {name_key(number) for number in order["numbers"]}
    chosen = [item for item in items if not keys or name_key(_name(item)) in keys]
    unknown = keys - {name_key(_name(item)) for item in chosen}
    if unknown:
        raise UsageError(f"run {order['of_run']} archived no {', '.join(sorted(unknown))}")
    return [item for item in chosen if item.outcome in LEFT]


def _owned_by_the_sync(conn: Connection, jobcode_ids: Sequence[int]) -> dict[int, Any]:
    """Return the links of the active jobs that have these jobcodes now, while the sync goes on."""
    owners: dict[int, Any] = {}
    if suspension.suspended(conn):
        return owners
    for jobcode_id, job_id in links.with_jobcodes(conn, jobcode_ids).items():
        job = jobs.get(conn, job_id)
        if job is not None and job.active:
            owners[jobcode_id] = links.get(conn, job_id)
    return owners


def _note_lost(conn: Connection, item: Any, text: str) -> tuple[str, str]:
    plans.set_outcome(conn, [item.item_id], "archived", now=clock(conn), note=text)
    return _name(item), text


def _count(conn: Connection, run_id: int, restored: int, lost: Lost) -> None:
    """Add to what the undo has done so far."""
    row: Any = runs.get(conn, run_id)
    detail = runs.detail(row)
    entries = [{"what": name, "text": text} for name, text in lost]
    runs.set_detail(conn, run_id, {**detail, "lost": [*detail["lost"], *entries]})
    runs.change(conn, run_id, recorded=row.recorded + restored, touched_at=clock(conn))


def _name(item: Any) -> str:
    return str(item.job_number or item.name)


def _levels(items: Iterable[Any]) -> list[list[Any]]:
    """Group items so that parents come before their children."""
    found = list(items)
    parents = {item.jobcode_id: plans.state_before(item)["parent_id"] for item in found}
    levels: dict[int, list[Any]] = {}
    for item in found:
        levels.setdefault(depth(item.jobcode_id, parents), []).append(item)
    return [levels[number] for number in sorted(levels)]


def _restoring(item: Any, state: dict[str, Any]) -> dict[str, Any]:
    """Build the item that restores a jobcode; the name goes along, for an edited one."""
    payload = {"id": item.jobcode_id, "active": True, "name": state["name"]}
    return payload | ({"assigned_to_all": True} if state["assigned_to_all"] else {})


def _relinking(before: dict[str, Any], now: Location | None) -> dict[str, Any] | None:
    """Build the item that links a location as it was, or None where it still is."""
    if now is None:
        return None
    linked = sorted(set(before["jobcode_ids"]) | set(now.jobcode_ids))
    same = sorted(now.jobcode_ids) == linked and now.active == before["active"]
    if same and now.address == Address(**before["address"]):
        return None
    change: dict[str, Any] = {"id": now.id, "linked_objects": {"jobcodes": linked}}
    if before["active"] != now.active:
        change["active"] = before["active"]
    change.update(before["address"])
    return change
