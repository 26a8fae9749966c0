"""Pure: what a sync would do to an account as it is now, job by job; nothing is written anywhere.

``make_plan`` records the answer of RestorationManager as the stage record does (``recording``),
pushes in memory as the stage push does (``push_forecast``), and compares the account of before
with that of after.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from cprqueue.domain.mapping import Unread
from cprqueue.domain.models import PAGE, Address, Job, Json, Observed, Verdict, name_key
from cprqueue.domain.plan_members import Known, Members
from cprqueue.domain.push_brake import Managed, Tally
from cprqueue.domain.push_forecast import Forecast, Member
from cprqueue.domain.push_model import Model
from cprqueue.domain.recording import Sighting


class Step(StrEnum):
    """What happens to a job's jobcode, in the order in which it is told."""

    CREATE = "create"
    ADOPT = "adopt"
    RESTORE = "restore"
    RENAME = "rename"
    SET_ADDRESS = "set_address"
    CHANGE_ADDRESS = "change_address"
    REMOVE_ADDRESS = "remove_address"
    PARK = "park"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedJob:
    """One job of a plan; without ``actions`` it is left as it is.

    ``before`` and ``after`` hold the fields of QuickBooks Time that differ, by its own names;
    ``before`` is empty for a jobcode that is created. ``reason``: why it is parked or left, or
    what else to know; never an address.
    """

    job_id: int
    job_number: str
    active: bool
    actions: tuple[Step, ...] = ()
    before: Mapping[str, Json] = field(default_factory=dict)
    after: Mapping[str, Json] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncPlan:
    """What a sync would do. ``unclaimed``: the names of active jobcodes that no job has or gets.

    ``calls``: how many calls to QuickBooks Time it takes, by kind. ``tally`` and ``managed``: what
    the brake on pushes counts.
    """

    jobs: tuple[PlannedJob, ...]
    unclaimed: tuple[str, ...]
    calls: Mapping[str, int]
    tally: Tally = field(default_factory=Tally)
    managed: Managed = field(default_factory=Managed)

    @property
    def counts(self) -> dict[str, int]:
        """How many jobs have each action."""
        return {step.value: sum(step in job.actions for job in self.jobs) for step in Step}


def make_plan(
    jobs: Sequence[tuple[Job, Verdict]],
    known: Known,
    account: Model,
    sighting: Sighting,
    *,
    unread: Sequence[Unread] = (),
) -> SyncPlan:
    """Return what a sync would do to ``account`` with this complete answer of RM.

    ``jobs``: each job of the answer once, in its order; ``unread``: what in it is no job.
    """
    members = Members(known=known, account=account)
    members.record(jobs, sighting)
    members.let_vanish(unread)
    members.keep_the_others()
    after = account.copy()
    forecast = Forecast(members=members.found, model=after, young=known.young)
    forecast.run(members.due)
    calls = dict(forecast.calls) | ({} if known.exported else {"snapshot": _listing(account)})
    linked = {link.jobcode_id for link in known.links}
    held = linked | {member.item.observed.jobcode_id for member in members.found.values()}
    free = [code for code in account.codes.values() if code.active and code.id not in held]
    rows = _Rows(members, account, after)
    everything = [rows.of(job_id) for job_id in members.numbers]
    return SyncPlan(
        jobs=tuple(sorted(everything, key=lambda job: (job.job_number, job.job_id))),
        unclaimed=tuple(sorted(code.name for code in free)),
        calls={kind: number for kind, number in calls.items() if number},
        tally=members.tally,
        managed=members.managed,
    )


def _listing(account: Model) -> int:
    """Return how many pages all jobcodes and all locations are."""
    return sum(max(1, -(-len(rows) // PAGE)) for rows in (account.codes, account.places))


class _Rows:
    """Compares the account of before with that of after, for one job at a time."""

    def __init__(self, members: Members, before: Model, after: Model) -> None:
        self.members, self.before, self.after = members, before, after
        self.below = _below_parents(before)

    def of(self, job_id: int) -> PlannedJob:
        """Return what happens to this job."""
        member, number = self.members.found.get(job_id), self.members.numbers[job_id]
        reason = self.members.rules.get(job_id, "")
        if member is None:
            return PlannedJob(job_id=job_id, job_number=number, active=False, reason=reason)
        observed, address = member.item.observed, member.item.desired.address
        was = self.before.observed(observed.jobcode_id, observed.location_id, address)
        now = self.after.observed(observed.jobcode_id, observed.location_id, address)
        before, after = self._fields(self.before, was), self._fields(self.after, now)
        differing = [name for name in after if before.get(name) != after[name]]
        actions = tuple(self._actions(member, was, now))
        if not was.jobcode_id:
            differing = [name for name in differing if after[name]]
        return PlannedJob(
            job_id=job_id,
            job_number=number,
            active=member.active,
            actions=actions,
            before={name: before[name] for name in differing} if was.jobcode_id else {},
            after={name: after[name] for name in differing},
            reason=self._reason(member, reason),
        )

    def _fields(self, model: Model, observed: Observed) -> dict[str, Json]:
        address = observed.address if observed.location_linked else Address()
        others = [_line(model.places[spare.location_id].address) for spare in observed.spares]
        return {
            "name": observed.name,
            "active": observed.active,
            "assigned_to_all": observed.assigned_to_all,
            **address.as_dict(),
            "other_addresses": others,
        }

    def _actions(self, member: Member, was: Observed, now: Observed) -> Iterable[Step]:
        if now.jobcode_id is not None:
            yield from self._jobcode_actions(member, was, now)
            yield from _address_actions(was, now)
        if member.parked:
            yield Step.PARK

    def _jobcode_actions(self, member: Member, was: Observed, now: Observed) -> Iterable[Step]:
        linked = self.members.linked_before.get(member.item.job_id) == now.jobcode_id
        if was.jobcode_id is None:
            yield Step.CREATE
            return
        if not linked:
            yield Step.ADOPT
        opened = now.assigned_to_all and not was.assigned_to_all
        if (now.active and not was.active) or (linked and opened):
            yield Step.RESTORE
        if now.name != was.name:
            yield Step.RENAME

    def _reason(self, member: Member, note: str) -> str:
        if member.parked:
            return member.parked.reason
        kept = self.members.known.kept.get(member.item.job_id)
        if kept and not member.active and member.item.observed.jobcode_id is not None:
            return f"{note}; {kept}"  # else the prune would archive it
        parent = self.below.get(member.item.key) if member.active else None
        if parent is not None:
            below = f"a jobcode of this name below {parent!r} is left as it is"
            return "; ".join(filter(None, (note, below)))
        return note or member.waits


def _address_actions(was: Observed, now: Observed) -> Iterable[Step]:
    if now.location_linked and not was.location_linked:
        yield Step.SET_ADDRESS
    if now.location_linked and was.location_linked and now.address != was.address:
        yield Step.CHANGE_ADDRESS
    if (was.location_linked and not now.location_linked) or len(now.spares) < len(was.spares):
        yield Step.REMOVE_ADDRESS


def _line(address: Address) -> str:
    return ", ".join(filter(None, address.as_dict().values()))


def _below_parents(account: Model) -> dict[str, str]:
    """Return the names that active jobcodes below a customer or project have, with its name."""
    found = {}
    for code in account.codes.values():
        parent = account.codes.get(code.parent_id)
        if code.active and code.parent_id:
            found[name_key(code.name)] = parent.name if parent else str(code.parent_id)
    return found
