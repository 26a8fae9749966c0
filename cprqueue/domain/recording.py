"""Pure: what a sighting of an RM job changes on record. It decides, and ``store`` writes.

One job at a time, from what was read before: a caller may read the rows of many, decide each,
and write them in one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from cprqueue.domain.models import Desired, Job, Verdict, name_key
from cprqueue.domain.records import Recorded
from cprqueue.domain.states import LinkState

if TYPE_CHECKING:
    from collections.abc import Mapping

REFUSED = "what RestorationManager sent last cannot be stored: correct the job there"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """Which fetch showed a job, and when that fetch asked. ``run_id`` 0: no fetch.

    ``number`` is that of the asking (``sightings.next_number``): it alone says which of two
    sightings is newer, because a clock may be set back. ``event_run_id`` names the run in the
    job's history where it was no fetch (an import).
    ``braked``: what it makes due waits until the run has closed, for the brake on pushes.
    """

    run_id: int
    number: int
    complete: bool
    observed_at: datetime
    event_run_id: int | None = None
    braked: bool = False

    @property
    def source_run_id(self) -> int | None:
        """The run that the job's history names; None where it was none."""
        return self.run_id or self.event_run_id


class Finding(StrEnum):
    """What a sighting is compared with the record."""

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    OLDER = "older"


class LinkNeed(StrEnum):
    """What becomes of the job's link."""

    ADD = "add"
    PUSH = "push"
    RESTORE = "restore"
    REST = "rest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to be written for one job.

    ``columns`` of its row; the ``event`` of its history, if any; what its link needs, and the
    digest of what is desired then, and the run that has to close before it is pushed, if any;
    the key of the number that it leaves to others, if any.
    """

    job_id: int
    finding: Finding
    columns: Mapping[str, object] = field(default_factory=dict)
    event: str | None = None
    event_run_id: int | None = None
    link: LinkNeed | None = None
    desired_hash: str = ""
    waits_for: int | None = None
    released: str | None = None


def decide(known: Recorded | None, job: Job, verdict: Verdict, sighting: Sighting) -> Change:
    """Decide what the sighting changes; ``known``: the record as it was read, None without one.

    An older sighting never overwrites a newer record; it only counts as seen by its fetch.
    """
    if known is None:
        return _first(job, verdict, sighting)
    seen = _seen(known, sighting)
    if _is_older(sighting, known):
        return Change(job_id=job.job_id, finding=Finding.OLDER, columns=seen)
    moment = {"observed_at": sighting.observed_at, "sighting": sighting.number, **seen}
    same = (known.content_hash, known.active, known.rule) == (
        job.content_hash(),
        verdict.active,
        verdict.rule,
    )
    if same and _settled(known):
        return Change(job_id=job.job_id, finding=Finding.UNCHANGED, columns=moment)
    columns = _columns(job, verdict)
    left = known.active and not (verdict.active and known.name_key == columns["name_key"])
    digest = desired(job).digest()
    return Change(
        job_id=job.job_id,
        finding=Finding.UNCHANGED if same else Finding.CHANGED,
        columns=columns | moment,
        event=f"changed: {verdict.rule}",
        event_run_id=sighting.source_run_id,
        link=_link_need(known, digest, active=verdict.active),
        desired_hash=digest,
        waits_for=None if known.creation_allowed else _waits_for(sighting),
        released=known.name_key if left else None,
    )


def decide_refused(
    known: Recorded | None, job_id: int, sighting: Sighting, *, last_event: str
) -> Change:
    """Decide for a job that the database refuses: it is seen, and its record stays as it is.

    A job is not archived because it cannot be read. ``last_event``: the newest of its history.
    """
    if known is None:
        return _first(Job(job_id=job_id), Verdict(active=False, rule=REFUSED), sighting)
    seen = _seen(known, sighting)
    if not _is_older(sighting, known):
        seen |= {"observed_at": sighting.observed_at, "sighting": sighting.number}
    return Change(
        job_id=job_id,
        finding=Finding.UNCHANGED,
        columns=seen,
        event=None if last_event.endswith(REFUSED) else REFUSED,
        event_run_id=sighting.run_id,
    )


def desired(job: Job) -> Desired:
    """Return what QuickBooks Time should hold for this job while it is active."""
    return Desired(name=job.job_number, address=job.address)


def _first(job: Job, verdict: Verdict, sighting: Sighting) -> Change:
    runs = {
        "sighting": sighting.number,
        "first_run_id": sighting.run_id,
        "seen_run_id": sighting.run_id,
        "complete_run_id": sighting.run_id if sighting.complete else 0,
    }
    return Change(
        job_id=job.job_id,
        finding=Finding.NEW,
        columns=_columns(job, verdict) | {"observed_at": sighting.observed_at, **runs},
        event=f"new: {verdict.rule}",
        event_run_id=sighting.source_run_id,
        link=LinkNeed.ADD if verdict.active else None,
        desired_hash=desired(job).digest(),
        waits_for=_waits_for(sighting),
    )


def _is_older(sighting: Sighting, known: Recorded) -> bool:
    """Tell whether the record is newer; files imported since one asking go by their own age."""
    mine, recorded = (sighting.number, sighting.observed_at), (known.sighting, known.observed_at)
    return mine < recorded


def _waits_for(sighting: Sighting) -> int | None:
    return sighting.source_run_id if sighting.braked else None


def _settled(known: Recorded) -> bool:
    return bool(known.state) if known.active else known.state in (None, LinkState.IDLE)


def _seen(known: Recorded, sighting: Sighting) -> dict[str, object]:
    """Return which fetches have shown the job; late messages never turn the numbers back."""
    seen: dict[str, object] = {}
    if sighting.run_id > known.seen_run_id:
        seen["seen_run_id"] = sighting.run_id
    if sighting.complete and sighting.run_id > known.complete_run_id:
        seen["complete_run_id"] = sighting.run_id
    return seen


def _columns(job: Job, verdict: Verdict) -> dict[str, object]:
    """Return the columns that follow from the job and the verdict alone."""
    return {
        "job_number": job.job_number,
        "name_key": name_key(job.job_number),
        "job_name": job.job_name,
        "site_id": job.site_id,
        "status": job.status,
        "progress": job.progress,
        **job.address.as_dict(),
        "active": verdict.active,
        "rule": verdict.rule,
        "content_hash": job.content_hash(),
    }


def _link_need(known: Recorded, digest: str, *, active: bool) -> LinkNeed | None:
    if not active:
        return LinkNeed.REST if known.state else None
    if known.state is None:
        return LinkNeed.ADD
    if known.state is LinkState.IDLE:
        return LinkNeed.RESTORE
    return LinkNeed.PUSH if known.desired_hash != digest else None
