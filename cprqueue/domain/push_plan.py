"""Pure: the one next action that brings QuickBooks Time closer to what a job should be.

``next_action`` compares what is wanted with what is held; ``apply`` says what is held after
the action was done. Repeating the two always ends in ``Done``: at most one change of the
jobcode (two when a name must be swapped), one of each spare location, one of the location.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from cprqueue.domain.models import (
    NAME_LIMIT,
    Address,
    Desired,
    Jobcode,
    Json,
    Location,
    Observed,
    Spare,
)
from cprqueue.domain.naming import Aside, Blocked, Free, Ruling, Taken, Temporary
from cprqueue.domain.records import ErrorCode, Intent


@dataclass(frozen=True, slots=True)
class Action:
    """One step; ``rank`` is the order in which steps are sent: what frees a name comes first."""

    rank: ClassVar[int]


@dataclass(frozen=True, slots=True)
class Verify(Action):
    """Read from QuickBooks Time before anything is written: what is held is not certain."""

    rank = 0

    def __str__(self) -> str:
        return "look at QuickBooks Time first"


@dataclass(frozen=True, slots=True)
class ChangeJobcode(Action):
    """Change the given fields of a jobcode; restoring is the field ``active``."""

    jobcode_id: int
    changes: tuple[tuple[str, str | bool], ...]

    rank = 1
    kind = Intent.CHANGE_JOBCODE

    def payload(self) -> dict[str, Json]:
        """The item for the request."""
        return {"id": self.jobcode_id, **dict(self.changes)}

    def applied(self, observed: Observed) -> Observed:
        """Return what is held after the change."""
        now = dict(self.changes)
        return replace(
            observed,
            name=str(now.get("name", observed.name)),
            active=bool(now.get("active", observed.active)),
            assigned_to_all=bool(now.get("assigned_to_all", observed.assigned_to_all)),
        )

    def __str__(self) -> str:
        words = ", ".join(f"{name} {_said(value)}" for name, value in self.changes)
        return f"change jobcode {self.jobcode_id}: {words}"


@dataclass(frozen=True, slots=True)
class CreateJobcode(Action):
    """Create the job's jobcode, open to everybody."""

    name: str

    rank = 2
    kind = Intent.CREATE_JOBCODE

    def payload(self) -> dict[str, Json]:
        """The item for the request."""
        return {"name": self.name, "assigned_to_all": True}

    def __str__(self) -> str:
        return f"create jobcode {self.name}"


@dataclass(frozen=True, slots=True)
class DropLocation(Action):
    """Take the jobcode's link off a location; archive it when nothing else uses it."""

    location_id: int
    others: tuple[int, ...] = ()

    rank = 3
    kind = Intent.CHANGE_LOCATION

    def payload(self) -> dict[str, Json]:
        """The item for the request."""
        item: dict[str, Json] = {
            "id": self.location_id,
            "linked_objects": {"jobcodes": list(self.others)},
        }
        return item if self.others else item | {"active": False}

    def __str__(self) -> str:
        return f"unlink location {self.location_id}"


@dataclass(frozen=True, slots=True)
class ChangeLocation(Action):
    """Give our location the wanted address, active and linked to the jobcode alone."""

    location_id: int
    jobcode_id: int
    address: Address

    rank = 3
    kind = Intent.CHANGE_LOCATION

    def payload(self) -> dict[str, Json]:
        """The item for the request; empty parts are sent, so that they are cleared."""
        links = {"linked_objects": {"jobcodes": [self.jobcode_id]}}
        return {"id": self.location_id, "active": True, **self.address.as_dict(), **links}

    def __str__(self) -> str:
        return f"change the address of location {self.location_id}"


@dataclass(frozen=True, slots=True)
class CreateLocation(Action):
    """Create the job's location, linked to its jobcode."""

    jobcode_id: int
    address: Address

    rank = 4
    kind = Intent.CREATE_LOCATION

    def payload(self) -> dict[str, Json]:
        """The item for the request."""
        parts = {name: part for name, part in self.address.as_dict().items() if part}
        return {**parts, "linked_objects": {"jobcodes": [self.jobcode_id]}}

    def __str__(self) -> str:
        return f"create the location of jobcode {self.jobcode_id}"


@dataclass(frozen=True, slots=True)
class Wait(Action):
    """Nothing to do before another job has moved; ``reason`` names it."""

    reason: str

    rank = 8

    def __str__(self) -> str:
        return f"wait: {self.reason}"


@dataclass(frozen=True, slots=True)
class Park(Action):
    """Refused for good, until a person or the job changes something."""

    code: ErrorCode
    reason: str

    rank = 8

    def __str__(self) -> str:
        return f"park: {self.reason}"


@dataclass(frozen=True, slots=True)
class Done(Action):
    """QuickBooks Time holds what is wanted."""

    rank = 9

    def __str__(self) -> str:
        return "nothing to do"


Write = ChangeJobcode | CreateJobcode | DropLocation | ChangeLocation | CreateLocation
Step = Verify | Write | Wait | Park | Done


def next_action(desired: Desired, observed: Observed, *, certain: bool, ruling: Ruling) -> Step:
    """Return the next step for one active job.

    ``certain`` is False after a request whose fate is unknown. ``ruling`` says whether the
    job may bear its number as a name now (``names.rule``).
    """
    if not certain:
        return Verify()
    refusal = _refusal(desired, ruling)
    if refusal:
        return refusal
    if isinstance(ruling, Aside):
        # An archived jobcode takes a new name only together with its restore; on one that is
        # not archived the second field changes nothing. The next prune archives it again.
        return ChangeJobcode(ruling.jobcode_id, (("name", ruling.name), ("active", True)))
    if observed.jobcode_id is None:
        return CreateJobcode(desired.name)
    changes = jobcode_changes(
        ruling.name if isinstance(ruling, Temporary) else desired.name, observed
    )
    if changes:
        return ChangeJobcode(observed.jobcode_id, changes)
    return _location_action(desired.address, observed, observed.jobcode_id)


def _refusal(desired: Desired, ruling: Ruling) -> Park | Wait | None:
    too_long = len(desired.name) - NAME_LIMIT
    if too_long > 0:
        reason = f"job number is too long by {too_long}: QuickBooks Time takes {NAME_LIMIT}"
        return Park(ErrorCode.NAME_TOO_LONG, reason)
    if isinstance(ruling, Taken):
        return Park(ErrorCode.DOUBLED_NUMBER, ruling.reason)
    if isinstance(ruling, Blocked):
        return Wait(ruling.reason)
    return None


def jobcode_changes(name: str, observed: Observed) -> tuple[tuple[str, str | bool], ...]:
    """Return the fields to send so that the jobcode is ``name``, active and for everybody.

    A restore always sends ``assigned_to_all``: archiving removes assignments, and nothing in
    the documentation says that they come back ("The Jobcode object", active).
    """
    changes: list[tuple[str, str | bool]] = []
    if observed.name != name:
        changes.append(("name", name))
    if not observed.active:
        changes.append(("active", True))
    if not (observed.active and observed.assigned_to_all):
        changes.append(("assigned_to_all", True))
    return tuple(changes)


def _location_action(address: Address, observed: Observed, jobcode_id: int) -> Step:
    if observed.spares:
        return DropLocation(observed.spares[0].location_id, observed.spares[0].others)
    if not address:
        if observed.location_id is not None and observed.location_linked:
            return DropLocation(observed.location_id)
        return Done()
    if observed.location_id is None:
        return CreateLocation(jobcode_id, address)
    if not observed.location_linked or observed.address != address:
        return ChangeLocation(observed.location_id, jobcode_id, address)
    return Done()


def touched_ids(action: Write) -> tuple[list[int], list[int]]:
    """Return the ids of the jobcodes and of the locations that ``action`` changes."""
    match action:
        case ChangeJobcode() | CreateLocation():
            return [action.jobcode_id], []
        case ChangeLocation():
            return [action.jobcode_id], [action.location_id]
        case DropLocation():
            return list(action.others), [action.location_id]
    return [], []


def apply(observed: Observed, action: Action, new_id: int | None = None) -> Observed:
    """Return what is held after ``action`` was done; ``new_id`` is what a create was given."""
    match action:
        case CreateJobcode(name=name):
            return Observed(jobcode_id=new_id, name=name, active=True, assigned_to_all=True)
        case ChangeJobcode():
            return (
                action.applied(observed) if action.jobcode_id == observed.jobcode_id else observed
            )
        case CreateLocation(address=address):
            return replace(observed, location_id=new_id, address=address, location_linked=True)
        case ChangeLocation(address=address):
            return replace(observed, address=address, location_linked=True)
        case DropLocation(location_id=location_id):
            return _dropped(observed, location_id)
    return observed


def _dropped(observed: Observed, location_id: int) -> Observed:
    spares = tuple(spare for spare in observed.spares if spare.location_id != location_id)
    linked = observed.location_linked and location_id != observed.location_id
    return replace(observed, spares=spares, location_linked=linked)


def observe(
    jobcode: Jobcode, locations: Iterable[Location], *, ours: int | None, address: Address
) -> Observed:
    """Build what is held from what QuickBooks Time shows.

    ``locations``: those linked to the jobcode, and our own even when it is not (any order).
    ``ours``: the location that our record names; it is kept if it still serves. Otherwise
    the one with the wanted ``address`` is taken, then the oldest. A location that other
    jobcodes share is never ours to change: it only loses our link.
    """
    candidates = sorted(locations, key=lambda place: _preference(place, ours, address))
    linked = [p for p in candidates if p.active and jobcode.id in p.jobcode_ids]
    private = [p for p in candidates if set(p.jobcode_ids) <= {jobcode.id}]
    chosen = private[0] if private else None
    return Observed(
        jobcode_id=jobcode.id,
        name=jobcode.name,
        active=jobcode.active,
        assigned_to_all=jobcode.assigned_to_all,
        location_id=chosen.id if chosen else None,
        address=chosen.address if chosen else Address(),
        location_linked=chosen is not None and chosen in linked,
        spares=tuple(
            Spare(p.id, tuple(c for c in p.jobcode_ids if c != jobcode.id))
            for p in linked
            if p is not chosen
        ),
    )


def _preference(
    place: Location, ours: int | None, address: Address
) -> tuple[bool, bool, bool, int]:
    return (place.id != ours, not place.active, place.address != address, place.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One field of what is wanted and of what is held, in words."""

    field: str
    desired: str
    observed: str
    equal: bool


def differences(desired: Desired, observed: Observed) -> list[Compared]:
    """Compare field by field, in a fixed order, for people."""
    rows = [
        ("name", desired.name, observed.name),
        ("active", "yes", "yes" if observed.active else "no"),
        ("assigned to all", "yes", "yes" if observed.assigned_to_all else "no"),
        ("location linked", _yes(bool(desired.address)), _yes(observed.location_linked)),
    ]
    there = observed.address if observed.location_linked else Address()
    rows += [
        (name, part, there.as_dict()[name]) for name, part in desired.address.as_dict().items()
    ]
    rows.append(("spare locations", "0", str(len(observed.spares))))
    return [Compared(field=n, desired=w, observed=h, equal=w == h) for n, w, h in rows]


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _said(value: object) -> str:
    return _yes(value) if isinstance(value, bool) else repr(value)


__all__ = [
    "Action",
    "ChangeJobcode",
    "ChangeLocation",
    "CreateJobcode",
    "CreateLocation",
    "Done",
    "DropLocation",
    "Free",
    "Park",
    "Step",
    "Verify",
    "Wait",
    "Write",
    "apply",
    "differences",
    "jobcode_changes",
    "next_action",
    "observe",
    "touched_ids",
]
