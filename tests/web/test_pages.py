"""The pages on a real installation: what they show, that all of it is escaped, and what they do."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import redis

from cprqueue.domain.mapping import read_job
from cprqueue.domain.recording import Sighting
from cprqueue.domain.states import LinkState, RunKind, RunState
from cprqueue.errors import NeedsApproval
from cprqueue.sandbox.server import Sandbox
from cprqueue.services import push_brake
from cprqueue.services.record import record
from cprqueue.store import events, jobs, runs, sightings
from cprqueue.store.database import clock
from tests.board_pages import HOSTILE, Visitor, served
from tests.office import Office, job
from tests.own_valkey import own_valkey
from tests.pruning import close, order

NASTY = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
BRAKES = {
    "PUSH_MIN_LIMIT": "1",
    "PUSH_MAX_FRACTION": "0.01",
    "PRUNE_MIN_LIMIT": "1",
    "PRUNE_MAX_FRACTION": "0.01",
    "PRUNE_QUIET_DAYS": "0",
}
PAGES = (
    "/jobs", "/jobs/1", "/jobs/2", "/jobs/3", "/jobs/9", "/plans", "/runs", "/runs/1", "/check",
    "/mend",
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """The office, the address of its board, its broker, and a held prune and a held push."""

    office: Office
    url: str
    broker_url: str
    prune: int
    push: int

    def visitor(self) -> Visitor:
        return Visitor(self.url)

    def history(self, job_id: int) -> list[str]:
        with self.office.app.db.read() as conn:
            return [event.text for event in events.of_job(conn, job_id)]

    def wake_ups(self) -> int:
        """Count the wake-ups that wait in the broker."""
        with redis.Redis.from_url(self.broker_url) as broker:
            return int(broker.llen("upsert"))


def fill(office: Office) -> None:
    """Put jobs with hostile names; 9 has no number, 8 is twice there, 7 is new and parked."""
    long = "x" * 70
    office.put(
        job(1, "A-1", jobName=NASTY, jobAddress1=NASTY),
        job(2, "A-2", jobName="=cmd|' /C calc'!A0"),
        *(job(n, f"A-{n}") for n in range(3, 7)),
        job(7, long, jobName="\u202eeman"),
        job(8, "a-1", jobAddress1="3 Main Street"),
        job(9, "", jobProgress="Lost Lead"),
        *(job(n, f"A-{n}") for n in range(10, 14)),
    )


def hold_a_prune(office: Office, *ids: int) -> int:
    """Have a prune held that would archive these, once they are closed, and those before."""
    if ids:
        close(office, *ids)
    run_id = order(office)
    with pytest.raises(NeedsApproval):
        office.app.prune.run(run_id, None)
    return run_id


def hold_a_push(office: Office, *ids: int) -> int:
    """Have a fetch change these jobs all at once."""
    with office.app.db.begin() as conn:
        run_id = runs.create(conn, RunKind.FETCH, state=RunState.RECORDING)
        runs.change(conn, run_id, observed_at=clock(conn), detail={push_brake.BRAKED: True})
        number, moment = sightings.next_number(conn), clock(conn)
    seen = Sighting(run_id=run_id, number=number, complete=False, observed_at=moment, braked=True)
    for n in ids:
        changed = job(n, f"<b>NEW-{n}", jobZip="83799")
        record(office.app.db, office.app.rules, read_job(changed), seen)
    with office.app.db.begin() as conn:
        runs.finish(conn, run_id, RunState.DONE)
    office.app.fetch.close()
    assert {office.link(n).state for n in ids} == {LinkState.HELD}
    return run_id


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("board")
    with Sandbox(jobs=[]) as sandbox, own_valkey(directory) as port:
        url = f"redis://127.0.0.1:{port}/0"
        office = Office(sandbox, directory / "var", CELERY_BROKER_URL=url, **BRAKES)
        fill(office)
        prune, push = hold_a_prune(office, 3, 4), hold_a_push(office, 5, 6)
        with served(office) as address:
            yield Place(office, address, url, prune, push)
        office.close()


# --- what they show -----------------------------------------------------------------------


def test_each_page_is_whole_and_escapes_all_that_comes_from_outside(place: Place) -> None:
    visitor = place.visitor()
    for path in (*PAGES, f"/plans/{place.prune}", f"/plans/{place.push}"):
        seen = visitor.see(path)
        assert (path, seen.tags.count("h1"), seen.unfit()) == (path, 1, [])
        assert "{{" not in seen.text
    assert "<script>alert(1)</script>" in visitor.see("/jobs").text  # as a text


def test_links_hold_ids_alone(place: Place) -> None:
    hrefs = [
        value
        for path in PAGES
        for tag, name, value in place.visitor().see(path).attributes
        if tag == "a" and name == "href"
    ]
    assert {"/jobs/1", "/jobs/8"} <= set(hrefs)
    assert not [href for href in hrefs if "script" in href or "A-1" in href or "Main" in href]


def test_jobs_are_searched_and_sorted_by_the_address_alone(place: Place) -> None:
    visitor = place.visitor()
    found = visitor.see("/jobs", q="a-2")
    assert "A-2" in found.text
    assert "A-3" not in found.text
    assert "No job has" in visitor.see("/jobs", q="nowhere").text
    assert "aria-sort" in {name for _, name, _ in visitor.see("/jobs", sort="street").attributes}
    parked = visitor.see("/jobs", state="parked").text
    assert "too long by 6" in parked


def test_the_file_holds_every_job_and_no_formula(place: Place) -> None:
    answer = place.visitor().get("/jobs.csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [int(row["rm_job_id"]) for row in rows] == list(range(1, 14))
    assert rows[1]["customer"] == "'=cmd|' /C calc'!A0"
    assert rows[0]["customer"] == NASTY
    one = place.visitor().get("/jobs.csv", q="a-2").content.decode("utf-8-sig")
    assert len(one.splitlines()) == 2


def test_a_job_shows_both_sides_and_marks_what_differs_in_words(place: Place) -> None:
    text = place.visitor().see("/jobs/5").text
    assert "zip 83799 83702 ≠ differs" in text
    assert "addr1 5 Main Street 5 Main Street =" in text
    assert "is held" in text
    assert "RM job 1" in place.visitor().see("/jobs/8").text  # the other one of this number


def test_plans_show_before_and_after(place: Place) -> None:
    visitor = place.visitor()
    text = visitor.see("/plans").text
    assert "2 jobs held by the fetch" in text
    assert "2 jobcodes held by the prune" in text
    assert "zip 83702 83799" in visitor.see(f"/plans/{place.push}").text
    assert (
        "jobcode A-3, at 3 Main Street, Boise, ID, 83702 archived"
        in visitor.see(f"/plans/{place.prune}").text
    )


def test_what_is_to_be_mended_is_linked(place: Place) -> None:
    text = place.visitor().see("/mend").text
    assert "A-1 (RM job 1) and a-1 (RM job 8) have one number" in text


def test_a_check_is_made_by_a_button_alone(place: Place) -> None:
    visitor = place.visitor()
    before = len(place.office.sandbox.calls)
    assert "Checked by" not in visitor.see("/check").text
    assert len(place.office.sandbox.calls) == before
    to, seen = visitor.told("/check/now")
    assert to == "/check"
    assert "Checked by operator" in seen.text
    assert len(place.office.sandbox.calls) > before


@pytest.mark.parametrize("path", ["/jobs/404", "/plans/1", "/plans/99999", "/runs/99999"])
def test_what_is_not_there_is_404(place: Place, path: str) -> None:
    assert place.visitor().get(path).status_code == 404


# --- hostile parameters -------------------------------------------------------------------

PARAMETERS = {
    "/jobs": ("q", "state", "sort", "down", "page", "unknown"),
    "/jobs.csv": ("q", "state", "sort", "down", "page"),
    "/jobs/1": ("run",),
    "/plans": ("before",),
    "/runs": ("kind", "before"),
    "/mend": ("x",),
}


@pytest.mark.parametrize("path", PARAMETERS)
def test_no_parameter_breaks_a_page(place: Place, path: str) -> None:
    visitor = place.visitor()
    for name in PARAMETERS[path]:
        for text in HOSTILE:
            answer = visitor.get(path, **{name: text})
            assert answer.status_code in (200, 400), (name, text, answer.status_code)
            assert "Set-Cookie: x" not in str(answer.headers)
            if "html" in answer.headers["Content-Type"]:
                assert "<script>alert" not in answer.text.replace("&lt;", "")
    raw = ("q=%ff%fe", "q=a&q=b", "page=1;2", "%00=%00", "q", "=", "&&&", "q=%zz")
    assert {visitor.get(f"{path}?{query}").status_code for query in raw} <= {200, 400}


@pytest.mark.parametrize("path", ["/jobs", "/plans", "/runs"])
def test_no_path_breaks_a_page(place: Place, path: str) -> None:
    visitor = place.visitor()
    for text in ("9" * 18, "9" * 19, "-1", "0", "1/", "1/x", "%00", "%f0", "..%2f", "<b>", "٣"):
        assert visitor.get(f"{path}/{text}").status_code in (200, 404), text


def test_no_field_of_a_form_breaks_an_act(place: Place) -> None:
    visitor = place.visitor()
    for text in HOSTILE:
        for name in ("until", "because"):
            status = visitor.press("/jobs/6/keep", **{name: text}).status_code
            assert status in (303, 400), (name, text, status)
        assert visitor.press("/plans/99999/undo", keep=text).status_code in (400, 404)
    visitor.press("/jobs/6/unkeep")
    assert visitor.see("/jobs/6").unfit() == []


# --- what they do -------------------------------------------------------------------------


def test_a_job_is_kept_and_kept_no_longer_with_the_name_of_the_person(place: Place) -> None:
    visitor = place.visitor()
    to, seen = visitor.told("/jobs/2/keep", until="2999-01-31", because="<b>warranty")
    assert to == "/jobs/2"
    assert "It is kept by operator until 2999-01-31: <b>warranty." in seen.text
    assert "kept by operator until 2999-01-31: <b>warranty" in place.history(2)
    assert "A-2" in visitor.see("/jobs", state="kept").text
    assert "kept no longer" in visitor.told("/jobs/2/unkeep")[1].text
    assert place.history(2)[-1].startswith("by operator")
    over = visitor.press("/jobs/2/keep", until="2020-01-31")
    assert over.status_code == 400
    assert "The last day is 2020-01-31, which is over" in over.text


def test_a_parked_job_is_tried_again(place: Place) -> None:
    visitor = place.visitor()
    waiting = place.wake_ups()
    assert "It is due now." in visitor.told("/jobs/7/retry")[1].text
    assert place.history(7)[-1] == "another try, ordered by operator"
    assert place.wake_ups() == waiting + 1
    assert "neither parked nor due" in visitor.press("/jobs/2/retry").text


def test_a_sync_that_no_worker_would_take_changes_nothing(place: Place) -> None:
    answer = place.visitor().press("/jobs/2/sync")
    assert answer.status_code == 503
    assert "No worker answers" in answer.text
    assert place.visitor().press("/jobs/404/sync").status_code == 400


def test_of_two_who_approve_at_once_one_has_an_effect(place: Place) -> None:
    run_id = hold_a_push(place.office, 10, 11)
    before = place.wake_ups()
    visitors = [place.visitor() for _ in range(4)]
    tokens = {id(visitor): visitor.token() for visitor in visitors}
    with ThreadPoolExecutor(len(visitors)) as pool:
        answers = list(
            pool.map(
                lambda each: each.session.post(
                    f"{place.url}/plans/{run_id}/approve",
                    data={"token": tokens[id(each)]},
                    allow_redirects=False,
                    timeout=30,
                ),
                visitors,
            )
        )
    assert sorted(answer.status_code for answer in answers) == [303, 409, 409, 409]
    assert [text for text in place.history(10) if "approved" in text] == ["approved by operator"]
    assert place.wake_ups() == before + 1
    assert {place.office.link(n).state for n in (10, 11)} == {LinkState.DUE}
    text = place.visitor().see(f"/plans/{run_id}").text
    assert "Approved by operator: 2 jobs." in text
    assert "Approve " not in text


def test_a_held_push_is_dismissed(place: Place) -> None:
    run_id = hold_a_push(place.office, 12, 13)
    visitor = place.visitor()
    to, seen = visitor.told(f"/plans/{run_id}/dismiss")
    assert to == f"/plans/{run_id}"
    assert "Dismissed by operator: 2 jobs." in seen.text
    assert place.history(12)[-1] == "dismissed by operator"
    assert visitor.press(f"/plans/{run_id}/approve").status_code == 409


def test_a_held_prune_is_dismissed_and_nothing_is_archived(place: Place) -> None:
    run_id, visitor = hold_a_prune(place.office), place.visitor()
    to, seen = visitor.told(f"/plans/{run_id}/dismiss")
    assert to == f"/plans/{run_id}"
    assert "nothing of it is archived" in seen.text
    with place.office.app.db.read() as conn:
        row = runs.existing(conn, run_id)
        assert row.state is RunState.DONE
        job_3 = jobs.existing(conn, 3)
    assert not job_3.active
    assert place.office.link(3).observed.active
    assert visitor.press(f"/plans/{run_id}/dismiss").status_code == 409


def test_no_order_is_taken_from_a_link(place: Place) -> None:
    for act in ("/jobs/2/keep", "/jobs/2/sync", f"/plans/{place.push}/approve", "/check/now"):
        assert place.visitor().get(act).status_code == 405
        elsewhere = place.visitor().session.post(place.url + act, allow_redirects=False, timeout=30)
        assert elsewhere.status_code == 403
