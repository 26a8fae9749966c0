"""One claimed job, in memory: what it should be, what is observed, and what is uncertain."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from cprqueue.domain.models import Desired, Observed, name_key
from cprqueue.domain.naming import Claimant
from cprqueue.domain.records import ClaimedLink
from cprqueue.domain.states import Intent, VerificationKind

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(slots=True, kw_only=True)
class Item:
    """One claimed job; it changes as its requests are answered."""

    job_id: int
    number: str
    key: str
    seniority: tuple[int, int]
    desired: Desired
    observed: Observed
    attempts: int
    verification: VerificationKind | None
    intent: Intent | None
    intent_at: datetime | None
    desired_hash: str
    fully_verified: bool = False
    """True once this claim has read back everything: a refusal after that is final."""
    changed: bool = False
    """True once this claim has sent something for the job, or observed something new."""
    sought: bool = False
    """True once this claim has looked for what a create did not give the id of."""

    def become(self, other: Item) -> None:
        """Take over every value of ``other``, an earlier copy of this item."""
        for field in fields(self):
            setattr(self, field.name, getattr(other, field.name))

    @property
    def label(self) -> str:
        """What people call this job."""
        return f"RM job {self.job_id} ({self.number})"

    @property
    def names(self) -> list[str]:
        """The names under which this job's jobcode may be found while it has no id.

        Besides its number, the one that a create of unknown outcome sent: the number may have
        changed since, and the jobcode of the old one must not be left behind.
        """
        sent = self.observed.name if self.intent is Intent.CREATE_JOBCODE else ""
        return list(dict.fromkeys(name for name in (sent, self.desired.name) if name))

    @property
    def certain(self) -> bool:
        """False while a request's outcome is unknown or a verification is asked for."""
        return self.verification is None and self.intent is None

    @property
    def verifiable_by_changes(self) -> bool:
        """Tell whether what the lost request did is all that our record may lack."""
        return (
            self.verification is VerificationKind.CHANGES
            and self.intent_at is not None
            and (self.observed.jobcode_id is not None or self.intent is Intent.CREATE_JOBCODE)
        )

    @property
    def claimant(self) -> Claimant:
        """The job as one of those that claim its number."""
        has_jobcode = self.observed.jobcode_id is not None
        return Claimant(
            job_id=self.job_id,
            label=self.label,
            desired_key=self.key,
            observed_key=name_key(self.observed.name) if has_jobcode else "",
            jobcode_id=self.observed.jobcode_id,
            creating=self.intent is Intent.CREATE_JOBCODE,
            seniority=self.seniority,
        )


def read_item(row: ClaimedLink) -> Item:
    """Build an item from a claimed link."""
    return Item(
        job_id=row.job_id,
        number=row.job_number,
        key=row.name_key,
        seniority=(row.first_run_id, row.job_id),
        desired=Desired(name=row.job_number, address=row.address),
        observed=row.observed,
        attempts=row.attempts,
        verification=row.verification or (VerificationKind.CHANGES if row.intent else None),
        intent=row.intent,
        intent_at=row.intent_at,
        desired_hash=row.desired_hash,
    )
