"""One order at a time; one that was withdrawn or overtaken by an undo does nothing any more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from cprqueue.domain.states import RunKind, RunState
from cprqueue.errors import AlreadyRunning, NeedsApproval, Permanent, UsageError
from cprqueue.services.prune import lost_orders, months, orders
from cprqueue.store import runs, schema
from cprqueue.store.database import Database, clock
from tests.office import Office, job
from tests.other_servers import new_database
from tests.pruning import (
    approve,
    close,
    during,
    fault,
    names,
    order,
    outcomes,
    prune,
    remove_all,
    run_of,
)

pytestmark = pytest.mark.settings(QBT_RATE_LIMIT="5000")

AT_ONCE = timedelta(seconds=-1)


def jobs(office: Office, number: int) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, number + 1)))


def every_order(office: Office, done_id: int, held_id: int) -> dict[str, Callable[[], object]]:
    db = office.app.db
    return {
        "prune": lambda: orders.request_prune(db, "test"),
        "approve": lambda: orders.approve(db, held_id),
        "remove-all": lambda: remove_all(office),
        "undo": lambda: office.app.undo.request(done_id),
    }


def held_and_done(office: Office) -> tuple[int, int]:
    """Have a held prune and one that is done."""
    jobs(office, 100)
    close(office, *range(1, 46))
    held_id = order(office)
    with pytest.raises(NeedsApproval):
        office.app.prune.run(held_id, None)
    office.put(*(job(n, f"A-{n}") for n in range(3, 46)))
    return held_id, prune(office)[0]


@pytest.mark.parametrize("live", ["prune", "approve", "remove-all", "undo"])
def test_a_second_order_is_refused_by_name_whichever_two_they_are(
    office: Office, live: str
) -> None:
    held_id, done_id = held_and_done(office)
    make = every_order(office, done_id, held_id)
    make[live]()
    for name, order_too in make.items():
        if (live, name) in (("approve", "approve"), ("undo", "undo")):
            continue  # the same order once more: it is taken up
        with pytest.raises(AlreadyRunning, match=r"\d+ .*is (queued|approved): wait .*cprqueue"):
            order_too()


def many_at_once(url: str) -> list[str]:
    """Order a prune from six processes' worth of connections at one moment."""
    found: list[str] = []
    gate = threading.Barrier(6)

    def ask() -> None:
        own = Database(url)
        gate.wait()
        try:
            orders.request_prune(own, "test")
            found.append("ordered")
        except AlreadyRunning:
            found.append("refused")
        own.close()

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(found)


def test_many_who_order_at_once_make_one_order(db: Database) -> None:
    url = db.engine.url.render_as_string(hide_password=False)
    assert many_at_once(url) == ["ordered"] + ["refused"] * 5


@pytest.mark.parametrize("server", ["CPR_TEST_POSTGRES_URL", "CPR_TEST_MARIADB_URL"])
def test_many_who_order_at_once_make_one_order_on_a_server(server: str) -> None:
    with new_database(server) as url:
        made = Database(url)
        schema.upgrade(made)
        made.close()
        assert many_at_once(url) == ["ordered"] + ["refused"] * 5


def test_the_month_waits_for_another_order_and_is_not_lost(db: Database) -> None:
    with db.begin() as conn:
        before = months.month_start(clock(conn), "UTC") - timedelta(days=1)
        runs.create(conn, RunKind.FETCH, now=before, state=RunState.DONE)
    run_id = orders.request_prune(db, "operator")
    assert orders.prune(db, None, "UTC", quiet=AT_ONCE) is None
    assert orders.withdraw(db, run_id)
    owed = orders.prune(db, None, "UTC", quiet=AT_ONCE)
    assert owed is not None
    with pytest.raises(AlreadyRunning, match=f"prune {owed.run_id} is queued"):
        orders.request_prune(db, "operator")


# --- withdrawn ---


def test_a_message_that_arrives_after_its_order_was_withdrawn_does_nothing(
    office: Office,
) -> None:
    jobs(office, 30)
    close(office, 1, 2)
    run_id = order(office)
    assert orders.withdraw(office.app.db, run_id)
    assert run_of(office, run_id).state == "stopped"
    assert orders.prune(office.app.db, run_id, "UTC", quiet=AT_ONCE) is None
    assert not orders.is_live(office.app.db, run_id)
    assert office.app.prune.run(run_id, None) == f"run {run_id} is stopped already"
    assert lost_orders.find(office.app.db, quiet=AT_ONCE) == []
    assert names(office, active=False) == set()


def test_an_order_that_is_withdrawn_while_it_plans_archives_nothing(office: Office) -> None:
    jobs(office, 30)
    close(office, 1, 2)
    run_id = order(office)
    withdrawn: list[bool] = []
    during(office, "clocked", lambda: withdrawn.append(orders.withdraw(office.app.db, run_id)))
    assert office.app.prune.run(run_id, None) == f"run {run_id} is stopped already"
    assert withdrawn == [True]
    assert outcomes(office, run_id) == {"dropped": 2}
    assert names(office, active=False) == set()


def test_an_order_is_not_withdrawn_once_a_request_is_on_its_way(office: Office) -> None:
    jobs(office, 30)
    close(office, 1, 2)
    run_id = order(office)
    withdrawn: list[bool] = []
    during(office, "sending", lambda: withdrawn.append(orders.withdraw(office.app.db, run_id)))
    assert office.app.prune.run(run_id, None) == "2 archived"
    assert withdrawn == [False]
    assert not orders.withdraw(office.app.db, run_id)


def test_a_withdrawn_approval_leaves_the_plan_held(office: Office) -> None:
    jobs(office, 100)
    close(office, *range(1, 46))
    run_id = order(office)
    with pytest.raises(NeedsApproval):
        office.app.prune.run(run_id, None)
    orders.approve(office.app.db, run_id)
    assert orders.withdraw(office.app.db, run_id, approval=True)
    assert run_of(office, run_id).state == "held"
    assert office.app.prune.approve(run_id, None) == f"run {run_id} is held already"
    assert names(office, active=False) == set()
    assert approve(office, run_id) == "45 archived"


def test_only_a_held_prune_can_be_approved(office: Office) -> None:
    jobs(office, 3)
    run_id = prune(office)[0]
    for other in (run_id, 99):
        with pytest.raises(UsageError, match="is not a held prune"):
            orders.approve(office.app.db, other)


# --- after an undo ---


def test_nothing_is_planned_on_a_snapshot_that_is_older_than_an_undo(office: Office) -> None:
    jobs(office, 30)
    close(office, 1, 2)
    run_id, _ = prune(office)
    old = office.app.snapshot.take()
    office.app.undo.run(office.app.undo.request(run_id))
    with pytest.raises(Permanent, match=f"export of run {old} is older than the undo"):
        office.app.prune.facts()
    with pytest.raises(Permanent, match=f"export of run {old} is older than the undo"):
        office.app.remove_all.rehearse(old, include_unmanaged=False)
    assert names(office, active=False) == set()
    assert prune(office)[1] == "2 archived"


def test_an_undo_of_the_run_at_work_ends_it_and_one_of_a_part_is_refused(office: Office) -> None:
    jobs(office, 120)
    run_id = remove_all(office)
    fault(office, kind="status", status=503, method="PUT", path="/jobcodes", nth=[2])
    with pytest.raises(Exception, match="503"):
        office.app.remove_all.run(run_id)
    office.sandbox.client.clear_faults()
    with pytest.raises(AlreadyRunning, match=f"remove-all {run_id} is running"):
        office.app.undo.request(run_id, ["A-1"])
    assert office.app.undo.run(office.app.undo.request(run_id)).restored > 0
    assert office.app.remove_all.run(run_id) == f"run {run_id} is done already"


def test_an_undo_that_was_stopped_goes_on_by_the_same_request_only(office: Office) -> None:
    jobs(office, 120)
    run_id = remove_all(office)
    office.app.remove_all.run(run_id)
    fault(office, kind="status", status=503, method="PUT", path="/jobcodes", nth=[2])
    undo_id = office.app.undo.request(run_id)
    with pytest.raises(Exception, match="503"):
        office.app.undo.run(undo_id)
    office.sandbox.client.clear_faults()
    assert office.app.undo.stop(undo_id).restored == 50
    assert lost_orders.find(office.app.db, quiet=AT_ONCE) == []
    assert office.app.undo.run(undo_id).restored == 50  # its message, come late, does nothing
    assert office.app.undo.request(run_id) == undo_id
    assert office.app.undo.run(undo_id).restored == 120


def test_an_undo_whose_command_was_killed_is_continued_by_a_worker(office: Office) -> None:
    jobs(office, 30)
    close(office, 1)
    run_id, _ = prune(office)
    undo_id = office.app.undo.request(run_id)
    assert lost_orders.find(office.app.db, quiet=AT_ONCE) == [("cpr.undo", {"run_id": undo_id})]


def age(office: Office, run_id: int) -> None:
    with office.app.db.begin() as conn:
        runs.change(conn, run_id, touched_at=clock(conn) - timedelta(days=5))


def test_a_message_that_comes_days_late_is_not_carried_out(office: Office) -> None:
    jobs(office, 3)
    run_id = remove_all(office)
    age(office, run_id)  # the machine was off since
    assert office.app.remove_all.run(run_id) == f"run {run_id} is stopped already"
    assert names(office, active=True) >= {"A-1", "A-2", "A-3"}
    prune_id = orders.request_prune(office.app.db, "test")
    age(office, prune_id)
    quiet = office.app.settings.lease
    assert orders.prune(office.app.db, prune_id, "UTC", quiet=quiet) is None
    assert run_of(office, prune_id).state is RunState.FAILED


def test_an_undo_that_is_refused_for_good_keeps_no_other_order_out(office: Office) -> None:
    jobs(office, 30)
    close(office, 1)
    run_id, _ = prune(office)
    undo_id = office.app.undo.request(run_id)
    fault(office, kind="status", status=400, method="PUT", path="/jobcodes")
    with pytest.raises(Permanent, match="400"):
        office.app.undo.run(undo_id)
    assert lost_orders.find(office.app.db, quiet=AT_ONCE) == []
    assert f"cprqueue undo {run_id}" in run_of(office, undo_id).note
    orders.withdraw(office.app.db, orders.request_prune(office.app.db, "test"))
    office.sandbox.client.clear_faults()
    assert office.app.undo.request(run_id) == undo_id
    assert office.app.undo.run(undo_id).restored == 1


def test_a_remove_all_that_is_refused_for_good_stops(office: Office) -> None:
    jobs(office, 3)
    run_id = remove_all(office)
    fault(office, kind="status", status=400, method="PUT", path="/jobcodes")
    with pytest.raises(Permanent, match="400"):
        office.app.remove_all.run(run_id)
    assert run_of(office, run_id).state is RunState.STOPPED
    office.sandbox.client.clear_faults()
    assert office.app.remove_all.resumable("REMOVE MANAGED 3") == run_id
    assert office.app.remove_all.run(run_id).startswith("3 archived")
