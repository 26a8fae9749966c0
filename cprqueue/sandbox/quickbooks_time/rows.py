"""What the company's tables hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol


class Row(Protocol):
    """What every table's rows have."""

    id: int
    last_modified: datetime


@dataclass(slots=True, kw_only=True)
class Jobcode:
    """A job, or a part of one, that time is recorded on."""

    id: int
    name: str
    created: datetime
    last_modified: datetime
    parent_id: int = 0
    type: str = "regular"
    short_code: str = ""
    billable: bool = False
    billable_rate: float = 0
    assigned_to_all: bool = False
    active: bool = True


@dataclass(slots=True, kw_only=True)
class Location:
    """An address, and the jobcodes it is linked to."""

    id: int
    created: datetime
    last_modified: datetime
    addr1: str = ""
    addr2: str = ""
    city: str = ""
    state: str = ""
    zip: str = ""
    country: str = ""
    label: str = ""
    notes: str = ""
    active: bool = True
    latitude: float = 0
    longitude: float = 0
    place_id_hash: str = ""
    geocoding_status: str = "none"
    jobcodes: tuple[int, ...] = ()
    geocode_due: datetime | None = None


@dataclass(slots=True, kw_only=True)
class Assignment:
    """One user's right to a jobcode; user 0 is everybody, an inactive row was removed."""

    id: int
    user_id: int
    jobcode_id: int
    created: datetime
    last_modified: datetime
    active: bool = True


@dataclass(slots=True, kw_only=True)
class Timesheet:
    """Time recorded on a jobcode; without an end, its user is on the clock.

    ``day``: of one that was booked by hand, which has no times of its own but its length.
    """

    id: int
    user_id: int
    jobcode_id: int
    start: datetime
    created: datetime
    last_modified: datetime
    end: datetime | None = None
    day: date | None = None
    notes: str = ""

    @property
    def counts_for(self) -> date:
        """The day that the time counts for."""
        return self.day or self.start.date()


@dataclass(slots=True, kw_only=True)
class User:
    """Somebody who works for the company."""

    id: int
    first_name: str
    last_name: str
    created: datetime
    last_modified: datetime
    username: str = ""
    email: str = ""
