"""Whatever text RestorationManager sends is recorded, pushed and shown, by every command."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cprqueue.errors import NeedsApproval
from cprqueue.sandbox.server import Sandbox
from cprqueue.services import progress_values
from cprqueue.store import runs
from cprqueue.store.database import clock
from tests.cli.conftest import Run
from tests.hostile import ENTITIES, PRINTABLE, TEXTS
from tests.office import Office, job
from tests.pruning import prune

ADDRESS = ("addr1", "addr2", "city", "state", "zip")
PLACES = dict(enumerate((TEXTS | ENTITIES).items(), 1))
"""Each text with what is left of it, by the id of the active job that has it in every field."""

CLOSED, REFUSED, DOUBLE = 1000, 2000, 3000
"""From these ids on: jobs that are not active, that cannot be pushed, whose number is another's."""

DOUBLED = [job_id for job_id in PLACES if job_id % 3 == 0]

PLACE = "Street"  # the scan of the logs knows an address by it: a progress value may be logged
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def sent(job_id: int, text: str, number: str, **more: str) -> dict[str, Any]:
    parts = ("jobAddress1", "jobAddress2", "jobCity", "jobStateCd", "jobZip")
    named = {"jobName": text, "jobProgress": text, **dict.fromkeys(parts, f"{text} {PLACE}")}
    return job(job_id, number, **(named | more))


def left(job_id: int) -> str:
    """Return what is left of a job's text in a name; an address loses its entities too."""
    text, clean = PLACES[job_id]
    return text if text in ENTITIES else clean


def number(job_id: int) -> str:
    return f"{left(job_id)} {job_id}"


def everything() -> Iterator[dict[str, Any]]:
    for job_id, (text, _) in PLACES.items():
        yield sent(job_id, text, f"{text} {job_id}")
        closed = sent(CLOSED + job_id, text, f"{text} {CLOSED + job_id}", jobStatus=text)
        yield closed
        yield sent(REFUSED + job_id, text, f"{text} {'X' * 65} {job_id}")
        if job_id in DOUBLED:
            yield sent(DOUBLE + job_id, text, f"{text} {job_id}")


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with Sandbox(jobs=[]) as sandbox:
        made = Office(sandbox, tmp_path_factory.mktemp("hostile") / "var", CPR_LEASE_SECONDS="20")
        for jobs in ([job(1, "A-1")], list(everything())):
            sandbox.rm.put_jobs(jobs)
            made.fetch()
            with made.app.db.begin() as conn:
                progress_values.note_new(conn, clock(conn))
        made.push(seconds=60)
        yield made
        made.close()


@pytest.fixture
def run(office: Office, run_on: Callable[[Office], Run]) -> Run:
    return run_on(office)


def fine(run: Run, *words: str, code: int = 0) -> str:
    """Run a command that ends with this code; return what it printed, which has no control."""
    found, out, err = run(*words)
    assert found == code, (words, out, err)
    assert "Traceback" not in out + err
    for line in [] if "--json" in words else [*out.split("\n"), *err.split("\n")]:
        assert line.isprintable(), (words, line)
    return out


def document(run: Run, *words: str, code: int = 0) -> Any:
    at = words.index("--") if "--" in words else len(words)
    return json.loads(fine(run, *words[:at], "--json", *words[at:], code=code))


def test_it_is_pushed_as_it_is(office: Office) -> None:
    state = office.sandbox.qbt.state()
    found = {code["name"]: code for code in state["jobcodes"]}
    assert set(found) == {number(job_id) for job_id in PLACES}
    places = {
        int(linked): tuple(place[part] for part in ADDRESS)
        for place in state["locations"]
        for linked in place["linked_objects"]["jobcodes"]
    }
    for job_id, (_, clean) in PLACES.items():
        assert places[found[number(job_id)]["id"]] == (f"{clean} {PLACE}",) * 5, number(job_id)
    assert office.counts()["parked"] == len(PLACES) + len(DOUBLED)
    assert office.counts()["due"] == 0


def test_explain_finds_it_by_number_and_name_and_shows_it(run: Run) -> None:
    for job_id, (_, clean) in PLACES.items():
        if job_id in DOUBLED:
            hits = document(run, "explain", "--", number(job_id), code=1)["candidates"]
            assert [hit["job_id"] for hit in hits] == [job_id, DOUBLE + job_id]
            assert len(fine(run, "explain", "--", number(job_id), code=1).splitlines()) == 4
            continue
        found = document(run, "explain", "--", number(job_id))
        assert found["job"]["job_id"] == job_id
        assert found["job"]["job_number"] == number(job_id)
        assert set(found["job"]["address"].values()) == {f"{clean} {PLACE}"}
        shown = fine(run, "explain", "--", str(job_id))
        assert number(job_id) in shown.splitlines()[0]
        assert ", ".join([f"{clean} {PLACE}"] * 5) in shown
        closed = document(run, "explain", str(CLOSED + job_id))
        assert not closed["job"]["active"]
        assert left(job_id) in closed["rule"]
        assert run("explain", "--", left(job_id))[0] in (0, 1)  # it may be in many names
        assert run("explain", "--", f"{clean} nowhere")[0] == 2


def test_lists_show_each_job_in_a_line_of_its_own(run: Run) -> None:
    rows = document(run, "failures")
    assert len(rows) == len(PLACES) + len(DOUBLED)
    lines = fine(run, "failures").splitlines()
    assert len(lines) == 2 + len(rows)
    reasons = {row["job_id"]: row["reason"] for row in rows}
    for job_id in DOUBLED:
        assert f"({number(job_id)}) has the same number" in reasons[DOUBLE + job_id]
    for job_id in PLACES:
        assert any(f"{left(job_id)} {'X' * 65} {job_id}" in line for line in lines)
    assert document(run, "status")["jobs"]["in_sync"] == len(PLACES)
    said = fine(run, "status")
    assert "new progress" in said
    digest = document(run, "digest")
    assert fine(run, "digest").splitlines() == digest["lines"]
    assert "cprqueue_jobs" in fine(run, "metrics")
    assert run("health")[0] in (1, 3)
    for line in run("check")[1].splitlines():
        assert "Error" not in line, line


def test_a_plan_says_what_would_be_pushed_and_no_cell_is_a_formula(
    office: Office, run: Run
) -> None:
    changed = [
        {"jobId": n, "jobJobId": f"{text} {n} new", "jobCity": f"{text} x"}
        for n, (text, _) in PLACES.items()
    ]
    before = office.sandbox.rm.jobs()
    office.sandbox.rm.put_jobs(changed)
    try:
        rows = {row["job_id"]: row for row in document(run, "plan", code=1)["jobs"]}
        table = fine(run, "plan", "--csv", code=1)
        shown = fine(run, "plan", "--all", code=1)
    finally:
        office.sandbox.rm.put_jobs(before)
    cells = {int(row["job_id"]): row for row in csv.DictReader(io.StringIO(table))}
    for job_id, (_, clean) in PLACES.items():
        row = rows[job_id]
        assert row["before"]["name"] == number(job_id)
        assert row["after"]["name"] == f"{number(job_id)} new"
        assert row["after"]["city"] == f"{clean} x"
        cell = cells[job_id]["name_after"]
        assert f"{number(job_id)} new" in (cell, cell.removeprefix("'"))
        assert number(job_id) in shown
    for each in cells.values():
        assert not [cell for cell in each.values() if cell.startswith(FORMULA)]


def test_a_person_may_keep_it_and_say_why(run: Run) -> None:
    mine = [n for n in PLACES if n not in DOUBLED and PLACES[n][0] == PLACES[n][1]]
    for job_id in mine:
        text = left(job_id)
        [kept] = document(run, "keep", f"--because={text} why", "--", number(job_id))
        assert (kept["job_id"], kept["because"]) == (job_id, f"{text} why")
        assert "why" in fine(run, "explain", str(job_id))
    numbers = [number(job_id) for job_id in mine]
    assert fine(run, "unkeep", "--", *numbers) == f"{len(mine)} kept no longer\n"


def test_the_brake_a_prune_and_their_history_name_it(office: Office, run: Run) -> None:
    closing = [{"jobId": n, "jobStatus": PLACES[n][0]} for n in PLACES]
    before = office.sandbox.rm.jobs()
    office.sandbox.rm.put_jobs(closing)
    office.fetch()
    with office.app.db.begin() as conn:
        runs.change(conn, 1, note=" ".join(TEXTS))
    with pytest.raises(NeedsApproval, match="managed jobcodes would leave"):
        prune(office)
    [run_id] = [row["run_id"] for row in document(run, "history") if row["kind"] == "prune"]
    plan = document(run, "prune", "show", str(run_id))
    named = {row["name"] for row in plan["archive"]}
    assert named == {number(job_id) for job_id in PLACES}
    lines = fine(run, "prune", "show", str(run_id), "--all").splitlines()
    for job_id in PLACES:
        assert any(number(job_id) in line for line in lines)
    assert len(fine(run, "history").splitlines()) == 2 + len(document(run, "history"))
    assert document(run, "prune", "plan", "--no-snapshot", code=1)["archive"]
    office.sandbox.rm.put_jobs(before)


def test_a_file_with_such_a_name_is_written_and_read(office: Office, run: Run) -> None:
    for text in ("100% ${x} [/x] #7", "a?b='c'", "-x", "=1+1 🏠 \u202e", "new\nline {0} \\N"):
        name, copy = f"{text}.json", f"{text}.db"
        code, _, err = run("fetch", "--full", f"--output={name}")
        assert (code, Path(name).exists()) == (0, True), err
        code, out, err = run("import", "--", name)
        assert (code in (0, 1), " active, " in out) == (True, True), err  # 1: the brake holds some
        assert run("backup", "--", copy)[0] == 0
        assert Path(copy).exists()


@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(texts=st.lists(PRINTABLE, min_size=16, max_size=16))
def test_any_printable_text_is_pushed_and_shown(
    make_office: Callable[[], Office], run_on: Callable[[Office], Run], texts: list[str]
) -> None:
    office = make_office()
    run = run_on(office)
    office.sandbox.rm.put_jobs(sent(n, text, f"{text} {n}") for n, text in enumerate(texts, 1))
    office.fetch()
    office.push()
    names = {code["name"] for code in office.sandbox.qbt.state()["jobcodes"] if code["active"]}
    for n, text in enumerate(texts, 1):
        assert f"{text} {n}" in names
        found = document(run, "explain", "--", f"{text} {n}")
        assert set(found["job"]["address"].values()) == {f"{text} {PLACE}"}
        assert ", ".join([f"{text} {PLACE}"] * 5) in fine(run, "explain", str(n))
