"""Who has hours of the last days: crews book late, so their jobcode stays for a while."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cprqueue.clients.qbtime import QuickBooksTime, whole
from cprqueue.domain.models import BATCH
from cprqueue.services.prune import on_the_clock


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietDays:
    """A jobcode stays for so many ``days`` after its last hours; 0: it does not."""

    days: int
    timezone: str

    def in_use(
        self, qbt: QuickBooksTime, families: Mapping[int, Iterable[int]], now: datetime
    ) -> dict[int, str]:
        """Return why somebody needs these jobcodes still, or one of their family.

        One query for each 50 says who is on the clock, a second one who has hours.
        """
        busy = on_the_clock.in_use(qbt, families, now)
        if not self.days:
            return busy
        others = {root: family for root, family in families.items() if root not in busy}
        since = now.astimezone(ZoneInfo(self.timezone)).date() - timedelta(days=self.days)
        newest = newest_by_family(qbt, others, since.isoformat())
        return busy | {root: self._reason(day) for root, day in newest.items()}

    def _reason(self, day: str) -> str:
        return f"has hours of {day}, in the last {self.days} days (PRUNE_QUIET_DAYS)"


def newest_by_family(
    qbt: QuickBooksTime, families: Mapping[int, Iterable[int]], since: str
) -> dict[int, str]:
    """Return the last day with hours of each jobcode or one of its family, where there is one.

    ``since``: the first day that counts, YYYY-MM-DD. The listing includes the children of the
    jobcodes that are asked for.
    """
    ids = sorted(families)
    days: dict[int, str] = {}
    for start in range(0, len(ids), BATCH):
        for sheet in qbt.hours(ids[start : start + BATCH], since=since):
            code = whole(sheet.get("jobcode_id"))
            days[code] = max(days.get(code, since), str(sheet.get("date") or since))
    found = {
        root: max((days[code] for code in family if code in days), default="")
        for root, family in families.items()
    }
    return {root: day for root, day in found.items() if day}
