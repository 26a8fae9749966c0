"""Compare what the sandbox's two services hold: is each active job exactly one jobcode?

It knows nothing of the product, so that it can find the product wrong.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cprqueue.sandbox.dataset import Job, is_active

LONGEST_NAME = 64
PARTS = {
    "addr1": "jobAddress1",
    "addr2": "jobAddress2",
    "city": "jobCity",
    "state": "jobStateCd",
    "zip": "jobZip",
}
Rows = list[dict[str, Any]]


@dataclass(slots=True)
class Audit:
    """What was found. ``wrong`` has one line for each fault and says which job."""

    right: int = 0
    """Active jobs with exactly one jobcode, which is active, and exactly one right location."""
    with_location: int = 0
    """Those of them that have an address, and so a location."""
    unfit: int = 0
    """Active jobs that cannot be there: number too long, or taken by another active job."""
    leftover: int = 0
    """Active jobcodes of jobs that are inactive now: the monthly prune archives them."""
    wrong: list[str] = field(default_factory=list)


def audit(
    jobs: Iterable[Job], state: Mapping[str, Rows], *, unmanaged: Collection[int] = ()
) -> Audit:
    """Judge QuickBooks Time's ``state`` by the RM ``jobs``; leave ``unmanaged`` jobcodes out."""
    jobs = list(jobs)
    found = Audit()
    jobcodes = _by_name(state["jobcodes"], unmanaged)
    locations = _by_jobcode(state["locations"])
    desired = defaultdict(list)
    for job in filter(is_active, jobs):
        desired[_key(job["jobJobId"])].append(job)
    for key, claimants in desired.items():
        _judge(found, claimants, jobcodes.pop(key, []), locations)
    known = {_key(job["jobJobId"]) for job in jobs if job["jobJobId"]}
    for key, rows in jobcodes.items():
        active = [row for row in rows if row["active"]]
        if key in known:
            found.leftover += len(active)
        else:
            found.wrong += [
                f"jobcode {row['id']} ({row['name']}) belongs to no job" for row in active
            ]
    return found


def _judge(
    found: Audit, claimants: list[Job], jobcodes: Rows, locations: Mapping[int, Rows]
) -> None:
    """Judge one job number: one jobcode, for one of those who claim the number."""
    if len(_name(claimants[0])) > LONGEST_NAME:
        found.unfit += len(claimants)
        found.wrong += [f"{_name(claimants[0])}: too long, but there"] * bool(jobcodes)
        return
    found.unfit += len(claimants) - 1
    faults = [_faults(job, jobcodes, locations) for job in claimants]
    if all(faults):
        found.wrong += faults[0]
        return
    owner = claimants[faults.index([])]
    found.right += 1
    found.with_location += any(_address(owner))


def _faults(job: Job, jobcodes: Rows, locations: Mapping[int, Rows]) -> list[str]:
    name = f"RM job {job['jobId']} ({_name(job)})"
    if len(jobcodes) != 1:
        return [f"{name}: {len(jobcodes)} jobcodes, archived ones too"]
    jobcode = jobcodes[0]
    if not jobcode["active"]:
        return [f"{name}: its jobcode is archived"]
    lines = []
    if jobcode["name"] != _name(job):
        lines.append(f"{name}: its jobcode is called {jobcode['name']}")
    if not jobcode["assigned_to_all"]:
        lines.append(f"{name}: its jobcode is not assigned to all")
    linked = locations.get(jobcode["id"], [])
    held = [tuple(str(place[part]) for part in PARTS) for place in linked]
    expected = [_address(job)] if any(_address(job)) else []
    if held != expected:
        right = sum(place in expected for place in held)
        lines.append(f"{name}: {len(held)} linked locations, {right} of them right")
    return lines


def _by_name(jobcodes: Rows, unmanaged: Collection[int]) -> dict[str, Rows]:
    found = defaultdict(list)
    for row in jobcodes:
        if row["id"] not in unmanaged:
            found[_key(row["name"])].append(row)
    return found


def _by_jobcode(locations: Rows) -> dict[int, Rows]:
    found = defaultdict(list)
    for row in locations:
        linked = row["linked_objects"]
        for jobcode_id in linked.get("jobcodes", ()) if row["active"] and linked else ():
            found[int(jobcode_id)].append(row)
    return found


def _name(job: Job) -> str:
    return _plain(job["jobJobId"])


def _key(name: str) -> str:
    return _plain(name).casefold()


def _address(job: Job) -> tuple[str, ...]:
    return tuple(_plain(job[field]) for field in PARTS.values())


def _plain(text: str | None) -> str:
    return " ".join((text or "").split())
