"""Hours of the last days hold a jobcode back, asked only for what would leave."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from cprqueue.domain.prune_plan import PrunePlan
from cprqueue.services.prune.hours import newest_by_family
from cprqueue.store.database import clock
from tests.office import MakeOffice, Office, job
from tests.pruning import close, during, names, order, prune

pytestmark = pytest.mark.settings(QBT_RATE_LIMIT="5000")


def day(office: Office, ago: int, zone: str = "UTC") -> str:
    with office.app.db.read() as conn:
        today = clock(conn).astimezone(ZoneInfo(zone)).date()
    return (today - timedelta(days=ago)).isoformat()


def closed(office: Office) -> None:
    """Have thirty jobs, of which the first three are closed."""
    office.put(*(job(n, f"A-{n}") for n in range(1, 31)))
    close(office, 1, 2, 3)


def asked(office: Office) -> list[str]:
    """Return the days from which hours were asked for, for each query so far."""
    calls = [call for call in office.sandbox.calls if call.path == "/timesheets"]
    return [call.query["start_date"] for call in calls if call.query["on_the_clock"] == "no"]


@pytest.mark.parametrize("place", [1, 50, 51, 60])
def test_hours_are_found_wherever_the_jobcode_stands_in_the_list(
    office: Office, place: int
) -> None:
    qbt = office.sandbox.qbt
    ids = sorted(qbt.add_jobcode(name=f"A-{n}", assigned_to_all=True) for n in range(1, 61))
    late = ids[place - 1]
    for ago in (2, 4, 3):
        qbt.book_hours(late, day(office, ago))
    families = {code: {code} for code in ids}
    since, client = day(office, 7), office.app.prune.qbt
    assert newest_by_family(client, families, since) == {late: day(office, 2)}
    assert len(asked(office)) == 2


@pytest.mark.parametrize(("ago", "stays"), [(0, True), (7, True), (8, False), (-3, True)])
def test_hours_of_the_last_seven_days_hold_back_and_older_ones_do_not(
    make_office: MakeOffice, ago: int, stays: bool
) -> None:
    zone = "Pacific/Kiritimati"  # the day begins there fourteen hours before it does in UTC
    office = make_office(QBT_RATE_LIMIT="5000", CPR_TIMEZONE=zone)
    closed(office)
    office.sandbox.qbt.book_hours(office.link(1).jobcode_id, day(office, ago, zone))
    assert prune(office)[1] == ("2 archived, 1 held back" if stays else "3 archived")


def test_hours_below_a_jobcode_and_those_of_whoever_clocked_out_count(office: Office) -> None:
    closed(office)
    qbt = office.sandbox.qbt
    phase = qbt.add_jobcode(name="Phase 1", parent_id=office.link(1).jobcode_id)
    room = qbt.add_jobcode(name="Room 1", parent_id=phase)
    qbt.clock_out(qbt.clock_in(room))
    qbt.change_jobcode(phase, active=False)
    made = planned(office)
    (held,) = made.held_back
    said = f"has hours of {day(office, 0)}, in the last 7 days (PRUNE_QUIET_DAYS)"
    assert (held.job_number, held.reason) == ("A-1", said)


def planned(office: Office) -> PrunePlan:
    office.app.snapshot.take()
    return office.app.prune.plan(office.app.prune.facts())


def test_hours_that_come_between_plan_and_archive_hold_back_too(office: Office) -> None:
    closed(office)
    run_id, code = order(office), office.link(1).jobcode_id
    during(office, "clocked", lambda: office.sandbox.qbt.book_hours(code, day(office, 6)))
    assert office.app.prune.run(run_id, None) == "2 archived, 1 held back"
    assert names(office, active=False) == {"A-2", "A-3"}
    assert asked(office) == [day(office, 7)] * 2, "one query for the plan, one for the batch"


def test_nothing_is_asked_where_nothing_would_leave_or_no_day_is_quiet(
    make_office: MakeOffice,
) -> None:
    office = make_office(QBT_RATE_LIMIT="5000", PRUNE_QUIET_DAYS="0")
    closed(office)
    office.sandbox.qbt.book_hours(office.link(1).jobcode_id, day(office, 0))
    assert prune(office)[1] == "3 archived"
    assert asked(office) == []
    other = make_office(QBT_RATE_LIMIT="5000")
    assert prune(other)[1] == "0 archived"
    assert asked(other) == []


def test_what_is_in_use_counts_for_the_brake(office: Office) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 31)))
    close(office, *range(1, 12))
    for n in range(1, 4):
        office.sandbox.qbt.book_hours(office.link(n).jobcode_id, day(office, 1))
    made = planned(office)
    assert (len(made.archive), len(made.held_back)) == (8, 3)
    assert str(made.tripped).startswith("11 of 30 managed jobcodes would leave (37%)")
    assert str(made.tripped).endswith("; 3 of them stay for now, in use")
