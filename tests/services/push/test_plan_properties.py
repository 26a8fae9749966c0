"""From any state, with any answer lost, pushing ends with one jobcode and one location a job."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from hypothesis import event, given, settings
from hypothesis import strategies as st

from cprqueue.models import Address, Held, Jobcode, Location, Spare, Wanted, name_key
from cprqueue.plan import observe
from tests.quickbooks_time_model import ANSWERED, LOST_AFTER, LOST_BEFORE, Driver, Model, Row

KEYS = ("N1", "N2", "N3", "N4", "N5", "N6")
SPELLINGS = ("{}", " {}", "{} ")
NOWHERE = Address()
ADDRESSES = (NOWHERE, Address("1 Elm St", "", "Mesa", "AZ", "85201"), Address("2 Oak Ave"))
RINGS = 60


@dataclass(frozen=True)
class Start:
    """A state of QuickBooks Time and of our record, and what happens next."""

    model: Model
    rows: list[Row]
    fates: list[str]
    batch: int
    later: list[tuple[int, int, Wanted, bool]]


@st.composite
def wanteds(draw: st.DrawFn, keys: tuple[str, ...] = KEYS) -> Wanted:
    key = draw(st.sampled_from(keys))
    name = draw(st.sampled_from((key, key.lower())))
    return Wanted(name=name, address=draw(st.sampled_from(ADDRESSES)))


@st.composite
def models(draw: st.DrawFn) -> Model:
    """Jobcodes under different names, some archived, with locations of their own or shared."""
    model = Model()
    names = draw(st.lists(st.sampled_from(KEYS), unique=True, max_size=5))
    for key in names:
        active = draw(st.booleans())
        name = draw(st.sampled_from(SPELLINGS)).format(draw(st.sampled_from((key, key.lower()))))
        model.add(Jobcode(id=0, name=name, active=active, assigned_to_all=active))
    ids = sorted(model.codes)
    number = draw(st.integers(0, 5)) if ids else 0
    for _ in range(number):
        links = draw(st.lists(st.sampled_from(ids), unique=True, min_size=1, max_size=2))
        address = draw(st.sampled_from(ADDRESSES[1:]))
        model.add(
            Location(id=0, address=address, active=draw(st.booleans()), jobcode_ids=tuple(links))
        )
    return model


@st.composite
def starts(draw: st.DrawFn) -> Start:
    model = draw(models())
    ids = list(draw(st.permutations(sorted(model.codes))))
    count = draw(st.integers(1, 4))
    rows = []
    for job_id in range(1, count + 1):
        active = draw(st.booleans()) or draw(st.booleans())
        row = Row(job_id, draw(wanteds()), active=active, state="due" if active else "idle")
        if draw(st.booleans()) and ids:
            _link(draw, model, row, ids.pop())
        rows.append(row)
    later = st.tuples(st.integers(0, 4), st.integers(1, count), wanteds(), st.booleans())
    return Start(
        model=model,
        rows=rows,
        fates=draw(st.lists(st.sampled_from((ANSWERED, LOST_BEFORE, LOST_AFTER)), max_size=10)),
        batch=draw(st.integers(1, 4)),
        later=draw(st.lists(later, max_size=3)),
    )


def _link(draw: st.DrawFn, model: Model, row: Row, code_id: int) -> None:
    """Link the job; our record of it is true, or out of date and known to be so."""
    places = [p for p in model.places.values() if code_id in p.jobcode_ids]
    row.held = observe(model.codes[code_id], places, ours=None, address=row.wanted.address)
    if draw(st.booleans()):
        row.look = "whole"
        model.add(replace(model.codes[code_id], name=f"by hand {code_id}"))
        if model.places:
            # Somebody gave another jobcode the location that our record names.
            row.held = replace(row.held, location_id=draw(st.sampled_from(sorted(model.places))))


def push(start: Start) -> Driver:
    """Ring until nothing is due or left open, with what happens in between."""
    _unique_locations(start.rows)
    driver = Driver(start.model, start.rows, start.fates, start.batch)
    for ring in range(RINGS):
        for at, job_id, wanted, active in start.later:
            if at == ring:
                driver.change(job_id, wanted, active=active)
        driver.ring()
        late = any(at > ring for at, *_ in start.later)
        if not late and not _due(driver):
            driver.settle()
            if not _due(driver):
                return driver
    raise AssertionError(f"still due after {RINGS} rings: {_due(driver)}")


def _due(driver: Driver) -> list[Row]:
    return [row for row in driver.rows.values() if row.state == "due"]


def _unique_locations(rows: list[Row]) -> None:
    """The database links a location to one job at most."""
    seen: set[int] = set()
    for row in rows:
        if row.held.location_id in seen:
            row.held = replace(row.held, location_id=None, location_linked=False)
            row.look = "whole" if row.held.jobcode_id else row.look
        elif row.held.location_id is not None:
            seen.add(row.held.location_id)


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(starts())
def test_pushing_converges_from_any_state_with_any_answer_lost(start: Start) -> None:
    before = {i: replace(code) for i, code in start.model.codes.items()}
    driver = push(start)
    model, rows = driver.model, driver.rows
    managed = {row.held.jobcode_id: row for row in rows.values() if row.held.jobcode_id}
    event(f"requests: {min(driver.requests, 30) // 10 * 10}+")

    keys = Counter(name_key(code.name) for code in model.codes.values())
    assert max(keys.values(), default=0) <= 1, "no second jobcode of a name"
    for row in rows.values():
        if row.active and row.state == "done":
            _assert_in_step(model, row)
        elif row.active:
            _assert_rightly_parked(row, rows, model, managed)
    for code in model.codes.values():
        assert code.id in managed or code.id in before, f"left behind: {code}"
        if code.id in before and code.id not in managed:
            assert code == before[code.id], "an unmanaged jobcode was touched"


def _assert_in_step(model: Model, row: Row) -> None:
    assert row.held.jobcode_id is not None
    code = model.codes[row.held.jobcode_id]
    assert (code.name, code.active, code.assigned_to_all) == (row.wanted.name, True, True)
    found = [place.address for place in model.places_of(code.id)]
    assert found == ([row.wanted.address] if row.wanted.address else [])


def _assert_rightly_parked(
    row: Row, rows: dict[int, Row], model: Model, managed: dict[int, Row]
) -> None:
    assert row.state == "parked", row
    if row.code == "doubled_number":
        same = [r for r in rows.values() if r.active and r.key == row.key]
        assert len(same) > 1, f"parked without a rival: {row}"
        first = [r for r in same if r.code != "doubled_number"]
        going = [r for r in first if r.code != "refused_417"]
        assert first, "one of them goes on, the others are parked"
        assert len(going) <= 1, "only one of them has the jobcode"
    else:
        # Somebody else's jobcode has the name, and ours has another one: a person must decide.
        assert row.code == "refused_417", row
        assert row.held.jobcode_id is not None
        holders = [c for c in model.codes.values() if name_key(c.name) == row.key]
        assert all(managed.get(c.id, row).key == row.key for c in holders), (row, holders)


def test_two_jobs_that_swap_numbers_end_with_each_others() -> None:
    """Every request may lose its answer, one at a time and each way."""
    for rows in ([("N1", "N2"), ("N2", "N1")], [("N1", "N2"), ("N2", "N3"), ("N3", "N1")]):
        for position in range(8):
            for fate in (LOST_BEFORE, LOST_AFTER):
                for batch in (1, 2, 3):
                    _assert_handed_round(rows, [ANSWERED] * position + [fate], batch)


def _assert_handed_round(pairs: list[tuple[str, str]], fates: list[str], batch: int) -> None:
    model = Model()
    rows = []
    for job_id, (old, new) in enumerate(pairs, 1):
        code_id = model.add(Jobcode(id=0, name=old, assigned_to_all=True))
        held = Held(jobcode_id=code_id, name=old, active=True, assigned_to_all=True)
        rows.append(Row(job_id, Wanted(name=new, address=ADDRESSES[job_id % 3]), held=held))
    ids = {row.job_id: row.held.jobcode_id for row in rows}
    driver = push(Start(model=model, rows=rows, fates=fates, batch=batch, later=[]))
    for row in driver.rows.values():
        assert row.held.jobcode_id == ids[row.job_id], "nobody changes jobcodes in a swap"
        _assert_in_step(model, row)


def test_a_spare_location_is_still_known_after_a_lost_answer() -> None:
    model = Model()
    code = model.add(Jobcode(id=0, name="N1", assigned_to_all=True))
    for address in (ADDRESSES[1], ADDRESSES[1], ADDRESSES[2]):
        model.add(Location(id=0, address=address, jobcode_ids=(code,)))
    row = Row(1, Wanted(name="N1", address=ADDRESSES[1]), look="whole")
    row.held = Held(jobcode_id=code, name="N1")
    push(Start(model=model, rows=[row], fates=[ANSWERED, LOST_BEFORE], batch=1, later=[]))
    assert row.held.spares == ()
    _assert_in_step(model, row)


def test_a_shared_location_loses_our_link_and_keeps_its_others() -> None:
    model = Model()
    ours, other = (model.add(Jobcode(id=0, name=n, assigned_to_all=True)) for n in ("N1", "N2"))
    shared = model.add(Location(id=0, address=ADDRESSES[1], jobcode_ids=(ours, other)))
    row = Row(1, Wanted(name="N1", address=ADDRESSES[1]))
    driver = Driver(model, [row], [], 1)
    driver.ring()
    _assert_in_step(model, row)
    assert model.places[shared] == Location(
        id=shared, address=ADDRESSES[1], jobcode_ids=(other,)
    ), "it stays as it was for the other jobcode"


def test_what_is_held_survives_the_database() -> None:
    held = Held(jobcode_id=1, name="ä", spares=(Spare(2, (3, 4)), Spare(5)), address=ADDRESSES[1])
    assert Held.from_json(held.to_json()) == held
    assert Held.from_json("") == Held.from_json(None) == Held()
