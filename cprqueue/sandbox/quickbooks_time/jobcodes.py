"""Create, change, archive and restore jobcodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from cprqueue.sandbox.quickbooks_time import values
from cprqueue.sandbox.quickbooks_time.company import Company
from cprqueue.sandbox.quickbooks_time.refusals import ItemRefusedError, NameExistsError, conflict
from cprqueue.sandbox.quickbooks_time.rows import Jobcode
from cprqueue.sandbox.quickbooks_time.views import Views

NAME_LIMIT = 64
TYPES = ("regular", "pto", "paid_break", "unpaid_break")
_BREAKS = ("paid_break", "unpaid_break")
_READ: Mapping[str, Callable[[str, object], Any]] = {
    "name": values.text,
    "parent_id": values.whole,
    "short_code": values.text,
    "type": values.text,
    "billable": values.boolean,
    "billable_rate": values.number,
    "assigned_to_all": values.boolean,
    "active": values.boolean,
}
Namesake = Literal["accepted", "twin", "refused"]


@dataclass(slots=True)
class Jobcodes:
    """The rules of writing jobcodes. Refusals are raised, and leave everything unchanged."""

    company: Company

    def create(self, item: dict[str, Any], *, archived: Namesake | None = None) -> Jobcode:
        """Create one jobcode; ``archived`` overrides the switch for archived namesakes."""
        _refuse_params(item, set(_READ))
        now = self.company.now()
        draft = Jobcode(id=0, name="", created=now, last_modified=now)
        draft = replace(draft, **self._read(item))
        self._check_name(draft)
        self._check_type(draft)
        self._check_parent(draft)
        self._check_namesakes(draft, archived or self.company.switches.archived_namesake)
        self._check_room()
        draft.id = self.company.new_id()
        self.company.put_jobcode(draft)
        if draft.assigned_to_all:
            self.company.assign(0, draft.id)
        return draft

    def update(self, item: dict[str, Any]) -> Jobcode:
        """Change one jobcode: equal and missing properties are left alone."""
        before = self.company.jobcodes.get(values.named_id(item))
        if before is None:
            code = self.company.switches.unknown_id_code
            raise ItemRefusedError("That id is not found in the database", code)
        _refuse_params(item, {*_READ, "id"})
        if before.type in _BREAKS:
            raise ItemRefusedError("Break jobcodes cannot be edited")
        fields = self._read({key: value for key, value in item.items() if key != "id"})
        changes = {k: v for k, v in fields.items() if getattr(before, k) != v}
        self._refuse_edit_of_archived(before, fields, changes)
        if not changes:
            return self._unchanged(before)
        after = replace(before, **changes)
        self._check_change(before, after)
        self._apply(before, after)
        return self.company.jobcodes[after.id]

    def _read(self, item: Mapping[str, Any]) -> dict[str, Any]:
        fields = {key: _READ[key](key, value) for key, value in item.items() if key in _READ}
        if "name" in fields and self.company.switches.names_trimmed:
            fields["name"] = fields["name"].strip()
        return fields

    def _refuse_edit_of_archived(
        self, before: Jobcode, fields: Mapping[str, Any], changes: Mapping[str, Any]
    ) -> None:
        restores = changes.get("active") is True
        archives_again = not changes and fields.get("active") is False
        if before.active or restores or archives_again:
            return
        if not self.company.switches.archived_edit_accepted:
            raise ItemRefusedError("You cannot edit a jobcode that is archived")

    def _unchanged(self, jobcode: Jobcode) -> Jobcode:
        if self.company.switches.not_modified_moves_last_modified:
            jobcode.last_modified = self.company.now()
        return jobcode

    # Checks

    def _check_change(self, before: Jobcode, after: Jobcode) -> None:
        if after.type != before.type:
            raise ItemRefusedError("The type of a jobcode cannot be changed")
        self._check_name(after)
        self._check_type(after)
        if after.parent_id != before.parent_id:
            self._check_parent(after)
        restored = after.active and not before.active
        if restored:
            for parent in self.company.ancestors(after):
                if not parent.active:
                    self._check_siblings(parent, archived_too=False)
        moved = (after.name, after.parent_id) != (before.name, before.parent_id)
        if restored or moved:
            self._check_siblings(after, archived_too=moved)

    def _check_name(self, jobcode: Jobcode) -> None:
        name = jobcode.name
        if not name.strip():
            raise ItemRefusedError("Oops! A name is required")
        length = len(name.encode()) if self.company.switches.name_length_in_bytes else len(name)
        if length > NAME_LIMIT:
            raise ItemRefusedError(f"Oops! The name cannot be longer than {NAME_LIMIT} characters")

    def _check_type(self, jobcode: Jobcode) -> None:
        if jobcode.type not in TYPES or jobcode.type in _BREAKS:
            raise ItemRefusedError(f'Oops! A jobcode of type "{jobcode.type}" cannot be written')
        if jobcode.type == "pto" and jobcode.parent_id:
            raise ItemRefusedError("Oops! A pto jobcode must be at the top level")

    def _check_parent(self, jobcode: Jobcode) -> None:
        if not jobcode.parent_id:
            return
        parent = self.company.jobcodes.get(jobcode.parent_id)
        if parent is None:
            raise ItemRefusedError("Oops! The parent jobcode does not exist")
        if not parent.active:
            raise ItemRefusedError("Oops! The parent jobcode is archived")
        if jobcode.id in {parent.id, *(each.id for each in self.company.ancestors(parent))}:
            raise ItemRefusedError("Oops! A jobcode cannot be its own parent")

    def _check_namesakes(self, draft: Jobcode, archived: Namesake) -> None:
        for other in sorted(self.company.namesakes(draft), key=lambda each: not each.active):
            if other.type != draft.type:
                if other.active:
                    raise conflict(other.name)
            elif other.active or archived == "accepted":
                full = self.company.switches.duplicate_echo_full
                raise NameExistsError(
                    Views(self.company).written(other) if full else {"name": draft.name}
                )
            elif archived == "refused":
                raise conflict(other.name)

    def _check_siblings(self, jobcode: Jobcode, *, archived_too: bool) -> None:
        switches = self.company.switches
        archived_too = archived_too and switches.archived_namesake != "twin"
        for other in self.company.namesakes(jobcode):
            if not other.active and not archived_too:
                continue
            if switches.rename_clash == "accepted":
                raise NameExistsError({"id": jobcode.id, "name": jobcode.name})
            raise conflict(other.name)

    def _check_room(self) -> None:
        limit = self.company.switches.max_jobcodes
        if 0 <= limit <= self.company.active_jobcodes:
            raise ItemRefusedError("Oops! The maximum number of jobcodes has been reached")

    # Effects

    def _apply(self, before: Jobcode, after: Jobcode) -> None:
        after.last_modified = self.company.now()
        self.company.put_jobcode(after)
        if after.assigned_to_all != before.assigned_to_all:
            self.set_assigned_to_all(after, to=after.assigned_to_all)
        if before.active and not after.active:
            self._archive(after)
        if after.active and not before.active:
            self._restore_parents(after)

    def set_assigned_to_all(self, jobcode: Jobcode, *, to: bool) -> None:
        """Make the flag and the assignment of user 0 say the same."""
        jobcode.assigned_to_all = to
        if to:
            self.company.assign(0, jobcode.id)
            return
        for row in self.company.assignments_on(jobcode.id):
            if row.user_id == 0:
                self.company.unassign(row)

    def _archive(self, jobcode: Jobcode) -> None:
        for each in [jobcode, *self.company.descendants(jobcode.id)]:
            if each.active or each is jobcode:
                self._archive_one(each)

    def _archive_one(self, jobcode: Jobcode) -> None:
        switches = self.company.switches
        keeps = switches.archive_keeps_assigned_to_all and jobcode.assigned_to_all
        self.company.put_jobcode(
            replace(jobcode, active=False, assigned_to_all=keeps, last_modified=self.company.now())
        )
        for row in self.company.assignments_on(jobcode.id):
            if row.user_id or not keeps:
                self.company.unassign(row)
        if switches.archive_drops_links:
            self._unlink(jobcode.id)

    def _unlink(self, jobcode_id: int) -> None:
        for location_id in self.company.locations_of(jobcode_id):
            location = self.company.locations[location_id]
            others = tuple(each for each in location.jobcodes if each != jobcode_id)
            self.company.link(location, others)
            location.last_modified = self.company.now()

    def _restore_parents(self, jobcode: Jobcode) -> None:
        for parent in list(self.company.ancestors(jobcode)):
            if not parent.active:
                now = self.company.now()
                self.company.put_jobcode(replace(parent, active=True, last_modified=now))


def _refuse_params(item: Mapping[str, Any], allowed: set[str]) -> None:
    if wrong := [key for key in item if key not in allowed]:
        raise ItemRefusedError("Invalid param(s): " + ",".join(wrong))
