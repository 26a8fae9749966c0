"""The whole API of one company: authorise, count, route, answer."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cprqueue.sandbox.quickbooks_time import loading
from cprqueue.sandbox.quickbooks_time.access import Access, oauth_error
from cprqueue.sandbox.quickbooks_time.assignments import Assignments
from cprqueue.sandbox.quickbooks_time.by_hand import ByHand
from cprqueue.sandbox.quickbooks_time.company import Company
from cprqueue.sandbox.quickbooks_time.jobcodes import Jobcodes
from cprqueue.sandbox.quickbooks_time.listings import Listings
from cprqueue.sandbox.quickbooks_time.locations import Locations
from cprqueue.sandbox.quickbooks_time.people import People
from cprqueue.sandbox.quickbooks_time.query import Query
from cprqueue.sandbox.quickbooks_time.refusals import MESSAGES, RequestRefusedError
from cprqueue.sandbox.quickbooks_time.switches import Switches
from cprqueue.sandbox.quickbooks_time.timesheets import Timesheets
from cprqueue.sandbox.quickbooks_time.views import Views
from cprqueue.sandbox.quickbooks_time.writes import Writes, items_of
from cprqueue.sandbox.wire import Answer, Request

_log = logging.getLogger(__name__)
_HTML = b"<html><body><h1>Something went wrong</h1></body></html>"
Handler = Callable[[Request], Any]


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Account(ByHand):
    """One company's QuickBooks Time account, in memory, safe to use from many threads.

    ``switches`` may be changed at any time. What a person does in the web interface is a
    method of its own (``add_jobcode``, ``clock_in``, ...); it costs no call.
    """

    def __init__(
        self,
        *,
        switches: Switches | None = None,
        access_token: str = "sandbox-token",  # noqa: S107 - for play
        client_id: str = "sandbox-client",
        client_secret: str = "sandbox-secret",  # noqa: S107 - for play
        refresh_token: str = "sandbox-refresh",  # noqa: S107 - for play
        clock: Callable[[], datetime] = _utc_now,
        seed: int = 0,
    ) -> None:
        self.switches = switches or Switches()
        self.calls = 0
        self._clock = clock
        self._ahead = timedelta()
        self._lock = threading.RLock()
        self._company = Company(switches=self.switches, now=self._second, seed=seed)
        self._access = Access(
            self.switches, self._now, client_id, client_secret, access_token, refresh_token, seed
        )
        self._assemble()
        self._user_id = self._access.user_id = self.add_user(
            first_name="Alex", last_name="Sandbox", username="admin", email="admin@example.com"
        )

    def _assemble(self) -> None:
        company = self._company
        self._views = views = Views(company)
        self._jobcodes = jobcodes = Jobcodes(company)
        self._locations = locations = Locations(company)
        self._timesheets = Timesheets(company, views)
        assignments = Assignments(company, views, jobcodes)
        listings, people = Listings(company, views), People(company, views)
        writes = Writes(company, views, jobcodes, locations, assignments)
        self._routes: dict[str, dict[str, Handler]] = {
            "/jobcodes": {
                "GET": self._read(listings.jobcodes),
                "POST": self._write(writes.create_jobcodes),
                "PUT": self._write(writes.update_jobcodes),
            },
            "/locations": {
                "GET": self._read(listings.locations),
                "POST": self._write(writes.create_locations),
                "PUT": self._write(writes.update_locations),
            },
            "/jobcode_assignments": {
                "GET": self._read(assignments.listing),
                "POST": self._write(writes.create_assignments),
            },
            "/timesheets": {"GET": self._read(self._timesheets.listing)},
            "/current_user": {"GET": self._read(people.current_user)},
            "/effective_settings": {"GET": self._read(people.effective_settings)},
        }

    def _read(self, listing: Callable[[Query], Any]) -> Handler:
        return lambda request: listing(Query(request.query, self.switches))

    def _write(self, batch: Callable[[list[Any]], Any]) -> Handler:
        return lambda request: batch(items_of(request))

    @property
    def access_token(self) -> str:
        """The newest access token."""
        return self._access.access_token

    @property
    def refresh_token(self) -> str:
        """The newest refresh token."""
        return self._access.refresh_token

    @property
    def user_id(self) -> int:
        """The token's own user."""
        return self._user_id

    def handle(self, request: Request) -> Answer:
        """Answer one request, whatever it is; never raises."""
        with self._lock:
            try:
                self._locations.geocode()
                return self._answer(request)
            except RequestRefusedError as refused:
                return error(refused.status, refused.message)
            except Exception:  # noqa: BLE001 - our own fault must look like a server's
                _log.exception("sandbox.quickbooks_time.failed")
                return error(500, MESSAGES[500])

    def _answer(self, request: Request) -> Answer:
        forced = self.switches.force_status
        if forced is not None:
            return self._forced(forced)
        path = "/" + request.path.strip("/")
        if path == "/grant" and request.method == "POST":
            return self._access.grant(request)
        refused = self._entry(request)
        if refused is not None:
            return refused
        handler = self._route(path, request.method)
        document = handler(request)
        hidden = self.switches.act_then_status
        if hidden is not None and request.method != "GET":
            return self._forced(hidden)
        return Answer.json(document, self._status(document, request.method))

    def _entry(self, request: Request) -> Answer | None:
        token = self._access.bearer(request)
        if not self._access.valid(token):
            return self._unauthorized()
        wait = self._access.wait_seconds(token)
        if wait > 0:
            return self._too_many(wait)
        self.calls += 1
        return None

    def _route(self, path: str, method: str) -> Handler:
        methods = self._routes.get(path)
        if methods is None:
            raise RequestRefusedError(404)
        if method not in methods:
            raise RequestRefusedError(405)
        return methods[method]

    def _status(self, document: Any, method: str) -> int:
        if method == "GET" or not self.switches.all_failed_status_417:
            return 200
        results = next(iter(document["results"].values()), None) if document else None
        codes = [item["_status_code"] for item in results.values()] if results else [200]
        return 417 if all(code >= 300 for code in codes) else 200

    def _unauthorized(self) -> Answer:
        shape = self.switches.unauthorized_body
        if shape == "html":
            return html(401)
        if shape == "error":
            return error(401, MESSAGES[401])
        return oauth_error(401, "invalid_token", "The access token is invalid or has expired")

    def _too_many(self, wait: float) -> Answer:
        answer = error(429, MESSAGES[429])
        if not self.switches.retry_after:
            return answer
        return replace(answer, headers={**answer.headers, "Retry-After": str(math.ceil(wait))})

    def _forced(self, status: int) -> Answer:
        if self.switches.forced_body == "html":
            return html(status)
        return error(status, MESSAGES.get(status, "Error"))

    def state(self) -> dict[str, Any]:
        """Return every row, archived and removed ones too, as plain JSON-able data."""
        with self._lock:
            self._locations.geocode()
            tables: Mapping[str, tuple[Callable[[Any], Any], Mapping[int, Any]]] = {
                "jobcodes": (self._views.jobcode, self._company.jobcodes),
                "locations": (self._views.location, self._company.locations),
                "jobcode_assignments": (self._views.assignment, self._company.assignments),
                "timesheets": (self._views.timesheet, self._company.timesheets),
                "users": (self._views.user, self._company.users),
            }
            return {
                name: [show(row) for row in rows.values()] for name, (show, rows) in tables.items()
            }

    def load(self, state: Mapping[str, list[dict[str, Any]]]) -> None:
        """Fill this new account with what ``state`` returned elsewhere; see ``loading``."""
        with self._lock:
            loading.load(self._company, state)

    def advance(self, seconds: float) -> None:
        """Move the account's clock forward."""
        with self._lock:
            self._ahead += timedelta(seconds=seconds)

    def now(self) -> datetime:
        """Return the time by this service's clock."""
        return self._now()

    def _now(self) -> datetime:
        return self._clock().astimezone(UTC) + self._ahead

    def _second(self) -> datetime:
        return self._now().replace(microsecond=0)


def error(status: int, message: str) -> Answer:
    """Return the API's own error object."""
    return Answer.json({"error": {"code": status, "message": message}}, status)


def html(status: int) -> Answer:
    """Return an error that no JSON parser reads, as a proxy in between would."""
    headers = {"Content-Type": "text/html; charset=utf-8"}
    return Answer(status=status, body=_HTML, headers=headers)
