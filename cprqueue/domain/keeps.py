"""Pure: a person keeps the jobcode of a job, whatever RM says: how long, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from cprqueue.domain.records import Record
from cprqueue.errors import UsageError

LONGEST_REASON = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep(Record):
    """Who keeps the jobcode of a job. ``until``: the first moment after it; None: no end."""

    job_id: int
    requested_by: str
    kept_at: datetime
    until: datetime | None
    because: str

    def last_day(self, timezone: str) -> date | None:
        """Return the last day of it, on the calendar of ``timezone``."""
        if self.until is None:
            return None
        return (self.until - timedelta(microseconds=1)).astimezone(ZoneInfo(timezone)).date()

    def text(self, timezone: str) -> str:
        """Return it as a plan and people say it."""
        until = self.last_day(timezone) or "further notice"
        return f"kept by {self.requested_by} until {until}" + (
            f": {self.because}" if self.because else ""
        )

    def as_json(self, timezone: str) -> dict[str, object]:
        """Return what ``--json`` shows of it; ``until`` is the last day."""
        return {
            "requested_by": self.requested_by,
            "kept_at": self.kept_at,
            "until": self.last_day(timezone),
            "because": self.because,
        }


def end_of_day(text: str, timezone: str, *, now: datetime) -> datetime:
    """Return the end of a day, written YYYY-MM-DD, that has not ended ``now``.

    Raises UsageError for any other text.
    """
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
            raise ValueError
        following = date.fromisoformat(text) + timedelta(days=1)
        end = datetime.combine(following, time(), ZoneInfo(timezone)).astimezone(now.tzinfo)
    except (ValueError, OverflowError):
        raise UsageError(f"--until is {text!r}: write a day like 2027-01-31") from None
    if end <= now:
        raise UsageError(f"--until is {text}, which is over: write today or a later day")
    return end


def reason(text: str) -> str:
    """Return the text of a reason in one line. Raises UsageError for one that is too long."""
    line = " ".join(text.split())
    if len(line) > LONGEST_REASON:
        raise UsageError(f"--because has {len(line)} characters: write {LONGEST_REASON} at most")
    return line
