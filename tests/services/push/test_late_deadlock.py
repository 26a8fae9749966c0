"""A worker that loses a deadlock as it records an answer loses nothing that the answer said."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from random import Random

import pytest
from sqlalchemy import text, update

from cprqueue.domain.models import ItemResult
from cprqueue.domain.push_actions import CreateJobcode
from cprqueue.domain.states import Intent, VerificationKind
from cprqueue.services.push.outcomes import Outcomes, Pairs
from cprqueue.store import events
from cprqueue.store.database import Database, clock
from cprqueue.store.tables import links
from tests.office import MakeOffice, Office, job
from tests.other_servers import STARTED, new_database
from tests.real_processes import wait_until
from tests.services.push.test_batch import claim, lose

WAITS = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    " AND datname = current_database()",
    "mariadb": "SELECT count(*) FROM information_schema.processlist"
    " WHERE db = database() AND info LIKE 'UPDATE links%'",
}


@pytest.fixture(params=STARTED, ids=("postgresql", "mariadb"))
def office(request: pytest.FixtureRequest, make_office: MakeOffice) -> Iterator[Office]:
    with new_database(request.param) as url:
        made = make_office(DATABASE_URL=url)
        yield made
        made.close()


def somebody_waits(db: Database) -> bool:
    with db.read() as conn:
        return bool(conn.execute(text(WAITS[db.engine.dialect.name])).scalar())


def test_the_mark_of_a_late_write_outlives_a_deadlock(office: Office) -> None:
    db = office.app.db
    office.record([job(1, "A-1"), job(2, "A-2")])
    batch = claim(office)
    items = [batch.items[1], batch.items[2]]
    batch.record_intent(items, Intent.CREATE_JOBCODE)
    lose(office, 1)
    outcomes = Outcomes(retry_base=timedelta(seconds=1), max_attempts=3, rng=Random(0))
    pairs: Pairs = [(item, CreateJobcode(item.number)) for item in items]
    results = [ItemResult(code=200, id=101), ItemResult(code=200, id=102)]
    late: Pairs = []
    recording = threading.Thread(target=lambda: late.extend(outcomes.record(batch, pairs, results)))
    with db.begin() as conn:
        touch = update(links).values(attempts=links.c.attempts)
        now = clock(conn)
        # The servers end the transaction that waits first, or that has written less.
        events.add(conn, [events.event(9, "test", "weight", at=now) for _ in range(50)])
        conn.execute(touch.where(links.c.job_id == 1))
        recording.start()
        wait_until(lambda: somebody_waits(db))
        conn.execute(touch.where(links.c.job_id == 2))
    recording.join(60)
    assert late == [pairs[0]]
    assert office.link(1).verification is VerificationKind.REQUIRED
    assert (office.link(2).jobcode_id, office.link(2).intent) == (102, None)
