"""Of orders of beat that piled up one is carried out, whatever the clocks of the machines say."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from cprqueue import bootstrap
from cprqueue.celery import app
from cprqueue.runtime.requests import BY_BEAT, EXPIRES, options_of_beat
from cprqueue.services.repeated_orders import carried_out
from cprqueue.store.database import Database, clock
from cprqueue.store.tables import state
from tests.office import Office

FETCH = "cpr.fetch_jobs"


def test_of_orders_that_piled_up_one_is_carried_out(db: Database) -> None:
    assert not carried_out(db, FETCH, {}, seconds=240)
    assert carried_out(db, FETCH, {}, seconds=240)
    assert not carried_out(db, FETCH, {"full": True}, seconds=240), "that is another order"
    assert not carried_out(db, "cpr.snapshot_and_prune", {}, seconds=240)


def test_the_next_one_is_carried_out_in_its_time(db: Database) -> None:
    assert not carried_out(db, FETCH, {}, seconds=0.0001)
    assert not carried_out(db, FETCH, {}, seconds=240)


def test_after_a_step_back_nothing_waits_longer_than_it_would(db: Database) -> None:
    assert not carried_out(db, FETCH, {}, seconds=240)
    with db.begin() as conn:  # as if it had been carried out an hour from now
        ours = state.c.name.like("order.%")
        later = clock(conn) + timedelta(hours=1)
        assert conn.execute(update(state).where(ours).values(updated_at=later)).rowcount == 1
    assert not carried_out(db, FETCH, {}, seconds=240)


def test_an_order_of_beat_carries_no_moment() -> None:
    given = {"expires": 50, "headers": {BY_BEAT: True}, "queue": "x"}
    sent = options_of_beat(given)
    assert (sent["expires"], sent["expiration"], sent["queue"]) == (None, 50, "x")
    assert sent["headers"] == {BY_BEAT: True, EXPIRES: 50}
    for others in ({"expires": 50}, {"headers": {BY_BEAT: True}}, {}):
        assert options_of_beat(others) == others


def test_what_was_begun_and_comes_again_is_not_taken_for_another_order(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry carries the same headers, and its first attempt has counted as carried out."""
    monkeypatch.setattr(bootstrap, "application", lambda: office.app)
    app.loader.import_default_modules()
    task = app.tasks["cpr.sweep"]

    def dropped(**request: object) -> bool:
        task.push_request(**{EXPIRES: 50}, **request)
        try:
            return bool(task._is_repeated({}))
        finally:
            task.pop_request()

    assert not dropped()
    assert dropped(), "one that piled up"
    assert not dropped(retries=1)
    assert not dropped(delivery_info={"redelivered": True})
