"""The promise, checked against what QuickBooks Time really holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cprqueue.mapping import ActiveRules, read_job
from cprqueue.models import NAME_LIMIT, Job, name_key

ADDRESS = ("addr1", "addr2", "city", "state", "zip")

RULES = ActiveRules.build(
    site_ids=(),
    statuses=("Active",),
    inactive_progress=("Lost Lead", "Paid in Full - File Closed"),
    excluded_numbers=("LAX-UNALLOCATED JC",),
)


def active_jobs(items: Iterable[Mapping[str, Any]]) -> list[Job]:
    """Return the jobs that belong into QuickBooks Time: active, fitting, the first of doubles."""
    found: dict[str, Job] = {}
    for item in sorted(items, key=lambda item: int(item["jobId"])):
        job = read_job(item)
        if RULES.judge(job).active and len(job.job_number) <= NAME_LIMIT:
            found.setdefault(name_key(job.job_number), job)
    return list(found.values())


def broken(
    items: Iterable[Mapping[str, Any]], state: Mapping[str, list[dict[str, Any]]]
) -> list[str]:
    """Return a line for each active job that is not exactly one jobcode with one location."""
    named: dict[str, list[dict[str, Any]]] = {}
    for code in state["jobcodes"]:
        named.setdefault(name_key(code["name"]), []).append(code)
    places: dict[int, list[dict[str, Any]]] = {}
    for place in state["locations"]:
        for code_id in _linked(place) if place["active"] else ():
            places.setdefault(code_id, []).append(place)
    lines = []
    for job in active_jobs(items):
        codes = named.get(name_key(job.job_number), [])
        lines += _jobcode_faults(job, codes)
        if len(codes) == 1:
            lines += _location_faults(job, places.get(codes[0]["id"], []))
    return lines


def _jobcode_faults(job: Job, named: list[dict[str, Any]]) -> list[str]:
    if len(named) != 1:
        return [f"{job.label}: {len(named)} jobcodes"]
    code = named[0]
    right = code["name"] == job.job_number and code["active"] and code["assigned_to_all"]
    seen = {name: code[name] for name in ("name", "active", "assigned_to_all")}
    return [] if right else [f"{job.label}: {seen}"]


def _location_faults(job: Job, linked: list[dict[str, Any]]) -> list[str]:
    wanted = [list(job.address.as_dict().values())] if job.address else []
    held = [[str(place[name]) for name in ADDRESS] for place in linked]
    return [] if held == wanted else [f"{job.label}: locations {held}, wanted {wanted}"]


def _linked(place: Mapping[str, Any]) -> list[int]:
    objects = place["linked_objects"]
    return list(objects.get("jobcodes", [])) if isinstance(objects, Mapping) else []
