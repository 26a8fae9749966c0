"""Listings that change while they are read, and rows read by name or by their ids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cprqueue.clients.listings import by_ids, named, read_all
from cprqueue.domain.models import Jobcode
from cprqueue.errors import UnreadableAnswer
from tests.office import Office


class Pages:
    """A listing whose pages are these, one reading after another."""

    def __init__(self, *readings: list[list[int]]) -> None:
        self.readings = list(readings)

    def pages(self, _endpoint: str, _filters: Any) -> Any:
        for ids in self.readings.pop(0):
            yield [{"id": n, "name": "x"} for n in ids], True


class Row:
    def __init__(self, item: Any) -> None:
        self.id = int(item["id"])


def ids_read(*readings: list[list[int]]) -> tuple[list[int], int]:
    """Read such a listing; return the ids, and how many readings were left."""
    listing: Any = Pages(*readings)
    found: Any = read_all(listing, "jobcodes", Row, {})
    return sorted(row.id for row in found), len(listing.readings)


def test_a_listing_whose_ids_only_rise_is_read_once() -> None:
    assert ids_read([[1, 2], [], [3, 9]], [[1]]) == ([1, 2, 3, 9], 1)
    assert ids_read([[2, 1], [4, 3]], [[1]]) == ([1, 2, 3, 4], 1), "within a page any order will do"


def test_a_listing_in_any_other_order_is_read_until_two_readings_agree() -> None:
    other = [[3], [1], [2]]
    assert ids_read(other, other, [[1]]) == ([1, 2, 3], 1)
    assert ids_read([[3], [1]], other, [[2], [1], [3]]) == ([1, 2, 3], 0)
    assert ids_read([[1], [1]], [[1], [1]], [[2]]) == ([1], 1), "a row that moved to the next page"


def test_a_listing_that_never_comes_to_rest_is_an_error() -> None:
    with pytest.raises(UnreadableAnswer, match="jobcodes kept changing"):
        ids_read([[3], [1]], [[4], [1]], [[5], [1]])


def test_a_star_in_a_name_is_no_wild_card(office: Office) -> None:
    qbt = office.sandbox.qbt
    star = qbt.add_jobcode(name="A*1")
    qbt.add_jobcode(name="A-1")
    qbt.add_jobcode(name="A*1", parent_id=star)
    assert [code.id for code in named(office.app.qbt(), "a*1")] == [star]


@pytest.mark.parametrize(("number", "requests"), [(0, 0), (1, 1), (50, 1), (51, 2), (101, 3)])
def test_rows_are_read_by_their_ids_fifty_a_call_each_once(number: int, requests: int) -> None:
    asked: list[str] = []

    def listing(*, ids: str, active: str) -> Iterator[Jobcode]:
        assert active == "both"
        asked.append(ids)
        yield from (Jobcode(id=int(part), name="") for part in ids.split(","))

    ids = [*range(1, number + 1), *range(1, number + 1)]
    found = by_ids(listing, ids, active="both")
    assert [code.id for code in found] == list(range(1, number + 1))
    assert len(asked) == requests
