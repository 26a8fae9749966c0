"""From any state of the account and the record, the plan is what the push then does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st

from cprqueue.domain.mapping import read_jobcode, read_location
from cprqueue.domain.models import Address, Job, Observed
from cprqueue.domain.push_model import Model, model_of
from cprqueue.domain.push_plan import observe
from cprqueue.domain.recording import Sighting
from cprqueue.domain.states import LinkState
from cprqueue.domain.sync_plan import PlannedJob, Step, SyncPlan, make_plan
from cprqueue.services.plan.plan import LATER
from cprqueue.services.plan.read import read_known
from cprqueue.store.database import Database, clock
from tests.services.push.test_plan_properties import TIME, Start, build, push, starts
from tests.world import RULES, World, make_database


@pytest.fixture(scope="module")
def db() -> Iterator[Database]:
    made = make_database(TIME)
    yield made
    made.close()


def model(world: World) -> Model:
    state = world.state()
    return model_of(map(read_jobcode, state["jobcodes"]), map(read_location, state["locations"]))


def answer(world: World, start: Start) -> list[Job]:
    """Return what RM says next: the jobs as they are on record, and what changes later."""
    found = {
        row.job_id: Job(
            job_id=row.job_id,
            job_number=row.job_number,
            site_id=8,
            status="Active",
            progress=row.progress,
            address=Address(row.addr1, row.addr2, row.city, row.address_state, row.zip),
        )
        for row in world.rows().values()
    }
    for _, job_id, desired, active in start.later:
        progress = "Work in Progress" if active else "Lost Lead"
        number, address = desired.name, desired.address
        found[job_id] = replace(
            found[job_id], job_number=number, address=address, progress=progress
        )
    return list(found.values())


def plan(world: World, jobs: list[Job]) -> SyncPlan:
    with world.db.read() as conn:
        known, now = read_known(conn), clock(conn)
    judged = [(job, RULES.judge(job)) for job in jobs]
    sighting = Sighting(run_id=1, number=LATER, complete=False, observed_at=now)
    return make_plan(judged, known, model(world), sighting)


def shown(account: Model, observed: Observed, address: Address) -> Observed:
    code = account.codes[observed.jobcode_id or 0]
    near = account.near(code.id, observed.location_id)
    return observe(code, near, ours=observed.location_id, address=address)


EDITS = ("rename", "archive", "restore", "unassign", "link", "unlink", "move")


def edit(world: World, position: int, what: str) -> None:
    """Change a jobcode by hand; nothing happens where that is not allowed."""
    codes, places = (world.state()[name] for name in ("jobcodes", "locations"))
    if position >= len(codes):
        return
    code, place = codes[position]["id"], places[position]["id"] if position < len(places) else 0
    with suppress(ValueError):
        match what:
            case "rename":
                world.account.change_jobcode(code, name=f"by hand {code}")
            case "archive" | "restore":
                world.account.change_jobcode(code, active=what == "restore")
            case "unassign":
                world.account.change_jobcode(code, assigned_to_all=False)
            case "link":
                world.add_location(Address("3 Fir Ct"), code)
            case "unlink":
                world.account.change_location(place, linked_objects={"jobcodes": []})
            case "move":
                world.account.change_location(place, addr1="4 Ash Way")


@pytest.mark.slow
@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(
    start=starts(),
    edits=st.lists(st.tuples(st.integers(0, 5), st.sampled_from(EDITS)), max_size=3),
)
def test_the_plan_is_what_the_push_does(
    db: Database, start: Start, edits: list[tuple[int, str]]
) -> None:
    start = replace(start, fates=[])
    world = build(db, start)
    for position, what in edits:
        edit(world, position, what)
    jobs = answer(world, start)
    made, before = plan(world, jobs), model(world)
    world.snapshot()  # which finds what was changed by hand
    for job in jobs:
        active = RULES.judge(job).active
        world.record(job.job_id, job_desired(job), active=active)
    push(world)
    after, rows = model(world), world.rows()
    for planned in made.jobs:
        event(" ".join(planned.actions) or "nothing")
        _assert_as_planned(planned, rows[planned.job_id], before, after)
    managed = {row.jobcode_id for row in rows.values()}
    free = [c.name for c in after.codes.values() if c.active and c.id not in managed]
    assert sorted(free) == list(made.unclaimed)


def job_desired(job: Job) -> Any:
    from cprqueue.domain.recording import desired

    return desired(job)


def _assert_as_planned(planned: PlannedJob, row: Any, before: Model, after: Model) -> None:
    parked = bool(row.active) and row.state == LinkState.PARKED
    assert (Step.PARK in planned.actions) == parked, (planned, row)
    if row.jobcode_id is None:
        assert set(planned.actions) <= {Step.PARK}, (planned, row)
        return
    observed = Observed.from_json(row.observed)
    address = Address(row.addr1, row.addr2, row.city, row.address_state, row.zip)
    now = shown(after, observed, address)
    created = row.jobcode_id not in before.codes
    assert (Step.CREATE in planned.actions) == created, (planned, row)
    was = Observed() if created else shown(before, observed, address)
    fields = {"name": (was.name, now.name), "active": (was.active, now.active)}
    fields["assigned_to_all"] = (was.assigned_to_all, now.assigned_to_all)
    for name in ("addr1", "zip"):
        old = getattr(was.address, name) if was.location_linked else ""
        fields[name] = (old, getattr(now.address, name) if now.location_linked else "")
    for name, (old, new) in fields.items():
        if old == new:
            assert name not in planned.after, (planned, row, name)
        else:
            assert planned.after[name] == new, (planned, row, name)
            assert created or planned.before[name] == old, (planned, row, name)
