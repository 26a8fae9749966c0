"""The control API of a running sandbox, as Python calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import requests

Json = dict[str, Any]


class SandboxClient:
    """Reads and changes a sandbox, by its base URL. Keeps no connection.

    ValueError: the sandbox does not accept what it was given; the text says why.
    """

    def __init__(self, base_url: str, *, timeout_seconds: float = 60.0) -> None:
        self.base_url = base_url.rstrip("/")
        self._timeout_seconds = timeout_seconds

    # -- calls ---------------------------------------------------------------------------

    def calls(
        self, service: str | None = None, method: str | None = None, path: str | None = None
    ) -> list[Json]:
        """Return the calls the services received; ``path`` takes what lies below it too."""
        found: list[Json] = self._ask("GET", "calls", params=_query(service, method, path))
        return found

    def call_count(
        self, service: str | None = None, method: str | None = None, path: str | None = None
    ) -> int:
        """Return how many such calls there were."""
        return int(self._ask("GET", "calls/count", params=_query(service, method, path)))

    def reset_calls(self) -> None:
        """Remove the calls so far from the log."""
        self._ask("DELETE", "calls")

    # -- faults, switches, clock ---------------------------------------------------------

    def faults(self) -> list[Json]:
        """Return the rules in force, each with the calls it has ``seen`` and was ``used`` on."""
        found: list[Json] = self._ask("GET", "faults")
        return found

    def set_faults(self, rules: Iterable[Mapping[str, Any]]) -> None:
        """Replace all fault rules; their fields are those of ``faults.Fault``."""
        self._ask("PUT", "faults", [dict(rule) for rule in rules])

    def clear_faults(self) -> None:
        """Let everything work again."""
        self._ask("DELETE", "faults")

    def switches(self) -> dict[str, Json]:
        """Return the switches of both services, under ``rm`` and ``qbt``."""
        found: dict[str, Json] = self._ask("GET", "switches")
        return found

    def set_switches(
        self, *, qbt: Mapping[str, Any] | None = None, rm: Mapping[str, Any] | None = None
    ) -> None:
        """Set the named switches; the others stay."""
        self._ask("PUT", "switches", {"qbt": dict(qbt or {}), "rm": dict(rm or {})})

    def advance(self, seconds: float) -> None:
        """Move the clocks of both services."""
        self._ask("POST", "advance", {"seconds": seconds})

    # -- RestorationManager --------------------------------------------------------------

    def jobs(self) -> list[Json]:
        """Return every RM job."""
        found: list[Json] = self._ask("GET", "jobs")
        return found

    def put_jobs(self, jobs: Iterable[Mapping[str, Any]]) -> None:
        """Create RM jobs, or change the given fields of known ones, by ``jobId``."""
        self._ask("PUT", "jobs", [dict(job) for job in jobs])

    def delete_jobs(self, ids: Iterable[int]) -> None:
        """Let RM jobs vanish."""
        self._ask("DELETE", "jobs", list(ids))

    def expire_rm_tokens(self) -> None:
        """End every RM login."""
        self._ask("POST", "rm/expire_tokens")

    # -- QuickBooks Time -----------------------------------------------------------------

    def qbt_state(self) -> dict[str, list[Json]]:
        """Return all that the QuickBooks Time account holds."""
        found: dict[str, list[Json]] = self._ask("GET", "qbt")
        return found

    def add_jobcode(self, **values: Any) -> int:
        """Create a jobcode by hand and return its id."""
        return int(self._ask("POST", "qbt/add_jobcode", values))

    def change_jobcode(self, jobcode_id: int, **values: Any) -> None:
        """Change a jobcode by hand."""
        self._ask("POST", "qbt/change_jobcode", {"id": jobcode_id, **values})

    def add_location(self, **values: Any) -> int:
        """Create a location by hand and return its id."""
        return int(self._ask("POST", "qbt/add_location", values))

    def change_location(self, location_id: int, **values: Any) -> None:
        """Change a location by hand."""
        self._ask("POST", "qbt/change_location", {"id": location_id, **values})

    def clock_in(self, jobcode_id: int, user_id: int | None = None) -> int:
        """Put someone on the clock and return the timesheet's id."""
        given = {"jobcode_id": jobcode_id, "user_id": user_id}
        return int(self._ask("POST", "qbt/clock_in", given))

    def book_hours(
        self, jobcode_id: int, day: str, hours: float = 8, user_id: int | None = None
    ) -> int:
        """Book the hours of a day (YYYY-MM-DD) by hand and return the timesheet's id."""
        given = {"jobcode_id": jobcode_id, "day": day, "hours": hours, "user_id": user_id}
        return int(self._ask("POST", "qbt/book_hours", given))

    def clock_out(self, timesheet_id: int) -> None:
        """Take them off the clock again."""
        self._ask("POST", "qbt/clock_out", {"timesheet_id": timesheet_id})

    def expire_token(self) -> None:
        """Let the access token run out."""
        self._ask("POST", "qbt/expire_token")

    def revoke_token(self) -> None:
        """Take the access token away."""
        self._ask("POST", "qbt/revoke_token")

    # -- HTTP ----------------------------------------------------------------------------

    def _ask(
        self, method: str, path: str, body: Any = None, *, params: Mapping[str, str] | None = None
    ) -> Any:
        with requests.Session() as session:
            session.trust_env = False  # no proxy stands between a test and its sandbox
            url = f"{self.base_url}/_sandbox/{path}"
            answer = session.request(
                method, url, params=params, json=body, timeout=self._timeout_seconds
            )
        if answer.status_code != requests.codes.ok:
            raise ValueError(answer.json()["error"])
        return answer.json()["value"]


def _query(service: str | None, method: str | None, path: str | None) -> dict[str, str]:
    given = {"service": service, "method": method, "path": path}
    return {name: value for name, value in given.items() if value is not None}
