"""Who orders something stands in the history of each job; the command line names nobody."""

from __future__ import annotations

import pytest

from cprqueue.domain.states import RunKind, RunState
from cprqueue.errors import ServiceUnreachable
from cprqueue.operating import orders, send
from cprqueue.services.reports import overview
from cprqueue.store import events, runs
from tests.office import Office, job

TOO_LONG = "BMS-" + "1" * 70


def history(office: Office, job_id: int, kind: str) -> list[str]:
    """Return the texts of a job's events of one kind."""
    with office.app.db.read() as conn:
        return [event.text for event in events.of_job(conn, job_id) if event.kind == kind]


def test_another_try_is_named_after_who_orders_it(office: Office) -> None:
    office.put(job(1, TOO_LONG), job(2, "BMS-2"))
    assert overview.make_due(office.app.db, [1, 2], requested_by="ann") == [1]
    assert overview.make_due(office.app.db, [1]) == [1]
    assert history(office, 1, "ordered") == ["another try, ordered by ann"]
    assert history(office, 2, "ordered") == []


def test_a_resync_is_named_after_who_orders_it(office: Office) -> None:
    office.put(job(1, "BMS-1"))
    office.app.resync.request("1", ordered_by="ann")
    office.app.resync.request("bms-1", ordered_by="bo")
    office.app.resync.request("BMS-1")
    assert history(office, 1, "ordered") == ["resync, ordered by ann", "resync, ordered by bo"]


def test_an_order_without_a_broker_says_so_and_is_on_record(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ServiceUnreachable("the broker is away")

    monkeypatch.setattr(send, "send", refuse)
    with pytest.raises(ServiceUnreachable):
        orders.prune(office.app, by="ann")
    with office.app.db.read() as conn:
        run = runs.newest(conn, RunKind.PRUNE)
    assert run is not None
    assert (run.state, run.requested_by) == (RunState.STOPPED, "ann")
