"""QuickBooks Time (formerly TSheets): listings as iterators, writes in batches of 50.

Facts come from its API documentation: sections "Pagination", "Jobcodes", "Locations",
"Timesheets", "Current User" and "Authentication". Every call goes through ``spend``, which
keeps the account's call budget.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TypeAlias, TypeVar

from cprqueue import failpoints
from cprqueue.clients.answers import as_object, error_of, item_results, items_of
from cprqueue.clients.fence import Fence
from cprqueue.clients.transport import Query, Reply, Transport
from cprqueue.domain.mapping import read_jobcode, read_location, truth
from cprqueue.domain.models import BATCH, PAGE, ItemResult, Jobcode, Json, Location
from cprqueue.errors import AccessStopped, UnreadableAnswer

T = TypeVar("T")
Items: TypeAlias = Sequence[Mapping[str, Json]]

WITH_RESULTS = frozenset({200, 201, 207, 400, 404, 406, 409, 417})
"""Statuses whose body may still name each item's own outcome."""

OK = frozenset({200})
ANY_STATUS = frozenset(range(100, 600))


class QuickBooksTime:
    """The account behind one token.

    ``token`` is asked for each request, so that a refreshed one is used at once. ``renew`` is
    given a token that was refused with 401 and returns another one, or raises. ``spend`` is
    entered around each call and raises OutOfCalls where the budget is used up.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        token: Callable[[], str],
        renew: Callable[[str], str],
        spend: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.transport = transport
        self._token = token
        self._renew = renew
        self._spend = spend

    # --- reading ---

    def jobcodes(self, **filters: str | int) -> Iterator[Jobcode]:
        """Yield jobcodes page by page. Without filters: active ones of type regular."""
        return self._all("jobcodes", read_jobcode, filters)

    def locations(self, **filters: str | int) -> Iterator[Location]:
        """Yield locations page by page. Without filters: active ones."""
        return self._all("locations", read_location, filters)

    def pages(self, endpoint: str, filters: Query) -> Iterator[tuple[list[dict[str, Json]], bool]]:
        """Yield (items, whether more follow) for each page; stops when no more follow."""
        page = 1
        while True:
            query = {"limit": PAGE, "page": page, "supplemental_data": "no", **filters}
            data = self._get(endpoint, query)
            more = truth(data.get("more"))
            items = items_of(data, endpoint)
            if more and not items:
                raise UnreadableAnswer(
                    f"QuickBooks Time: GET /{endpoint} promises more after the empty page {page}"
                )
            yield items, more
            if not more:
                return
            page += 1

    def _all(
        self,
        endpoint: str,
        read: Callable[[Mapping[str, Json]], T],
        filters: Query,
    ) -> Iterator[T]:
        for items, _more in self.pages(endpoint, filters):
            yield from map(read, items)

    def on_the_clock(self, jobcode_ids: Sequence[int], *, since: str) -> list[dict[str, Json]]:
        """Return the running timesheets of these jobcodes and their children.

        ``since`` (YYYY-MM-DD): the listing refuses to answer without a range of dates.
        """
        return self._timesheets(jobcode_ids, since, on_the_clock="yes")

    def hours(self, jobcode_ids: Sequence[int], *, since: str) -> list[dict[str, Json]]:
        """Return the timesheets of these jobcodes and their children, by their ``date``.

        Those from that day (YYYY-MM-DD) on; running ones are not among them.
        """
        return self._timesheets(jobcode_ids, since, on_the_clock="no")

    def _timesheets(
        self, jobcode_ids: Sequence[int], since: str, *, on_the_clock: str
    ) -> list[dict[str, Json]]:
        ids = ",".join(map(str, jobcode_ids))
        filters = {"on_the_clock": on_the_clock, "jobcode_ids": ids, "start_date": since}
        return [item for items, _ in self.pages("timesheets", filters) for item in items]

    def assignments(self) -> list[dict[str, Json]]:
        """Return all active assignments of jobcodes to people; user 0 stands for everybody."""
        filters = {"active": "yes", "type": "all"}
        return [item for items, _ in self.pages("jobcode_assignments", filters) for item in items]

    def current_user(self) -> dict[str, Json]:
        """Return the user whom the token belongs to, with ``permissions``."""
        users = items_of(self._get("current_user", {}), "users")
        if not users:
            raise UnreadableAnswer("QuickBooks Time: GET /current_user answered without a user")
        return users[0]

    def effective_settings(self) -> dict[str, Json]:
        """Return the account's settings by section."""
        results = self._get("effective_settings", {}).get("results")
        found = results.get("effective_settings") if isinstance(results, Mapping) else None
        return dict(found) if isinstance(found, Mapping) else {}

    # --- writing: ``fence`` is checked last, so nothing is sent under an expired lease ---

    def create_jobcodes(self, items: Items, fence: Fence | None = None) -> list[ItemResult]:
        """Create at most 50 jobcodes; one result for each item, in their order.

        A result of 202 means that the name exists already and nothing was created.
        """
        return self._write("POST", "jobcodes", items, fence)

    def change_jobcodes(self, items: Items, fence: Fence | None = None) -> list[ItemResult]:
        """Change, archive or restore at most 50 jobcodes; send only changed, writable fields."""
        return self._write("PUT", "jobcodes", items, fence)

    def create_locations(self, items: Items, fence: Fence | None = None) -> list[ItemResult]:
        """Create at most 50 locations. Sending an item twice makes two of it."""
        return self._write("POST", "locations", items, fence)

    def change_locations(self, items: Items, fence: Fence | None = None) -> list[ItemResult]:
        """Change, archive or restore at most 50 locations."""
        return self._write("PUT", "locations", items, fence)

    def assign(self, items: Items, fence: Fence | None = None) -> list[ItemResult]:
        """Assign jobcodes to people (``{"user_id", "jobcode_id"}``), at most 50."""
        return self._write("POST", "jobcode_assignments", items, fence)

    # --- one call ---

    def _get(self, endpoint: str, query: Query) -> dict[str, Json]:
        return as_object(self._call("GET", endpoint, params=query))

    def _write(
        self, method: str, endpoint: str, items: Items, fence: Fence | None
    ) -> list[ItemResult]:
        if not 1 <= len(items) <= BATCH:
            raise ValueError(f"a batch has 1 to {BATCH} items, not {len(items)}")
        body: Json = {"data": list(items)}
        reply = self._call(method, endpoint, json_body=body, accept=WITH_RESULTS, fence=fence)
        return item_results(reply, endpoint, len(items))

    def _call(
        self,
        method: str,
        endpoint: str,
        *,
        params: Query | None = None,
        json_body: Json = None,
        accept: frozenset[int] = OK,
        fence: Fence | None = None,
    ) -> Reply:
        """Send one request; after a 401 once more with a renewed token."""

        def send(token: str) -> Reply:
            headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
            with self._spend():
                if fence:
                    fence.check()
                    failpoints.point(f"sending_{method}_{endpoint}")
                reply = self.transport.request(
                    method,
                    f"/{endpoint}",
                    params=params,
                    headers=headers,
                    json_body=json_body,
                    accept=ANY_STATUS,
                )
                if reply.status not in accept:
                    raise error_of(reply)
                return reply

        token = self._token()
        try:
            return send(token)
        except AccessStopped as error:
            if error.status != 401:
                raise
            return send(self._renew(token))


def whole(value: Json) -> int:
    """Return a number that may come as text; 0 where there is none."""
    return int(value or 0) if isinstance(value, (int, float, str)) else 0
