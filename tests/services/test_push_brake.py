"""The brake on pushes, decided in the database when a fetch closes."""

from __future__ import annotations

from typing import Any

import pytest

from cprqueue.domain.mapping import read_job
from cprqueue.domain.recording import Sighting
from cprqueue.domain.states import RunKind, RunState
from cprqueue.errors import AlreadyDone, UsageError
from cprqueue.services import push_brake
from cprqueue.services.record import record
from cprqueue.store import push_queue, runs, sightings
from cprqueue.store.database import clock
from tests.office import MakeOffice, Office, job

MANAGED = 60
ORDINARY = [job(n, f"A-{n}") for n in range(1, MANAGED + 1)]
RENAMED = [{**each, "jobJobId": f"NEW-{each['jobJobId']}"} for each in ORDINARY]


@pytest.fixture
def managed(office: Office) -> Office:
    """An office with as many jobs in step."""
    office.put(*ORDINARY)
    return office


def begin(
    office: Office,
    *items: dict[str, Any],
    state: RunState = RunState.DONE,
    complete: bool = False,
    kind: RunKind = RunKind.FETCH,
) -> int:
    """Record these jobs as one fetch does, and let it end; it has yet to be decided."""
    with office.app.db.begin() as conn:
        now = clock(conn)
        run_id = runs.create(conn, kind, state=RunState.RECORDING, complete=complete)
        runs.change(conn, run_id, observed_at=now, detail={push_brake.BRAKED: True})
        sighting = Sighting(
            run_id=run_id,
            number=sightings.next_number(conn),
            complete=complete,
            observed_at=now,
            braked=True,
        )
    for item in items:
        assert record(office.app.db, office.app.rules, read_job(item), sighting) == []
    with office.app.db.begin() as conn:
        runs.finish(conn, run_id, state)
    return run_id


def record_late(office: Office, run_id: int, *items: dict[str, Any]) -> None:
    """Record jobs of a fetch that has been decided on."""
    with office.app.db.begin() as conn:
        number, moment = sightings.next_number(conn), clock(conn)
    late = Sighting(run_id=run_id, number=number, complete=False, observed_at=moment, braked=True)
    for item in items:
        record(office.app.db, office.app.rules, read_job(item), late)


def decided(office: Office) -> tuple[int, int]:
    """Let the brake decide; return how many jobs are held and due."""
    office.app.fetch.close()
    counts = office.counts()
    return counts["held"], counts["due"]


def test_nothing_is_claimed_before_the_brake_has_decided(managed: Office) -> None:
    before = len(managed.writes())
    begin(managed, *RENAMED)
    assert managed.counts()["due"] == MANAGED
    assert managed.ring().pushed == 0
    assert len(managed.writes()) == before
    assert decided(managed) == (MANAGED, 0)


def test_a_fetch_below_the_limit_is_pushed(managed: Office) -> None:
    begin(managed, *RENAMED[:20])
    assert decided(managed) == (0, 20)
    managed.push()
    assert managed.counts()["in_sync"] == MANAGED


def test_what_is_recorded_late_counts_with_the_rest_of_its_fetch(managed: Office) -> None:
    run_id = begin(managed, *RENAMED[:15])
    assert decided(managed) == (0, 15)
    record_late(managed, run_id, *RENAMED[15:30])
    assert decided(managed) == (15, 15)


def test_finished_jobs_do_not_raise_the_limit(managed: Office) -> None:
    finished = [job(n, f"F-{n}") for n in range(101, 201)]
    managed.put(*finished)
    managed.put(*({**each, "jobStatus": "Closed"} for each in finished))
    begin(managed, *RENAMED[:25])
    assert decided(managed) == (25, 0), "160 jobcodes are managed, 60 of them of active jobs"
    managed.sandbox.rm.put_jobs(RENAMED[:25])
    planner = managed.app.planner
    assert planner.make(lambda _text: None).plan.managed.active == MANAGED
    planner.db.close()


def test_what_was_dismissed_is_pushed_where_it_is_named_alone(managed: Office) -> None:
    from cprqueue.services.reports import overview

    run_id = begin(managed, *RENAMED)
    decided(managed)
    push_brake.dismiss(managed.app.db, run_id)
    before = len(managed.writes())
    assert overview.make_due(managed.app.db, None) == []
    with managed.app.db.begin() as conn:
        push_queue.require_verification(conn, [1, 2], now=clock(conn))
    managed.push()
    assert (managed.counts()["parked"], len(managed.writes())) == (MANAGED, before)
    begin(managed, *RENAMED)
    assert decided(managed) == (0, 0), "the same again is nothing new"
    assert overview.make_due(managed.app.db, [3]) == [3]
    managed.push()
    names = {code["name"] for code in managed.sandbox.qbt.state()["jobcodes"]}
    assert {name for name in names if name.startswith("NEW-")} == {"NEW-A-3"}


def test_a_job_that_is_held_stays_so_when_few_change_again(managed: Office) -> None:
    begin(managed, *RENAMED)
    assert decided(managed)[0] == MANAGED
    second = begin(managed, {**RENAMED[0], "jobJobId": "OTHER-1"}, ORDINARY[1])
    assert decided(managed) == (MANAGED - 1, 1)
    assert [row.job_number for row in push_brake.held(managed.app.db, second)] == ["OTHER-1"]


def test_a_job_that_closes_while_it_is_held_is_no_longer_held(managed: Office) -> None:
    begin(managed, *RENAMED)
    decided(managed)
    begin(managed, job(1, "A-1", jobStatus="Closed"))
    assert decided(managed) == (MANAGED - 1, 0)


def test_however_long_the_numbers_are_the_commands_are_named(managed: Office) -> None:
    run_id = begin(managed, *({**each, "jobJobId": "X" * 250} for each in RENAMED))
    assert decided(managed)[0] == MANAGED
    reason = managed.link(1).error_reason
    assert reason.endswith(f"`cprqueue plan dismiss {run_id}`"), len(reason)


def test_one_of_two_approvals_has_an_effect(managed: Office) -> None:
    run_id = begin(managed, *RENAMED)
    decided(managed)
    assert len(push_brake.approve(managed.app.db, run_id)) == MANAGED
    with pytest.raises(AlreadyDone, match="holds nothing any more"):
        push_brake.approve(managed.app.db, run_id)
    managed.push()
    assert managed.counts()["in_sync"] == MANAGED
    assert {code["name"] for code in managed.sandbox.qbt.state()["jobcodes"]} == {
        item["jobJobId"] for item in RENAMED
    }


def test_a_run_that_held_nothing_is_refused_in_one_line(managed: Office) -> None:
    run_id = begin(managed)
    for unknown in (run_id, 4711):
        with pytest.raises(UsageError, match="see `cprqueue status`"):
            push_brake.dismiss(managed.app.db, unknown)


def test_a_retry_of_everything_lets_nothing_go(managed: Office) -> None:
    from cprqueue.services.reports import overview

    begin(managed, *RENAMED)
    decided(managed)
    assert overview.make_due(managed.app.db, None) == []
    assert {row.state for row in overview.failures(managed.app.db)} == {"held"}


def test_a_mistyped_site_archives_and_creates_nothing(make_office: MakeOffice) -> None:
    make_office().put(*ORDINARY)
    others = [job(1000 + n, f"B-{n}", siteId=9) for n in range(MANAGED)]
    mistyped = make_office(RM_SITE_IDS="9")
    before = len(mistyped.writes())
    begin(mistyped, *ORDINARY, *others)
    assert decided(mistyped) == (MANAGED, 0)
    assert len(mistyped.writes()) == before


def test_the_first_push_and_few_managed_jobcodes_have_no_brake(office: Office) -> None:
    assert not office.app.is_braked(first_run(office))
    office.put(*ORDINARY[:40])
    begin(office, *ORDINARY[40:])
    assert decided(office) == (0, 20)
    begin(office, *(job(n, f"C-{n}") for n in range(500, 600)))
    assert decided(office)[0] == 0, "fewer than 50 are managed"


def first_run(office: Office) -> int:
    with office.app.db.begin() as conn:
        detail = {push_brake.BRAKED: push_brake.applies(conn)}
        run_id = runs.create(conn, RunKind.FETCH)
        runs.start(conn, run_id, detail=detail)
    return run_id
