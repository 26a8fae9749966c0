"""Pure: the one next action that brings QuickBooks Time closer to what a job should be.

``next_action`` compares what is desired with what is observed; ``apply`` says what is observed
after the action was done. Repeating the two always ends in ``Done``: at most one change of the
jobcode (two when a name must be swapped), one of each spare location, one of the location.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cprqueue.domain.models import (
    NAME_LIMIT,
    Address,
    Desired,
    Jobcode,
    Location,
    Observed,
    Spare,
)
from cprqueue.domain.naming import Aside, Blocked, Free, Ruling, Taken, Temporary
from cprqueue.domain.push_actions import (
    Action,
    ChangeJobcode,
    ChangeLocation,
    CreateJobcode,
    CreateLocation,
    Done,
    DropLocation,
    Park,
    Step,
    Verify,
    Wait,
    Write,
    apply,
    touched_ids,
)
from cprqueue.domain.states import ErrorCode


def next_action(desired: Desired, observed: Observed, *, certain: bool, ruling: Ruling) -> Step:
    """Return the next step for one active job.

    ``certain`` is False after a request of unknown outcome. ``ruling`` says whether the
    job may have its number as a name now (``naming.rule``).
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


def observe(
    jobcode: Jobcode, locations: Iterable[Location], *, ours: int | None, address: Address
) -> Observed:
    """Build what is observed from what QuickBooks Time shows.

    ``locations``: those linked to the jobcode, and our own even when it is not (any order).
    ``ours``: the location that our record names; it is kept if it still serves. Otherwise
    the one with the desired ``address`` is taken, then the oldest. A location that other
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
    """One field of what is desired and of what is observed, in words."""

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
