"""What ``cprqueue metrics`` says: the database's own numbers, and nothing private."""

from __future__ import annotations

import subprocess
import time
from datetime import datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import insert, select, update

from cprqueue.domain.states import RunKind, RunState
from cprqueue.services import gates
from cprqueue.services.reports.metrics import text
from cprqueue.store import events, measures, runs
from cprqueue.store.database import clock
from cprqueue.store.tables import events as events_table
from cprqueue.store.tables import jobs, links
from tests.office import MakeOffice, Office, job
from tests.other_servers import new_database
from tests.prometheus import needs_promtool

TOO_LONG = "X" * 65

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(office: Office) -> Samples:
    """Return every value by name and labels."""
    found = text_string_to_metric_families(text(office.app.db, office.app.budget).decode())
    return {
        (sample.name.removeprefix("cprqueue_"), frozenset(sample.labels.items())): sample.value
        for family in found
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def test_every_number_is_what_the_database_holds(office: Office) -> None:
    office.put(job(1, "A-1"), job(2, "A-2", jobProgress="Lost Lead"), job(3, TOO_LONG))
    office.record([job(4, "A-4")])
    with office.app.db.begin() as conn:
        now = clock(conn)
        old = update(links).where(links.c.job_id == 4)
        conn.execute(old.values(due_since=now - timedelta(hours=2)))
        runs.create(conn, RunKind.PRUNE, state=RunState.HELD)
    found = samples(office)
    for state, number in {"in_sync": 1, "due": 1, "parked": 1, "held": 0, "inactive": 1}.items():
        assert value(found, "jobs", state=state) == number, state
    assert value(found, "active_jobs") == 3
    assert 7200 <= value(found, "oldest_due_seconds") < 7260
    calls = len([call for call in office.sandbox.calls if call.service == "qbt"])
    assert value(found, "calls_used") == value(found, "calls_total") == calls
    assert value(found, "calls_free") == 300 - calls
    assert value(found, "runs", kind="prune", state="held") == 1
    assert value(found, "runs", kind="fetch", state="done") == 1
    assert value(found, "runs", kind="undo", state="failed") == 0
    for kind in ("fetch", "complete_fetch", "snapshot"):
        moment = value(found, "last_success_timestamp_seconds", kind=kind)
        assert abs(moment - now.timestamp()) < 60
    assert ("last_success_timestamp_seconds", frozenset({("kind", "prune")})) not in found
    assert [value(found, f"push_{gate}") for gate in ("stopped", "suspended")] == [0, 0]
    with office.app.db.begin() as conn:
        gates.suspend(conn, 1)
    assert value(samples(office), "push_suspended") == 1


def test_a_new_installation_has_numbers_too(office: Office) -> None:
    found = samples(office)
    assert value(found, "active_jobs") == value(found, "oldest_due_seconds") == 0
    assert value(found, "calls_free") == value(found, "calls_limit") == 300
    assert not [name for name, _ in found if name == "last_success_timestamp_seconds"]


def at(office: Office, moment: datetime, *, kind: str, run_id: int | None = None) -> None:
    with office.app.db.begin() as conn:
        events.add(conn, [events.event(1, kind, "text", at=moment, run_id=run_id)])


def test_a_delay_is_that_of_the_first_push_after_a_change(office: Office) -> None:
    with office.app.db.begin() as conn:
        now = clock(conn).replace(microsecond=0)
        run_id = runs.create(conn, RunKind.FETCH)
        runs.change(conn, run_id, observed_at=now - timedelta(minutes=40))

    def told(minutes: float, kind: str, run_id: int | None = None) -> None:
        at(office, now - timedelta(minutes=minutes), kind=kind, run_id=run_id)

    told(39, "recorded", run_id)
    told(38, "retry")
    told(37, "parked")
    told(30, "pushed")  # 10 minutes after RM was asked
    told(25, "pushed")  # answers nothing that changed
    told(20, "drift")
    told(19, "pushed")  # sets back what was changed by hand
    told(10, "recorded")  # by a resync: its own moment counts
    told(8, "pushed")
    with office.app.db.read() as conn:
        hour, five = now - timedelta(hours=1), now - timedelta(minutes=29)
        delays = sorted(measures.push_delays(conn, since=hour))
        assert delays == [(timedelta(minutes=2), 1), (timedelta(minutes=10), 1)]
        assert measures.push_delays(conn, since=five) == delays[:1]
        assert measures.pushes(conn, since=hour) == {"pushed": 4, "retry": 1, "parked": 1}
    found = samples(office)
    shown = [value(found, "push_delay_seconds_bucket", le=le) for le in ("60.0", "120.0", "600.0")]
    assert shown == [0, 1, 2]
    assert value(found, "push_delay_seconds_count") == 2
    assert value(found, "push_delay_seconds_sum") == 720


@needs_promtool
def test_it_is_valid_and_names_nobody(office: Office) -> None:
    office.put(job(1, "A-1"), job(3, TOO_LONG))
    found = text(office.app.db, office.app.budget)
    done = subprocess.run(["promtool", "check", "metrics"], input=found, capture_output=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
    for private in (b"A-1", b"XX", b"Main", b"Boise", b"Customer"):
        assert private not in found


@pytest.mark.parametrize("server", ["CPR_TEST_POSTGRES_URL", "CPR_TEST_MARIADB_URL"])
def test_a_server_counts_as_sqlite_does(make_office: MakeOffice, server: str) -> None:
    with new_database(server) as url:
        office = make_office(DATABASE_URL=url)
        office.put(job(1, "A-1"), job(3, TOO_LONG))
        found = samples(office)
        office.close()
    assert value(found, "pushes_last_hour", outcome="pushed") == 1
    assert value(found, "push_delay_seconds_bucket", le="60.0") == 1
    assert value(found, "jobs", state="parked") == 1


@pytest.mark.slow
def test_it_is_quick_with_100_000_jobs(office: Office) -> None:
    office.put(job(1, "A-1"))
    more = range(2, 100_001)
    with office.app.db.begin() as conn:
        for table, own in ((jobs, "job_id"), (links, "job_id"), (events_table, "event_id")):
            row = dict(
                conn.execute(select(table).order_by(table.c[own].desc())).mappings().first() or {}
            )
            row |= dict.fromkeys({"jobcode_id", "location_id"} & set(row))
            conn.execute(insert(table), [row | {own: n, "job_id": n} for n in more if n > row[own]])
    began = time.process_time()
    found = samples(office)
    assert time.process_time() - began < 5
    assert value(found, "active_jobs") == 100_000
    assert value(found, "pushes_last_hour", outcome="pushed") > 99_000
