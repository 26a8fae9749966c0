"""Whatever text comes from outside, commands print it as it is, and end in one line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cprqueue.cli import console
from cprqueue.domain.states import RunKind, RunState
from cprqueue.services.reports.words import counted, shown
from cprqueue.store import runs
from cprqueue.store.database import clock
from tests.cli.conftest import Run
from tests.office import Office, job


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text(max_size=80))
@example(text="[/x] LAX-1")
@example(text="[bold]x[/bold]\\[red]")
@example(text="²")
@example(text="a\nb\x1b[2J")
def test_any_text_of_rm_is_printed_and_one_job_is_one_line(
    office: Office, run: Run, text: str
) -> None:
    office.record([job(1, f"N{text}{'X' * 65}", jobName=text, jobAddress1=text)])
    office.push()
    with office.app.db.begin() as conn:
        run_id = runs.create(conn, RunKind.FETCH, now=clock(conn))
        runs.change(conn, run_id, state=RunState.FAILED, note=f"{text} end")
    code, out, _ = run("explain", "1")
    assert (code, out.startswith("N")) == (0, True)
    code, out, _ = run("failures")
    assert code == 0
    assert len(out.splitlines()) == 3  # title, head, one job
    assert "too long" in out.splitlines()[2]
    code, out, _ = run("history", "--limit", "1")
    assert (code, len(out.splitlines()), out.rstrip().endswith("end")) == (0, 3, True)
    assert run("explain", "--", text)[0] in (0, 2)


def test_a_word_that_is_no_text_is_one_line_and_exit_2(run: Run) -> None:
    for command in ("explain", "retry", "resync"):
        code, out, err = run(command, "caf\udce9")
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert "is no text" in err


def test_printed_text_cannot_move_the_cursor() -> None:
    assert console.clean("a\x1b[2J\r\n\tb \ud800 é") == "a\\x1b[2J\\r\\n\\tb \\ud800 é"


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "job", "0 jobs"),
        (1, "job", "1 job"),
        (1, "resync", "1 resync"),
        (2, "resync", "2 resyncs"),
        (2, "batch", "2 batches"),
        (1, "batch", "1 batch"),
    ],
)
def test_one_thing_is_no_plural(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text


def test_a_time_is_shown_in_the_configured_zone_with_its_name() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert shown(moment, "America/Los_Angeles") == "2026-01-01 19:04:05 PST"
    assert shown(moment, "UTC") == "2026-01-02 03:04:05 UTC"
    assert shown(None, "UTC") == "never"


@pytest.mark.parametrize(
    ("ago", "text"),
    [(timedelta(seconds=5), "5 s ago"), (-timedelta(hours=3, seconds=5), "in 3 h")],
)
def test_how_long_ago_is_in_words(ago: timedelta, text: str) -> None:
    assert console.when(datetime.now(UTC) - ago) == text


@pytest.mark.settings(CPR_TIMEZONE="America/Los_Angeles")
def test_explain_shows_every_time_in_the_configured_zone(office: Office, run: Run) -> None:
    office.put(job(1, "A-1"))
    _, out, _ = run("explain", "1")
    times = [line for line in out.splitlines() if "20" in line and ":" in line and "-" in line]
    assert len(times) >= 4
    assert all(" PST" in line or " PDT" in line for line in times)
