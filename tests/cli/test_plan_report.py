"""Whatever a plan holds, a job is one line, nothing of it is markup, and no cell is a formula."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cprqueue.cli import console, plan_report
from cprqueue.domain.sync_plan import PlannedJob, Step, SyncPlan
from cprqueue.services.plan.plan import Made

ADOPTED = (Step.ADOPT, Step.RENAME, Step.CHANGE_ADDRESS, Step.REMOVE_ADDRESS)


def planned(text: str) -> PlannedJob:
    fields = {"name": text, "addr1": text, "other_addresses": [text, text]}
    return PlannedJob(
        job_id=1,
        job_number=text,
        active=True,
        actions=ADOPTED,
        before=fields,
        after={**fields, "other_addresses": []},
        reason=text,
    )


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text(max_size=90))
@example(text="[/x] LAX-1")
@example(text="[bold]x[/bold]\\[red]")
@example(text="a\nb\x1b[2J\ud800")
@example(text="=1+1")
@example(text="-" * 300)
def test_any_text_is_only_text(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console.out, "_width", console.UNWRAPPED)  # pytest-xdist sets COLUMNS
    console.prepare_streams()
    plan = SyncPlan(jobs=(planned(text),), unclaimed=(text,), calls={"verify": 2})
    made = Made(plan=plan, seconds=61, notes=())
    plan_report.show(made, plan.jobs, all_rows=False)
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("Job by job")
    assert lines[at + 3] == "", "title, head, one job"
    assert lines[-1].startswith("2 calls to QuickBooks Time, about 1 minute")
    assert "\x1b" not in "".join(lines)
    plan_report.print_csv(plan.jobs)
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out, newline=""))
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row.values())


def test_a_long_plan_of_a_narrow_terminal_hides_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console.out, "_width", 60)
    names = tuple(f"Shop {n}" for n in range(100))
    plan = SyncPlan(jobs=(planned("X" * 150),), unclaimed=names, calls={})
    plan_report.show(Made(plan=plan, seconds=0, notes=()), plan.jobs, all_rows=False)
    shown = capsys.readouterr().out
    assert shown.count("X") == 150 * 8
    assert "... and 40 more" in shown
    assert shown.endswith("No call to QuickBooks Time is needed.\n")
