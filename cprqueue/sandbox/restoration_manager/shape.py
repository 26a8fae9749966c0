"""How a job and a list of jobs look on the wire."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cprqueue.sandbox.restoration_manager.switches import MODIFIED, RmSwitches
from cprqueue.sandbox.wire import Answer

Job = dict[str, Any]

JOB_FIELDS = (
    "jobId",
    "jobName",
    "jobJobId",
    "siteId",
    "jobStatus",
    "jobProgress",
    "jobAddress1",
    "jobAddress2",
    "jobCity",
    "jobStateCd",
    "jobZip",
    "JobFullAddress",
)
ADDRESS = ("jobAddress1", "jobAddress2", "jobCity", "jobStateCd", "jobZip")
DEEP = "nested too deeply"
LEVELS = 100_000
CONTROL = re.compile(r"(?<!\\)\\(?:[bfnrt]|u00[01][0-9a-f])")
JOBS_PER_CHUNK = 200
DRIP_PIECES = 20
JSON_HEADERS = {"Content-Type": "application/json; charset=utf-8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed(Answer):
    """An answer whose body comes in ``pieces``, spread over ``seconds``; ``body`` is unused."""

    chunks: Iterable[bytes] = ()
    pieces: int = 1
    seconds: float = 0.0


def instant(text: str) -> datetime:
    """Return the moment an ISO 8601 text means; UTC where it names no zone."""
    when = datetime.fromisoformat(text)
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def stamp(when: datetime) -> str:
    """Return ``when`` in the one form that is kept: fixed width, so that text sorts as time."""
    return when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}Z"


_STAMPS: dict[str, Callable[[str], str]] = {
    "z": lambda kept: kept,
    "naive": lambda kept: kept[:-1],
    "seconds": lambda kept: kept[:-5] + "Z",
    "offset": lambda kept: kept[:-1] + "+00:00",
}
_CASINGS: dict[str, Callable[[str], str]] = {
    "seen": lambda name: name,
    "lower": str.lower,
    "upper": str.upper,
    "pascal": lambda name: name[0].upper() + name[1:],
    "camel": lambda name: name[0].lower() + name[1:],
}


def present(job: Job, switches: RmSwitches) -> Job:
    """Return the object that stands for ``job`` on the wire."""
    shown = {name: value for name, value in job.items() if name != MODIFIED}
    if switches.modified_field:
        shown[switches.modified_field] = _STAMPS[switches.modified_format](job[MODIFIED])
    if switches.zip_as_int and str(shown["jobZip"]).isdecimal():
        shown["jobZip"] = int(shown["jobZip"])
    if switches.numbers_as_floats:
        shown = {k: float(v) if type(v) is int else v for k, v in shown.items()}
    if switches.numbers_as_strings:
        shown = {k: str(v) if type(v) in (int, float) else v for k, v in shown.items()}
    if switches.html_entities:
        shown |= {k: html.escape(shown[k]) for k in ADDRESS if isinstance(shown[k], str)}
    if switches.trailing_spaces:
        shown = {k: v + "  " if isinstance(v, str) else v for k, v in shown.items()}
    if switches.not_a_number:
        shown["jobLatitude"] = math.nan
    if switches.unreadable_job == job["jobId"]:
        deep = {"jobNotes": DEEP}
        shown = deep | shown if switches.unreadable_first else shown | deep
    recase = _CASINGS[switches.casing]
    return shown if switches.casing == "seen" else {recase(k): v for k, v in shown.items()}


def written(value: object, switches: RmSwitches) -> str:
    """Return the JSON text of a job or of several, in the way that the switches say."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    text = text.replace(f'"{DEEP}"', "[" * LEVELS + "]" * LEVELS)
    return CONTROL.sub(_raw, text) if switches.raw_controls else text


def _raw(escape: re.Match[str]) -> str:
    return str(json.loads(f'"{escape[0]}"'))


def since(query: Mapping[str, str], switches: RmSwitches) -> str:
    """Return the ``ModifiedSince`` of a query as a kept stamp, empty without one.

    ValueError: a parameter is not what the service understands.
    """
    related, since_name = "includeRelatedData", "ModifiedSince"
    if switches.names_ignore_case:
        query = {name.lower(): value for name, value in query.items()}
        related, since_name = related.lower(), since_name.lower()
    if query.get(related, "false").lower() not in ("true", "false"):
        raise ValueError(f"{related} is neither true nor false")
    return stamp(instant(query[since_name])) if since_name in query else ""


def lists(jobs: Iterable[Job]) -> dict[str, list[Any]]:
    """Return the values in use, as the lists that a user picks from."""
    named = {"jobStatuses": "jobStatus", "jobProgresses": "jobProgress", "sites": "siteId"}
    used: dict[str, set[Any]] = {listed: set() for listed in named}
    for job in jobs:
        for listed, name in named.items():
            used[listed].add(job[name])
    return {listed: sorted(values - {None}, key=str) for listed, values in used.items()}


def job_list(jobs: list[Job], switches: RmSwitches) -> Answer:
    """Return the answer that lists ``jobs``: in one piece while small, streamed when large."""
    if not jobs and switches.nothing != "list":
        body = b"null" if switches.nothing == "null" else b""
        return Answer(status=204 if switches.nothing == "204" else 200, body=body)
    if len(jobs) <= JOBS_PER_CHUNK and not switches.drip_seconds:
        return Answer(body=b"".join(_chunks(jobs, switches, JOBS_PER_CHUNK)), headers=JSON_HEADERS)
    per_chunk = min(JOBS_PER_CHUNK, max(1, len(jobs) // DRIP_PIECES))
    return Streamed(
        headers=JSON_HEADERS,
        chunks=_chunks(jobs, switches, per_chunk),
        pieces=-(-len(jobs) // per_chunk) + 2,
        seconds=switches.drip_seconds,
    )


def _chunks(jobs: list[Job], switches: RmSwitches, per_chunk: int) -> Iterator[bytes]:
    mark = b"\xef\xbb\xbf" if switches.byte_order_mark else b""
    wrapped = switches.wrapping != "none"
    reference = '"$id":"1",' if switches.wrapping == "$values" else ""
    yield mark + (f'{{{reference}"{switches.wrapping}":['.encode() if wrapped else b"[")
    for start in range(0, len(jobs), per_chunk):
        shown = [present(job, switches) for job in jobs[start : start + per_chunk]]
        text = written(shown, switches)[1:-1]
        yield ("," + text if start else text).encode(switches.encoding, "replace")
    yield b"]}" if wrapped else b"]"
