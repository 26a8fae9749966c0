"""One insert task takes waiting messages along: real workers, Valkey and RabbitMQ, real ends."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from tests.insert_place import ALL, JOBS, Place, message
from tests.other_servers import url_of
from tests.own_valkey import own_valkey
from tests.real_processes import wait_until

pytestmark = pytest.mark.xdist_group("rabbitmq")  # one virtual host for all of them

POINTS = ("taken_along", "recorded_batch", "ended_batch", "acknowledged_batch")


@pytest.fixture(params=["valkey", "rabbitmq"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as closing:
        if request.param == "valkey":
            url = f"redis://127.0.0.1:{closing.enter_context(own_valkey(tmp_path))}/0"
        else:
            url = url_of("CPR_TEST_RABBITMQ_URL")
        made = Place(tmp_path, url)
        closing.callback(made.close)
        made.declare()
        yield made


def killed(place: Place, worker: subprocess.Popen[str]) -> None:
    """Kill a worker whose process is suspended at some point; time passes."""
    wait_until(place.stopped)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait(20)
    wait_until(lambda: not place.stopped())
    place.let_time_pass()


def test_a_worker_that_is_killed_at_any_line_of_a_batch_loses_and_doubles_nothing(
    place: Place,
) -> None:
    """What comes again is no batch, so each point has messages of its own behind it."""
    for point in POINTS:
        place.send(*map(message, ALL))
        with place.worker(",".join(f"{name}:stop" for name in POINTS)) as worker:
            killed(place, worker)
        assert (place.directory / "var" / f"failpoint-{point}-spent").exists()
        assert place.recorded() == (set() if point == "taken_along" else ALL)
        left = {1 if point == "acknowledged_batch" else JOBS}
        wait_until(partial(lambda left: place.ready() in left, left))
    with place.worker():
        wait_until(lambda: not place.waiting())
    assert place.recorded() == ALL
    assert place.most_events() == 1


@pytest.mark.parametrize("place", ["valkey"], indirect=True)
def test_what_was_suspended_beyond_the_timeout_comes_to_another_and_is_recorded_once(
    place: Place,
) -> None:
    """On RabbitMQ: see test_own_rabbitmq."""
    place.send(*map(message, ALL))
    with place.worker("taken_along:stop"):
        wait_until(place.stopped)
        (asleep,) = place.stopped()
        place.let_time_pass()
        with place.worker():
            wait_until(lambda: place.recorded() == ALL)
            os.kill(asleep, signal.SIGCONT)
            wait_until(lambda: not place.waiting())
    assert place.waiting() == 0
    assert place.most_events() == 1


@pytest.mark.parametrize("place", ["valkey"], indirect=True)
def test_a_worker_that_is_asked_to_end_puts_back_what_it_has_not_recorded(place: Place) -> None:
    place.send(*map(message, ALL))
    with place.worker("taken_along:stop") as worker:
        wait_until(place.stopped)
        worker.send_signal(signal.SIGTERM)
        wait_until(lambda: "shutdown" in place.log().lower())
        for pid in place.stopped():
            os.kill(pid, signal.SIGCONT)
        assert worker.wait(30) == 0
    assert (len(place.recorded()), place.waiting()) == (1, JOBS - 1)


def test_a_worker_that_is_cut_off_puts_back_what_it_has_not_recorded(place: Place) -> None:
    place.send(*map(message, ALL))
    with place.worker("taken_along:stop") as worker:
        wait_until(place.stopped)
        (asleep,) = place.stopped()
        worker.send_signal(signal.SIGQUIT)
        wait_until(lambda: _pending(asleep, signal.SIGTERM))
        os.kill(asleep, signal.SIGCONT)
        worker.wait(30)
    wait_until(lambda: place.ready() == JOBS)
    assert (place.recorded(), place.waiting()) == (set(), JOBS)


@pytest.mark.parametrize("place", ["rabbitmq"], indirect=True)
def test_a_time_limit_while_messages_are_taken_leaves_none_with_the_connection(
    place: Place,
) -> None:
    place.send(*map(message, ALL))
    with place.worker("took:stop"):
        wait_until(place.stopped)
        (asleep,) = place.stopped()
        os.kill(asleep, signal.SIGUSR1)  # as the main process does
        os.kill(asleep, signal.SIGCONT)
        wait_until(lambda: len(place.recorded()) == JOBS - 1)
        assert "SoftTimeLimitExceeded" in place.log()


def _pending(pid: int, number: signal.Signals) -> bool:
    """Tell whether a signal waits for a process that is suspended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd", "ShdPnd"))]
    return any(mask >> (number - 1) & 1 for mask in masks)


def test_each_message_keeps_its_own_end_and_its_events(place: Place) -> None:
    """Those that are no plain work for the batch are each told as if they had come alone."""
    gone = uuid.uuid4().hex
    with place.watched(), place.worker():
        wait_until(lambda: "at work" in place.log())
        place.app.control.broadcast("revoke", {"task_id": gone}, reply=True, timeout=5, limit=1)
        with place.at_once() as producer:
            send = partial(place.send, producer=producer)
            good = send(*map(message, ALL))
            (huge,) = send(message(2**70))
            (odd,) = send({})
            send(message(900), task_id=gone)
            (late,) = send(message(901), expires=datetime(2020, 1, 1, tzinfo=UTC))
            (later,) = send(message(902), countdown=1)
            place.app.send_task("cpr.unknown", queue="insert", producer=producer)
            good += send(*(message(n) for n in range(21, 31)))
        wait_until(lambda: not place.waiting(), timeout_seconds=40)
        wait_until(lambda: all(place.told[n][-1:] == ["succeeded"] for n in [later, *good]))
        wait_until(lambda: place.told[huge][-1:] == place.told[odd][-1:] == ["failed"])
        wait_until(lambda: place.told[gone])
    assert place.recorded() == ALL | set(range(21, 31)) | {902}
    whole = ["received", "started", "succeeded"]
    assert {n: place.told[n] for n in [later, *good]} == dict.fromkeys([later, *good], whole)
    assert place.told[huge] == place.told[odd] == ["received", "started", "failed"]
    assert place.told[gone] == ["revoked"]
    assert place.told[late] in ([], ["revoked"])  # RabbitMQ itself drops what has expired
    assert "cpr.unknown" in place.log()
    assert "Secret" not in place.log()


@pytest.mark.parametrize("place", ["valkey"], indirect=True)
def test_a_database_that_is_away_is_met_by_each_message_for_itself(place: Place) -> None:
    ids = place.send(*map(message, ALL))
    file = sqlite3.connect(place.directory / "var" / "cprqueue.db")
    with file:  # as if it was away, for whoever records a new job
        file.execute("CREATE TRIGGER away INSERT ON jobs BEGIN SELECT 1 FROM nowhere; END")
    with place.watched(), place.worker():
        wait_until(lambda: sum("retried" in told for told in place.told.values()) >= 2)
        with file:
            file.execute("DROP TRIGGER away")
        file.close()
        wait_until(lambda: place.recorded() == ALL and not place.waiting(), timeout_seconds=60)
        wait_until(lambda: all(place.told[n][-1:] == ["succeeded"] for n in ids))
    assert place.most_events() == 1
    assert "Traceback" not in place.log()
    assert "Secret" not in place.log()
