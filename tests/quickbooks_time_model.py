"""A small pure model of QuickBooks Time, and a driver that works as the push does.

The model keeps the rules that make pushing hard: names are unique whether archived or not,
archiving loses ``assigned_to_all``, an archived object takes a change only with its restore, a
create of a known name answers 202 without an id, a location sent twice is two locations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from cprqueue import names, plan
from cprqueue.models import Address, Held, ItemResult, Jobcode, Location, Wanted, name_key
from cprqueue.services.looks import choose

ANSWERED, LOST_BEFORE, LOST_AFTER = "answered", "lost before the act", "lost after the act"
ROUNDS = 14


class LostError(Exception):
    """No answer came."""


@dataclass
class Model:
    """An account: jobcodes and locations by id, and the tick at which each last changed."""

    codes: dict[int, Jobcode] = field(default_factory=dict)
    places: dict[int, Location] = field(default_factory=dict)
    changed: dict[int, int] = field(default_factory=dict)
    tick: int = 0
    last_id: int = 100

    def add(self, thing: Jobcode | Location) -> int:
        """Put it in; id 0 gets a new one."""
        if not thing.id:
            self.last_id += 1
            thing = replace(thing, id=self.last_id)
        if isinstance(thing, Jobcode):
            self.codes[thing.id] = thing
        else:
            self.places[thing.id] = thing
        self.changed[thing.id] = self.tick
        return thing.id

    def places_of(self, code_id: int) -> list[Location]:
        """Return the active locations linked to a jobcode."""
        return [p for p in self.places.values() if p.active and code_id in p.jobcode_ids]

    def send(self, kind: str, payload: dict[str, Any]) -> ItemResult:
        """Do one item of a write request."""
        act: dict[str, Callable[..., ItemResult]] = {
            "create_jobcode": self._create_jobcode,
            "change_jobcode": self._change_jobcode,
            "create_location": self._create_location,
            "change_location": self._change_location,
        }
        return act[kind](**payload)

    def _namesake(self, name: str, but: int = 0) -> bool:
        key = name_key(name)
        return any(name_key(c.name) == key and c.id != but for c in self.codes.values())

    def _create_jobcode(self, *, name: str, assigned_to_all: bool) -> ItemResult:
        if self._namesake(name):
            return ItemResult(code=202, message="Accepted")
        made = self.add(Jobcode(id=0, name=name, assigned_to_all=assigned_to_all))
        return ItemResult(code=200, id=made)

    def _change_jobcode(self, *, id: int, **changes: Any) -> ItemResult:  # noqa: A002
        before = self.codes[id]
        if not before.active and not changes.get("active"):
            return ItemResult(code=417, extra="You cannot edit a jobcode that is archived")
        after = replace(before, **changes)
        if after.name != before.name and self._namesake(after.name, but=id):
            return ItemResult(code=417, extra="The name conflicts with another item")
        if after != before:
            self.add(after)
        return ItemResult(code=200, id=id)

    def _create_location(self, *, linked_objects: dict[str, Any], **parts: str) -> ItemResult:
        links = tuple(linked_objects["jobcodes"])
        if not all(self.codes[link].active for link in links):
            return ItemResult(code=417, extra="Jobcode is archived")
        made = self.add(Location(id=0, address=Address(**parts), jobcode_ids=links))
        return ItemResult(code=200, id=made)

    def _change_location(
        self,
        *,
        id: int,  # noqa: A002
        linked_objects: dict[str, Any],
        active: bool | None = None,
        **parts: str,
    ) -> ItemResult:
        before = self.places[id]
        if not before.active and not active:
            return ItemResult(code=417, extra="You cannot edit a location that is archived")
        links = tuple(linked_objects["jobcodes"])
        if any(not self.codes[link].active for link in links if link not in before.jobcode_ids):
            return ItemResult(code=417, extra="Jobcode is archived")
        after = replace(
            before,
            address=Address(**parts) if parts else before.address,
            active=before.active if active is None else active,
            jobcode_ids=links,
        )
        if after != before:
            self.add(after)
        return ItemResult(code=200, id=id)


@dataclass
class Row:
    """One job: what is wanted, and all that the tables keep of it."""

    job_id: int
    wanted: Wanted
    active: bool = True
    held: Held = field(default_factory=Held)
    state: str = "due"
    reason: str = ""
    code: str = ""
    intent: str | None = None
    intent_tick: int = 0
    look: str | None = None
    looked_whole: bool = False

    @property
    def certain(self) -> bool:
        return self.look is None and self.intent is None

    @property
    def key(self) -> str:
        return name_key(self.wanted.name)

    @property
    def findable(self) -> list[str]:
        sent = self.held.name if self.intent == "create_jobcode" else ""
        return [name for name in (sent, self.wanted.name) if name]

    def claimant(self) -> names.Claimant:
        """Return this job as ``names.rule`` sees it."""
        return names.Claimant(
            job_id=self.job_id,
            label=f"RM job {self.job_id}",
            wanted_key=self.key if self.active else "",
            held_key=name_key(self.held.name) if self.held.jobcode_id is not None else "",
            jobcode_id=self.held.jobcode_id,
            creating=self.intent == "create_jobcode",
            parked=self.state == "parked",
            seniority=(1, self.job_id),
        )


def _once_each(chosen: list[tuple[Row, plan.Write]]) -> Iterator[tuple[Row, plan.Write]]:
    """Leave out what changes a location that the same request changes already."""
    seen = set()
    for row, action in chosen:
        place = getattr(action, "location_id", None)
        if place is None or place not in seen:
            yield row, action
        seen.add(place)


class Driver:
    """Pushes ``rows`` into ``model`` as services/push.py does; ``fates`` says what gets lost."""

    def __init__(self, model: Model, rows: list[Row], fates: list[str], batch: int) -> None:
        self.model = model
        self.rows = {row.job_id: row for row in rows}
        self.fates = iter(fates)
        self.batch = batch
        self.export = (dict(model.codes), dict(model.places))
        self.requests = 0

    # --- what changes a job ---

    def change(self, job_id: int, wanted: Wanted, *, active: bool) -> None:
        """Record the job anew, as services/record.py does."""
        row = self.rows[job_id]
        left = row.active and (not active or name_key(wanted.name) != row.key)
        old = row.key
        if (row.wanted, row.active) != (wanted, active):
            row.wanted, row.active = wanted, active
            row.state, row.code = "due" if active else "idle", ""
        if left:
            self._ring_rivals(old)

    def _ring_rivals(self, key: str) -> None:
        for rival in self.rows.values():
            if rival.active and rival.key == key and rival.state == "parked":
                rival.state, rival.code = "due", ""

    # --- one doorbell ---

    def ring(self) -> None:
        """Claim a batch of due jobs and work on it; jobs that come back are due again later."""
        due = [row for row in self.rows.values() if row.state == "due"][: self.batch]
        for row in due:
            row.looked_whole = False
            lost = row.held.jobcode_id is not None or row.intent == "create_jobcode"
            row.look = row.look or (("changes" if lost else "whole") if row.intent else None)
            # Whoever is claimed goes to the end, as a later next_attempt_at does.
            self.rows[row.job_id] = self.rows.pop(row.job_id)
        batch = {row.job_id: row for row in due}
        for _ in range(ROUNDS):
            actions = self._plan(batch)
            if not actions:
                return
            self._act(batch, actions)
        raise AssertionError(f"no end after {ROUNDS} requests: {batch}")

    def _plan(self, batch: dict[int, Row]) -> dict[int, plan.Step]:
        for row in list(batch.values()):
            if row.held.jobcode_id is None and row.certain and not row.looked_whole:
                self._adopt(batch, row)
        actions: dict[int, plan.Step] = {}
        waits = []
        rivals = [row.claimant() for row in self.rows.values()]
        for row in list(batch.values()):
            action = self._decide(batch, row, rivals)
            if isinstance(action, plan.Done):
                row.state, row.code = "done", ""
                del batch[row.job_id]
            elif isinstance(action, plan.Park):
                self._park(batch, row, action.code, action.reason)
            elif isinstance(action, plan.Wait):
                waits.append(row)
            elif row.job_id in batch:
                actions[row.job_id] = action
        if not any(isinstance(action, plan.ChangeJobcode) for action in actions.values()):
            for row in waits:
                batch.pop(row.job_id, None)
        return actions

    def _decide(self, batch: dict[int, Row], row: Row, rivals: list[names.Claimant]) -> plan.Step:
        ruling = names.rule(row.claimant(), row.wanted.name, rivals)
        if isinstance(ruling, names.TakeOver) and row.certain:
            other = self.rows[ruling.job_id]
            held, other.held = other.held, Held()
            self._believe(batch, row, held, look="whole")
            ruling = names.Free()
        return plan.next_action(row.wanted, row.held, certain=row.certain, ruling=ruling)

    def _act(self, batch: dict[int, Row], actions: dict[int, plan.Step]) -> None:
        rank = min(action.rank for action in actions.values())
        chosen = [(batch[j], a) for j, a in actions.items() if a.rank == rank and j in batch]
        writes = [(row, a) for row, a in chosen if isinstance(a, plan.Write)]
        if writes:
            self._send(batch, list(_once_each(writes)))
        else:
            self._look(batch, [row for row, _ in chosen])

    # --- requests ---

    def _request(self, act: Callable[[], Any]) -> Any:
        self.requests += 1
        fate = next(self.fates, ANSWERED)
        self.model.tick += 1
        if fate == LOST_BEFORE:
            raise LostError
        found = act()
        if fate == LOST_AFTER:
            raise LostError
        return found

    def _send(self, batch: dict[int, Row], chosen: list[tuple[Row, plan.Write]]) -> None:
        kind = chosen[0][1].kind
        for row, action in chosen:
            row.intent, row.intent_tick = kind, self.model.tick
            if isinstance(action, plan.CreateJobcode):
                row.held = replace(row.held, name=action.name)
        payloads = [a.payload() for _, a in chosen]
        try:
            results = self._request(lambda: [self.model.send(kind, p) for p in payloads])
        except LostError:
            for row, _ in chosen:
                batch.pop(row.job_id, None)
            return
        for (row, action), result in zip(chosen, results, strict=True):
            self._record(batch, row, action, result)

    def _record(
        self, batch: dict[int, Row], row: Row, action: plan.Action, result: ItemResult
    ) -> None:
        if result.done:
            held = plan.apply(row.held, action, result.id)
            if isinstance(action, plan.ChangeJobcode) and action.jobcode_id != row.held.jobcode_id:
                for owner in self.rows.values():
                    if owner.held.jobcode_id == action.jobcode_id:
                        owner.held = action.applied(owner.held)
            self._believe(batch, row, held)
        elif not row.looked_whole:
            self._believe(batch, row, row.held, look="whole")
        elif result.exists:
            self._settle(row, look="whole")
            batch.pop(row.job_id, None)
        else:
            self._park(batch, row, f"refused_{result.code}", result.text)

    def _park(self, batch: dict[int, Row], row: Row, code: str, reason: str) -> None:
        row.state, row.code, row.reason, row.intent = "parked", code, reason, None
        same = [r for r in self.rows.values() if r.active and r.key == row.key and r is not row]
        if code == "doubled_number" and all(
            (r.state, r.code) == ("parked", "doubled_number") for r in same
        ):
            for other in same:
                other.state, other.code = "due", ""
        batch.pop(row.job_id, None)

    def _settle(self, row: Row, look: str | None = None) -> None:
        row.intent, row.look = None, look

    def _believe(
        self, batch: dict[int, Row], row: Row, held: Held, look: str | None = None
    ) -> None:
        """Write what is held; where the database's unique indexes refuse, both look again."""
        for column in ("jobcode_id", "location_id"):
            value = getattr(held, column)
            rivals = [
                other
                for other in self.rows.values()
                if other is not row and value is not None and getattr(other.held, column) == value
            ]
            for other in rivals:
                other.look = "whole"
                if column == "location_id":
                    other.held = replace(other.held, location_id=None, location_linked=False)
                if other.state == "done":
                    other.state = "due"
            if rivals:
                row.look = "whole"
                batch.pop(row.job_id, None)
                return
        kept = {spare.location_id for spare in held.spares}
        for spare in row.held.spares:
            for other in self.rows.values() if spare.location_id not in kept else ():
                if other is not row:
                    gone = row.held.jobcode_id
                    other.held = other.held.without_sharer(spare.location_id, gone)
        row.held = held
        self._settle(row, look)

    # --- looking ---

    def _adopt(self, batch: dict[int, Row], row: Row) -> None:
        codes, places = self.export
        code = choose(self._free(codes.values()), row.wanted.name)
        if code is not None:
            held = self._observe(row, code, places.values())
            shared = any(spare.others for spare in held.spares)
            self._believe(batch, row, held, look="whole" if shared else None)

    def _free(self, codes: Any) -> Iterator[Jobcode]:
        managed = {row.held.jobcode_id for row in self.rows.values()}
        return (code for code in codes if code.id not in managed)

    def _observe(self, row: Row, code: Jobcode, places: Any) -> Held:
        near = [p for p in places if code.id in p.jobcode_ids or p.id == row.held.location_id]
        return plan.observe(code, near, ours=row.held.location_id, address=row.wanted.address)

    def _look(self, batch: dict[int, Row], rows: list[Row]) -> None:
        try:
            found = self._request(lambda: {row.job_id: self._look_at(row) for row in rows})
        except LostError:
            for row in rows:
                batch.pop(row.job_id, None)
            return
        for row in rows:
            row.looked_whole = row.looked_whole or row.look == "whole"
            self._believe(batch, row, found[row.job_id])

    def _look_at(self, row: Row) -> Held:
        if row.look == "whole":
            self._correct(row)
            codes, places = self.model.codes, self.model.places
        else:
            codes, places = self._known(row)
        code = codes.get(row.held.jobcode_id or 0)
        for name in row.findable if code is None else ():
            code = code or choose(self._free(codes.values()), name)
        if code is not None and row.held.jobcode_id is None:
            places = self.model.places
        return self._observe(row, code, places.values()) if code else Held()

    def settle(self) -> None:
        """Link what was created for jobs that closed meanwhile, as services/leftovers.py does."""
        for row in self.rows.values():
            if row.state != "idle" or row.intent != "create_jobcode" or row.held.jobcode_id:
                continue
            changed = self._known(row)[0].values()
            bare = [code for code in self._free(changed) if not self.model.places_of(code.id)]
            sent = row.held.name
            code = choose(bare, sent)
            row.held, row.intent = self._observe(row, code, ()) if code else Held(), None
            if code is not None:
                self._ring_rivals(name_key(sent))

    def _correct(self, row: Row) -> None:
        for owner in self.rows.values():
            code = self.model.codes.get(owner.held.jobcode_id or 0)
            if owner is not row and code is not None and name_key(code.name) == row.key:
                everybody = code.assigned_to_all
                seen = replace(
                    owner.held, name=code.name, active=code.active, assigned_to_all=everybody
                )
                if seen != owner.held and owner.state == "done":
                    owner.state = "due"
                owner.held = seen

    def _known(self, row: Row) -> tuple[dict[int, Jobcode], dict[int, Location]]:
        """Return what changed since the intent, on top of what the record says."""
        held, intent = row.held, row.intent or ""
        codes, places = {}, {}
        if held.jobcode_id is not None:
            codes[held.jobcode_id] = Jobcode(
                id=held.jobcode_id,
                name=held.name,
                active=held.active,
                assigned_to_all=held.assigned_to_all,
            )
            own = (held.jobcode_id,)
            for spare in held.spares:
                places[spare.location_id] = Location(
                    id=spare.location_id, address=Address(), jobcode_ids=(*own, *spare.others)
                )
            if held.location_id is not None:
                places[held.location_id] = Location(
                    id=held.location_id,
                    address=held.address,
                    active=held.location_linked,
                    jobcode_ids=own if held.location_linked else (),
                )
        since = row.intent_tick
        if "jobcode" in intent:
            codes |= {i: c for i, c in self.model.codes.items() if self.model.changed[i] >= since}
        if "location" in intent:
            places |= {i: p for i, p in self.model.places.items() if self.model.changed[i] >= since}
        return codes, places
