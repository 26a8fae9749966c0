"""When sweeps ran, and when beat last had one sent: beat's pulse.

Where beat is silent, workers send sweeps (``workers.silent_beat``): those keep the rest going and
say nothing of beat.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from cprqueue.store import app_state
from cprqueue.store.database import Database, clock

TICKS = "ticks"
GAP = timedelta(minutes=10)
"""After so long without a sweep the installation was off, and what is late counts from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticks:
    """``since``: the first sweep without a GAP since; ``last``; ``beat``: the last one of beat."""

    since: str
    last: str
    beat: str = ""

    @property
    def on_since(self) -> datetime:
        """Since when the installation is on."""
        return datetime.fromisoformat(self.since)

    @property
    def beat_at(self) -> datetime | None:
        """When beat last had a sweep sent that ran, or None."""
        return datetime.fromisoformat(self.beat) if self.beat else None


def note(db: Database, *, by_beat: bool) -> None:
    """Record that a sweep begins."""
    with db.begin() as conn:
        now = clock(conn)
        found, moment = read(conn), now.isoformat()
        unbroken = found is not None and abs(now - datetime.fromisoformat(found.last)) < GAP
        value = Ticks(
            since=found.since if found is not None and unbroken else moment,
            last=moment,
            beat=moment if by_beat else found.beat if found is not None else "",
        )
        app_state.put(conn, TICKS, asdict(value), now=now)


def read(conn: Connection) -> Ticks | None:
    """Return when sweeps ran; None before the first."""
    return app_state.get_built(conn, TICKS, Ticks)
