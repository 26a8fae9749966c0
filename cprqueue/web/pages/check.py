"""The page Check: the lines of ``health``, and those of ``check`` when somebody asks for them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from cprqueue.errors import AlreadyRunning
from cprqueue.operating import checking, health
from cprqueue.services.reports.checkup import Checkup
from cprqueue.services.reports.findings import Finding
from cprqueue.web.navigation import Entry
from cprqueue.web.page import Act, Done, Page

LAST = "last_check"

_one_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What the last check found, when, and who asked for it."""

    at: datetime
    by: str
    findings: list[Finding]


class Check(Page):
    """Whether this installation does its work; asks nobody outside."""

    template = "check.html"

    def read(self, *words: str) -> Mapping[str, object]:
        """Read the signs in database and broker, and take up what the last check found."""
        return {"health": health.ask(self.app), "checked": self.settings.get(LAST)}


class CheckNow(Act):
    """The button "Check now": it calls both services, and may let a stopped push go on."""

    def act(self, *words: str) -> Done:
        """Check everything, as `cprqueue check` does."""
        if not _one_at_a_time.acquire(blocking=False):
            raise AlreadyRunning(
                "a check is under way: wait some seconds, then load the page Check"
            )
        try:
            found = list(Checkup(self.app.settings, checking.parts(self.app)).run())
        finally:
            _one_at_a_time.release()
        self.settings[LAST] = Checked(at=datetime.now(UTC), by=self.by, findings=found)
        wrong = sum(not finding.fine for finding in found)
        text = f"Checked: {wrong} wrong." if wrong else "Checked: nothing is wrong."
        return Done(to="/check", text=text)


ROUTES = [("/check", Check), ("/check/now", CheckNow)]
NAVIGATION = Entry("Check", "/check")
