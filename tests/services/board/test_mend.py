"""To mend: each kind is found, is bounded, and says its cure; what is fine is not named."""

from __future__ import annotations

import pytest

from cprqueue.services import progress_values
from cprqueue.services.board import mend
from cprqueue.services.board.mend import Kind
from cprqueue.store.database import clock
from tests.office import Office, job

CLOSED = {"jobProgress": "Lost Lead"}


def kinds(office: Office) -> dict[str, Kind]:
    names = ("doubled", "twins", "unplaced", "progress", "below")
    return dict(zip(names, mend.read(office.app.db), strict=True))


def told(kind: Kind) -> list[tuple[list[int], str]]:
    return [([each.job_id for each in found.jobs], found.text) for found in kind.found]


def test_an_office_where_all_is_well_has_nothing_to_mend(office: Office) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 4)))
    office.app.snapshot.take()
    found = kinds(office)
    assert {name: told(kind) for name, kind in found.items()} == {key: [] for key in found}
    assert all(kind.cure and kind.title and not kind.more for kind in found.values())


def test_two_active_jobs_with_one_number_are_found(office: Office) -> None:
    office.put(job(1, "A-1"), job(2, "a-1 "), job(3, "A-3"), job(4, "A-3", **CLOSED), job(5, ""))
    assert told(kinds(office)["doubled"]) == [([1, 2], "have one number")]


def test_two_numbers_at_one_address_are_found(office: Office) -> None:
    same = {"jobAddress1": "7 Oak Street"}
    office.put(
        job(1, "A-1", **same),
        job(2, "A-2", jobAddress1="7 OAK street"),
        job(3, "A-3", **same, jobZip="99999"),
        job(4, "A-4", **same, **CLOSED),
        job(5, "A-5", jobAddress1=""),
        job(6, "A-6", jobAddress1=""),
    )
    assert told(kinds(office)["twins"]) == [([1, 2], "at 7 Oak Street, Boise")]


def test_more_than_two_at_one_address_are_counted(office: Office) -> None:
    office.put(*(job(n, f"A-{n}", jobAddress1="7 Oak Street") for n in range(1, 5)))
    assert told(kinds(office)["twins"]) == [([1, 4], "at 7 Oak Street, Boise, with 2 more")]


def test_an_address_that_was_not_placed_is_found_by_the_snapshot(office: Office) -> None:
    office.sandbox.qbt.switches.update({"geocode_seconds": 0})
    office.put(job(1, "A-1"), job(2, "A-2", jobAddress1="Old Mill Road"))
    assert told(kinds(office)["unplaced"]) == []  # no snapshot says so yet
    office.app.snapshot.take()
    assert told(kinds(office)["unplaced"]) == [([2], "at Old Mill Road, Boise")]
    office.put(job(2, "A-2", jobAddress1="5 Old Mill Road"))
    assert told(kinds(office)["unplaced"]) == []  # corrected since


def test_a_new_progress_value_is_found(office: Office) -> None:
    def note() -> None:
        with office.app.db.begin() as conn:
            progress_values.note_new(conn, clock(conn))

    office.put(job(1, "A-1"))
    note()
    office.put(job(2, "A-2", jobProgress="<b>Quite New"))
    note()
    assert told(kinds(office)["progress"]) == [([], "<b>Quite New: 1 active job")]


def test_a_name_below_a_customer_is_found(office: Office) -> None:
    office.put(job(1, "A-1"))
    customer = office.sandbox.qbt.add_jobcode(name="Smith")
    office.sandbox.qbt.add_jobcode(name="a-1", parent_id=customer)
    office.app.snapshot.take()
    [found] = kinds(office)["below"].found
    assert [each.job_id for each in found.jobs] == [1]


@pytest.mark.parametrize("name", ["doubled", "twins"])
def test_each_kind_is_bounded(office: Office, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(mend, "SHOWN", 1)
    items = [job(n, f"A-{n}", jobAddress1=f"{n % 2} Oak Street") for n in range(1, 5)]
    items += [job(10 + n, f"B-{n % 2}") for n in range(4)]
    office.put(*items)
    kind = kinds(office)[name]
    assert (len(kind.found), kind.more) == (1, True)
