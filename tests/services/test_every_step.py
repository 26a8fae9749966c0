"""All connections are closed at the server before the first, second, ... statement of each verb."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any, TypeVar

import pytest
from sqlalchemy import event

from cprqueue.domain.models import Job
from cprqueue.domain.recording import Sighting
from cprqueue.errors import AlreadyDone, AlreadyRunning, DatabaseUnavailable
from cprqueue.services.fetch.fetch import FetchRun
from cprqueue.services.prune import orders
from cprqueue.services.record import record
from cprqueue.store import runs
from tests.office import MakeOffice, Office, job, one_to_one
from tests.other_servers import STARTED, new_database
from tests.own_servers import close_connections
from tests.pruning import CLOSED, names

pytestmark = pytest.mark.slow

T = TypeVar("T")

STRIDES = {"fetch": 19, "resync": 13, "prune": 41}
"""Every so manieth statement is tried: all of them take minutes."""

TRIES = 8


@pytest.fixture(params=STARTED, ids=("postgresql", "mariadb"))
def office(request: pytest.FixtureRequest, make_office: MakeOffice) -> Iterator[Office]:
    with new_database(request.param) as url:
        made = make_office(DATABASE_URL=url, QBT_RATE_LIMIT="5000", CPR_LEASE_SECONDS="30")
        yield made
        made.close()


@contextmanager
def closed_before(office: Office, number: int) -> Iterator[Callable[[], bool]]:
    """Close all connections before that statement or commit; yields whether it came to that."""
    engine, steps = office.app.db.engine, count(1)
    url = office.env["DATABASE_URL"]
    reached = False

    def step(*_: Any) -> None:
        nonlocal reached
        if next(steps) == number:
            reached = close_connections(url) > 0

    for name in ("before_cursor_execute", "commit"):
        event.listen(engine, name, step)
    try:
        yield lambda: reached
    finally:
        for name in ("before_cursor_execute", "commit"):
            event.remove(engine, name, step)


def again(work: Callable[[], T]) -> T:
    """Do it as a task does: again whenever the database was away, or the lock not yet free."""
    for _ in range(TRIES):
        try:
            return work()
        except (DatabaseUnavailable, AlreadyRunning):
            continue
    return work()


def at_steps(office: Office, stride: int, verb: Callable[[int], None]) -> None:
    for number in range(1, 1000, stride):
        with closed_before(office, number) as reached:
            verb(number)
        one_to_one(office, 2)
        if not reached():
            return


def state(office: Office, run_id: int) -> str:
    def read() -> str:
        with office.app.db.read() as conn:
            return runs.existing(conn, run_id).state

    return again(read)


def test_a_fetch_and_a_push_survive_at_every_step(office: Office) -> None:
    office.put(job(1, "A-1"), job(2, "A-2"))

    def fetch(run_id: int) -> None:
        with office.app.fetch.running(run_id, complete=True) as run:
            found = list(office.app.fetch.messages(run))
        for message in found:
            again(partial(_record, office, message, run))

    def is_over(run_id: int) -> bool:
        try:
            again(lambda: fetch(run_id))
        except AlreadyDone:  # as for the message that comes once more
            return True
        return False

    def verb(number: int) -> None:
        office.sandbox.rm.put_jobs([job(1, f"A-{number}", jobAddress1=f"{number} Elm Street")])
        run_id = again(lambda: office.app.fetch.request(complete=True, requested_by="test"))
        while not is_over(run_id):
            again(office.app.fetch.close)
        again(office.push)
        assert state(office, run_id) == "done"

    at_steps(office, STRIDES["fetch"], verb)


def _record(office: Office, message: Job, run: FetchRun) -> None:
    sighting = Sighting(
        run_id=run.run_id, number=run.number, complete=True, observed_at=run.observed_at
    )
    record(office.app.db, office.app.rules, message, sighting)


def test_a_resync_survives_at_every_step(office: Office) -> None:
    office.put(job(1, "A-1"), job(2, "A-2"))

    def verb(number: int) -> None:
        office.sandbox.rm.put_jobs([job(1, "A-1", jobAddress1=f"{number} Elm Street")])
        run_id = again(lambda: office.app.resync.request("A-1"))
        [report] = again(lambda: office.app.resync.run("A-1", run_id))
        assert report.ok, report.steps[-1]
        assert state(office, run_id) == "done"

    at_steps(office, STRIDES["resync"], verb)


def test_a_prune_survives_at_every_step(office: Office) -> None:
    office.put(job(1, "A-1"), job(2, "A-2"))

    def verb(number: int) -> None:
        closed = CLOSED if number // STRIDES["prune"] % 2 == 0 else {}
        office.sandbox.rm.put_jobs([job(1, "A-1", **closed)])
        again(office.fetch)
        again(office.push)
        run_id = again(lambda: orders.request_prune(office.app.db, "test"))
        zone, quiet = office.settings.timezone, office.settings.lease
        order = again(lambda: orders.prune(office.app.db, run_id, zone, quiet=quiet))
        assert order is not None
        snapshot = again(lambda: office.app.snapshot.take(order.snapshot_id))
        again(lambda: office.app.prune.run(run_id, snapshot))
        assert (state(office, run_id), state(office, snapshot)) == ("done", "done")
        assert ("A-1" in names(office, active=True)) == (not closed)

    at_steps(office, STRIDES["prune"], verb)
