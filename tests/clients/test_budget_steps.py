"""The call budget holds in every true window while the database's clock is set about."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from random import Random

import pytest
from sqlalchemy import event

from cprqueue.clients.budget import Budget
from cprqueue.errors import OutOfCalls
from cprqueue.store.database import Database

LIMIT, WINDOW, SECONDS = 12, 0.6, 6.0
STEPS = (3600.0, -3600.0, 86400.0, -86400.0, 2.0, -2.0, 0.0)


def stepped(db: Database, offset: Callable[[], float]) -> Database:
    """Let SQLite's clock be so many seconds ahead of the true one."""

    def julianday(_: str) -> float:
        return (time.time() + offset()) / 86400 + 2440587.5

    @event.listens_for(db.engine, "connect")
    def _connect(connection: object, _record: object) -> None:
        connection.create_function("julianday", 1, julianday)  # type: ignore[attr-defined]

    return db


@pytest.mark.parametrize("seed", [1, 2])
def test_no_window_has_too_many_calls_and_no_step_makes_it_stand_still(
    db: Database, seed: int
) -> None:
    rng, offset, moments = Random(seed), [0.0], list[float]()
    until = time.monotonic() + SECONDS
    url = db.engine.url.render_as_string(hide_password=False)

    def hammer() -> None:
        own = stepped(Database(url), lambda: offset[0])
        made = Budget(own, limit=LIMIT, window=timedelta(seconds=WINDOW))
        while time.monotonic() < until:
            try:
                with made.call(urgent=True):
                    moments.append(time.monotonic())
            except OutOfCalls:
                time.sleep(0.005)  # the pace of the hammer, not a wait for a result
        own.close()

    threads = [threading.Thread(target=hammer) for _ in range(3)]
    for thread in threads:
        thread.start()
    while time.monotonic() < until:
        time.sleep(rng.uniform(0.05, 0.5))  # any moment of the hammers' work
        offset[0] = rng.choice(STEPS)
    for thread in threads:
        thread.join()
    moments.sort()
    for first, beyond in zip(moments, moments[LIMIT:], strict=False):
        assert beyond - first >= WINDOW - 0.005, f"seed {seed}"
    gaps = [after - before for before, after in itertools.pairwise(moments)]
    assert max(gaps) < 5 * WINDOW, f"seed {seed}: it stood still"
    assert len(moments) > SECONDS / WINDOW / 3 * LIMIT
