"""How far a fetch and the pushes that it caused have come. Only reads."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from cprqueue.clients.budget import Budget
from cprqueue.domain.states import RunState
from cprqueue.services import gates
from cprqueue.store import runs
from cprqueue.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncProgress:
    """The state at one moment.

    ``in_sync``, ``due``, ``parked`` and ``held`` count the run's active jobs. ``calls``: to
    QuickBooks Time, by anybody, since ``calls_before``. ``stopped``: why nothing at all is
    pushed, or "".
    """

    run_id: int
    state: RunState
    note: str
    emitted: int
    recorded: int
    in_sync: int
    due: int
    parked: int
    held: int
    calls: int
    stopped: str

    @property
    def finished(self) -> bool:
        """True when nothing is left to wait for, for better or worse."""
        return self.state is RunState.FAILED or (self.state is RunState.DONE and not self.due)

    def as_json(self) -> dict[str, object]:
        """Return what ``sync --json`` prints."""
        names = ("run_id", "emitted", "recorded", "in_sync", "due", "parked", "held", "calls")
        return {name: value for name, value in asdict(self).items() if name in names}


def read_progress(db: Database, budget: Budget, run_id: int, *, calls_before: int) -> SyncProgress:
    """Return how far the run has come. The run must exist."""
    with db.read() as conn:
        run = runs.existing(conn, run_id)
        under_way = run.state in (RunState.RUNNING, RunState.RECORDING)
        recorded = runs.recorded_count(conn, run) if under_way else run.recorded
        return SyncProgress(
            run_id=run_id,
            state=run.state,
            note=run.note or "",
            emitted=run.emitted,
            recorded=min(recorded, run.emitted or recorded),
            calls=budget.calls_so_far(conn) - calls_before,
            stopped=gates.closed_because(conn),
            **runs.push_counts(conn, run),
        )
