"""A push that is killed at any line ends right."""

from __future__ import annotations

import pytest

from tests.office import Office, die_at, job, one_to_one

POINTS = [
    "claimed",
    "before_create_jobcode",
    "after_create_jobcode",
    "recorded_create_jobcode",
    "before_change_jobcode",
    "after_change_jobcode",
    "recorded_change_jobcode",
    "before_create_location",
    "after_create_location",
    "recorded_create_location",
    "before_change_location",
    "after_change_location",
    "recorded_change_location",
    "verified",
]


RING = """
from cprqueue.bootstrap import application
for _ in range(100):
    application().push.push_due()
"""


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.settings(CPR_LEASE_SECONDS="0.5")
def test_a_kill_at_any_line_between_claimed_and_recorded_ends_right(
    office: Office, point: str
) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 4)))
    if point == "verified":
        rule = {"service": "qbt", "method": "POST", "kind": "lost", "times": 1}
        office.sandbox.client.set_faults([rule])
    office.sandbox.rm.put_jobs(
        [
            job(1, "B-1"),
            job(2, "A-2", jobAddress1="New Street 2"),
            *(job(n, f"A-{n}") for n in range(4, 8)),
        ]
    )
    office.fetch()
    die_at(office, point, RING)
    office.push()
    one_to_one(office, 7)
