"""How the rows look in an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cprqueue.sandbox.quickbooks_time.company import Company
from cprqueue.sandbox.quickbooks_time.rows import Assignment, Jobcode, Location, Timesheet, User
from cprqueue.sandbox.quickbooks_time.values import stamp

Shown = dict[str, Any]
NO_DATE = "0000-00-00"


@dataclass(slots=True)
class Views:
    """Turns rows into the objects of the documentation."""

    company: Company

    def jobcode(self, row: Jobcode) -> Shown:
        """Return a jobcode as a listing shows it."""
        return self.written(row) | {
            "project_id": 0,
            "locations": self.company.locations_of(row.id),
            "geofence_config_id": None,
        }

    def written(self, row: Jobcode) -> Shown:
        """Return a jobcode as a write shows it: without its locations."""
        shown = {
            "id": row.id,
            "parent_id": row.parent_id,
            "assigned_to_all": row.assigned_to_all,
            "billable": row.billable,
            "active": row.active,
            "type": row.type,
            "has_children": self.company.has_children(row.id),
            "billable_rate": row.billable_rate or 0,
            "short_code": row.short_code,
            "name": row.name,
            "last_modified": stamp(row.last_modified),
            "created": stamp(row.created),
            "required_customfields": [],
            "filtered_customfielditems": "",
        }
        if self.company.switches.quickbooks_installed:
            shown["connect_with_quickbooks"] = False
        return shown

    def location(self, row: Location) -> Shown:
        """Return a location as listings and writes show it."""
        return {
            "id": row.id,
            "addr1": row.addr1,
            "addr2": row.addr2,
            "city": row.city,
            "state": row.state,
            "zip": row.zip,
            "country": row.country,
            "formatted_address": formatted_address(row),
            "active": row.active,
            "latitude": row.latitude or 0,
            "longitude": row.longitude or 0,
            "place_id": "",
            "place_id_hash": row.place_id_hash,
            "label": row.label,
            "notes": row.notes,
            "geocoding_status": row.geocoding_status,
            "created": stamp(row.created),
            "last_modified": stamp(row.last_modified),
            "linked_objects": {"jobcodes": list(row.jobcodes)} if row.jobcodes else {},
            "geofence_config_id": None,
        }

    def assignment(self, row: Assignment) -> Shown:
        """Return an assignment."""
        return {
            "id": row.id,
            "user_id": row.user_id,
            "jobcode_id": row.jobcode_id,
            "active": row.active,
            "last_modified": stamp(row.last_modified),
            "created": stamp(row.created),
        }

    def timesheet(self, row: Timesheet) -> Shown:
        """Return a timesheet; one without an end is on the clock, with its duration so far."""
        end = row.end or self.company.now()
        by_hand = row.day is not None
        return {
            "id": row.id,
            "user_id": row.user_id,
            "jobcode_id": row.jobcode_id,
            "start": "" if by_hand else stamp(row.start),
            "end": stamp(row.end) if row.end and not by_hand else "",
            "duration": int((end - row.start).total_seconds()),
            "date": row.counts_for.isoformat(),
            "tz": 0,
            "tz_str": "UTC",
            "type": "manual" if by_hand else "regular",
            "location": "",
            "on_the_clock": row.end is None,
            "locked": 0,
            "notes": row.notes,
            "customfields": "",
            "attached_files": [],
            "last_modified": stamp(row.last_modified),
        }

    def user(self, row: User) -> Shown:
        """Return a user, without the permissions."""
        return {
            "id": row.id,
            "first_name": row.first_name,
            "last_name": row.last_name,
            "group_id": 0,
            "active": True,
            "employee_number": 0,
            "salaried": False,
            "exempt": False,
            "username": row.username,
            "email": row.email,
            "email_verified": False,
            "payroll_id": "",
            "mobile_number": "",
            "hire_date": NO_DATE,
            "term_date": NO_DATE,
            "last_modified": stamp(row.last_modified),
            "last_active": "",
            "created": stamp(row.created),
            "client_url": "sandbox",
            "company_name": "Sandbox Company",
            "profile_image_url": "",
            "display_name": None,
            "pto_balances": {},
            "submitted_to": "2000-01-01",
            "approved_to": "2000-01-01",
            "manager_of_group_ids": [],
            "require_password_change": False,
            "pay_rate": 0,
            "pay_interval": "hour",
            "customfields": "",
        }


def formatted_address(row: Location) -> str:
    """Return ``addr1 addr2, city, ST zip``, or the label where none of the first three is known."""
    street = " ".join(filter(None, (row.addr1, row.addr2)))
    if not street and not row.city:
        return row.label
    region = " ".join(filter(None, (row.state, row.zip)))
    return ", ".join(filter(None, (street, row.city, region)))
