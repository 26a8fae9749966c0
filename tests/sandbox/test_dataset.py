"""The data set holds what real job lists were seen to hold, at any size, the same each time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cprqueue.sandbox.dataset import (
    CLOSED,
    CLOSED_OTHER_SPELLING,
    DUMMY_NUMBER,
    Job,
    is_active,
    iter_jobs,
    make_jobs,
    tricky_jobs,
)
from cprqueue.sandbox.restoration_manager import JOB_FIELDS

NOW = datetime(2025, 11, 1, tzinfo=UTC)


def numbers(jobs: list[Job]) -> list[str]:
    return [job["jobJobId"] or "" for job in jobs]


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 1000])
@pytest.mark.parametrize("tricky", [True, False])
def test_there_are_exactly_as_many_jobs_as_asked_for(count: int, tricky: bool) -> None:
    jobs = make_jobs(count, tricky=tricky)
    assert len({job["jobId"] for job in jobs}) == count


def test_a_seed_gives_the_same_jobs_each_time_and_another_seed_gives_others() -> None:
    assert make_jobs(200, seed=7, now=NOW) == make_jobs(200, seed=7, now=NOW)
    assert make_jobs(200, seed=7, now=NOW) != make_jobs(200, seed=8, now=NOW)


def test_a_larger_set_begins_with_a_smaller_one() -> None:
    assert make_jobs(300, now=NOW)[:100] == make_jobs(100, now=NOW)


@pytest.mark.parametrize("tricky", [True, False])
def test_about_three_quarters_are_active(tricky: bool) -> None:
    active = sum(map(is_active, make_jobs(2000, tricky=tricky)))
    assert 1400 < active < 1600


@pytest.mark.parametrize(("share", "active"), [(0.0, 0), (1.0, 100)])
def test_the_share_of_active_jobs_can_be_chosen(share: float, active: int) -> None:
    assert sum(map(is_active, make_jobs(100, tricky=False, active_share=share))) == active


def test_clean_jobs_are_whole_and_unlike_each_other() -> None:
    jobs = make_jobs(5000, tricky=False)
    assert len({number.casefold().replace(" ", "") for number in numbers(jobs)}) == 5000
    for name in ("jobName", "jobAddress1", "jobCity", "jobStateCd", "jobZip", "JobFullAddress"):
        assert all(job[name] and job[name].strip() == job[name] for job in jobs)


def test_every_job_has_every_field_and_a_date_within_two_years() -> None:
    for job in make_jobs(300, now=NOW):
        assert set(job) == {*JOB_FIELDS, "jobModifiedDate"}
        assert NOW - timedelta(days=730) <= datetime.fromisoformat(job["jobModifiedDate"]) < NOW


def test_every_tricky_job_is_there_once_from_fifty_jobs_on() -> None:
    wanted = [job["jobId"] for job in tricky_jobs().values()]
    ids = [job["jobId"] for job in make_jobs(50)]
    assert [job_id for job_id in ids if job_id in wanted] == wanted
    assert not {job["jobId"] for job in make_jobs(49)} & set(wanted)


CASES: list[tuple[str, Callable[[Job], Any]]] = [
    ("null name", lambda job: job["jobName"] is None),
    ("null number", lambda job: job["jobJobId"] is None),
    ("dummy number", lambda job: job["jobJobId"] == DUMMY_NUMBER),
    ("closed", lambda job: job["jobProgress"] == CLOSED),
    ("closed, other spelling", lambda job: job["jobProgress"] == CLOSED_OTHER_SPELLING),
    ("lost lead", lambda job: job["jobProgress"] == "Lost Lead"),
    ("status inactive", lambda job: job["jobStatus"] == "Inactive"),
    ("another site", lambda job: job["siteId"] == 33),
    ("suffix R", lambda job: job["jobJobId"].endswith("R")),
    ("suffix M", lambda job: job["jobJobId"].endswith("M")),
    ("unit in address 2", lambda job: job["jobAddress2"] == "Unit L206"),
    ("unit in address 1", lambda job: "Bldg" in job["jobAddress1"]),
    ("ZIP+4", lambda job: "-" in job["jobZip"]),
    ("leading zero ZIP", lambda job: job["jobZip"].startswith("0")),
    ("no house number", lambda job: not any(map(str.isdigit, job["jobAddress1"]))),
    ("no city", lambda job: job["jobCity"] is None and job["jobZip"]),
    ("no address", lambda job: not any(job[n] for n in JOB_FIELDS if "ddress" in n)),
    ("number of 64 characters", lambda job: len(job["jobJobId"]) == 64),
    ("number of 65 characters", lambda job: len(job["jobJobId"]) == 65),
    ("non-ASCII", lambda job: not job["jobJobId"].isascii()),
    ("asterisk", lambda job: "*" in job["jobJobId"]),
    ("colon", lambda job: ":" in job["jobJobId"]),
    ("ampersand", lambda job: "&" in job["jobJobId"]),
    ("single quote", lambda job: "'" in job["jobJobId"]),
    ("double quote", lambda job: '"' in job["jobJobId"]),
]


@pytest.mark.parametrize(("name", "holds"), CASES, ids=[name for name, _ in CASES])
def test_a_tricky_job_is_what_its_name_says(name: str, holds: Callable[[Job], Any]) -> None:
    assert holds(tricky_jobs()[name])


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        ("doubled number 1", "doubled number 2", str),
        ("number equal but for case 1", "number equal but for case 2", str.casefold),
        ("number equal but for space 1", "number equal but for space 2", str.strip),
    ],
)
def test_pairs_of_tricky_jobs_have_numbers_that_meet(
    first: str, second: str, alike: Callable[[str], str]
) -> None:
    jobs = tricky_jobs()
    assert alike(jobs[first]["jobJobId"]) == alike(jobs[second]["jobJobId"])
    assert jobs[first]["jobId"] != jobs[second]["jobId"]


def test_padding_makes_each_job_as_large_as_asked_for() -> None:
    assert {len(job["jobNotes"]) for job in make_jobs(60, padding_bytes=5000)} == {5000}


def test_jobs_come_one_at_a_time() -> None:
    assert next(iter_jobs(10**12, tricky=False))["jobId"]
