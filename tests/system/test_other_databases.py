"""PostgreSQL and MariaDB hold the same tables, and the services work on them as on SQLite."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, select, text
from sqlalchemy.engine import make_url

from cprqueue.clients.budget import Budget
from cprqueue.domain.mapping import read_job
from cprqueue.domain.recording import REFUSED, Sighting
from cprqueue.errors import OutOfCalls, ServiceUnreachable
from cprqueue.services.record import record, record_in
from cprqueue.store import app_state, jobs, leases, locks, push_queue, runs, schema
from cprqueue.store.database import Database, clock
from cprqueue.store.events import of_job as events_of_job
from cprqueue.store.tables import events, metadata
from cprqueue.store.views import VIEWS
from tests.office import MakeOffice, Office, job
from tests.other_servers import SERVERS, new_database
from tests.real_processes import wait_until


@pytest.fixture(params=SERVERS, ids=("postgresql", "mariadb", "mssql"))
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A new, empty database, dropped afterwards."""
    with new_database(request.param) as made:
        yield made


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    made = Database(url)
    yield made
    made.close()


@pytest.fixture
def office(url: str, make_office: MakeOffice) -> Office:
    return make_office(DATABASE_URL=url)


def in_threads(count: int, work: list[threading.Thread]) -> None:
    assert len(work) == count
    for thread in work:
        thread.start()
    for thread in work:
        thread.join(60)
        assert not thread.is_alive()


def test_the_migrations_build_what_the_code_expects_and_may_run_again(db: Database) -> None:
    schema.upgrade(db)
    schema.upgrade(db)
    schema.require_current(db)
    check_tables(db)


def check_tables(db: Database) -> None:
    with db.engine.connect() as conn:
        if db.engine.dialect.name != "mssql":  # whose catalogue is not everybody's to read
            assert compare_metadata(MigrationContext.configure(conn), metadata) == []
            assert set(inspect(conn).get_view_names()) == set(VIEWS)
        for table in metadata.tables.values():
            assert len(conn.execute(select(table)).keys()) == len(table.c)
        for view in VIEWS:
            assert conn.execute(text(f"SELECT * FROM {view}")).all() == []  # noqa: S608


def test_every_migration_goes_back_and_the_printed_script_does_the_same(
    url: str, db: Database
) -> None:
    schema.upgrade(db)
    with db.begin() as conn:
        config = schema.config_for_alembic()
        config.attributes["connection"] = conn
        command.downgrade(config, "base")
    assert schema.is_empty(db)
    with db.begin() as conn:
        conn.exec_driver_sql("DROP TABLE alembic_version")
    said = subprocess.run(
        [sys.executable, "-m", "cprqueue", "migrate", "--sql"],
        env={**os.environ, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=True,
    )
    written = re.sub(r"^(--.*|GO)$", "", said.stdout, flags=re.MULTILINE)
    with db.begin() as conn:
        for statement in written.split(";\n"):
            if statement.strip():
                conn.exec_driver_sql(statement)
    schema.require_current(db)
    schema.upgrade(db)  # a login that may not make tables has nothing left to make
    check_tables(db)


def test_two_hosts_may_migrate_at_the_same_moment(url: str, db: Database, tmp_path: Path) -> None:
    env = {**os.environ, "DATABASE_URL": url, "CPR_VAR_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "cprqueue", "migrate"]
    hosts = [
        subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for host in hosts:
        _, said = host.communicate(timeout=60)
        assert host.returncode == 0, said
    schema.require_current(db)


def test_the_budget_gives_out_each_call_once_to_many_callers(url: str, db: Database) -> None:
    schema.upgrade(db)
    given: list[int] = []

    def caller() -> None:
        own = Database(url)
        budget = Budget(own, limit=40, window=timedelta(seconds=300))
        try:
            while True:
                given.append(budget.take(urgent=True))
                budget.stamp(given[-1])
        except OutOfCalls:
            own.close()

    in_threads(4, [threading.Thread(target=caller) for _ in range(4)])
    assert sorted(given) == list(range(1, 41))
    budget = Budget(db, limit=40, window=timedelta(seconds=300))
    assert 290 < budget.wait_seconds(urgent=True) <= 300
    with db.begin() as conn:
        assert budget.free(conn) == 0
        assert budget.calls_so_far(conn) == 40
    budget.block()


def test_the_reserve_is_kept_for_urgent_calls_and_a_window_frees_the_rest(db: Database) -> None:
    schema.upgrade(db)
    budget = Budget(db, limit=10, window=timedelta(seconds=1))
    for _ in range(9):
        with budget.call():
            pass
    with pytest.raises(OutOfCalls):
        budget.take()
    with budget.call(urgent=True):
        pass
    threading.Event().wait(budget.wait_seconds() + 0.05)
    with budget.call():
        pass


def test_a_job_is_recorded_as_it_is_and_claimed_by_one_worker_only(office: Office) -> None:
    db, name = office.app.db, 'Ünal & Søn\'s "Höfe" 🏚️ ĳ'
    office.sandbox.rm.put_jobs([job(n, f"A-{n}", jobName=name) for n in range(1, 101)])
    office.fetch()
    with db.read() as conn:
        now = clock(conn)
        row = jobs.get(conn, 7)
        assert row is not None
        assert (row.job_name, row.active, row.recorded_at.tzinfo) == (name, True, now.tzinfo)
        assert abs(now - row.recorded_at) < timedelta(seconds=60)
        assert push_queue.due_now(conn, now=now)[0] == 51
        assert [found.job_id for found in jobs.find(conn, "main street", limit=3)] == [1, 2, 3]
        assert [found.job_id for found in jobs.find(conn, "a-42")] == [42]
        assert conn.execute(select(events.c.at)).scalars().first() is not None
    claimed: list[int] = []

    def worker(lease: str) -> None:
        for _ in range(4):
            found = db.retrying(
                lambda conn: [
                    row.job_id
                    for row in leases.claim(
                        conn, lease, now=now, limit=20, until=now + timedelta(seconds=90)
                    )
                ]
            )
            claimed.extend(set(found) - set(claimed))
            with db.begin() as conn:
                mine[lease] = [row.job_id for row in leases.leased(conn, lease)]

    mine: dict[str, list[int]] = {}
    in_threads(2, [threading.Thread(target=worker, args=(f"lease-{n}",)) for n in range(2)])
    observed = [job_id for jobs_of_one in mine.values() for job_id in jobs_of_one]
    assert len(observed) == len(set(observed))
    assert set(observed) == set(claimed)


def _waits_for_a_row(db: Database) -> bool:
    """Tell whether somebody on this server waits until another transaction is over."""
    waiting = {
        "postgresql": "SELECT count(*) FROM pg_locks WHERE NOT granted",
        # Not innodb_trx: it is never brought up to date for one who asks ten times a second.
        "mariadb": "SELECT count(*) FROM information_schema.processlist"
        " WHERE info LIKE 'UPDATE jobs%'",
        "mssql": "SELECT count(*) FROM sys.dm_exec_requests WHERE blocking_session_id > 0",
    }[db.engine.dialect.name]
    with db.read() as conn:
        return bool(conn.execute(text(waiting)).scalar())


def test_an_older_message_that_read_before_a_newer_one_was_written_changes_nothing(
    office: Office,
) -> None:
    db, rules = office.app.db, office.app.rules
    office.put(job(1, "A-1"))
    older = read_job(job(1, "A-1", jobAddress1="9 Older Street"))
    newer = read_job(job(1, "A-1", jobAddress1="9 Newer Street"))

    def seen(run_id: int, seconds: int) -> Sighting:
        row = office.row(1)
        number, at = row.sighting + seconds, row.observed_at + timedelta(seconds=seconds)
        return Sighting(run_id=run_id, number=number, complete=False, observed_at=at)

    first, second = seen(2, 1), seen(3, 5)
    late = threading.Thread(target=lambda: record(db, rules, older, first))
    with db.begin() as conn:
        record_in(conn, rules, newer, second)
        late.start()
        wait_until(lambda: _waits_for_a_row(db))
    late.join(60)
    row = office.row(1)
    assert (row.addr1, row.seen_run_id) == ("9 Newer Street", 3)
    assert row.observed_at == second.observed_at


def test_a_job_that_the_database_refuses_keeps_no_fetch_from_its_end(office: Office) -> None:
    office.put(job(1, "A-1"))
    office.sandbox.rm.put_jobs([job(1, "A-1"), job(2, "A-2"), job(3, "A-3")])
    db, rules, fetch = office.app.db, office.app.rules, office.app.fetch
    for _ in range(2):
        with fetch.running(None, complete=True) as run:
            messages = list(fetch.messages(run))
        sighting = Sighting(
            run_id=run.run_id, number=run.number, complete=True, observed_at=run.observed_at
        )
        for message in messages:
            refused = message.job_id in (1, 2)
            what = replace(message, job_name="x" * 300) if refused else message
            record(db, rules, what, sighting)
        assert not fetch.close()
    office.push()
    assert [office.row(n).active for n in (1, 2, 3)] == [True, False, True]
    assert (office.row(1).job_name, office.link(1).state) == ("Customer 1", "in_sync")
    assert office.row(2).rule == REFUSED
    with db.read() as conn:
        said = [[event.text for event in events_of_job(conn, n)] for n in (1, 2)]
    assert said[0].count(REFUSED) == 1
    assert said[1] == [f"new: {REFUSED}"]
    office.put(job(2, "A-2"))
    assert office.link(2).state == "in_sync"


def test_a_first_sync_and_changes_end_with_quickbooks_time_in_step(office: Office) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 61)))
    assert office.broken() == []
    office.put(
        job(1, "A-2"),  # two swap their numbers
        job(2, "A-1"),
        job(3, "A-3", jobAddress1="9 Elm Street"),
        job(4, "A-4", jobProgress="Lost Lead"),
        job(5, "a-6"),  # doubled, in another case
        job(6, "A-6"),
        job(7, "A-7 é"),
        job(8, "A-7 e"),  # equal for some databases, not for us
    )
    counts = {"active": 59, "in_sync": 58, "due": 0, "parked": 1, "inactive": 1, "held": 0}
    assert office.counts() == counts


def test_a_fetch_run_is_counted_and_closed(office: Office) -> None:
    office.sandbox.rm.put_jobs([job(n, f"A-{n}") for n in range(1, 11)])
    fetch = office.app.fetch
    with fetch.running(None, complete=True) as run:
        office.record((j for j in office.sandbox.rm.jobs()), run.run_id)
        assert len(list(fetch.messages(run))) == 10
    assert not fetch.close()
    with office.app.db.read() as conn:
        row = runs.get(conn, run.run_id)
        assert row is not None
        assert (row.state, row.emitted, row.recorded) == ("done", 10, 10)


def test_a_lock_belongs_to_one_holder_until_its_time_is_up(db: Database) -> None:
    schema.upgrade(db)
    limit = timedelta(seconds=90)
    with db.begin() as conn:
        now = clock(conn)
        assert locks.take(conn, locks.FETCH, "one", now=now, limit=limit)
        assert not locks.take(conn, locks.FETCH, "two", now=now, limit=limit)
        assert locks.take(conn, locks.FETCH, "one", now=now, limit=limit)
        assert locks.take(conn, locks.FETCH, "two", now=now + 2 * limit, limit=limit)
        app_state.put(conn, "greeting", {"text": "grüß dich"}, now=now)
        assert app_state.get(conn, "greeting") == {"text": "grüß dich"}
        assert app_state.claim_moment(conn, "wake", now=now, moment=now + limit)
        assert not app_state.claim_moment(conn, "wake", now=now, moment=now + limit)


def test_a_database_that_is_gone_is_one_plain_line(url: str) -> None:
    gone = make_url(url).set(password="hidden-word")
    gone = gone.update_query_dict({"port": "1"}) if gone.query.get("port") else gone.set(port=1)
    database = Database(gone.render_as_string(hide_password=False))
    with pytest.raises(ServiceUnreachable) as caught, database.begin():
        pass
    assert "\n" not in str(caught.value)
    assert "hidden-word" not in str(caught.value)
