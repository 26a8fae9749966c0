"""A day of the office at the board: what its people do, and how each page is looked at."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cprqueue.sandbox import dataset
from tests.browser import DESK, PHONE, SCHEMES, Browser
from tests.running import System
from tests.web.conftest import PASSWORD


@dataclass(frozen=True)
class Day:
    """The browser, the office whose board it is on, and where pictures go."""

    browser: Browser
    system: System
    pictures: Path

    def put(self, *jobs: dataset.Job) -> None:
        """Change jobs in RestorationManager."""
        self.system.sandbox.rm.put_jobs(jobs)

    def street(self, job: dataset.Job) -> str:
        """Return the street of a job's only location, as QuickBooks Time holds it."""
        state = self.system.sandbox.qbt.state()
        [code] = [code for code in state["jobcodes"] if code["name"] == job["jobJobId"]]
        [place] = [each for each in state["locations"] if each["id"] in code["locations"]]
        return str(place["addr1"])

    def archived(self) -> set[str]:
        """Return the names of the jobcodes that are archived."""
        state = self.system.sandbox.qbt.state()
        return {str(code["name"]) for code in state["jobcodes"] if not code["active"]}

    def log_in(self, name: str) -> None:
        """Log in, from wherever it leads there."""
        self.browser.open("/")
        self.browser.type("Name", name)
        self.browser.type("Password", PASSWORD)
        self.browser.click("Log in")

    def log_out(self) -> None:
        """Log out."""
        self.browser.click("Log out", within="//header")
        assert self.browser.text("//h1") == "Log in"

    def fetch(self) -> None:
        """Press "Fetch now", and wait for the end of that run."""
        self.browser.open("/")
        self.browser.click("Fetch now")
        [run] = re.findall(r"Run (\d+) fetches", self.browser.text("//p[@role='status']"))
        self.browser.wait_for(f"Run {run}: fetch done", again=f"/runs/{run}")

    def look(self, name: str) -> None:
        """Look at this page in each way; leave the window as on a desk."""
        found = []
        for width in (PHONE, DESK):
            for scheme in reversed(SCHEMES):
                self.browser.look(width, scheme)
                rules = () if scheme == "light" else ("color-contrast",)
                found += [f"{width} {scheme}: {each}" for each in self.browser.barriers(*rules)]
                if (width, scheme) != (PHONE, "dark"):
                    place = "phone" if width == PHONE else "desk"
                    self.browser.picture(self.pictures / f"{name}-{place}-{scheme}.png")
            found += [f"{width}: too wide"] if self.browser.too_wide() > 0 else []
        assert found == [], f"{name}: " + "\n".join(found)

    def nothing_to_complain(self, *known: str) -> None:
        """Fail where the console has anything, but one line each with these words."""
        lines = self.browser.complaints()
        for words in known:
            lines.remove(next(line for line in lines if words in line))
        assert lines == []
