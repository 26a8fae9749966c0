"""The company's tables and the indexes that keep every rule cheap at any size."""

from __future__ import annotations

import random
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from cprqueue.sandbox.quickbooks_time.rows import Assignment, Jobcode, Location, Timesheet, User
from cprqueue.sandbox.quickbooks_time.switches import Switches

FIRST_ID = 17_288_278


class Company:
    """Everything one company has. It keeps its indexes right; it checks no rule.

    Ids rise through all tables together, so an id of one table never exists in another.
    """

    def __init__(self, *, switches: Switches, now: Callable[[], datetime], seed: int) -> None:
        self.switches = switches
        self.now = now
        self.rng = random.Random(seed)
        self.created = now()
        self.jobcodes: dict[int, Jobcode] = {}
        self.locations: dict[int, Location] = {}
        self.assignments: dict[int, Assignment] = {}
        self.timesheets: dict[int, Timesheet] = {}
        self.users: dict[int, User] = {}
        self.active_jobcodes = 0
        self._last_id = FIRST_ID
        self._names: dict[tuple[int, str], set[int]] = defaultdict(set)
        self._children: dict[int, dict[int, None]] = defaultdict(dict)
        self._locations_of: dict[int, dict[int, None]] = defaultdict(dict)
        self._assignment_of: dict[int, dict[int, Assignment]] = defaultdict(dict)

    def new_id(self) -> int:
        """Return an id above every one before it."""
        floor = 2**31 if self.switches.ids_above_2_31 else 0
        self._last_id = max(self._last_id, floor) + self.rng.randint(1, 3)
        return self._last_id

    def skip_ids(self, taken: Iterable[int]) -> None:
        """Never return one of these ids, nor one below them."""
        self._last_id = max([self._last_id, *taken])

    # Jobcodes

    def put_jobcode(self, jobcode: Jobcode) -> None:
        """Store a new jobcode, or the new state of one."""
        before = self.jobcodes.get(jobcode.id)
        if before is not None:
            self._forget(before)
        self.jobcodes[jobcode.id] = jobcode
        self._names[jobcode.parent_id, _bare(jobcode.name)].add(jobcode.id)
        self._children[jobcode.parent_id][jobcode.id] = None
        self.active_jobcodes += jobcode.active

    def _forget(self, jobcode: Jobcode) -> None:
        self._names[jobcode.parent_id, _bare(jobcode.name)].discard(jobcode.id)
        self._children[jobcode.parent_id].pop(jobcode.id, None)
        self.active_jobcodes -= jobcode.active

    def named(self, name: str, parent_id: int) -> list[Jobcode]:
        """Return the jobcodes under one parent of that name, compared without case, by id."""
        return [each for each in self._alike(name, parent_id) if folded(each.name) == folded(name)]

    def namesakes(self, jobcode: Jobcode) -> list[Jobcode]:
        """Return the siblings whose name counts as the same."""
        found = self._alike(jobcode.name, jobcode.parent_id)
        if not self.switches.names_without_accents:
            found = self.named(jobcode.name, jobcode.parent_id)
        exact = self.switches.names_exact
        return [
            each
            for each in found
            if each.id != jobcode.id and (not exact or each.name == jobcode.name)
        ]

    def _alike(self, name: str, parent_id: int) -> list[Jobcode]:
        return [
            self.jobcodes[each] for each in sorted(self._names.get((parent_id, _bare(name)), ()))
        ]

    def children(self, jobcode_id: int) -> list[Jobcode]:
        """Return the jobcodes directly under one."""
        return [self.jobcodes[each] for each in self._children.get(jobcode_id, ())]

    def descendants(self, jobcode_id: int) -> Iterator[Jobcode]:
        """Yield every jobcode below one, parents before their children."""
        for child in self.children(jobcode_id):
            yield child
            yield from self.descendants(child.id)

    def ancestors(self, jobcode: Jobcode) -> Iterator[Jobcode]:
        """Yield the parent, its parent, and so on to the top."""
        while parent := self.jobcodes.get(jobcode.parent_id):
            yield parent
            jobcode = parent

    def has_children(self, jobcode_id: int) -> bool:
        """Tell whether a jobcode has children that count."""
        every = self.switches.has_children_counts_archived
        ids = self._children.get(jobcode_id, ())
        return any(every or self.jobcodes[each].active for each in ids)

    # Links

    def locations_of(self, jobcode_id: int) -> list[int]:
        """Return the ids of the locations that are linked to a jobcode."""
        return list(self._locations_of.get(jobcode_id, ()))

    def link(self, location: Location, jobcode_ids: tuple[int, ...]) -> None:
        """Make exactly these jobcodes the location's."""
        for gone in set(location.jobcodes) - set(jobcode_ids):
            self._locations_of[gone].pop(location.id, None)
        for each in jobcode_ids:
            self._locations_of[each][location.id] = None
        if self.switches.linking_moves_jobcode:
            for moved in set(location.jobcodes) ^ set(jobcode_ids):
                self.jobcodes[moved].last_modified = self.now()
        location.jobcodes = jobcode_ids

    # Assignments

    def assignments_on(self, jobcode_id: int) -> list[Assignment]:
        """Return a jobcode's assignments, the removed ones too."""
        return list(self._assignment_of.get(jobcode_id, {}).values())

    def assign(self, user_id: int, jobcode_id: int) -> Assignment:
        """Give a user (0 for everybody) a jobcode, and return the row that says so."""
        rows = self._assignment_of[jobcode_id]
        if user_id in rows and rows[user_id].active:
            return rows[user_id]
        now = self.now()
        if user_id not in rows:
            row = Assignment(
                id=self.new_id(),
                user_id=user_id,
                jobcode_id=jobcode_id,
                created=now,
                last_modified=now,
            )
            self.put_assignment(row)
        rows[user_id].active, rows[user_id].last_modified = True, now
        return rows[user_id]

    def put_assignment(self, row: Assignment) -> None:
        """Store a new assignment."""
        self.assignments[row.id] = self._assignment_of[row.jobcode_id][row.user_id] = row

    def unassign(self, row: Assignment) -> None:
        """Take an assignment away; doing it twice changes nothing."""
        if row.active:
            row.active, row.last_modified = False, self.now()


def folded(name: str) -> str:
    """Return what names are compared by."""
    return name.strip().casefold()


def _bare(name: str) -> str:
    """Return ``folded`` without accents."""
    split = unicodedata.normalize("NFKD", folded(name))
    return "".join(each for each in split if not unicodedata.combining(each))
