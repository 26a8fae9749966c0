"""Restore one batch of archived jobcodes: the jobcodes, their locations, their assignments.

An item that is refused is verified before it is called lost: an answer such as 423 or 5xx may come
for what was done all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cprqueue import failpoints
from cprqueue.clients import listings
from cprqueue.clients.fence import Fence
from cprqueue.clients.qbtime import QuickBooksTime, whole
from cprqueue.domain.hierarchy import depth
from cprqueue.domain.models import BATCH, ItemResult, Json, Location
from cprqueue.domain.records import LocationBefore, PlanItem

K = TypeVar("K", int, tuple[int, int])
Write = Callable[[Sequence[Mapping[str, Json]], Fence], list[ItemResult]]

Lost = list[tuple[str, str]]
"""What could not be restored: (job number or name, in what way)."""


@dataclass(frozen=True, slots=True)
class Restorer:
    """Writes with ``qbt``; what is restored already is left alone.

    ``fence`` renews the lock and the leases before each write.
    """

    qbt: QuickBooksTime
    fence: Callable[[], Fence]

    def jobcodes(self, items: Sequence[PlanItem]) -> dict[int, str]:
        """Restore jobcodes; return the answers to those that stay archived, by jobcode."""
        changes = {item.jobcode_id: _restoring(item) for item in items}
        refused = self._write(self.qbt.change_jobcodes, changes)
        found = listings.by_ids(self.qbt.jobcodes, refused, **listings.ANY)
        active = {code.id for code in found if code.active}
        return {id_: text for id_, text in refused.items() if id_ not in active}

    def locations(self, items: Sequence[PlanItem]) -> Lost:
        """Link and restore the locations that the archive unlinked."""
        before = {place.id: place for i in items for place in i.state_before.locations}
        labels = {place.id: i.label for i in items for place in i.state_before.locations}
        refused = self._write(self.qbt.change_locations, self._relinking(before))
        still = self._relinking({id_: before[id_] for id_ in refused})
        return [(labels[id_], f"location {id_}: {refused[id_]}") for id_ in still]

    def _relinking(self, before: Mapping[int, LocationBefore]) -> dict[int, dict[str, Json]]:
        now = {p.id: p for p in listings.by_ids(self.qbt.locations, before, active="both")}
        changes = {id_: _relinking(place, now.get(id_)) for id_, place in before.items()}
        return {id_: change for id_, change in changes.items() if change}

    def people(self, items: Sequence[PlanItem]) -> Lost:
        """Assign the people who were assigned singly."""
        labels = {(user, i.jobcode_id): i.label for i in items for user in i.state_before.assignees}
        assignments = {pair: {"user_id": pair[0], "jobcode_id": pair[1]} for pair in labels}
        refused = self._write(self.qbt.assign, assignments)
        rows = self.qbt.assignments() if refused else []
        there = {(whole(row.get("user_id")), whole(row.get("jobcode_id"))) for row in rows}
        return [
            (labels[pair], f"one person's assignment: {text}")
            for pair, text in refused.items()
            if pair not in there
        ]

    def _write(self, write: Write, changes: Mapping[K, Mapping[str, Json]]) -> dict[K, str]:
        """Send the changes, 50 at a time; return the answers to those that were refused."""
        refused = {}
        keys = list(changes)
        for start in range(0, len(keys), BATCH):
            part = keys[start : start + BATCH]
            fence = self.fence()
            failpoints.point("before_restore")
            results = write([changes[key] for key in part], fence)
            answered = zip(part, results, strict=True)
            refused.update({key: result.text for key, result in answered if not result.done})
        return refused


def levels(items: Iterable[PlanItem]) -> list[list[PlanItem]]:
    """Group items so that parents come before their children."""
    found = list(items)
    parents = {item.jobcode_id: item.state_before.parent_id for item in found}
    grouped: dict[int, list[PlanItem]] = {}
    for item in found:
        grouped.setdefault(depth(item.jobcode_id, parents), []).append(item)
    return [grouped[number] for number in sorted(grouped)]


def _restoring(item: PlanItem) -> dict[str, Json]:
    """Build the item that restores a jobcode, with its name, which may have been edited."""
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
