"""What an undo brings back, whatever happened before it or in the middle of it."""

from __future__ import annotations

import pytest

from cprqueue.errors import AlreadyRunning, NeedsApproval, Transient
from cprqueue.services.prune.undo_orders import UndoResult
from cprqueue.store import push_queue
from cprqueue.store.database import clock
from tests.office import Office, job
from tests.pruning import close, fault, names, order, outcomes, prune, remove_all, run_of

pytestmark = pytest.mark.settings(QBT_RATE_LIMIT="5000")


def pruned(office: Office, jobs: int, *closed: int) -> int:
    """Have these jobs and prune the closed ones."""
    office.put(*(job(n, f"A-{n}") for n in range(1, jobs + 1)))
    close(office, *closed)
    return prune(office)[0]


def removed(office: Office, jobs: int) -> int:
    """Have these jobs and remove them all."""
    office.put(*(job(n, f"A-{n}") for n in range(1, jobs + 1)))
    run_id = remove_all(office)
    office.app.remove_all.run(run_id)
    return run_id


def undo(office: Office, run_id: int, *numbers: str) -> UndoResult:
    return office.app.undo.run(office.app.undo.request(run_id, numbers))


def test_what_was_archived_by_a_request_without_an_answer_comes_back_too(office: Office) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 61)))
    close(office, *range(1, 9))
    run_id = order(office)
    fault(office, kind="garbled", method="PUT", path="/jobcodes", times=1)
    with pytest.raises(Transient):
        office.app.prune.run(run_id, None)
    assert outcomes(office, run_id) == {"sending": 8}
    assert len(names(office, active=False)) == 8
    assert undo(office, run_id).restored == 8
    assert names(office, active=False) == set()


def test_a_garbled_answer_to_an_archive_is_looked_into_by_the_next_try(office: Office) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 61)))
    close(office, *range(1, 9))
    run_id = order(office)
    fault(office, kind="garbled", method="PUT", path="/jobcodes", times=1)
    with pytest.raises(Transient):
        office.app.prune.run(run_id, None)
    assert office.app.prune.run(run_id, None) == "8 archived"


def test_one_that_is_cut_off_remembers_what_could_not_come_back(office: Office) -> None:
    office.sandbox.qbt.switches.update({"archive_drops_links": True})
    run_id = removed(office, 120)
    refused = {"kind": "items", "path": "/locations", "positions": [1, 2], "code": 417}
    broken = {"kind": "status", "status": 503, "path": "/jobcodes", "nth": [2]}
    both = [{"service": "qbt", "method": "PUT", **f} for f in ({**refused, "nth": [1]}, broken)]
    office.sandbox.client.set_faults(both)
    with pytest.raises(Transient):
        undo(office, run_id)
    office.sandbox.client.clear_faults()
    undone = undo(office, run_id)
    assert undone.restored == 120
    assert len(undone.lost) == 2
    assert all(text.startswith("location ") for _, text in undone.lost)
    office.push()
    assert office.broken() == []


def test_one_of_a_part_that_is_cut_off_goes_on_by_the_same_command(office: Office) -> None:
    run_id = removed(office, 70)
    numbers = [f"A-{n}" for n in range(1, 61)]
    fault(office, kind="status", status=503, method="PUT", path="/jobcodes", nth=[2])
    with pytest.raises(Transient):
        undo(office, run_id, *numbers)
    office.sandbox.client.clear_faults()
    assert undo(office, run_id, *numbers).restored == 60
    assert names(office, active=True) == set(numbers)


def test_a_job_that_the_sync_has_back_does_not_keep_the_others_from_coming_back(
    office: Office,
) -> None:
    run_id = pruned(office, 30, 1, 2)
    office.put(job(1, "A-1"))
    fault(office, kind="status", status=503, method="PUT", path="/jobcodes", times=1)
    with pytest.raises(Transient):
        undo(office, run_id, "A-1", "A-2")
    undone = undo(office, run_id, "A-1", "A-2")
    assert (undone.restored, undone.lost) == (2, [])
    assert names(office, active=False) == set()


def test_a_job_that_is_active_but_parked_is_not_counted_as_restored(office: Office) -> None:
    run_id = pruned(office, 30, 1, 2)
    office.sandbox.qbt.add_jobcode(name="A-1")
    office.put(job(1, "A-1"))
    undone = undo(office, run_id)
    assert undone.restored == 1
    ((number, text),) = undone.lost
    assert number == "A-1"
    assert text.startswith("its job is active but parked: ")


def test_a_jobcode_that_another_active_job_has_by_now_is_left_alone(office: Office) -> None:
    run_id = pruned(office, 30, 1, 2)
    office.put(job(501, "A-1", jobAddress1="77 Other Street"))
    undone = undo(office, run_id)
    assert (undone.restored, undone.lost) == (2, [])
    office.push()
    assert office.broken() == []
    assert names(office, active=False) == set()


def test_a_job_that_moved_during_a_remove_all_has_its_new_address_after_the_undo(
    office: Office,
) -> None:
    run_id = removed(office, 10)
    office.sandbox.rm.put_jobs([job(1, "A-1", jobAddress1="9 New Road"), job(2, "B-2")])
    office.fetch()
    undo(office, run_id)
    office.push()
    assert office.broken() == []


def test_an_undo_of_a_held_prune_puts_it_away(office: Office) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 101)))
    close(office, *range(1, 46))
    run_id = order(office)
    with pytest.raises(NeedsApproval):
        office.app.prune.run(run_id, None)
    assert undo(office, run_id).restored == 0
    assert run_of(office, run_id).state == "done"
    assert outcomes(office, run_id) == {"dropped": 45}


def test_active_jobs_whose_archive_was_never_written_down_come_back_by_the_sync(
    office: Office,
) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 31)))
    run_id = remove_all(office)
    fault(office, kind="garbled", method="PUT", path="/jobcodes", times=1)
    with pytest.raises(Transient):
        office.app.remove_all.run(run_id)
    office.app.fetch.request(complete=True, requested_by="operator")
    assert undo(office, run_id).restored == 30
    office.push()
    assert office.broken() == []


def test_a_parked_one_is_told_of_by_each_undo_until_it_is_back(office: Office) -> None:
    run_id = pruned(office, 30, 1, 2)
    blocking = office.sandbox.qbt.add_jobcode(name="A-1")
    office.put(job(1, "A-1"))
    assert len(undo(office, run_id).lost) == 1
    assert len(undo(office, run_id).lost) == 1
    office.sandbox.qbt.change_jobcode(blocking, name="Something else")
    with office.app.db.begin() as conn:
        push_queue.requeue(conn, now=clock(conn))
    office.push()
    assert undo(office, run_id).lost == []
    assert office.broken("Something else") == []


def test_the_phrase_of_a_remove_all_whose_undo_was_cut_off_orders_a_new_one(
    office: Office,
) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 121)))
    run_id = remove_all(office)
    fault(office, kind="status", status=503, method="PUT", path="/jobcodes", nth=[2])
    with pytest.raises(Transient):
        office.app.remove_all.run(run_id)
    office.sandbox.client.clear_faults()
    undo_id = office.app.undo.request(run_id)
    phrase = run_of(office, run_id).requested_by
    with pytest.raises(AlreadyRunning, match=f"undo {undo_id} .of run {run_id}. is queued"):
        office.app.remove_all.resumable(phrase)
    office.app.undo.run(undo_id)
    assert office.app.remove_all.resumable(phrase) is None
