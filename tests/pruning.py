"""Prunes and remove-alls in an office: what their tests ask for and look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cprqueue.errors import AlreadyRunning, Transient
from cprqueue.services import gates
from cprqueue.services.prune import orders
from cprqueue.store import plan_items, runs
from tests.office import Office, job

CLOSED = {"jobProgress": "Paid in Full - File Closed"}


def names(office: Office, *, active: bool) -> set[str]:
    state = office.sandbox.qbt.state()
    return {code["name"] for code in state["jobcodes"] if code["active"] == active}


def close(office: Office, *numbers: int) -> None:
    office.put(*(job(n, f"A-{n}", **CLOSED) for n in numbers))


def order(office: Office) -> int:
    run_id = orders.request_prune(office.app.db, "test")
    office.app.snapshot.take()
    return run_id


def prune(office: Office) -> tuple[int, str]:
    run_id = order(office)
    return run_id, office.app.prune.run(run_id, None)


def approve(office: Office, run_id: int) -> str:
    """Approve a held prune, and carry it out."""
    orders.approve(office.app.db, run_id)
    return office.app.prune.approve(run_id, None)


def comparable(state: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """What must be the same after an undo: everything but the times of change."""
    moving = ("last_modified", "created")
    return {
        "jobcodes": [{k: v for k, v in c.items() if k not in moving} for c in state["jobcodes"]],
        "locations": [{k: v for k, v in p.items() if k not in moving} for p in state["locations"]],
        "assigned": sorted(
            (int(a["jobcode_id"]), int(a["user_id"]))
            for a in state["jobcode_assignments"]
            if a["active"]
        ),
    }


def remove_all(office: Office, *, include_unmanaged: bool = False) -> int:
    snapshot = office.app.snapshot.take()
    rehearsal = office.app.remove_all.rehearse(snapshot, include_unmanaged=include_unmanaged)
    return office.app.remove_all.request(
        snapshot, rehearsal.phrase, include_unmanaged=include_unmanaged
    )


def outcomes(office: Office, run_id: int) -> dict[str, int]:
    """Count what came of a plan's items."""
    with office.app.db.read() as conn:
        return {str(outcome): n for outcome, n in plan_items.counts(conn, run_id).items()}


def run_of(office: Office, run_id: int) -> Any:
    """Return a run."""
    with office.app.db.read() as conn:
        return runs.get(conn, run_id)


def suspended(office: Office) -> bool:
    """Tell whether a remove-all suspends the sync."""
    with office.app.db.read() as conn:
        return gates.suspended(conn) is not None


def fault(office: Office, **values: Any) -> None:
    """Let QuickBooks Time fail in one way from now on."""
    office.sandbox.client.set_faults([{"service": "qbt", **values}])


def resumed(office: Office, run_id: int) -> bool:
    """Let a run that was cut off go on; False where what died still holds a lock or a lease."""
    try:
        office.app.prune.run(run_id, None)
    except (AlreadyRunning, Transient):
        return False
    return True


def during(office: Office, when: str, act: Callable[[], object]) -> None:
    """Do something once while the archive is under way: after its plan, or before its PUT."""
    archive = office.app.archive
    client = archive.qbt
    name = {"clocked": "on_the_clock", "sending": "change_jobcodes"}[when]
    real = getattr(client, name)

    def once(*args: Any, **kwargs: Any) -> Any:
        setattr(client, name, real)
        act()
        return real(*args, **kwargs)

    setattr(client, name, once)
