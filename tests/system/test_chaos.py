"""The whole system under fire: processes killed, the broker flushed and lost, two hosts at once."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from celery import Celery
from redis import Redis

from cprqueue.runtime import broker
from cprqueue.sandbox.server import Sandbox
from tests.office import broken, job
from tests.real_processes import no_process_left_behind, wait_until
from tests.running import System, Up

QUICK = {"QBT_RETRY_BASE_SECONDS": "0.05", "CPR_LEASE_SECONDS": "4", "QBT_RATE_LIMIT": "3000"}


def worker_pids(directory: Path) -> list[int]:
    """Return the pids of Celery workers, parents and pool children, of this installation."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            env = (entry / "environ").read_bytes()
        except OSError:
            continue
        if b"worker" in words and str(directory).encode() in env:
            found.append(int(entry.name))
    return found


def everything_in_step(system: System, number: int) -> bool:
    state = system.sandbox.qbt.state()
    done = sum(code["active"] for code in state["jobcodes"]) >= number
    return done and not broken(system.sandbox)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(jobs=[]) as running:
        running.qbt.switches.update({"rate_limit": 3000})
        yield running


def flush(system: System) -> None:
    path = broker.broker_url(system.var).removeprefix("redis+socket://")
    client = Redis(unix_socket_path=path)
    client.flushall()
    client.close()


def broker_pid(system: System) -> int:
    path = broker.broker_url(system.var).removeprefix("redis+socket://")
    client = Redis(unix_socket_path=path)
    pid = int(client.info()["process_id"])
    client.close()
    return pid


@pytest.mark.timeout(400)
def test_everything_is_in_step_after_kills_pauses_and_a_lost_broker_without_a_human(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.rm.put_jobs([job(n, f"A-{n}") for n in range(1, 1501)])
    system = System(tmp_path, sandbox, **QUICK)
    rng = random.Random(7)
    paused: dict[int, float] = {}
    with no_process_left_behind(tmp_path):
        up = _start(system)
        assert system.run("sync", "--full", "--no-wait").returncode == 0
        for number in range(30):
            _kill_one(tmp_path, rng)
            if number % 3 == 0:
                _pause_one(tmp_path, rng, paused)
            _continue_those_paused(paused, longer_than_seconds=5)
            if number in (8, 16):
                flush(system)
            if number == 20:
                _lose_the_broker(system)
            if number == 25:
                up.process.kill()
                up.process.wait()
                up = _start(system)
            time.sleep(rng.uniform(0.1, 0.5))  # the next shot falls at a random moment
        _continue_those_paused(paused, longer_than_seconds=0)
        try:
            _wait_with_sweeps(system, lambda: everything_in_step(system, 1500))
        except AssertionError:
            told = [system.run(word).stdout for word in ("status", "history")]
            pytest.fail("\n".join([*told, *up.err[-80:]]))
        finally:
            up.stop()
    state = sandbox.qbt.state()
    assert (len(state["jobcodes"]), len(state["locations"])) == (1500, 1500)
    assert [call for call in sandbox.calls if call.status == 429] == []


def _pause_one(directory: Path, rng: random.Random, paused: dict[int, float]) -> None:
    """Suspend a worker; it goes on after its lease has expired."""
    pids = [pid for pid in worker_pids(directory) if pid not in paused]
    if pids:
        pid = rng.choice(pids)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            paused[pid] = time.monotonic()


def _continue_those_paused(paused: dict[int, float], *, longer_than_seconds: float) -> None:
    for pid, since in list(paused.items()):
        if time.monotonic() - since > longer_than_seconds:
            with suppress(ProcessLookupError):  # it was killed meanwhile
                os.kill(pid, signal.SIGCONT)
            del paused[pid]


def _wait_with_sweeps(system: System, condition: Callable[[], bool]) -> None:
    """Wait, with the sweep that beat orders each minute ordered each second or two."""
    app = Celery(broker=broker.broker_url(system.var))
    last = time.monotonic()

    def swept() -> bool:
        nonlocal last
        if time.monotonic() - last > 1.5:
            app.send_task("cpr.sweep", queue="maintenance", expires=5)
            last = time.monotonic()
        return condition()

    try:
        wait_until(swept, timeout_seconds=200)
    finally:
        app.close()


def _start(system: System) -> Up:
    up = Up(system.env, system.directory, "--no-flower")
    try:
        up.wait_until_ready()
    except AssertionError:
        up.process.kill()
        up.process.wait()
        pytest.fail("not ready:\n" + "".join(up.err[-60:]))
    return up


def _kill_one(directory: Path, rng: random.Random) -> None:
    pids = worker_pids(directory)
    if pids:
        try:
            os.kill(rng.choice(pids), signal.SIGKILL)
        except ProcessLookupError:
            return  # it ended by itself just now


def _lose_the_broker(system: System) -> None:
    """Kill the broker and its memory: it comes back empty."""
    for path in (system.var / "broker").rglob("*.aof"):
        path.unlink()
    os.kill(broker_pid(system), signal.SIGKILL)


@pytest.mark.timeout(300)
def test_a_resync_overtakes_ten_thousand_waiting_jobs_within_five_seconds(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    system = System(tmp_path, sandbox, QBT_RATE_LIMIT="40")
    sandbox.rm.put_jobs([job(n, f"A-{n}") for n in range(1, 10_001)])
    with system.up("--no-flower", "--no-beat"):
        saved = tmp_path / "all.json"
        assert system.run("fetch", "--full", "--output", str(saved)).returncode == 0
        assert system.run("import", str(saved)).returncode == 0
        assert system.run("retry", "--all").returncode == 0
        wait_until(lambda: system.writes() >= 30, timeout_seconds=60)
        started = time.monotonic()
        done = system.run("resync", "A-9999", "--json")
        seconds = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    assert seconds < 5 + 3, seconds  # three for the command itself to start and to ask for workers
    state = sandbox.qbt.state()
    (code,) = [c for c in state["jobcodes"] if c["name"] == "A-9999"]
    assert code["active"]
    assert len(state["jobcodes"]) < 5_000


@pytest.mark.timeout(300)
@pytest.mark.skipif(
    not os.environ.get("CPR_TEST_POSTGRES_URL"),
    reason="needs PostgreSQL: CPR_TEST_POSTGRES_URL is not set",
)
def test_two_hosts_on_one_database_never_push_one_job_twice_and_keep_one_budget(
    sandbox: Sandbox, tmp_path: Path, postgres_url: str
) -> None:
    window = 10
    sandbox.qbt.switches.update({"rate_limit": 25, "rate_window_seconds": window})
    sandbox.rm.put_jobs([job(n, f"A-{n}") for n in range(1, 801)])
    shared = {
        **QUICK,
        "DATABASE_URL": postgres_url,
        "QBT_RATE_LIMIT": "25",
        "QBT_RATE_WINDOW": str(window),
    }
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one = System(tmp_path / "one", sandbox, **shared)
    with one.up("--no-flower"):
        url = broker.broker_url(one.var)
        two = System(tmp_path / "two", sandbox, **shared, CELERY_BROKER_URL=url)
        with two.up("--no-flower", "--no-beat"):
            assert one.run("sync", "--full", "--no-wait").returncode == 0
            wait_until(lambda: everything_in_step(one, 800), timeout_seconds=150)
    state = sandbox.qbt.state()
    assert (len(state["jobcodes"]), len(state["locations"])) == (800, 800)
    calls = [call for call in sandbox.calls if call.service == "qbt"]
    assert [call for call in calls if call.status == 429] == []
    _never_more_than(25, window, [call.at for call in calls])


def _never_more_than(limit: int, window: float, moments: list[float]) -> None:
    ordered = sorted(moments)
    for first, last in zip(ordered, ordered[limit:], strict=False):
        assert last - first >= window, f"{limit + 1} calls within {last - first:.2f} s"
