"""A prune that is killed at any line is finished by whoever comes next, or not at all."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cprqueue.domain.states import Outcome
from cprqueue.errors import AlreadyRunning, Permanent
from cprqueue.services.prune import lost_orders
from cprqueue.store import plan_items
from cprqueue.store.database import clock
from cprqueue.store.tables import runs as runs_table
from tests.office import Office, die_at, job
from tests.pruning import CLOSED, close, names, order, resumed, run_of
from tests.real_processes import wait_until

pytestmark = pytest.mark.settings(QBT_RATE_LIMIT="5000")

AT_ONCE = timedelta(seconds=-1)  # even what moved in this very millisecond
RUN = """
import sys
from cprqueue.bootstrap import application
print(application().prune.run(int(sys.argv[1]), None))
"""


@pytest.mark.parametrize("point", ["before_archive", "after_archive", "recorded_archive"])
def test_a_prune_that_is_killed_is_finished_by_the_next_run(office: Office, point: str) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 301)))
    close(office, *range(1, 46))
    run_id = order(office)
    die_at(office, point, RUN, str(run_id))
    office.put(job(46, "A-46", **CLOSED))
    wait_until(lambda: resumed(office, run_id))  # once the lock and the leases have ended
    assert run_of(office, run_id).note == "45 archived"
    assert names(office, active=False) == {f"A-{n}" for n in range(1, 46)}
    with office.app.db.read() as conn:
        items = plan_items.of_run(conn, run_id, Outcome.ARCHIVED)
    assert all(item.state_before.name == item.name for item in items)


def test_a_plan_that_the_brake_refuses_is_never_carried_out_by_who_comes_after_a_death(
    office: Office,
) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 101)))
    close(office, *range(1, 46))
    run_id = order(office)
    die_at(office, "stored_plan", RUN, str(run_id))
    wait_until(lambda: resumed(office, run_id))
    assert names(office, active=False) == set()
    assert run_of(office, run_id).state == "held"
    assert run_of(office, run_id).note.endswith(f"cprqueue prune approve {run_id}")


def test_a_plan_that_is_taken_up_later_only_shrinks(office: Office) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 61)))
    close(office, 1, 2, 3)
    run_id = order(office)
    die_at(office, "stored_plan", RUN, str(run_id))
    close(office, 4)
    qbt = office.sandbox.qbt
    parent = next(c["id"] for c in qbt.state()["jobcodes"] if c["name"] == "A-1")
    child = qbt.add_jobcode(name="Warranty visit", parent_id=parent)
    qbt.clock_in(child)
    office.put(job(2, "A-2"))
    office.app.snapshot.take()
    wait_until(lambda: resumed(office, run_id))
    assert run_of(office, run_id).note == "1 archived, 1 held back, 1 dropped"
    assert names(office, active=False) == {"A-3"}


def test_a_plan_that_is_weeks_old_decides_nothing(office: Office) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 61)))
    close(office, 1, 2, 3)
    run_id = order(office)
    die_at(office, "stored_plan", RUN, str(run_id))
    with office.app.db.begin() as conn:
        old = clock(conn) - timedelta(days=21)
        conn.execute(runs_table.update().values(observed_at=old, started_at=old, touched_at=old))
    assert lost_orders.find(office.app.db, quiet=AT_ONCE) == [
        ("cpr.snapshot_and_prune", {"run_id": run_id})
    ]
    wait_until(lambda: "older than 24 hours" in refusal(office, run_id))
    assert names(office, active=False) == set()


def refusal(office: Office, run_id: int) -> str:
    try:
        return office.app.prune.run(run_id, None)
    except AlreadyRunning:
        return ""
    except Permanent as error:
        return str(error)


def test_a_plan_on_record_asks_for_the_clock_only_before_each_batch(office: Office) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 61)))
    close(office, 1, 2, 3)
    run_id = order(office)
    die_at(office, "stored_plan", RUN, str(run_id))
    office.sandbox.client.reset_calls()
    wait_until(lambda: resumed(office, run_id))
    asked = [call for call in office.sandbox.calls if call.path == "/timesheets"]
    assert len(asked) == 2, "who is on the clock, and who has hours"
