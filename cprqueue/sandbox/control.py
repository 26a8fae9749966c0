"""The control API, under ``/_sandbox`` on the sandbox's own port; ``SandboxClient`` speaks it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from cprqueue.sandbox.faults import FaultScript, is_below
from cprqueue.sandbox.quickbooks_time import Account
from cprqueue.sandbox.restoration_manager import RestorationManager
from cprqueue.sandbox.wire import Answer, Request


@dataclass(slots=True, kw_only=True)
class Call:
    """One call that a service received. ``path`` is relative to the service, ``at`` is Unix time.

    ``status`` is None while the call is under way, and where it was never answered.
    """

    service: str
    method: str
    path: str
    query: dict[str, str]
    items: int
    fault: str | None
    at: float
    status: int | None = None


class CallLog:
    """Every call since the last reset, in the order of arrival."""

    def __init__(self) -> None:
        self._calls: list[Call] = []

    def add(self, call: Call) -> None:
        """Keep ``call``."""
        self._calls.append(call)

    def clear(self) -> None:
        """Remove them all."""
        self._calls = []

    def select(
        self, service: str | None = None, method: str | None = None, path: str | None = None
    ) -> list[Call]:
        """Return the calls that fit; ``path`` takes what lies below it too."""
        return [
            call
            for call in list(self._calls)
            if service in (None, call.service)
            and method in (None, call.method)
            and is_below(call.path, path or "")
        ]


class Control:
    """Both services and all about them, as the control API sees them."""

    def __init__(
        self, *, rm: RestorationManager, qbt: Account, faults: FaultScript, calls: CallLog
    ) -> None:
        self.rm, self.qbt, self.faults, self.calls = rm, qbt, faults, calls
        self._routes: dict[tuple[str, str], Callable[[Any], Any]] = {
            ("GET", "calls"): lambda given: [asdict(call) for call in calls.select(**given)],
            ("GET", "calls/count"): lambda given: len(calls.select(**given)),
            ("DELETE", "calls"): lambda given: calls.clear(),
            ("GET", "faults"): lambda given: faults.rules(),
            ("PUT", "faults"): faults.set,
            ("DELETE", "faults"): lambda given: faults.clear(),
            ("GET", "switches"): lambda given: self._switches(),
            ("PUT", "switches"): self._set_switches,
            ("GET", "jobs"): lambda given: rm.jobs(),
            ("PUT", "jobs"): rm.put_jobs,
            ("DELETE", "jobs"): rm.delete_jobs,
            ("POST", "rm/expire_tokens"): lambda given: rm.expire_tokens(),
            ("GET", "qbt"): lambda given: qbt.state(),
            ("POST", "qbt/add_jobcode"): lambda given: qbt.add_jobcode(**given),
            ("POST", "qbt/change_jobcode"): lambda given: qbt.change_jobcode(**given),
            ("POST", "qbt/add_location"): lambda given: qbt.add_location(**given),
            ("POST", "qbt/change_location"): lambda given: qbt.change_location(**given),
            ("POST", "qbt/clock_in"): lambda given: qbt.clock_in(**given),
            ("POST", "qbt/book_hours"): lambda given: qbt.book_hours(**given),
            ("POST", "qbt/clock_out"): lambda given: qbt.clock_out(**given),
            ("POST", "qbt/expire_token"): lambda given: qbt.expire_token(),
            ("POST", "qbt/revoke_token"): lambda given: qbt.revoke_token(),
            ("POST", "advance"): lambda given: self.advance(**given),
        }

    def handle(self, request: Request) -> Answer:
        """Answer one request, its path relative to ``/_sandbox``; 400 says what does not fit."""
        route = self._routes.get((request.method, request.path.strip("/")))
        if route is None:
            return Answer.json({"error": f"no {request.method} {request.path} here"}, status=404)
        try:
            given = json.loads(request.body) if request.body else dict(request.query)
            return Answer.json({"value": route(given)})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return Answer.json({"error": f"{error}"}, status=400)

    def advance(self, seconds: float) -> None:
        """Move the clocks of both services."""
        self.rm.advance(seconds)
        self.qbt.advance(seconds)

    def _switches(self) -> dict[str, dict[str, Any]]:
        return {"rm": asdict(self.rm.switches), "qbt": asdict(self.qbt.switches)}

    def _set_switches(self, given: dict[str, dict[str, Any]]) -> None:
        self.rm.switches.update(given.get("rm") or {})
        self.qbt.switches.update(given.get("qbt") or {})
