"""Pure: what the database holds, as frozen values.

Each record names its columns. ``store`` builds them from rows and gives out nothing else.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Self

from cprqueue.domain.models import Address, Jobcode, Json, Location, Observed
from cprqueue.domain.states import (
    Intent,
    LinkState,
    Outcome,
    RunKind,
    RunState,
    VerificationKind,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import RowMapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A row as a value: each field is the column of its name, or comes from ``_decoded``."""

    @staticmethod
    def _decoded(_row: RowMapping) -> Mapping[str, object]:
        return {}

    @classmethod
    def from_row(cls, row: RowMapping) -> Self:
        """Build the record from a row that has at least its columns."""
        decoded = cls._decoded(row)
        return cls(**{n: decoded[n] if n in decoded else row[n] for n in cls.__dataclass_fields__})

    def as_row(self) -> dict[str, object]:
        """Return the fields by name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord(Record):
    """A known RM job."""

    job_id: int
    job_number: str
    job_name: str
    site_id: int | None
    status: str
    progress: str
    addr1: str
    addr2: str
    city: str
    state: str
    zip: str
    active: bool
    rule: str
    observed_at: datetime
    recorded_at: datetime
    seen_run_id: int
    complete_run_id: int
    sighting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded(Record):
    """What decides whether a job's record changes; ``state`` is None without a link."""

    content_hash: str
    sighting: int
    observed_at: datetime
    seen_run_id: int
    complete_run_id: int
    active: bool
    rule: str
    name_key: str
    state: LinkState | None
    desired_hash: str | None
    jobcode_id: int | None
    due_run_id: int | None

    @property
    def creation_allowed(self) -> bool:
        """True for a job whose jobcode is about to be created: no brake holds it."""
        return self.state is LinkState.DUE and self.jobcode_id is None and self.due_run_id is None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownJob(Recorded):
    """The same of every known job, with the fetch that showed it first."""

    job_id: int
    first_run_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Link(Record):
    """What a job has in QuickBooks Time, and when it is pushed next.

    ``observed_text`` is ``observed`` as it is stored: for whoever writes only where it still is so.
    ``due_run_id``: the fetch on whose changes the brake has yet to decide, or that holds the job.
    """

    job_id: int
    state: LinkState
    jobcode_id: int | None
    location_id: int | None
    observed: Observed
    observed_text: str | None
    desired_hash: str
    pushed_at: datetime | None
    attempts: int
    due_since: datetime | None
    next_attempt_at: datetime | None
    lease: str | None
    lease_until: datetime | None
    intent: Intent | None
    intent_at: datetime | None
    verification: VerificationKind | None
    error_code: str | None
    error_reason: str | None
    due_run_id: int | None

    @staticmethod
    def _decoded(row: RowMapping) -> Mapping[str, object]:
        return {"observed": Observed.from_json(row["observed"]), "observed_text": row["observed"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedLink(Link):
    """A link with what the push needs of its job."""

    job_number: str
    name_key: str
    active: bool
    first_run_id: int
    address: Address

    @staticmethod
    def _decoded(row: RowMapping) -> Mapping[str, object]:
        parts = (row[name] for name in ("addr1", "addr2", "city", "address_state", "zip"))
        return {**Link._decoded(row), "address": Address(*parts)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Record):
    """A run; ``detail`` is its report.

    ``emitted``: how many it set out to do: jobs sent, jobcodes read or planned. ``recorded``: how
    many of them are done: jobs on record, jobcodes exported, archived or restored.
    """

    run_id: int
    key: str
    kind: RunKind
    state: RunState
    complete: bool
    requested_by: str
    created_at: datetime
    started_at: datetime | None
    observed_at: datetime | None
    touched_at: datetime | None
    finished_at: datetime | None
    since: datetime | None
    emitted: int
    recorded: int
    skipped: int
    calls: int
    note: str | None
    detail: Json
    sighting: int | None

    @staticmethod
    def _decoded(row: RowMapping) -> Mapping[str, object]:
        return {"detail": json.loads(row["detail"]) if row["detail"] else None}

    @property
    def asking(self) -> int:
        """The number of its asking of RM; the version before counted by runs."""
        return self.sighting or self.run_id

    @property
    def began(self) -> datetime:
        """When somebody took it up; when it was ordered, where nobody has."""
        return self.started_at or self.created_at

    @property
    def moved(self) -> datetime:
        """When it moved last."""
        return self.touched_at or self.created_at

    @property
    def own_calls(self) -> int | None:
        """Its calls to QuickBooks Time; None for what makes none: the push is a later step."""
        return None if self.kind in (RunKind.FETCH, RunKind.IMPORT) else self.calls

    @property
    def details(self) -> Mapping[str, Json]:
        """The report by name; empty where there is none."""
        return self.detail if isinstance(self.detail, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class LocationBefore:
    """A location of a jobcode that was archived."""

    id: int
    active: bool
    address: Address
    jobcode_ids: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class StateBefore:
    """What must be known to bring a jobcode back. ``family``: it and all below it."""

    name: str
    parent_id: int
    type: str
    assigned_to_all: bool
    short_code: str
    family: list[int] = field(default_factory=list)
    assignees: list[int] = field(default_factory=list)
    locations: list[LocationBefore] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        jobcode: Jobcode,
        locations: Iterable[Location],
        family: Iterable[int],
        assignees: Iterable[int],
    ) -> StateBefore:
        """Take down a jobcode as it is."""
        places = [
            LocationBefore(
                id=place.id,
                active=place.active,
                address=place.address,
                jobcode_ids=list(place.jobcode_ids),
            )
            for place in sorted(locations, key=lambda place: place.id)
        ]
        return cls(
            name=jobcode.name,
            parent_id=jobcode.parent_id,
            type=jobcode.type,
            assigned_to_all=jobcode.assigned_to_all,
            short_code=jobcode.short_code,
            family=sorted(family),
            assignees=sorted(assignees),
            locations=places,
        )

    def to_json(self) -> str:
        """Return the JSON for the database."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> StateBefore:
        """Inverse of ``to_json``."""
        data = json.loads(text)
        places = [
            LocationBefore(**{**place, "address": Address(**place["address"])})
            for place in data.pop("locations")
        ]
        return cls(**data, locations=places)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPlanItem(Record):
    """One jobcode of a plan that is about to be stored."""

    job_id: int | None
    job_number: str
    jobcode_id: int
    name: str
    reason: str
    state_before: StateBefore
    outcome: Outcome
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanItem(NewPlanItem):
    """One jobcode of a plan, and what came of it."""

    item_id: int
    run_id: int
    outcome_at: datetime | None

    @property
    def label(self) -> str:
        """What people call it."""
        return self.job_number or self.name

    @staticmethod
    def _decoded(row: RowMapping) -> Mapping[str, object]:
        return {"state_before": StateBefore.from_json(row["state_before"])}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRow(Record):
    """A jobcode with one of its locations; either may be missing."""

    jobcode_id: int | None
    name: str
    name_key: str
    type: str
    parent_id: int | None
    jobcode_active: bool | None
    assigned_to_all: bool | None
    has_children: bool | None
    short_code: str
    jobcode_modified_at: datetime | None
    location_id: int | None
    addr1: str
    addr2: str
    city: str
    state: str
    zip: str
    location_active: bool | None
    location_modified_at: datetime | None
    geocoding_status: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Record):
    """What happened to a job."""

    job_id: int
    kind: str
    text: str
    at: datetime
    run_id: int | None
