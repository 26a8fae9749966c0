"""The list of jobs: searched, filtered, sorted, by the page, and as rows of a file."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from cprqueue.domain.states import LinkState
from cprqueue.services.board import jobs
from cprqueue.services.board.jobs import Question
from cprqueue.services.prune import keeps
from cprqueue.services.reports.words import cell
from cprqueue.store.database import Database, clock
from cprqueue.store.tables import jobs as jobs_table
from cprqueue.store.tables import keeps as keeps_table
from cprqueue.store.tables import links as links_table
from tests.office import Office, job

CLOSED = {"jobProgress": "Lost Lead"}


def numbers(office: Office, **words: object) -> list[str]:
    question = Question(**words)  # type: ignore[arg-type]  # by name, from the tests below
    return [row.job_number for row in jobs.read(office.app.db, question).rows]


def put_some(office: Office) -> None:
    office.sandbox.rm.put_jobs(
        [
            job(1, "BMS-25-00003M", jobName="Zoë Ångström", jobAddress1="12 Oak Street"),
            job(2, "BMS-25-00001R", jobName="Bob Miller", jobAddress1="9 100% Lane"),
            job(3, "BMS-25-00002M", jobName="Ann O'Neill", jobAddress1="7 Élan_Way"),
            job(4711, "4", jobName="miller & sons", **CLOSED),
        ]
    )
    office.fetch()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("bms-25-00002m", ["BMS-25-00002M"]),  # the number, however it is typed
        ("  BMS-25-00002M ", ["BMS-25-00002M"]),
        ("4711", ["4"]),  # the id
        ("4", ["4"]),  # a number before what contains it
        ("miller", ["4", "BMS-25-00001R"]),  # the customer, upper or lower case
        ("bob mil", ["BMS-25-00001R"]),  # each word
        ("oak 12", ["BMS-25-00003M"]),  # in any order, across the fields
        ("25-0000", ["BMS-25-00001R", "BMS-25-00002M", "BMS-25-00003M"]),
        ("0% la", ["BMS-25-00001R"]),  # what is a pattern elsewhere
        ("n_w", ["BMS-25-00002M"]),
        ("n[w", []),
        ("zoë", ["BMS-25-00003M"]),
        ("Zoë", ["BMS-25-00003M"]),
        ("o'neill", ["BMS-25-00002M"]),
        ("'; DROP TABLE jobs; --", []),
        ("99999999999999999999999999", []),
        ("nowhere", []),
    ],
)
def test_a_job_is_found_by_number_customer_street_or_id(
    office: Office, text: str, found: list[str]
) -> None:
    put_some(office)
    assert numbers(office, text=text) == found
    listed = [
        row.job_number for part in jobs.chunks(office.app.db, Question(text=text)) for row in part
    ]
    assert sorted(listed) == found  # the file holds the same


def test_each_filter_shows_its_jobs_and_its_count(office: Office) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 7)), job(7, "A-7", **CLOSED))
    with office.app.db.begin() as conn:
        states = {2: LinkState.DUE, 3: LinkState.PARKED, 4: LinkState.HELD}
        for job_id, state in states.items():
            own = update(links_table).where(links_table.c.job_id == job_id)
            conn.execute(own.values(state=state))
    keep = {"requested_by": "ann", "because": "", "timezone": "UTC"}
    keeps.keep(office.app.db, [5], until=None, **keep)
    shown = {state: numbers(office, state=state) for state in jobs.STATES}
    assert shown == {
        "": [f"A-{n}" for n in range(1, 8)],
        "active": [f"A-{n}" for n in range(1, 7)],
        "in_sync": ["A-1", "A-5", "A-6"],
        "due": ["A-2"],
        "parked": ["A-3"],
        "held": ["A-4"],
        "inactive": ["A-7"],
        "kept": ["A-5"],
    }
    counts = jobs.read(office.app.db, Question()).counts
    assert counts == {state: len(rows) for state, rows in shown.items()}
    assert not jobs.read(office.app.db, Question(text="A-1")).counts


def test_a_keep_that_is_over_is_not_shown(office: Office) -> None:
    office.put(job(1, "A-1"))
    keep = {"requested_by": "ann", "because": "", "timezone": "UTC"}
    keeps.keep(office.app.db, [1], until="2999-01-01", **keep)
    assert numbers(office, state="kept") == ["A-1"]
    with office.app.db.begin() as conn:
        row = conn.execute(keeps_table.select()).mappings().one()
        conn.execute(update(keeps_table).values(until=row["kept_at"] - timedelta(seconds=1)))
    assert numbers(office, state="kept") == []
    assert jobs.read(office.app.db, Question()).counts["kept"] == 0


@pytest.mark.parametrize(
    ("sort", "first"),
    [("number", "4"), ("customer", "Ann"), ("street", "12 Oak"), ("id", "1"), ("changed", "")],
)
def test_every_column_sorts_both_ways(office: Office, sort: str, first: str) -> None:
    put_some(office)
    up = [row.job_id for row in jobs.read(office.app.db, Question(sort=sort)).rows]
    down = [
        row.job_id for row in jobs.read(office.app.db, Question(sort=sort, descending=True)).rows
    ]
    assert up == down[::-1]
    assert len(up) == 4
    found = jobs.read(office.app.db, Question(sort=sort)).rows[0]
    by = {"number": found.job_number, "customer": found.job_name, "street": found.addr1}
    assert str(by.get(sort, found.job_id)).startswith(first)


def test_pages_follow_one_another_and_end(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(db, 120)
    pages = [jobs.read(db, Question(page=number)) for number in (1, 2, 3, 4)]
    assert [len(page.rows) for page in pages] == [50, 50, 20, 0]
    assert [page.more for page in pages] == [True, True, False, False]
    ids = [row.job_id for page in pages for row in page.rows]
    assert ids == sorted(set(ids))
    monkeypatch.setattr(jobs, "LAST_PAGE", 2)
    assert not jobs.read(db, Question(page=2)).more  # further ones cost too much


def test_a_file_comes_in_chunks_and_holds_every_job(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(db, 25)
    monkeypatch.setattr(jobs, "CHUNK", 10)
    parts = list(jobs.chunks(db, Question(sort="customer")))
    assert [len(part) for part in parts] == [10, 10, 5]
    assert [row.job_id for part in parts for row in part] == list(range(1, 26))


def fill(db: Database, number: int) -> None:
    with db.begin() as conn:
        now = clock(conn)
        text = dict.fromkeys(("status", "progress", "addr2", "state", "zip", "city", "rule"), "")
        rows = [
            {
                "job_id": n, "job_number": f"A-{n:05}", "name_key": f"a-{n:05}",
                "job_name": f"Customer {number - n}", "addr1": f"{n} Main Street", **text,
                "active": True, "content_hash": "x", "observed_at": now, "recorded_at": now,
                "first_run_id": 1, "seen_run_id": 1, "complete_run_id": 1,
            }
            for n in range(1, number + 1)
        ]  # fmt: skip
        conn.execute(jobs_table.insert(), rows)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("@x", "'@x"),
        ("-1", "'-1"),
        ("  +1", "'  +1"),
        ("a\nb", "a\\nb"),
        (None, ""),
    ],
)
def test_no_cell_is_taken_for_a_formula(value: str | None, shown: str) -> None:
    assert cell(value) == shown
