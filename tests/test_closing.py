"""A fetch is closed once all that it showed is on record, and what two no longer show is gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cprqueue.models import Job
from cprqueue.sandbox.server import Sandbox
from cprqueue.services.pull import PullRun
from cprqueue.services.record import Sighting, record
from tests.office import Office, job


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with Sandbox(jobs=[]) as sandbox:
        made = Office(sandbox, tmp_path)
        yield made
        made.close()


def start(office: Office, run_id: int | None = None) -> PullRun:
    return office.app.pull.start(run_id, complete=True)


def send(office: Office, run: PullRun) -> list[Job]:
    """Do what the fetch worker does; return the messages that wait in the queue."""
    messages = list(office.app.pull.messages(run))
    office.app.pull.sent(run)
    return messages


def insert(office: Office, run: PullRun, messages: list[Job]) -> None:
    """Do what the insert workers do."""
    for message in messages:
        sighting = Sighting(run_id=run.run_id, complete=run.complete, observed_at=run.observed_at)
        record(office.app.db, office.app.rules, message, sighting)


def fetch(office: Office) -> None:
    """Fetch everything, from the request to the end."""
    run = start(office)
    insert(office, run, send(office, run))
    assert not office.app.pull.close()


def test_a_job_that_vanishes_leaves_its_number_to_the_one_that_waits_for_it(office: Office) -> None:
    office.put(job(1, "A-1"), job(2, "a-1"))
    assert (office.link(1).state, office.link(2).error_code) == ("in_sync", "doubled_number")
    office.sandbox.rm.delete_jobs([1])
    for _ in range(2):
        fetch(office)
    assert (office.row(1).active, office.link(2).state) == (False, "due")
    office.push()
    assert office.link(2).state == "in_sync"
    assert office.broken() == []
