"""Pure: the rules that decide which jobs are active."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from cprqueue.domain.models import Job, Verdict, name_key


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveRules:
    """What the operator set: which jobs count as active. Empty ``site_ids`` means all sites."""

    site_ids: frozenset[int]
    statuses: frozenset[str]
    inactive_progress: frozenset[str]
    excluded_numbers: frozenset[str]

    @classmethod
    def build(
        cls,
        *,
        site_ids: Iterable[int],
        statuses: Iterable[str],
        inactive_progress: Iterable[str],
        excluded_numbers: Iterable[str],
    ) -> ActiveRules:
        """Normalise the operator's words once."""
        return cls(
            site_ids=frozenset(site_ids),
            statuses=frozenset(map(plain, statuses)),
            inactive_progress=frozenset(map(plain, inactive_progress)),
            excluded_numbers=frozenset(map(name_key, excluded_numbers)),
        )

    def judge(self, job: Job) -> Verdict:
        """Decide whether ``job`` is active; the first rule that says no is the one named."""
        refusal = self._refusal(job)
        if refusal:
            return Verdict(active=False, rule=refusal)
        return Verdict(active=True, rule=f"active: status {job.status}, progress {job.progress}")

    def _refusal(self, job: Job) -> str | None:
        if self.site_ids and job.site_id not in self.site_ids:
            return f"site {job.site_id} is not one of RM_SITE_IDS"
        if plain(job.status) not in self.statuses:
            return f"status {job.status or 'missing'} is not one of RM_ACTIVE_STATUSES"
        if not job.progress:
            return "progress is missing"
        if plain(job.progress) in self.inactive_progress:
            return f"progress {job.progress} is one of RM_INACTIVE_PROGRESS"
        if not job.job_number:
            return "job number is missing"
        if name_key(job.job_number) in self.excluded_numbers:
            return f"job number {job.job_number} is one of RM_EXCLUDED_JOB_NUMBERS"
        return None


def plain(text: str) -> str:
    """Return ``text`` without case, punctuation and double spaces.

    "Paid in Full - File Closed" and "Paid in Full = File Closed" are both in use.
    """
    return " ".join(re.sub(r"[\W_]+", " ", text.casefold()).split())
