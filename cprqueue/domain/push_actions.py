"""Pure: the steps of a push, what each one sends, and what is observed after it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from cprqueue.domain.models import Address, Json, Observed
from cprqueue.domain.states import ErrorCode, Intent


@dataclass(frozen=True, slots=True)
class Action:
    """One step; ``rank`` is the order in which steps are sent: what frees a name comes first."""

    rank: ClassVar[int]


@dataclass(frozen=True, slots=True)
class Verify(Action):
    """Read back before anything is written: what is observed is not certain."""

    rank = 0

    def __str__(self) -> str:
        return "verify first"


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
        """Return what is observed after the change."""
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
    """Give our location the desired address, active and linked to the jobcode alone."""

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
    """QuickBooks Time holds what is desired."""

    rank = 9

    def __str__(self) -> str:
        return "nothing to do"


Write = ChangeJobcode | CreateJobcode | DropLocation | ChangeLocation | CreateLocation
Step = Verify | Write | Wait | Park | Done


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
    """Return what is observed after ``action`` was done; ``new_id`` is what a create was given."""
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


def _said(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else repr(value)
