"""What people, and QuickBooks Online, do to the company without the API."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date
from typing import Any, TypeVar

from cprqueue.sandbox.quickbooks_time.access import Access
from cprqueue.sandbox.quickbooks_time.company import Company
from cprqueue.sandbox.quickbooks_time.jobcodes import Jobcodes
from cprqueue.sandbox.quickbooks_time.locations import Locations
from cprqueue.sandbox.quickbooks_time.refusals import ItemRefusedError, NameExistsError
from cprqueue.sandbox.quickbooks_time.rows import User
from cprqueue.sandbox.quickbooks_time.timesheets import Timesheets

T = TypeVar("T")


class ByHand:
    """Edits as a person makes them in the web interface.

    They keep the rules of the API, but need no right and cost no call, and a new jobcode
    may take the name of an archived one. What a rule forbids raises ValueError.
    """

    _lock: threading.RLock
    _company: Company
    _jobcodes: Jobcodes
    _locations: Locations
    _timesheets: Timesheets
    _access: Access
    _user_id: int

    def add_jobcode(self, **fields: Any) -> int:
        """Create a jobcode and return its id."""
        return self._do(lambda: self._jobcodes.create(fields, archived="twin").id)

    def change_jobcode(self, id: int, **fields: Any) -> None:  # noqa: A002 - the API's word
        """Change, archive or restore a jobcode."""
        self._do(lambda: self._jobcodes.update({"id": id, **fields}))

    def add_location(self, **fields: Any) -> int:
        """Create a location and return its id."""
        return self._do(lambda: self._locations.create(fields).id)

    def change_location(self, id: int, **fields: Any) -> None:  # noqa: A002 - the API's word
        """Change, link, archive or restore a location."""
        self._do(lambda: self._locations.update({"id": id, **fields}))

    def clock_in(self, jobcode_id: int, user_id: int | None = None) -> int:
        """Put a user (the token's own by default) on the clock; return the timesheet's id."""
        user = self._user_id if user_id is None else user_id
        return self._do(lambda: self._timesheets.clock_in(jobcode_id, user).id)

    def book_hours(
        self, jobcode_id: int, day: str, hours: float = 8, user_id: int | None = None
    ) -> int:
        """Book the hours of a day (YYYY-MM-DD), as a crew does that books late; return the id."""
        user = self._user_id if user_id is None else user_id
        return self._do(
            lambda: self._timesheets.book(jobcode_id, user, date.fromisoformat(day), hours).id
        )

    def clock_out(self, timesheet_id: int) -> None:
        """End a timesheet."""
        self._do(lambda: self._timesheets.clock_out(timesheet_id))

    def add_user(self, **fields: Any) -> int:
        """Hire somebody and return the id."""
        return self._do(lambda: self._hire({"first_name": "", "last_name": "", **fields}))

    def _hire(self, fields: dict[str, Any]) -> int:
        now = self._company.now()
        row = User(id=self._company.new_id(), created=now, last_modified=now, **fields)
        self._company.users[row.id] = row
        return row.id

    def expire_token(self) -> None:
        """Let the access token expire; it can be refreshed."""
        self._do(self._access.expire)

    def revoke_token(self) -> None:
        """Disconnect the application: neither token works any more."""
        self._do(self._access.revoke)

    def _do(self, act: Callable[[], T]) -> T:
        with self._lock:
            try:
                return act()
            except NameExistsError:
                raise ValueError("the name exists already") from None
            except ItemRefusedError as refused:
                raise ValueError(refused.extra) from None
            except TypeError as wrong:
                raise ValueError(str(wrong)) from None
