"""Pure: go through the rounds of a push in memory: what each job comes to, and with how many calls.

The decisions are the push's own (``push_round``, ``adoption``); here is only what the push asks
its database and QuickBooks Time for. What changes in the account meanwhile is not in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from cprqueue.domain import naming, push_plan, push_round
from cprqueue.domain.adoption import choose, find_adoptable, observe_for
from cprqueue.domain.models import BATCH, Jobcode, Observed, name_key
from cprqueue.domain.push_item import Item
from cprqueue.domain.push_model import Model
from cprqueue.domain.states import ErrorCode, VerificationKind

Batch = dict[int, Item]


@dataclass(slots=True, kw_only=True)
class Member:
    """One job in the forecast. ``parked``: it is, or will be, with the reason."""

    item: Item
    active: bool
    parked: push_plan.Park | None = None
    waits: str = ""

    @property
    def claimant(self) -> naming.Claimant:
        """The job as one of those that claim a number."""
        claimant = self.item.claimant
        if self.active:
            return replace(claimant, parked=self.parked is not None)
        return replace(claimant, desired_key="", parked=False)


@dataclass(slots=True, kw_only=True)
class Forecast:
    """Brings ``members`` to their end in ``model``; ``calls`` counts the requests by kind.

    ``young``: the export is, so that what it shows is written by without reading it again.
    """

    members: dict[int, Member]
    model: Model
    young: bool = True
    calls: Counter[str] = field(default_factory=Counter)
    _desiring: dict[str, list[int]] = field(init=False, default_factory=dict)
    _holding: dict[str, set[int]] = field(init=False, default_factory=dict)
    _managed: dict[int, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for job_id, member in self.members.items():
            if member.active:
                self._desiring.setdefault(member.item.key, []).append(job_id)
            self._note(member.item, member.item.observed)

    def run(self, due: Iterable[int]) -> None:
        """Push these jobs, in this order, 50 at once; those that wait come again at the end."""
        todo, passes = list(due), 0
        while todo and passes < push_round.ROUNDS:
            again: list[int] = []
            for start in range(0, len(todo), BATCH):
                again += self._push(sorted(todo[start : start + BATCH]))
            todo, passes = again, passes + 1

    def _push(self, job_ids: Sequence[int]) -> list[int]:
        """Push a batch; return the jobs that wait for another one."""
        batch = {job_id: self.members[job_id].item for job_id in job_ids}
        waiting: list[int] = []
        for _ in range(push_round.ROUNDS):
            decided = self._decide(batch)
            waiting += self._end(batch, decided)
            if not decided.todo:
                return waiting
            self._request(batch, decided.todo)
        return [*waiting, *batch]

    def _decide(self, batch: Batch) -> push_round.Round:
        self._adopt(batch)
        keys = [item.key for item in batch.values()]
        rivals = push_round.find_claimants(keys, self._claimants)
        rulings = push_round.rule_each(batch.values(), rivals)
        for job_id, ruling in list(rulings.items()):
            if isinstance(ruling, naming.TakeOver):
                rulings[job_id] = naming.Free()
                self._take_over(batch[job_id], self.members[ruling.job_id].item)
        return push_round.decide_each(batch.values(), rulings)

    def _claimants(self, keys: Sequence[str]) -> list[naming.Claimant]:
        ids = {
            i for key in keys for i in (*self._desiring.get(key, ()), *self._holding.get(key, ()))
        }
        return [self.members[job_id].claimant for job_id in sorted(ids)]

    def _end(self, batch: Batch, decided: push_round.Round) -> list[int]:
        """Take those who are done, parked or wait out of the batch; return those who wait."""
        for item, park in decided.parked:
            self.members[item.job_id].parked = park
        for item, wait in decided.waits:
            self.members[item.job_id].waits = wait.reason
        for item in decided.done:
            self.members[item.job_id].waits = ""
        waits = [item for item, _ in decided.waits]
        for item in (*decided.done, *(item for item, _ in decided.parked), *waits):
            del batch[item.job_id]
        return [item.job_id for item in waits]

    # --- what the push reads ---

    def _free(self, key: str) -> list[Jobcode]:
        return [code for code in self.model.named(key) if code.id not in self._managed]

    def _adopt(self, batch: Batch) -> None:
        without = [i for i in batch.values() if i.observed.jobcode_id is None and i.certain]
        for item in (item for item in without if not item.fully_verified):
            free = self._free(item.key)
            places = {p.id: p for code in free for p in self.model.near(code.id)}
            found = find_adoptable(item, free, places.values())
            if found and push_round.may_adopt(item, self._claimants([item.key])):
                self._observe(item, found[0])
                item.verification = None if self.young and found[1] else VerificationKind.FULL

    def _take_over(self, item: Item, other: Item) -> None:
        if item.certain:
            observed = other.observed
            self._observe(other, Observed())
            self._observe(item, observed)
            item.verification = VerificationKind.FULL

    def _verify(self, items: list[Item]) -> None:
        """Read these jobs back, with the calls of ``services.push.verify``."""
        changes = [item for item in items if item.verifiable_by_changes]
        for kind in ("jobcode", "location"):
            self.calls["verify"] += any(kind in (item.intent or "") for item in changes)
        whole = [item for item in items if not item.verifiable_by_changes]
        self.calls["verify"] += _requests(sum(i.observed.jobcode_id is not None for i in whole))
        places: set[int | None] = {item.observed.location_id for item in whole}
        for item in items:
            code = self._look_up(item, counted=item in whole)
            near = self.model.near(code.id, item.observed.location_id) if code else []
            places |= {place.id for place in near} if item in whole else set()
            self._observe(item, observe_for(item, code, near) if code else Observed())
            item.intent, item.verification = None, None
            item.fully_verified = item.fully_verified or item in whole
        self.calls["verify"] += _requests(len(places - {None}))

    def _look_up(self, item: Item, *, counted: bool) -> Jobcode | None:
        """Return the job's jobcode: by its id where we know it, else by name."""
        code = self.model.codes.get(item.observed.jobcode_id or 0)
        for name in item.names if code is None else ():
            if code is None:
                self.calls["verify"] += counted
                code = choose(self._free(name_key(name)), name)
        if code is not None and name_key(code.name) != item.key:
            self.calls["verify"] += counted
        return code

    # --- what the push sends ---

    def _request(self, batch: Batch, todo: dict[int, push_round.Todo]) -> None:
        chosen = [(batch[job_id], todo[job_id]) for job_id in push_round.first_request(todo)]
        writes = [(item, step) for item, step in chosen if not isinstance(step, push_plan.Verify)]
        if not writes:
            self._verify([item for item, _ in chosen])
            return
        self.calls[writes[0][1].kind] += 1
        for item, step in writes:
            refusal = self.model.refusal(step)
            if not refusal:
                self._carry_out(item, step)
            elif item.fully_verified:
                text = f"QuickBooks Time refuses to {step.kind.replace('_', ' a ')}: {refusal}"
                self.members[item.job_id].parked = push_plan.Park(ErrorCode.CONFLICT, text)
                del batch[item.job_id]
            else:
                item.verification = VerificationKind.FULL

    def _carry_out(self, item: Item, step: push_plan.Write) -> None:
        was, new_id = item.observed, self.model.do(step)
        if isinstance(step, push_plan.ChangeJobcode):
            other = self.members.get(self._managed.get(step.jobcode_id, 0))
            if other is not None and other.item is not item:
                self._observe(other.item, step.applied(other.item.observed))
        self._observe(item, push_plan.apply(item.observed, step, new_id))
        kept = {spare.location_id for spare in item.observed.spares}
        for spare in was.spares:
            for code_id in spare.others if spare.location_id not in kept else ():
                if code_id in self._managed:
                    theirs = self.members[self._managed[code_id]].item
                    left = theirs.observed.without_sharer(spare.location_id, was.jobcode_id)
                    self._observe(theirs, left)

    def _observe(self, item: Item, observed: Observed) -> None:
        """Replace what is observed for a job."""
        before = item.observed
        if before.jobcode_id is not None:
            self._holding[name_key(before.name)].discard(item.job_id)
            self._managed.pop(before.jobcode_id, None)
        item.observed = observed
        self._note(item, observed)

    def _note(self, item: Item, observed: Observed) -> None:
        if observed.jobcode_id is not None:
            self._holding.setdefault(name_key(observed.name), set()).add(item.job_id)
            self._managed[observed.jobcode_id] = item.job_id


def _requests(ids: int) -> int:
    return -(-ids // BATCH)
