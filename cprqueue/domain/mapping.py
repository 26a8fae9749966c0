"""Pure: read the JSON of both services into values."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from cprqueue.domain.cutting import cut
from cprqueue.domain.models import (
    Address,
    ItemResult,
    Job,
    Jobcode,
    Json,
    Location,
    composed,
)
from cprqueue.errors import UnreadableAnswer

STATUS_LIMIT = 40

TEXT_LIMIT = 255
"""Longest text that the tables keep of one field, in UTF-16 units as SQL Server counts."""

UNFIT = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]")
"""Control characters that are no white space, and halves of characters: some database or
message refuses each of them, and then all jobs would wait for the one that holds it."""

ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
FULL = re.compile(r"\s*([+-]?\d{1,19})(?:\.0*)?\s*")


# --- RestorationManager ---------------------------------------------------------------------


def read_job(item: object) -> Job:
    """Read one RM job; field names count without case, values are trimmed.

    Raises UnreadableAnswer where there is no whole number as jobId: such an item cannot be
    told apart from others, so nothing can be done with it.
    """
    if not isinstance(item, Mapping):
        raise UnreadableAnswer(f"RestorationManager sent {type(item).__name__} where a job belongs")
    by_name = {str(name).casefold(): value for name, value in item.items()}
    job_id = _whole(by_name.get("jobid"))
    if job_id is None:
        raise UnreadableAnswer("RestorationManager sent a job without a whole number as jobId")
    return Job(
        job_id=job_id,
        job_number=read_text(by_name.get("jobjobid")),
        job_name=read_text(by_name.get("jobname")),
        site_id=_whole(by_name.get("siteid")),
        status=read_text(by_name.get("jobstatus")),
        progress=read_text(by_name.get("jobprogress")),
        address=Address(
            addr1=read_text(_decoded(by_name.get("jobaddress1"))),
            addr2=read_text(_decoded(by_name.get("jobaddress2"))),
            city=read_text(_decoded(by_name.get("jobcity"))),
            state=read_text(_decoded(by_name.get("jobstatecd"))),
            zip=read_zip(_decoded(by_name.get("jobzip"))),
        ),
    )


def _decoded(value: object) -> object:
    """Return a text with its HTML entities as characters; a page may have written them twice."""
    if not isinstance(value, str) or "&" not in value:
        return value
    once = ENTITY.sub(lambda entity: html.unescape(entity[0]), value)
    return ENTITY.sub(lambda entity: html.unescape(entity[0]), once)


def read_zip(value: object) -> str:
    """Return a ZIP as text; a number gets back the leading zeros that it lost."""
    number = None if isinstance(value, str) and "." not in value else _whole(value)
    if number is None:
        return read_text(value)
    return f"{number:05d}" if number > 0 else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """An item of a job list that is no valid JSON, beginning at ``byte``.

    ``known``: the fields before the damage, their names in lower case.
    """

    byte: int
    known: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """An item of a job list that no job could be read from.

    ``place`` counts from 1. ``is_job``: it stands for a job, not for nothing at all.
    """

    place: int
    byte: int | None
    job_id: int | None
    job_number: str
    is_job: bool

    @property
    def label(self) -> str:
        """What people and logs call it; never an address."""
        if self.job_id is not None:
            return f"RM job {self.job_id}" + (f" ({self.job_number})" if self.job_number else "")
        at = f"item {self.place}" + (f" at byte {self.byte}" if self.byte is not None else "")
        return f"job number {self.job_number} ({at})" if self.job_number else at


def read_unread(item: object, *, place: int) -> Unread:
    """Find out what can be known of an item that ``read_job`` refuses."""
    fields = item.known if isinstance(item, Damaged) else item
    known = fields if isinstance(fields, Mapping) else {}
    by_name = {str(name).casefold(): value for name, value in known.items()}
    job_id = by_name.get("jobid")
    return Unread(
        place=place,
        byte=item.byte if isinstance(item, Damaged) else None,
        job_id=_whole(job_id),
        job_number=read_text(by_name.get("jobjobid"))[:64],
        is_job=isinstance(item, Damaged) or job_id not in (None, ""),
    )


# --- QuickBooks Time ------------------------------------------------------------------------


def read_jobcode(item: Mapping[str, Json]) -> Jobcode:
    """Read one jobcode of a listing."""
    return Jobcode(
        id=_need_id(item, "jobcode"),
        name=_fit(item.get("name") or ""),
        parent_id=_whole(item.get("parent_id")) or 0,
        type=str(item.get("type") or "regular"),
        active=truth(item.get("active", True)),
        assigned_to_all=truth(item.get("assigned_to_all")),
        has_children=truth(item.get("has_children")),
        short_code=_fit(item.get("short_code") or ""),
        billable=truth(item.get("billable")),
        location_ids=_ids(item.get("locations")),
        last_modified=read_time(item.get("last_modified")),
    )


def read_location(item: Mapping[str, Json]) -> Location:
    """Read one location of a listing. An empty map of links may come as ``[]`` or ``{}``."""
    linked = item.get("linked_objects")
    return Location(
        id=_need_id(item, "location"),
        address=Address(
            addr1=read_text(item.get("addr1")),
            addr2=read_text(item.get("addr2")),
            city=read_text(item.get("city")),
            state=read_text(item.get("state")),
            zip=read_zip(item.get("zip")),
        ),
        active=truth(item.get("active", True)),
        jobcode_ids=_ids(linked.get("jobcodes") if isinstance(linked, Mapping) else None),
        last_modified=read_time(item.get("last_modified")),
        geocoding_status=read_text(item.get("geocoding_status"))[:STATUS_LIMIT],
    )


def read_item_result(item: Mapping[str, Json]) -> ItemResult:
    """Read the outcome of one item of a write request."""
    code = _whole(item.get("_status_code"))
    if code is None:
        raise UnreadableAnswer("QuickBooks Time answered an item without a _status_code")
    return ItemResult(
        code=code,
        message=read_text(item.get("_status_message")),
        extra=read_text(item.get("_status_extra")),
        id=_whole(item.get("id")),
    )


def truth(value: object) -> bool:
    """Read a boolean in any of the forms that QuickBooks Time uses."""
    return value in (True, 1, "1") or (
        isinstance(value, str) and value.strip().casefold() in ("yes", "true")
    )


def read_time(value: object) -> datetime | None:
    """Read a timestamp in any of the documented forms; without an offset it is UTC."""
    if not isinstance(value, str) or not value.strip() or value.startswith("0000"):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _need_id(item: Mapping[str, Json], what: str) -> int:
    found = _whole(item.get("id"))
    if found is None:
        raise UnreadableAnswer(f"QuickBooks Time sent a {what} without an id")
    return found


def _ids(value: object) -> tuple[int, ...]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if not isinstance(value, list):
        return ()
    return tuple(number for number in map(_whole, value) if number is not None)


def read_text(value: object) -> str:
    """Return a text of either service in one line, without what nobody sees or can store."""
    if value is None or isinstance(value, (Mapping, list)):
        return ""
    return cut(" ".join(composed(_fit(value)).split()), TEXT_LIMIT)


def _fit(value: object) -> str:
    return UNFIT.sub("", str(value))


def _whole(value: object) -> int | None:
    if isinstance(value, (float, Decimal)):
        # The limit first: int() of an enormous Decimal would take for ever.
        whole = -(2**63) < value < 2**63 and value == int(value)
        return int(value) if whole else None
    if isinstance(value, str):
        match = FULL.fullmatch(value)
        value = int(match[1]) if match else None
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if abs(value) < 2**63 else None
