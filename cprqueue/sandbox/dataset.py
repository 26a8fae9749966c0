"""Job data to try the system on: as many plain jobs as asked for, and every tricky one once."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from typing import Any, TypedDict, Unpack

Job = dict[str, Any]

DUMMY_NUMBER = "LAX-UNALLOCATED JC"
CLOSED = "Paid in Full - File Closed"
CLOSED_OTHER_SPELLING = "Paid in Full = File Closed"
INACTIVE_PROGRESS = (CLOSED, CLOSED_OTHER_SPELLING, "Lost Lead")
LIVE_PROGRESS = ("New Lead", "Estimating", "Job Sold", "Work in Progress", "Invoiced")
INACTIVE_STATUSES = ("Inactive", "Closed", "Deleted")
TRICKY_FROM = 50  # a smaller set has no room for the tricky ones
FIRST_TRICKY_ID = 1001
FIRST_PLAIN_ID = 20001
SPREAD_SECONDS = 2 * 365 * 86400

# siteId, prefix of its job numbers, then (city, state, ZIP) of its towns
SITES: tuple[tuple[int, str, tuple[tuple[str, str, str], ...]], ...] = (
    (8, "PHX", (("Phoenix", "AZ", "85004"), ("Mesa", "AZ", "85201"), ("Tempe", "AZ", "85281"))),
    (33, "BMS", (("Birmingham", "AL", "35203"), ("Hoover", "AL", "35216"))),
    (12, "LAX", (("Los Angeles", "CA", "90012"), ("Torrance", "CA", "90501"))),
    (21, "BOS", (("Boston", "MA", "02108"), ("Quincy", "MA", "02169"))),
    (27, "DEN", (("Denver", "CO", "80202"), ("Aurora", "CO", "80012"))),
)
STREETS = ("Main St", "Oak Ave", "Palm Dr", "N 3rd St", "Camelback Rd", "Elm Ct", "Hill Blvd")
CLIENTS = ("Allied Mutual", "Desert Property Mgmt", "Harbor Insurance", "Nguyen", "Ortiz", "Smith")
UNITS = ("Unit L206", "Apt 4", "Ste 110", "Bldg D", "#12")


class Options(TypedDict, total=False):
    """How jobs are made; see ``iter_jobs``."""

    seed: int
    now: datetime | None
    tricky: bool
    padding_bytes: int
    active_share: float


def make_jobs(count: int, **options: Unpack[Options]) -> list[Job]:
    """Return ``count`` jobs; see ``iter_jobs``, which makes them one at a time."""
    return list(iter_jobs(count, **options))


def iter_jobs(
    count: int,
    *,
    seed: int = 1,
    now: datetime | None = None,
    tricky: bool = True,
    padding_bytes: int = 0,
    active_share: float = 0.75,
) -> Iterator[Job]:
    """Make ``count`` jobs, the same ones for the same seed and now.

    With ``tricky`` and at least 50 jobs, those of ``tricky_jobs`` come first. The rest are clean:
    unique numbers, whole addresses, ``active_share`` of them active. A larger count begins with
    the jobs of a smaller one. Modified dates lie in the two years before ``now``;
    ``padding_bytes`` adds a field of that size to every job.
    """
    rng = random.Random(seed)
    end = now or datetime.now(UTC)
    padding = ("All work per the estimate. " * (padding_bytes // 27 + 1))[:padding_bytes]
    first = tricky_jobs().values() if tricky and count >= TRICKY_FROM else ()
    jobs = chain(first, (_plain(index, rng, active_share) for index in range(count)))
    for job in islice(jobs, count):
        job["jobModifiedDate"] = _iso(end - timedelta(seconds=rng.uniform(60, SPREAD_SECONDS)))
        if padding:
            job["jobNotes"] = padding
        yield job


def is_active(job: Mapping[str, Any]) -> bool:
    """Tell whether the settings of ``credentials.environment`` make ``job`` an active one."""
    return (
        job["jobStatus"] == "Active"
        and bool((job["jobProgress"] or "").strip())
        and job["jobProgress"] not in INACTIVE_PROGRESS
        and bool((job["jobJobId"] or "").strip())
        and job["jobJobId"] != DUMMY_NUMBER
    )


def _iso(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _plain(index: int, rng: random.Random, active_share: float) -> Job:
    site_id, prefix, towns = SITES[index % len(SITES)]
    city, state, zip_code = rng.choice(towns)
    unit = rng.choice(UNITS) if rng.random() < 0.15 else None
    # The sequence alone tells two jobs of a site apart, so no two numbers are alike.
    number = f"{prefix}-{rng.choice((23, 24, 25))}-{index // len(SITES) + 10001:05d}"
    status, progress = _standing(rng, active_share)
    return _job(
        FIRST_PLAIN_ID + index,
        number + rng.choice("RM"),
        jobName=rng.choice(CLIENTS),
        siteId=site_id,
        jobStatus=status,
        jobProgress=progress,
        jobAddress1=f"{rng.randint(1, 9999)} {rng.choice(STREETS)}",
        jobAddress2=unit,
        jobCity=city,
        jobStateCd=state,
        jobZip=zip_code,
    )


def _standing(rng: random.Random, active_share: float) -> tuple[str, str]:
    if rng.random() < active_share:
        return "Active", rng.choice(LIVE_PROGRESS)
    if rng.random() < 0.5:
        return rng.choice(INACTIVE_STATUSES), rng.choice(LIVE_PROGRESS + INACTIVE_PROGRESS)
    return "Active", rng.choice(INACTIVE_PROGRESS)


def _job(job_id: int, number: str | None, **given: Any) -> Job:
    job: Job = {
        "jobId": job_id,
        "jobName": "Smith",
        "jobJobId": number,
        "siteId": 8,
        "jobStatus": "Active",
        "jobProgress": "Work in Progress",
        "jobAddress1": f"{job_id} Main St",
        "jobAddress2": None,
        "jobCity": "Phoenix",
        "jobStateCd": "AZ",
        "jobZip": "85004",
    }
    job.update(given)
    return job | {"JobFullAddress": given.get("JobFullAddress", _full_address(job))}


def _full_address(job: Job) -> str | None:
    street = " ".join(filter(None, (job["jobAddress1"], job["jobAddress2"])))
    region = " ".join(filter(None, (job["jobStateCd"], job["jobZip"])))
    parts = [part for part in (street, job["jobCity"], region) if part]
    return ", ".join(parts) + " United States" if parts else None


NOWHERE: Job = dict.fromkeys(
    ("jobAddress1", "jobAddress2", "jobCity", "jobStateCd", "jobZip"), None
)

# What each case is called, its job number, and what else is unusual about it.
_CASES: tuple[tuple[str, str | None, Job], ...] = (
    ("null name", "PHX-24-00001R", {"jobName": None}),
    ("null number", None, {}),
    ("blank number", "   ", {}),
    ("dummy number", DUMMY_NUMBER, {"siteId": 12}),
    ("null progress", "PHX-24-00002R", {"jobProgress": None}),
    ("closed", "PHX-24-00003R", {"jobProgress": CLOSED}),
    ("closed, other spelling", "PHX-24-00004R", {"jobProgress": CLOSED_OTHER_SPELLING}),
    ("lost lead", "PHX-24-00005M", {"jobProgress": "Lost Lead"}),
    ("status inactive", "BMS-25-00001M", {"siteId": 33, "jobStatus": "Inactive"}),
    ("status closed", "BMS-25-00002M", {"siteId": 33, "jobStatus": "Closed"}),
    ("another site", "BMS-25-00008M", {"siteId": 33, "jobCity": "Hoover", "jobStateCd": "AL"}),
    ("repeated name 1", "BMS-25-00009M", {"siteId": 33, "jobName": "Allied Mutual"}),
    ("repeated name 2", "BMS-25-00010R", {"siteId": 33, "jobName": "Allied Mutual"}),
    ("suffix R", "PHX-24-00463R", {}),
    ("suffix M", "PHX-24-00463M", {}),
    ("unit in address 2", "PHX-24-00006R", {"jobAddress2": "Unit L206"}),
    ("unit in address 1", "PHX-24-00007R", {"jobAddress1": "1450 N Central Ave Bldg D"}),
    ("ZIP+4", "PHX-24-00008R", {"jobZip": "85004-1234"}),
    (
        "leading zero ZIP",
        "BOS-24-00001R",
        {"siteId": 21, "jobCity": "Boston", "jobStateCd": "MA", "jobZip": "02108"},
    ),
    ("no house number", "PHX-24-00009R", {"jobAddress1": "Camelback Rd"}),
    ("no city", "PHX-24-00010R", {"jobCity": None}),
    ("no ZIP", "PHX-24-00011R", {"jobZip": None}),
    ("no street", "PHX-24-00012R", {"jobAddress1": None}),
    ("blank address parts", "PHX-24-00013R", {"jobAddress2": "  ", "jobCity": ""}),
    (
        "full address only",
        "PHX-24-00014R",
        NOWHERE | {"JobFullAddress": "88 Oak Ave, Mesa, AZ 85201 United States"},
    ),
    ("no address", "PHX-24-00015R", NOWHERE),
    ("number of 64 characters", "PHX-24-00016R " + "x" * 50, {}),
    ("number of 65 characters", "PHX-24-00017R " + "x" * 51, {}),
    ("number equal but for case 1", "PHX-24-00018R", {}),
    ("number equal but for case 2", "phx-24-00018r", {}),
    ("number equal but for space 1", "PHX-24-00019R", {}),
    ("number equal but for space 2", " PHX-24-00019R ", {}),
    ("doubled number 1", "PHX-24-00020R", {}),
    ("doubled number 2", "PHX-24-00020R", {}),
    ("non-ASCII", "PHX-24-00021R Ñ", {"jobName": "Peña & Söhne", "jobAddress1": "5 Calle Añil"}),
    ("asterisk", "PHX-24-0002*R", {}),
    ("colon", "PHX-24-00022R: Roof", {}),
    ("ampersand", "PHX-24-00023R & Co", {"jobName": "Smith & Sons"}),
    ("single quote", "PHX-24-00024R O'Neil", {"jobName": "O'Neil"}),
    ("double quote", 'PHX-24-00025R 2" pipe', {"jobName": 'The "Annex"'}),
    ("percent, plus and comma", "PHX-24-00026R 50%+, B", {}),
    ("job name of spaces around", "PHX-24-00027R", {"jobName": "  Ortiz  "}),
)


def tricky_jobs() -> dict[str, Job]:
    """Return every tricky job by the name of its case; their ids never change."""
    return {
        name: _job(FIRST_TRICKY_ID + index, number, **given)
        for index, (name, number, given) in enumerate(_CASES)
    }
