"""The page of one job: both sides, why, its history, and what can be done."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from cprqueue.errors import DatabaseUnavailable, ServiceUnreachable, UsageError
from cprqueue.operating import orders, send
from cprqueue.services.board import job as job_view
from cprqueue.services.board.job import JobView
from cprqueue.services.prune import keeps
from cprqueue.services.resync_report import STEPS
from cprqueue.web.page import Act, Done, Page
from cprqueue.web.problems import Problem

AGAIN_SECONDS = 2
WATCHED = timedelta(minutes=10)
"""So long a page looks by itself for the next step."""


class Job(Page):
    """One job."""

    template = "job.html"

    def read(self, *words: str) -> Mapping[str, object]:
        """Read the job; with ``run`` also how far that resync is."""
        run_id = self.query.number("run", 0)
        found = job_view.read(
            self.app.db,
            int(words[0]),
            timezone=self.app.settings.timezone,
            run_id=run_id or None,
        )
        if found is None:
            raise Problem(404, f"RM job {int(words[0])} is not known: look for it in Jobs.")
        state = job_view.state_word(found.found.link, active=found.found.job.active)
        waits = _waits(found)
        return {
            "view": found,
            "explained": found.found,
            "state": state,
            "steps": STEPS,
            "waits": waits,
        }

    def show(self, **values: object) -> None:
        """Answer; while steps are to come, a browser asks again, also without a script."""
        if values["waits"]:
            self.set_header("Refresh", str(AGAIN_SECONDS))
        super().show(**values)


def _waits(view: JobView) -> bool:
    progress = view.progress
    if progress is None or progress.ended:
        return False
    return datetime.now(UTC) - progress.run.created_at < WATCHED


class SyncNow(Act):
    """The button "Sync now"."""

    def act(self, *words: str) -> Done:
        """Order a resync, and show its steps."""
        job_id = int(words[0])
        word = job_view.word_for(self.app.db, job_id)
        send.require_workers(["urgent"])
        run_id = orders.resync(self.app, [word], by=self.by)[word]
        return Done(to=f"/jobs/{job_id}?run={run_id}", text="Ordered: the steps appear below.")


class Retry(Act):
    """The button "Try again"."""

    def act(self, *words: str) -> Done:
        """Push the job again, now."""
        job_id = int(words[0])
        job_view.word_for(self.app.db, job_id)
        try:
            due, text = orders.retry(self.app, [job_id], by=self.by), "It is due now."
        except DatabaseUnavailable:
            raise
        except ServiceUnreachable as error:  # what is due is on record: the sweep sees to it
            due, text = [job_id], f"It is due, and pushed once this has passed: {error}"
        if not due:
            raise UsageError("This job is neither parked nor due: there is nothing to try again")
        return Done(to=f"/jobs/{job_id}", text=text)


class Keep(Act):
    """The form "Keep"."""

    def act(self, *words: str) -> Done:
        """Keep the jobcode."""
        job_id = int(words[0])
        until, because = self.form.day("until"), self.form.text("because", longest=300)
        job_view.word_for(self.app.db, job_id)
        app, timezone = self.app, self.app.settings.timezone
        try:
            [kept] = keeps.keep(
                app.db, [job_id], requested_by=self.by, until=until, because=because,
                timezone=timezone,
            )  # fmt: skip
        except UsageError as error:  # its words are those of the command line
            text = str(error).replace("--until", "the last day").replace("--because", "the reason")
            raise UsageError(text) from error
        text = f"It is {kept.keep.text(timezone)}."
        return Done(to=f"/jobs/{job_id}", text=f"{text} {kept.note}." if kept.note else text)


class Unkeep(Act):
    """The button "Keep no longer"."""

    def act(self, *words: str) -> Done:
        """Keep the jobcode no longer."""
        job_id = int(words[0])
        job_view.word_for(self.app.db, job_id)
        was = keeps.unkeep(self.app.db, [job_id], requested_by=self.by)
        text = "It is kept no longer." if was else "It was not kept."
        return Done(to=f"/jobs/{job_id}", text=text)


_JOB = r"/jobs/([0-9]{1,18})"
ROUTES = [
    (_JOB, Job),
    (f"{_JOB}/sync", SyncNow),
    (f"{_JOB}/retry", Retry),
    (f"{_JOB}/keep", Keep),
    (f"{_JOB}/unkeep", Unkeep),
]
NAVIGATION = None
