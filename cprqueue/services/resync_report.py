"""What a resync did, in five steps that a person can read; it stands in the run's detail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cprqueue.domain.models import Json, built
from cprqueue.domain.push_plan import Compared
from cprqueue.domain.records import Run

SO_FAR = "so_far"
"""Where the reports stand in the detail of a run that has not ended."""

STEPS = ("found in RestorationManager", "rule", "recorded", "compared", "done")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a resync, and how it went."""

    step: str
    ok: bool
    text: str


@dataclass(slots=True, kw_only=True)
class Report:
    """What a resync did for one job. ``ok`` is False where the job is not in step after it."""

    job_id: int | None
    job_number: str
    ok: bool = True
    steps: list[Step] = field(default_factory=list)
    fields: list[Compared] = field(default_factory=list)

    def step(self, text: str, *, ok: bool = True) -> None:
        """Add the next step."""
        name = STEPS[min(len(self.steps), len(STEPS) - 1)]
        self.steps.append(Step(step=name, ok=ok, text=text))
        self.ok = self.ok and ok


def reports_of(run: Run) -> list[Report]:
    """Read back the reports that stand in a resync's run."""
    found = run.detail if isinstance(run.detail, list) else []
    return [built(_report, data) for data in found]


def reports_so_far(run: Run) -> list[Report]:
    """Read the reports of a resync that may be under way still, with the steps that are done."""
    found = run.details.get(SO_FAR)
    return [built(_report, data) for data in found] if isinstance(found, list) else reports_of(run)


def _report(
    steps: list[Mapping[str, Json]], fields: list[Mapping[str, Json]], **rest: Json
) -> Report:
    report = built(Report, rest)
    report.steps = [built(Step, step) for step in steps]
    report.fields = [built(Compared, row) for row in fields]
    return report


def failed(job: str, text: str) -> Report:
    report = Report(job_id=None, job_number=job)
    report.step(text, ok=False)
    return report
