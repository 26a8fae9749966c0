"""Undo a prune or a remove-all: bring archived jobcodes back as they were.

What a run archived stands in its plan with the state before. Parents come back first, then
``assigned_to_all``, the links of locations and the assignments of single people. What cannot
come back is said, item by item. Run twice, or after a death at any line, it goes on where it
was: restoring what is active changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from cprqueue.errors import UsageError
from cprqueue.models import BATCH, Address, Location, name_key
from cprqueue.qbtime import QuickBooksTime
from cprqueue.services import looks, suspension
from cprqueue.services.archive import set_active
from cprqueue.services.families import depth
from cprqueue.store import events, jobs, links, plans, runs
from cprqueue.store.database import Database, clock

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Undone:
    """What an undo did. ``lost``: (job number or name, what could not come back)."""

    restored: int = 0
    lost: list[tuple[str, str]] = field(default_factory=list)

    def text(self) -> str:
        """Say it in one line."""
        more = f", {len(self.lost)} not wholly" if self.lost else ""
        return f"{self.restored} restored{more}"


@dataclass(slots=True, kw_only=True)
class Undo:
    """Undoes runs with ``qbt``."""

    db: Database
    qbt: QuickBooksTime

    def request(self, of_run: int, numbers: Sequence[str] = ()) -> int:
        """Put an undo on record; return its run id. Raises UsageError for a run without a plan."""
        with self.db.begin() as conn:
            row = runs.get(conn, of_run)
            if row is None or row.kind not in ("prune", "remove_all"):
                raise UsageError(
                    f"run {of_run} is no prune and no remove-all: see `cprqueue history`"
                )
            run_id = runs.create(conn, "undo", now=clock(conn), requested_by="operator")
            runs.set_detail(conn, run_id, {"of_run": of_run, "numbers": list(numbers)})
        return run_id

    def run(self, run_id: int) -> Undone:
        """Carry out the undo of ``run_id``. Raises the client's errors; run it again to go on."""
        with self.db.begin() as conn:
            row: Any = runs.get(conn, run_id)
            order = runs.detail(row)
            runs.change(conn, run_id, state="running", started_at=clock(conn))
            items = self._chosen(conn, order["of_run"], order["numbers"])
            owned = self._owned_by_the_sync(conn, items)
        undone = Undone()
        self._leave_to_the_sync(owned, undone)
        todo = [item for item in items if item.item_id not in owned]
        for level in _levels(todo):
            for start in range(0, len(level), BATCH):
                self._restore(level[start : start + BATCH], undone)
                self._touch(run_id)
        self._end(run_id, order, undone)
        return undone

    def _chosen(self, conn: Connection, of_run: int, numbers: Sequence[str]) -> list[Any]:
        items = plans.of_run(conn, of_run, "archived", "restoring")
        if not numbers:
            return items
        keys = {name_key(number) for number in numbers}
        chosen = [i for i in items if name_key(i.job_number or i.name) in keys]
        unknown = keys - {name_key(i.job_number or i.name) for i in chosen}
        if unknown:
            raise UsageError(f"run {of_run} archived no {', '.join(sorted(unknown))}")
        return chosen

    def _owned_by_the_sync(self, conn: Connection, items: Iterable[Any]) -> dict[int, str]:
        """Return the items that the ordinary sync has brought back or moved since."""
        if suspension.suspended(conn):
            return {}
        owned = {}
        for item in items:
            row = jobs.get(conn, item.job_id) if item.job_id is not None else None
            link = links.get(conn, item.job_id) if item.job_id is not None else None
            if row is not None and row.active and link and link.jobcode_id == item.jobcode_id:
                owned[item.item_id] = item.job_number
        return owned

    def _leave_to_the_sync(self, owned: dict[int, str], undone: Undone) -> None:
        with self.db.begin() as conn:
            note = "its job is active again: the sync brings it back"
            plans.set_outcome(conn, list(owned), "restored", now=clock(conn), note=note)
        undone.restored += len(owned)

    def _restore(self, items: list[Any], undone: Undone) -> None:
        before = {item.item_id: plans.state_before(item) for item in items}
        with self.db.begin() as conn:
            ids = [item.item_id for item in items]
            plans.set_outcome(conn, ids, "restoring", now=clock(conn))
        payload = [_restoring(item, before[item.item_id]) for item in items]
        results = self.qbt.change_jobcodes(payload)
        back = [item for item, result in zip(items, results, strict=True) if result.done]
        for item, result in zip(items, results, strict=True):
            if not result.done:
                self._lost(item, f"stays archived: {result.text}", undone)
        self._restore_locations(back, before, undone)
        self._restore_people(back, before, undone)
        with self.db.begin() as conn:
            for item in back:
                self._note(conn, item, before[item.item_id])
        undone.restored += len(back)

    def _lost(self, item: Any, text: str, undone: Undone) -> None:
        undone.lost.append((item.job_number or item.name, text))
        with self.db.begin() as conn:
            plans.set_outcome(conn, [item.item_id], "archived", now=clock(conn), note=text)

    def _restore_locations(
        self, items: list[Any], before: dict[int, dict[str, Any]], undone: Undone
    ) -> None:
        """Link and restore the locations that the archive unlinked; the others are left alone."""
        wanted: dict[int, dict[str, Any]] = {}
        names: dict[int, str] = {}
        for item in items:
            for place in before[item.item_id]["locations"]:
                wanted[place["id"]] = place
                names[place["id"]] = item.job_number or item.name
        now = {p.id: p for p in looks.by_ids(self.qbt.locations, wanted, active="both")}
        changes = [c for place in wanted.values() if (c := _relinking(place, now.get(place["id"])))]
        for start in range(0, len(changes), BATCH):
            part = changes[start : start + BATCH]
            results = self.qbt.change_locations(part)
            for change, result in zip(part, results, strict=True):
                if not result.done:
                    text = f"location {change['id']}: {result.text}"
                    undone.lost.append((names[change["id"]], text))

    def _restore_people(
        self, items: list[Any], before: dict[int, dict[str, Any]], undone: Undone
    ) -> None:
        pairs = [
            (item, {"user_id": user, "jobcode_id": item.jobcode_id})
            for item in items
            for user in before[item.item_id].get("assignees", [])
        ]
        for start in range(0, len(pairs), BATCH):
            part = pairs[start : start + BATCH]
            results = self.qbt.assign([assignment for _, assignment in part])
            for (item, _), result in zip(part, results, strict=True):
                if not result.done:
                    text = f"one person's assignment: {result.text}"
                    undone.lost.append((item.job_number or item.name, text))

    def _note(self, conn: Connection, item: Any, state: dict[str, Any]) -> None:
        now = clock(conn)
        plans.set_outcome(conn, [item.item_id], "restored", now=now)
        if item.job_id is None:
            return
        to_all = bool(state["assigned_to_all"])
        set_active(conn, item.job_id, item.jobcode_id, active=True, assigned_to_all=to_all)
        text = f"jobcode {item.jobcode_id} restored as {state['name']}"
        events.add(conn, [events.event(item.job_id, "restored", text, at=now)])

    def _touch(self, run_id: int) -> None:
        with self.db.begin() as conn:
            runs.change(conn, run_id, touched_at=clock(conn))

    def _end(self, run_id: int, order: dict[str, Any], undone: Undone) -> None:
        with self.db.begin() as conn:
            lost = [{"what": name, "text": text} for name, text in undone.lost]
            runs.set_detail(conn, run_id, {**order, "lost": lost})
            values: dict[str, Any] = {"state": "done", "finished_at": clock(conn)}
            runs.change(conn, run_id, note=undone.text(), recorded=undone.restored, **values)
            whole = not order["numbers"]
            halted = suspension.suspended(conn)
            if whole and halted and halted["run_id"] == order["of_run"]:
                suspension.lift(conn)
        log.info("undo ended", extra={"run_id": run_id, "outcome": undone.text()})


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
