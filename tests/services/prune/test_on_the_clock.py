"""Who is on the clock, counted for each jobcode that would leave."""

from __future__ import annotations

from datetime import date

import pytest

from cprqueue.services.prune.on_the_clock import count_by_family
from cprqueue.store.database import clock
from tests.office import Office


def today(office: Office) -> date:
    with office.app.db.read() as conn:
        return clock(conn).date()


@pytest.mark.parametrize("place", [1, 50, 51, 60])
def test_everybody_on_the_clock_is_found_wherever_the_jobcode_stands_in_the_list(
    office: Office, place: int
) -> None:
    qbt = office.sandbox.qbt
    ids = [qbt.add_jobcode(name=f"A-{n}", assigned_to_all=True) for n in range(1, 61)]
    busy = sorted(ids)[place - 1]
    qbt.clock_in(busy)
    found = count_by_family(office.app.prune.qbt, {code: {code} for code in ids}, today(office))
    assert found == {busy: 1}


def test_whoever_works_below_a_jobcode_counts_for_it(office: Office) -> None:
    qbt = office.sandbox.qbt
    parent = qbt.add_jobcode(name="A-1", assigned_to_all=True)
    child = qbt.add_jobcode(name="Phase 1", parent_id=parent, assigned_to_all=True)
    other = qbt.add_jobcode(name="A-2", assigned_to_all=True)
    for code in (parent, child):
        qbt.clock_in(code, qbt.add_user(first_name=f"Worker {code}"))
    families = {parent: {parent, child}, other: {other}}
    assert count_by_family(office.app.prune.qbt, families, today(office)) == {parent: 2}
