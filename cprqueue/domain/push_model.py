"""Pure: QuickBooks Time in memory: what the steps of a push leave of an account.

It takes each step as the service would: a name that another jobcode has is refused (its
documentation, "Create Jobcodes": names are unique among the jobcodes below one parent).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from cprqueue.domain.models import Address, Jobcode, Location, Observed, name_key
from cprqueue.domain.push_actions import (
    ChangeJobcode,
    ChangeLocation,
    CreateJobcode,
    CreateLocation,
    DropLocation,
    Write,
)
from cprqueue.domain.push_plan import observe


@dataclass(slots=True)
class Model:
    """The jobcodes and locations of an account; what is created has a negative id."""

    codes: dict[int, Jobcode]
    places: dict[int, Location]
    _by_key: dict[str, set[int]] = field(init=False, default_factory=dict)
    _linked: dict[int, set[int]] = field(init=False, default_factory=dict)
    _created: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        for code in self.codes.values():
            self._by_key.setdefault(name_key(code.name), set()).add(code.id)
        for place in self.places.values():
            self._link(place)

    def copy(self) -> Model:
        """Return a second one that changes by itself."""
        return Model(dict(self.codes), dict(self.places))

    def named(self, key: str) -> list[Jobcode]:
        """Return every jobcode whose name counts as ``key``, by id."""
        return [self.codes[code_id] for code_id in sorted(self._by_key.get(key, ()))]

    def near(self, jobcode_id: int, ours: int | None = None) -> list[Location]:
        """Return the locations that are linked to a jobcode, and ``ours`` in any case."""
        own = {ours} if ours in self.places else set()
        return [self.places[i] for i in sorted(self._linked.get(jobcode_id, set()) | own)]

    def observed(self, jobcode_id: int | None, ours: int | None, address: Address) -> Observed:
        """Return what is observed of a jobcode; an empty value where there is none."""
        code = self.codes.get(jobcode_id or 0)
        if code is None:
            return Observed()
        return observe(code, self.near(code.id, ours), ours=ours, address=address)

    def refusal(self, step: Write) -> str:
        """Say why QuickBooks Time would refuse the step; "" where it would not."""
        if isinstance(step, CreateJobcode):
            return self._clash(step.name, None, archived_too=False)
        if isinstance(step, ChangeJobcode):
            changes, code = dict(step.changes), self.codes[step.jobcode_id]
            name = str(changes.get("name", code.name))
            restored = bool(changes.get("active")) and not code.active
            if restored or name != code.name:
                return self._clash(name, code, archived_too=name != code.name)
        return ""

    def _clash(self, name: str, own: Jobcode | None, *, archived_too: bool) -> str:
        parent = own.parent_id if own else 0
        for code in self.named(name_key(name)):
            same = code.name.strip().casefold() == name.strip().casefold()
            sibling = code is not own and code.parent_id == parent
            if same and sibling and (code.active or archived_too):
                state = "" if code.active else "archived "
                return f"the {state}jobcode {code.id} ({code.type}) has the name {code.name!r}"
        return ""

    def do(self, step: Write) -> int | None:
        """Carry the step out; return the id of what it created, if anything."""
        match step:
            case CreateJobcode(name=name):
                made = Jobcode(id=self._new_id(), name=name, assigned_to_all=True)
                return self._put_code(made)
            case ChangeJobcode():
                self._put_code(replace(self.codes[step.jobcode_id], **dict(step.changes)))  # type: ignore[arg-type]
            case CreateLocation(jobcode_id=code_id, address=address):
                place = Location(id=self._new_id(), address=address, jobcode_ids=(code_id,))
                return self._put_place(place)
            case ChangeLocation():
                self._put_place(
                    Location(
                        id=step.location_id, address=step.address, jobcode_ids=(step.jobcode_id,)
                    )
                )
            case DropLocation():
                place = self.places[step.location_id]
                active = place.active and bool(step.others)
                self._put_place(replace(place, active=active, jobcode_ids=step.others))
        return None

    def _new_id(self) -> int:
        self._created += 1
        return -self._created

    def _put_code(self, code: Jobcode) -> int:
        before = self.codes.get(code.id)
        if before is not None:
            self._by_key[name_key(before.name)].discard(code.id)
        self.codes[code.id] = code
        self._by_key.setdefault(name_key(code.name), set()).add(code.id)
        return code.id

    def _put_place(self, place: Location) -> int:
        before = self.places.get(place.id)
        for code_id in before.jobcode_ids if before else ():
            self._linked[code_id].discard(place.id)
        self.places[place.id] = place
        self._link(place)
        return place.id

    def _link(self, place: Location) -> None:
        for code_id in place.jobcode_ids:
            self._linked.setdefault(code_id, set()).add(place.id)


def model_of(codes: Iterable[Jobcode], places: Iterable[Location]) -> Model:
    """Build a model from an export."""
    return Model({code.id: code for code in codes}, {place.id: place for place in places})
