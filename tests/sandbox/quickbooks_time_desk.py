"""A desk to talk to the account from: requests in, parsed answers out, and a clock that stands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from cprqueue.sandbox.quickbooks_time import Account, Switches
from cprqueue.sandbox.wire import Answer, Request

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


class Desk:
    """One account whose clock moves only by ``account.advance``, and its client."""

    def __init__(self, **switches: Any) -> None:
        self.account = Account(switches=Switches(**switches), clock=lambda: NOON)
        self.headers = {
            "authorization": "Bearer sandbox-token",
            "content-type": "application/json",
        }

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        request = Request(
            method=method,
            path=path,
            query={key: str(value) for key, value in (query or {}).items()},
            headers=self.headers if headers is None else headers,
            body=body,
        )
        return self.account.handle(request)

    def get(self, path: str, **query: object) -> Any:
        answer = self.ask("GET", path, query=query)
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    def rows(self, endpoint: str, **query: object) -> list[Any]:
        found = self.get(f"/{endpoint}", **query)["results"][endpoint]
        return list(found.values()) if found else []

    def names(self, **query: object) -> list[str]:
        return [row["name"] for row in self.rows("jobcodes", **query)]

    def send(self, method: str, path: str, *items: object) -> list[Any]:
        answer = self.ask(method, path, body=json.dumps({"data": items}).encode())
        results = json.loads(answer.body)["results"][path.strip("/")]
        return [results[str(place)] for place in range(1, len(items) + 1)]

    def post(self, path: str, *items: object) -> list[Any]:
        return self.send("POST", path, *items)

    def put(self, path: str, *items: object) -> list[Any]:
        return self.send("PUT", path, *items)

    def job(self, name: str = "BMS-1", **fields: object) -> int:
        """Create a jobcode that must be accepted, and return its id."""
        (made,) = self.post("/jobcodes", {"name": name, **fields})
        assert made["_status_code"] == 200, made
        return int(made["id"])

    def place(self, **fields: object) -> int:
        """Create a location that must be accepted, and return its id."""
        (made,) = self.post("/locations", {"addr1": "7 Any Street", "city": "Reno", **fields})
        assert made["_status_code"] == 200, made
        return int(made["id"])

    def jobcode(self, jobcode_id: int) -> Any:
        (row,) = self.rows("jobcodes", ids=jobcode_id, active="both", type="all")
        return row

    def location(self, location_id: int) -> Any:
        (row,) = self.rows("locations", ids=location_id, active="both")
        return row

    def grant(self, headers: Mapping[str, str] | None = None, /, **form: str) -> Answer:
        fields = {"client_id": "sandbox-client", "client_secret": "sandbox-secret", **form}
        given = {"content-type": "application/x-www-form-urlencoded", **(headers or {})}
        return self.ask("POST", "/grant", body=urlencode(fields).encode(), headers=given)


def error_of(answer: Answer) -> tuple[int, str]:
    """Return the code and message of the API's own error object."""
    found = json.loads(answer.body)["error"]
    return found["code"], found["message"]


def extra(item: Any) -> str:
    """Return the reason of an item that must have been refused."""
    assert item["_status_code"] == 417, item
    return str(item["_status_extra"])
