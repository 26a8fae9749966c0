"""Thousands of jobs: what is unchanged costs nothing, what changed costs the least.

With more of them the benchmarks count: see docs/benchmarks.md.
"""

from __future__ import annotations

import pytest

from cprqueue.sandbox.dataset import make_jobs
from tests.office import Office, job, one_to_one


@pytest.mark.settings(QBT_RATE_LIMIT="5000")
def test_thousands_of_unchanged_jobs_cost_no_call_and_four_changed_ones_at_most_four(
    office: Office,
) -> None:
    sandbox = office.sandbox
    sandbox.rm.put_jobs(make_jobs(2_500, tricky=False))
    office.fetch()
    office.push(seconds=120)
    assert office.broken() == []
    sandbox.client.reset_calls()
    office.fetch()
    office.push()
    assert [call for call in sandbox.calls if call.service == "qbt"] == []
    active = [item for item in sandbox.rm.jobs()[:50] if office.link(item["jobId"])]
    new, renamed, moved, closed = (dict(item) for item in active[:4])
    new |= {"jobId": 999_999, "jobJobId": "NEW-26-00001R"}
    renamed["jobJobId"] = "NEW-26-00002R"
    moved["jobAddress1"] = "1 Other Street"
    closed["jobProgress"] = "Lost Lead"
    sandbox.rm.put_jobs([new, renamed, moved, closed])
    office.fetch()
    office.push()
    assert len([call for call in sandbox.calls if call.service == "qbt"]) <= 4
    assert office.broken() == []


@pytest.mark.settings(QBT_RATE_LIMIT="5000")
def test_a_lost_answer_in_a_first_sync_of_more_jobs_than_a_statement_has_parameters_stops_nobody(
    office: Office,
) -> None:
    sandbox = office.sandbox
    sandbox.rm.put_jobs([job(n, f"A-{n}") for n in range(1, 2201)])
    office.fetch()
    lost = {"service": "qbt", "method": "POST", "kind": "lost"}
    sandbox.client.set_faults(
        [{**lost, "path": path, "nth": [44]} for path in ("/jobcodes", "/locations")]
    )
    office.push(seconds=60)
    assert office.counts()["in_sync"] == 2200
    one_to_one(office, 2200)
