"""Alerts out of the database: each condition, two hosts, a kill between the send and its note."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from cprqueue import private_files
from cprqueue.domain.states import RunKind, RunState
from cprqueue.errors import AccessStopped, CprqueueError
from cprqueue.services import digest, gates, push_brake, signs, ticks
from cprqueue.store import app_state, events, runs
from cprqueue.store.database import clock
from tests.listening import Listener
from tests.office import MakeOffice, Office, die_at, job
from tests.services.test_push_brake import MANAGED, ORDINARY, RENAMED, begin

LONG_AGO = timedelta(hours=1)
REFUSED_BY_RM = {"service": "rm", "kind": "status", "status": 403}


def moved(office: Office, name: str, **changed: datetime) -> None:
    """Let it be long ago that something was noted in table ``state``."""
    with office.app.db.begin() as conn:
        value = app_state.get(conn, name)
        texts = {key: moment.isoformat() for key, moment in changed.items()}
        new = {**value, **texts} if isinstance(value, dict) else next(iter(texts.values()))
        app_state.put(conn, name, new, now=clock(conn))


def fetch(office: Office) -> None:
    """Carry out a fetch as the worker does; one that fails is on record."""
    with suppress(CprqueueError), office.app.fetch.running(None, complete=True) as run:
        list(office.app.fetch.messages(run))
    office.app.fetch.close()


def old_fetch(office: Office) -> None:
    with office.app.db.begin() as conn:
        run_id = runs.create(conn, RunKind.FETCH)
        runs.change(conn, run_id, state=RunState.DONE, finished_at=clock(conn) - LONG_AGO)


def test_a_refusal_by_restorationmanager_is_told_and_its_end(office: Office) -> None:
    people = Listener(office)
    office.sandbox.client.set_faults([REFUSED_BY_RM])
    for _ in range(3):
        fetch(office)
        assert people.titles() == ["RestorationManager refuses our fetches"]
    assert "answered 403" in people.heard[0].text
    assert "cprqueue check" in people.heard[0].text
    office.sandbox.client.clear_faults()
    office.fetch()
    assert people.titles()[1:] == ["RestorationManager: fetches succeed again"]


def test_late_fetches_beat_and_queues_are_told_once_the_installation_is_on_for_so_long(
    office: Office,
) -> None:
    people = Listener(office)
    old_fetch(office)
    ticks.note(office.app.db, by_beat=True)
    moved(office, "canary.fetch", at=datetime.now(UTC) - LONG_AGO)
    assert people.titles() == [], "it was off: the first fetch has not had its time yet"
    long_ago = datetime.now(UTC) - LONG_AGO
    moved(office, "ticks", since=long_ago, beat=long_ago)
    ticks.note(office.app.db, by_beat=False)  # a worker's: the installation is still on
    late = ["no fetch succeeds", "beat is silent"]
    late += ["no worker takes messages of the queue fetch"]
    assert people.titles() == late
    with office.app.db.begin() as conn:
        run_id = runs.create(conn, RunKind.FETCH)
        runs.start(conn, run_id)
    ticks.note(office.app.db, by_beat=True)
    back = ["fetches succeed again", "beat is back"]
    assert people.titles()[3:] == [*back, "a worker takes messages of the queue fetch again"]


def test_a_held_push_and_many_parked_jobs_are_told_with_their_commands(office: Office) -> None:
    people = Listener(office)
    office.put(*ORDINARY)
    run_id = begin(office, *RENAMED)
    office.app.fetch.close()
    assert people.titles() == people.titles() == ["push held"]
    for words in (f"change {MANAGED} of {MANAGED} jobcodes", f"cprqueue plan approve {run_id}"):
        assert words in people.heard[0].text
    push_brake.dismiss(office.app.db, run_id)
    decided = f"the held push of run {run_id} is decided"
    assert people.titles()[1:] == [decided, "many jobs are parked"]
    assert f"{MANAGED} jobs wait for a person: `cprqueue failures`" in people.heard[2].text


def test_a_digest_is_due_once_a_day_in_its_zone_and_for_some_hours() -> None:
    zone, seven = ZoneInfo("America/Denver"), time(7)

    def days(moment: str) -> list[str]:
        return [str(day) for day in digest.due(datetime.fromisoformat(moment), seven, zone)]

    assert days("2026-03-07T13:59Z") == []
    assert days("2026-03-07T14:00Z") == ["2026-03-07"]
    assert days("2026-03-08T13:00Z") == ["2026-03-08"], "summer time has begun"
    assert days("2026-03-08T18:59Z") == ["2026-03-08"]
    assert days("2026-03-08T19:00Z") == []
    late = digest.due(datetime(2026, 3, 8, 3, 0, tzinfo=ZoneInfo("America/Denver")), time(23), zone)
    assert [str(day) for day in late] == ["2026-03-07"], "after midnight it is still that day's"
    for at, date in ((time(2, 30), "2026-03-08"), (time(1, 30), "2026-11-01")):
        first = datetime.fromisoformat(f"{date}T00:00-06:00")
        days_seen = [digest.due(first + timedelta(minutes=m), at, zone) for m in range(600)]
        changes = [days for before, days in pairwise(days_seen) if days != before]
        assert [[str(day) for day in days] for days in changes] == [[date], []]


def test_the_digest_names_what_came_went_and_waits_and_is_sent_once(
    make_office: MakeOffice,
) -> None:
    first, second = (make_office(CPR_DIGEST=f"{datetime.now(UTC):%H:%M}") for _ in range(2))
    first.put(job(1, "A-1"), job(2, "A-2"), job(3, "X" * 65))
    with first.app.db.begin() as conn:
        events.add(conn, [events.event(2, "archived", "archived", at=clock(conn))])
    people = [Listener(first), Listener(second)]
    for _ in range(2):
        for each in people:
            each.titles()
    (alert,) = people[0].heard + people[1].heard
    lines = alert.text.splitlines()
    assert lines[0] == "3 active jobs: 2 in step, 0 due, 1 parked, 0 held"
    assert lines[1].startswith("came: 3 (A-1, A-2, XXX")
    assert lines[2:] == [
        "went: 1 (A-2)",
        "waits for a person: 1 job parked: see `cprqueue failures`",
    ]
    assert "Main Street" not in alert.text


def test_of_two_hosts_at_once_one_tells(make_office: MakeOffice) -> None:
    offices = [make_office() for _ in range(4)]
    gates.stop_push(offices[0].app.db, AccessStopped("no", 402))
    people = [Listener(office) for office in offices]
    with ThreadPoolExecutor(len(people)) as pool:
        for _ in range(3):
            list(pool.map(Listener.titles, people))
    assert sum(len(each.heard) for each in people) == 1


def test_what_does_not_go_is_sent_again_and_only_there(office: Office) -> None:
    people = Listener(office)
    other: list[str] = []

    def send(url: str, alert: object) -> str:
        other.append(url)
        return "gone" if url == "json://b" else ""

    people.alerting.urls, people.alerting.send = ("json://a", "json://b"), send
    gates.stop_push(office.app.db, AccessStopped("no", 402))
    for _ in range(3):
        people.titles()
    assert other == ["json://a", *["json://b"] * 3]


TELL = """
from datetime import timedelta
from cprqueue.bootstrap import application
from cprqueue.services import gates
from cprqueue.errors import AccessStopped
here = application()
gates.stop_push(here.db, AccessStopped("no", 402))
here.alerting.send = lambda url, alert: print("sent", flush=True) or ""
here.alerting.tell(lambda task, since: since + timedelta(days=1))
"""


def test_one_that_is_killed_before_its_note_is_told_twice_never_not_at_all(
    make_office: MakeOffice,
) -> None:
    office = make_office(ALERT_URLS="json://127.0.0.1:1/in")
    die_at(office, "sent_alert", TELL)
    people = Listener(office)
    assert people.titles() == [], "whoever was killed may still be sending"
    with office.app.db.begin() as conn:
        book = app_state.get(conn, "alerts")
        assert isinstance(book, dict)
        app_state.put(
            conn, "alerts", {**book, "until": "2020-01-01T00:00:00+00:00"}, now=clock(conn)
        )
    assert people.titles() == people.titles() == ["QuickBooks Time push stopped"]


def test_signs_of_a_queue() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)

    def seen(minutes: int, *moving: RunKind, queue: str = "fetch") -> bool:
        found = signs.Signs(
            now=now,
            ticks=None,
            taken={queue: now - timedelta(minutes=minutes)},
            good_fetch=None,
            failed_fetch=None,
            refused=None,
            moving=frozenset(moving),
            closed="",
            latest=lambda _task, since: since + timedelta(minutes=3),
        )
        return found.took(queue)

    assert seen(4)
    assert not seen(6)
    assert seen(6, RunKind.FETCH), "a long download takes no canary"
    assert not seen(6, RunKind.FETCH, queue="insert")


@pytest.mark.parametrize(
    ("total", "free", "nearly"),
    [(10**12, 10**8, True), (10**12, 10**10, False), (10**9, 10**8, False), (10**9, 10**7, True)],
)
def test_a_disk_is_nearly_full(total: int, free: int, nearly: bool) -> None:
    assert private_files.is_nearly_full(total, free) is nearly
