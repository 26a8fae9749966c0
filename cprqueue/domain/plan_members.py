"""Pure: the jobs of a plan: what is on record of each, what RM's answer changes, who is due."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from cprqueue.domain.mapping import Unread
from cprqueue.domain.models import Desired, Job, Observed, Verdict, name_key
from cprqueue.domain.push_actions import Park
from cprqueue.domain.push_brake import Effect, Managed, Tally, effect_of
from cprqueue.domain.push_forecast import Member
from cprqueue.domain.push_item import Item, read_item
from cprqueue.domain.push_model import Model
from cprqueue.domain.push_plan import differences
from cprqueue.domain.recording import Change, Finding, LinkNeed, Sighting, decide
from cprqueue.domain.records import ClaimedLink, KnownJob
from cprqueue.domain.states import REFUSED, ErrorCode, LinkState, VerificationKind

BY_HAND = "changed by hand in QuickBooks Time: the next snapshot finds it, then it is set back"
VANISHED = "vanished: not in the last complete fetch, nor in this one"
NOT_SHOWN = "not in this answer of RestorationManager: inactive once the next one lacks it too"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is on record. ``complete_run_id``: the last complete fetch that could read all jobs.

    ``exported``: the first export was taken; ``young``: it, or a later one, is less than an hour
    old, or is about to be taken. ``kept``: how it is said that a person keeps a job's jobcode.
    """

    jobs: Mapping[int, KnownJob] = field(default_factory=dict)
    links: Sequence[ClaimedLink] = ()
    complete_run_id: int | None = None
    exported: bool = False
    young: bool = True
    kept: Mapping[int, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Members:
    """The jobs of a plan. ``found``: those that have, or want, a jobcode; ``due``: in their order.

    ``numbers`` and ``rules`` (what to know of it) are of every job. ``tally``: what the brake on
    pushes counts.
    """

    known: Known
    account: Model
    found: dict[int, Member] = field(default_factory=dict)
    due: dict[int, None] = field(default_factory=dict)
    numbers: dict[int, str] = field(default_factory=dict)
    rules: dict[int, str] = field(default_factory=dict)
    linked_before: dict[int, int | None] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    _links: dict[int, ClaimedLink] = field(init=False)
    _released: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self._links = {link.job_id: link for link in self.known.links}
        self.linked_before = {link.job_id: link.jobcode_id for link in self.known.links}
        waiting = [link for link in self.known.links if link.state is LinkState.DUE]
        for link in sorted(waiting, key=lambda link: (str(link.next_attempt_at), link.job_id)):
            self.due[link.job_id] = None

    @property
    def managed(self) -> Managed:
        """How many jobcodes the brake on pushes counts, once all is recorded."""
        linked = [job_id for job_id, code in self.linked_before.items() if code is not None]
        active = sum(self.found[job_id].active for job_id in linked)
        return Managed(ever=len(linked), active=active)

    def record(self, jobs: Sequence[tuple[Job, Verdict]], sighting: Sighting) -> None:
        """Record each job of the answer, as the stage record does."""
        for job, verdict in jobs:
            known = self.known.jobs.get(job.job_id)
            change = decide(known, job, verdict, sighting)
            older = known is not None and change.finding is Finding.OLDER
            if known is not None and older:
                verdict = Verdict(active=known.active, rule=known.rule)
            self._record(job, verdict, change, sighting.run_id)

    def _record(self, job: Job, verdict: Verdict, change: Change, run_id: int) -> None:
        link, known = self._links.get(job.job_id), self.known.jobs.get(job.job_id)
        self.numbers[job.job_id] = job.job_number
        if not verdict.active:
            self.rules[job.job_id] = f"inactive: {verdict.rule}"
            self.due.pop(job.job_id, None)
        if change.released is not None:
            self._released.add(change.released)
        if link is None and not verdict.active:
            return
        first_run_id = known.first_run_id if known else run_id
        item = read_item(link) if link else _new_item(job, first_run_id)
        if change.finding is not Finding.OLDER:
            item.number, item.key = job.job_number, name_key(job.job_number)
            item.desired = Desired(name=job.job_number, address=job.address)
        self._add(item, link, active=verdict.active)
        if change.link is LinkNeed.RESTORE and item.observed.jobcode_id is not None:
            item.observed = replace(item.observed, active=False)
        if change.link in (LinkNeed.ADD, LinkNeed.PUSH, LinkNeed.RESTORE):
            effect = effect_of(item.desired, item.observed)
            if change.waits_for is not None:
                self.tally = self.tally.plus([effect])
            if link is None or not _is_held(link) or effect is Effect.NOTHING:
                self._make_due(job.job_id)

    def let_vanish(self, unread: Sequence[Unread]) -> None:
        """Make inactive what neither the last complete fetch nor this answer has shown.

        What could not be read was shown all the same; where it may be any job, none vanishes.
        """
        before, ids = self.known.complete_run_id, {item.job_id for item in unread}
        keys = {name_key(item.job_number) for item in unread if item.job_id is None}
        names = {known.name_key for known in self.known.jobs.values()}
        blind = any(
            item.is_job and item.job_id is None and name_key(item.job_number) not in names
            for item in unread
        )
        for job_id, link in self._links.items() if before is not None and not blind else ():
            known = self.known.jobs[job_id]
            shown = job_id in self.numbers or job_id in ids or known.name_key in keys
            seen = max(known.complete_run_id, known.seen_run_id) >= (before or 0)
            if known.active and not shown and not seen:
                self._leave_out(link, active=False, rule=f"inactive: {VANISHED}")
                self._released.add(known.name_key)

    def keep_the_others(self) -> None:
        """Keep every other job that has a link as it is on record; then free who waited."""
        for job_id, link in self._links.items():
            if job_id not in self.numbers:
                known = self.known.jobs[job_id]
                rule = NOT_SHOWN if known.active else f"inactive: {known.rule}"
                self._leave_out(link, active=known.active, rule=rule)
        for job_id, member in self.found.items():
            code = self._links[job_id].error_code or "" if job_id in self._links else ""
            conflict = code == ErrorCode.DOUBLED_NUMBER or code.startswith(REFUSED)
            if member.parked and conflict and member.item.key in self._released:
                self._make_due(job_id)

    def _leave_out(self, link: ClaimedLink, *, active: bool, rule: str) -> None:
        self.numbers[link.job_id], self.rules[link.job_id] = link.job_number, rule
        if not active:
            self.due.pop(link.job_id, None)
        self._add(read_item(link), link, active=active)

    def _add(self, item: Item, link: ClaimedLink | None, *, active: bool) -> None:
        member = self.found[item.job_id] = Member(item=item, active=active)
        if link is None:
            return
        if item.verification is VerificationKind.REQUIRED:
            item.verification = VerificationKind.FULL
        if link.state is LinkState.PARKED and active:
            member.parked = Park(ErrorCode.WAITING, link.error_reason or "parked")
        if _is_held(link) and active:
            self.rules[item.job_id] = link.error_reason or "held"
        if link.jobcode_id is not None:
            self._look_at(item, link, active=active)

    def _look_at(self, item: Item, link: ClaimedLink, *, active: bool) -> None:
        """Take over what the account shows of a linked jobcode, as a snapshot does."""
        if link.jobcode_id not in self.account.codes:
            item.verification, equal = VerificationKind.FULL, False
        else:
            ours, desired = (
                link.observed.location_id,
                Desired(name=link.job_number, address=link.address),
            )
            item.observed = self.account.observed(link.jobcode_id, ours, item.desired.address)
            there = self.account.observed(link.jobcode_id, ours, link.address)
            equal = all(row.equal for row in differences(desired, there))
        if link.state is LinkState.IN_SYNC and active and not equal:
            self.rules.setdefault(item.job_id, BY_HAND)
            self._make_due(item.job_id)

    def _make_due(self, job_id: int) -> None:
        self.due.pop(job_id, None)
        self.due[job_id] = None
        self.found[job_id].parked = None


def _is_held(link: ClaimedLink) -> bool:
    """Tell whether the brake on pushes holds the job: a change of it is held as well."""
    return link.state is LinkState.HELD or link.error_code == ErrorCode.HELD


def _new_item(job: Job, first_run_id: int) -> Item:
    desired = Desired(name=job.job_number, address=job.address)
    return Item(
        job_id=job.job_id,
        number=job.job_number,
        key=name_key(job.job_number),
        seniority=(first_run_id, job.job_id),
        desired=desired,
        observed=Observed(),
        attempts=0,
        verification=None,
        intent=None,
        intent_at=None,
        desired_hash=desired.digest(),
    )
