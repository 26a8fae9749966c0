"""From any state, with any answer lost, pushing ends with one jobcode and one location a job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from cprqueue.domain.mapping import read_jobcode, read_location
from cprqueue.domain.models import Address, Desired, Observed, Spare, name_key
from cprqueue.domain.push_plan import observe
from cprqueue.domain.states import LinkState
from cprqueue.sandbox.audit import audit
from cprqueue.store.database import Database
from tests.office import job
from tests.world import (
    ANSWERED,
    LATE,
    LATE_AND_LOST,
    LOST_AFTER,
    LOST_BEFORE,
    Clock,
    World,
    make_database,
)

KEYS = ("N1", "N2", "N3", "N4", "N5", "N6")
SPELLINGS = ("{}", " {}", "{} ")
NOWHERE = Address()
ADDRESSES = (NOWHERE, Address("1 Elm St", "", "Mesa", "AZ", "85201"), Address("2 Oak Ave"))
FATES = (ANSWERED, LOST_BEFORE, LOST_AFTER, LATE, LATE_AND_LOST)
RINGS = 60
FULL = "whole"
OLD = timedelta(hours=2)
TIME = Clock()


@pytest.fixture(scope="module")
def db() -> Iterator[Database]:
    made = make_database(TIME)
    yield made
    made.close()


@dataclass(frozen=True, kw_only=True)
class Code:
    """A jobcode that is there before."""

    name: str
    active: bool


@dataclass(frozen=True, kw_only=True)
class Place:
    """A location that is there before, linked to jobcodes by their position."""

    address: Address
    active: bool
    codes: list[int]


@dataclass(frozen=True, kw_only=True)
class Known:
    """A job that is on record before. ``code``: the position of the jobcode it is linked to.

    ``stale``: somebody renamed that jobcode since, and the location that our record names
    (``other_place``, a position) is another one.
    """

    desired: Desired
    active: bool
    code: int | None = None
    stale: bool = False
    other_place: int | None = None


@dataclass(frozen=True, kw_only=True)
class Start:
    """A state of QuickBooks Time and of our record, and what happens next."""

    codes: list[Code]
    places: list[Place]
    jobs: list[Known]
    fates: list[str]
    batch: int
    old_export: bool
    later: list[tuple[int, int, Desired, bool]]


@st.composite
def wanteds(draw: st.DrawFn) -> Desired:
    key = draw(st.sampled_from(KEYS))
    name = draw(st.sampled_from((key, key.lower())))
    return Desired(name=name, address=draw(st.sampled_from(ADDRESSES)))


@st.composite
def codes(draw: st.DrawFn) -> list[Code]:
    """Jobcodes under different names, some archived."""
    names = draw(st.lists(st.sampled_from(KEYS), unique=True, max_size=5))
    spelled = [
        draw(st.sampled_from(SPELLINGS)).format(draw(st.sampled_from((key, key.lower()))))
        for key in names
    ]
    return [Code(name=name, active=draw(st.booleans())) for name in spelled]


@st.composite
def starts(draw: st.DrawFn) -> Start:
    there = draw(codes())
    positions = list(range(len(there)))
    linked = st.lists(st.sampled_from(positions), unique=True, min_size=1, max_size=2)
    place = st.builds(
        Place, address=st.sampled_from(ADDRESSES[1:]), active=st.booleans(), codes=linked
    )
    places = draw(st.lists(place, max_size=5)) if there else []
    free = list(draw(st.permutations(positions)))
    count = draw(st.integers(1, 4))
    jobs = []
    for _ in range(count):
        known = Known(desired=draw(wanteds()), active=draw(st.booleans()) or draw(st.booleans()))
        if draw(st.booleans()) and free:
            known = replace(known, code=free.pop(), stale=draw(st.booleans()))
            if known.stale and places:
                known = replace(known, other_place=draw(st.integers(0, len(places) - 1)))
        jobs.append(known)
    later = st.tuples(st.integers(0, 4), st.integers(1, count), wanteds(), st.booleans())
    return Start(
        codes=there,
        places=places,
        jobs=jobs,
        fates=draw(st.lists(st.sampled_from(FATES), max_size=14)),
        batch=draw(st.integers(1, 4)),
        old_export=draw(st.booleans()),
        later=draw(st.lists(later, max_size=3)),
    )


def build(db: Database, start: Start) -> World:
    """Make QuickBooks Time and our record as ``start`` says."""
    world = World(db, TIME, batch=start.batch)
    code_ids = [world.add_jobcode(code.name) for code in start.codes]
    place_ids = [
        world.add_location(place.address, *(code_ids[n] for n in place.codes))
        for place in start.places
    ]
    for place, place_id in zip(start.places, place_ids, strict=True):
        if not place.active:
            world.account.change_location(place_id, active=False)
    for code, code_id in zip(start.codes, code_ids, strict=True):
        if not code.active:
            world.account.change_jobcode(code_id, active=False)
    _record(world, start.jobs, code_ids, place_ids)
    world.wait(OLD)
    world.snapshot()
    world.wait(OLD if start.old_export else timedelta(0))
    world.lose(start.fates)
    return world


def _record(world: World, jobs: list[Known], code_ids: list[int], place_ids: list[int]) -> None:
    taken: set[int] = set()
    for job_id, known in enumerate(jobs, 1):
        world.record(job_id, known.desired)
        if known.code is not None:
            observed = observed_by(world, code_ids[known.code], known.desired.address)
            if known.stale and known.other_place is not None:
                observed = replace(observed, location_id=place_ids[known.other_place])
            verification = FULL if known.stale else None
            if observed.location_id in taken:  # the database links a location to one job at most
                observed, verification = (
                    replace(observed, location_id=None, location_linked=False),
                    FULL,
                )
            elif observed.location_id is not None:
                taken.add(observed.location_id)
            world.link(job_id, observed, verification=verification)
        if not known.active:
            world.record(job_id, known.desired, active=False)
    for known in jobs:
        if known.code is not None and known.stale:
            _rename_by_hand(world, code_ids[known.code])


def _rename_by_hand(world: World, code_id: int) -> None:
    """As a person does; an archived jobcode takes a new name only with its restore."""
    code = next(c for c in world.state()["jobcodes"] if c["id"] == code_id)
    world.account.change_jobcode(code_id, name=f"by hand {code_id}", active=True)
    if not code["active"]:
        world.account.change_jobcode(code_id, active=False)


def observed_by(world: World, code_id: int, address: Address) -> Observed:
    """Return what QuickBooks Time holds, as a look would find it."""
    state = world.state()
    code = next(c for c in map(read_jobcode, state["jobcodes"]) if c.id == code_id)
    places = [p for p in map(read_location, state["locations"]) if code_id in p.jobcode_ids]
    return observe(code, places, ours=None, address=address)


def push(world: World, later: list[tuple[int, int, Desired, bool]] | None = None) -> None:
    """Ring until nothing is due or left open, with what happens in between."""
    changes = later or []
    rings, done = count(), [0]

    def ring() -> None:
        number = next(rings)
        done.append(number)
        for at, job_id, desired, active in changes:
            if at == number:
                world.record(job_id, desired, active=active)
        world.ring()

    world.transport.meanwhile = ring
    for _ in range(RINGS):
        ring()
        if world.due() or any(at > done[-1] for at, *_ in changes):
            continue
        world.settle()  # a listing that is lost is read again by the next sweep
        if not world.due() and not world.orphaned():
            return
    raise AssertionError(f"still due after {RINGS} rings: {world.rows()}")


@pytest.mark.slow
@settings(max_examples=150, deadline=None, derandomize=True)
@given(start=starts())
def test_pushing_converges_from_any_state_with_any_answer_lost(db: Database, start: Start) -> None:
    world = build(db, start)
    before = {code["id"]: _shown(code) for code in world.state()["jobcodes"]}
    push(world, start.later)
    rows = world.rows()
    managed = {row.jobcode_id: row for row in rows.values() if row.jobcode_id}
    event(f"requests: {min(world.transport.requests, 30) // 10 * 10}+")

    keys = Counter(name_key(code["name"]) for code in world.state()["jobcodes"])
    assert max(keys.values(), default=0) <= 1, "no second jobcode of a name"
    assert_promise(world)
    for row in rows.values():
        if row.active and row.state != LinkState.IN_SYNC:
            _assert_rightly_parked(row, rows, world, managed)
    for code in world.state()["jobcodes"]:
        cleared_up = not code["active"] and " ~" in code["name"]
        assert code["id"] in managed or code["id"] in before or cleared_up, f"left behind: {code}"
        if code["id"] in before and code["id"] not in managed:
            assert _shown(code) == before[code["id"]], "an unmanaged jobcode was touched"


def _shown(code: dict[str, Any]) -> tuple[Any, ...]:
    return code["name"], code["active"], code["assigned_to_all"]


def assert_promise(world: World) -> None:
    """Each active job that is not parked is one jobcode with one location, as the audit sees it."""
    rows = [row for row in world.rows().values() if row.active and row.state == LinkState.IN_SYNC]
    desired = [
        job(row.job_id, row.job_number, jobAddress1=row.addr1, jobAddress2=row.addr2,
            jobCity=row.city, jobStateCd=row.address_state, jobZip=row.zip)
        for row in rows
    ]  # fmt: skip
    state = world.state()
    ours = {row.jobcode_id for row in rows}
    others = {code["id"] for code in state["jobcodes"]} - ours
    found = audit(desired, state, unmanaged=others)
    assert (found.wrong, found.right) == ([], len(rows))


def _assert_rightly_parked(
    row: Any, rows: dict[int, Any], world: World, managed: dict[int, Any]
) -> None:
    assert row.state == LinkState.PARKED, row
    if row.error_code == "doubled_number":
        same = [r for r in rows.values() if r.active and r.name_key == row.name_key]
        assert len(same) > 1, f"parked without a rival: {row}"
        first = [r for r in same if r.error_code != "doubled_number"]
        going = [r for r in first if r.error_code != "refused_417"]
        assert first, "one of them goes on, the others are parked"
        assert len(going) <= 1, "only one of them has the jobcode"
    else:
        # Somebody else's jobcode has the name, and ours has another one: a person must decide.
        assert row.error_code == "refused_417", row
        assert row.jobcode_id is not None
        for code in world.state()["jobcodes"]:
            if name_key(code["name"]) == row.name_key:
                assert managed.get(code["id"], row).name_key == row.name_key, (row, code)


@pytest.mark.slow
def test_two_jobs_that_swap_numbers_end_with_each_others(db: Database) -> None:
    """Every request may lose its answer, one at a time and each way."""
    for pairs in ([("N1", "N2"), ("N2", "N1")], [("N1", "N2"), ("N2", "N3"), ("N3", "N1")]):
        for position in range(8):
            for fate in (LOST_BEFORE, LOST_AFTER):
                for batch in (1, 2, 3):
                    _assert_handed_round(db, pairs, [ANSWERED] * position + [fate], batch)


def _assert_handed_round(
    db: Database, pairs: list[tuple[str, str]], fates: list[str], batch: int
) -> None:
    world = World(db, TIME, batch=batch)
    for job_id, (old, new) in enumerate(pairs, 1):
        code_id = world.add_jobcode(old)
        world.record(job_id, Desired(name=new, address=ADDRESSES[job_id % 3]))
        world.link(job_id, observed_by(world, code_id, NOWHERE))
    ids = {job_id: row.jobcode_id for job_id, row in world.rows().items()}
    world.lose(fates)
    push(world)
    after = {job_id: row.jobcode_id for job_id, row in world.rows().items()}
    assert after == ids, "nobody changes jobcodes in a swap"
    assert {row.state for row in world.rows().values()} == {LinkState.IN_SYNC}
    assert_promise(world)


def test_a_spare_location_is_still_known_after_a_lost_answer(db: Database) -> None:
    world = World(db, TIME, batch=1)
    code = world.add_jobcode("N1")
    for address in (ADDRESSES[1], ADDRESSES[1], ADDRESSES[2]):
        world.add_location(address, code)
    world.record(1, Desired(name="N1", address=ADDRESSES[1]))
    world.link(1, Observed(jobcode_id=code, name="N1"), verification="whole")
    # The look is a listing of jobcodes and one of locations; then the first spare one goes.
    world.lose([ANSWERED, ANSWERED, LOST_BEFORE])
    push(world)
    assert Observed.from_json(world.rows()[1].observed).spares == ()
    assert_promise(world)


def test_a_shared_location_loses_our_link_and_keeps_its_others(db: Database) -> None:
    world = World(db, TIME)
    ours, other = world.add_jobcode("N1"), world.add_jobcode("N2")
    shared = world.add_location(ADDRESSES[1], ours, other)
    world.record(1, Desired(name="N1", address=ADDRESSES[1]))
    world.snapshot()
    world.ring()
    assert world.rows()[1].state == LinkState.IN_SYNC
    assert_promise(world)
    place = next(p for p in map(read_location, world.state()["locations"]) if p.id == shared)
    assert (place.address, place.active, place.jobcode_ids) == (ADDRESSES[1], True, (other,)), (
        "it stays as it was for the other jobcode"
    )


def test_two_jobs_of_a_batch_that_leave_one_location_both_leave_it(db: Database) -> None:
    """The second to leave must not send back the link of the first, which left a request before."""
    world = World(db, TIME)
    one, two, shop = (world.add_jobcode(name) for name in ("N1", "N2", "Shop"))
    world.add_location(ADDRESSES[1], two, shop)
    world.add_location(ADDRESSES[2], one, two)
    for job_id, name in enumerate(("N1", "N2"), 1):
        world.record(job_id, Desired(name=name, address=NOWHERE))
    world.snapshot()
    world.ring()
    assert {row.state for row in world.rows().values()} == {LinkState.IN_SYNC}
    assert_promise(world)


def test_what_is_held_survives_the_database() -> None:
    observed = Observed(
        jobcode_id=1, name="ä", spares=(Spare(2, (3, 4)), Spare(5)), address=ADDRESSES[1]
    )
    assert Observed.from_json(observed.to_json()) == observed
    assert Observed.from_json("") == Observed.from_json(None) == Observed()
