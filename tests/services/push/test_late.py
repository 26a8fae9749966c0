"""What a worker that lost its lease does with the rest of its batch, and with what came late."""

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest

from cprqueue.domain.models import ItemResult
from cprqueue.domain.push_actions import CreateJobcode
from cprqueue.domain.states import Intent, LinkState
from cprqueue.services.prune import late
from cprqueue.services.push import late_writes
from cprqueue.services.push.decide import Decider
from cprqueue.services.push.observing import record_observed
from cprqueue.services.push.outcomes import Outcomes
from cprqueue.store import app_state, plan_items
from tests.office import Office, job
from tests.pruning import CLOSED, fault, prune
from tests.services.prune.test_undo import undo
from tests.services.push.test_batch import claim, lose

SECOND = timedelta(seconds=1)


def late_create(office: Office, result: ItemResult) -> None:
    """Let a create of A-1 be answered after another worker has the job."""
    batch = claim(office)
    item = batch.items[1]
    batch.record_intent([item], Intent.CREATE_JOBCODE)
    lose(office, 1)
    outcomes = Outcomes(retry_base=SECOND, max_attempts=3, rng=Random(0))
    outcomes.record(batch, [(item, CreateJobcode("A-1"))], [result])


def noted(office: Office) -> int:
    with office.app.db.read() as conn:
        return len(app_state.with_prefix(conn, late_writes.PREFIX))


def test_two_jobcodes_to_take_over_are_left_where_the_lease_of_both_is_lost(office: Office) -> None:
    office.put(job(1, "A-1"), job(2, "A-2"))
    office.put(job(1, "A-1", **CLOSED), job(2, "A-2", **CLOSED))
    office.record([job(3, "A-1"), job(4, "A-2")])
    batch = claim(office)
    for n in (3, 4):
        lose(office, n)
    assert Decider(db=office.app.db, retry_base=SECOND, rng=Random(0)).decide(batch) == {}
    assert [office.link(n).jobcode_id is None for n in (1, 2, 3, 4)] == [False, False, True, True]


@pytest.mark.parametrize(("code", "notes"), [(200, 1), (500, 1), (202, 0)])
def test_a_late_create_is_noted_unless_the_name_was_there_before(
    office: Office, code: int, notes: int
) -> None:
    office.record([job(1, "A-1")])
    late_create(office, ItemResult(code=code))
    assert noted(office) == notes


def test_a_late_jobcode_whose_archive_is_refused_is_archived_by_a_later_sweep(
    office: Office,
) -> None:
    office.put(job(1, "B-1"))
    office.record([job(1, "A-1")])
    late_create(office, ItemResult(code=200, id=0))
    made = office.sandbox.qbt.add_jobcode(name="A-1", assigned_to_all=True)
    fault(office, kind="items", method="PUT", path="/jobcodes", where={"active": False}, code=423)
    qbt = office.app.push.work.qbt
    late_writes.clear_up(office.app.db, qbt)
    assert noted(office) == 1
    office.sandbox.client.clear_faults()
    late_writes.clear_up(office.app.db, qbt)
    assert noted(office) == 0
    [code] = [c for c in office.sandbox.qbt.state()["jobcodes"] if c["id"] == made]
    assert not code["active"]
    assert office.link(1).state is LinkState.DUE


def test_an_archive_of_unknown_outcome_is_verified_also_where_a_push_has_the_job(
    office: Office,
) -> None:
    office.put(job(1, "A-1"), job(2, "A-2"))
    office.put(job(1, "A-1", **CLOSED))
    run_id, _ = prune(office)
    undo(office, run_id)
    office.record([job(1, "A-1")])
    batch = claim(office)
    with office.app.db.begin() as conn:
        late.note_unknown(conn, plan_items.of_run(conn, run_id))
        item = batch.items[1]
        record_observed(conn, batch, item, item.observed)
        batch.end(conn, [item])
    assert (office.link(1).state, office.link(1).lease) == (LinkState.DUE, None)
