"""``cprqueue up`` with real processes: ready, unkillable, and gone without a trace."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from cprqueue.runtime import supervised
from cprqueue.runtime.programs import QUEUES
from cprqueue.sandbox.server import Sandbox
from tests.own_servers import free_port
from tests.real_processes import marked, wait_until
from tests.running import PATIENT, ROOT, System, Up, clean_environment
from tests.web.conftest import USERS, Browser

PROGRAMS = ("broker", *QUEUES, "beat", "flower", "web")


@pytest.fixture(scope="module")
def up(small_system: System) -> Iterator[Up]:
    board = {"CPR_WEB_USERS": USERS, "CPR_WEB_PORT": str(free_port())}
    system = System(small_system.directory, small_system.sandbox, **board)
    with system.up("--flower-port", "0") as running:
        yield running


def main_process(system: System, program: str) -> int:
    """Return the id of the process that runs ``program``."""
    words = {
        "broker": b"unixsocket",
        "beat": b"\0beat\0",
        "flower": b"\0flower\0",
        "web": b"\0web\0",
    }
    mark = words.get(program, f"\0-Q\0{program}\0".encode())
    found = [p for p in marked(system.directory) if mark in Path(f"/proc/{p}/cmdline").read_bytes()]
    return min(found)


def queues_in(flower: str) -> set[str]:
    """Return the queues that Flower sees a worker for."""
    workers = requests.get(f"{flower}api/workers?refresh=1", timeout=10).json()
    return {queue["name"] for one in workers.values() for queue in one.get("active_queues", ())}


def flower_url(up: Up) -> str:
    wait_until(lambda: up.heard("Flower: "))  # it comes after "ready", on another stream
    return next(line.split()[1] for line in up.err if line.startswith("Flower: "))


def test_it_says_ready_once_and_shows_flower_on_loopback_only(up: Up) -> None:
    assert up.out == ["ready\n"]
    url = flower_url(up)
    assert url.startswith("http://127.0.0.1:")
    wait_until(lambda: queues_in(url) == {"fetch", "insert", "upsert", "urgent", "maintenance"})
    assert requests.post(f"{url}api/worker/shutdown/x", timeout=10).status_code == 403


def test_nothing_noisy_is_said(up: Up) -> None:
    known = ("starting broker", "Flower: ", "the board: ", "Ctrl-C")
    lines = [line for line in up.err if not line.startswith(known)]
    assert [line for line in lines if "Read only mode" not in line] == []


def test_a_second_one_on_the_same_directory_is_refused(small_system: System, up: Up) -> None:
    second = small_system.run("up", "--no-flower")
    assert second.returncode == 2
    assert second.stdout == ""
    assert "is using" in second.stderr
    assert len(second.stderr.splitlines()) == 1


def test_with_a_broker_of_its_own_a_second_beat_is_refused(small_system: System, up: Up) -> None:
    socket = small_system.var / "broker" / "broker.sock"
    second = small_system.run("up", "--no-flower", CELERY_BROKER_URL=f"redis+socket://{socket}")
    assert second.returncode == 2
    assert "beat" in second.stderr
    assert len(second.stderr.splitlines()) == 1


def test_a_taken_port_is_one_line(small_system: System, up: Up) -> None:
    port = flower_url(up).rstrip("/").rpartition(":")[2]
    second = small_system.run("up", "--flower-port", port)
    assert second.returncode == 2
    assert len(second.stderr.splitlines()) == 1


@pytest.mark.parametrize("programs", [PROGRAMS[:1], PROGRAMS[1:]], ids=["broker", "the others"])
def test_killed_programs_come_back(small_system: System, up: Up, programs: tuple[str, ...]) -> None:
    for number in [main_process(small_system, program) for program in programs]:
        os.kill(number, signal.SIGKILL)
    wait_until(lambda: all(up.heard(f"{name} is back") for name in programs), **PATIENT)


def test_after_all_that_it_still_does_its_work(small_system: System, up: Up) -> None:
    result = small_system.sync()
    assert result["code"] == 1, result  # the sandbox has jobs that have to be parked
    assert result["due"] == 0
    assert result["in_sync"] > 20


def test_the_board_answers_on_loopback_to_whoever_logs_in(up: Up) -> None:
    wait_until(lambda: up.heard("the board: "))
    url = next(line.split()[2] for line in up.err if line.startswith("the board: "))
    assert url.startswith("http://127.0.0.1:")
    ann = Browser(url.rstrip("/"))
    assert ann.log_in("ann").status_code == 303
    assert ann.post("/fetch").headers["Location"] == "/"
    assert "fetches what has changed" in ann.get("/").text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_without_a_trace_in_the_middle_of_a_download_and_of_a_wait_for_calls(
    tmp_path: Path, number: signal.Signals
) -> None:
    with Sandbox(jobs=60) as sandbox:
        system = System(tmp_path, sandbox, QBT_RATE_LIMIT="2")  # half of it for urgent work
        sandbox.faults.set([{"service": "rm", "path": "/api/Jobs", "kind": "drip", "seconds": 60}])
        with system.up("--no-flower") as up:
            system.run("sync", "--no-wait")
            system.run("snapshot", "--no-wait")
            wait_until(lambda: list(system.var.glob("*.part")), **PATIENT)
            wait_until(lambda: sandbox.call_log.select("qbt"), **PATIENT)
            assert up.stop(number) == 0
            assert marked(tmp_path) == []
        assert traces(system.var) == []
        with locked(system.var / "beat" / "lock"), locked(system.var / "broker" / "lock"):
            pass


def traces(var: Path) -> list[Path]:
    """Return sockets, pid files and half-written files."""
    files = [path for path in var.rglob("*") if not path.is_dir()]
    odd = (".pid", ".part", ".tmp")
    return [f for f in files if stat.S_ISSOCK(f.lstat().st_mode) or f.suffix in odd]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Fail unless the lock is free."""
    descriptor = supervised.take_lock(path, patience_seconds=0)
    assert descriptor is not None
    yield
    os.close(descriptor)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"RM_USERNAME": "", "RM_PASSWORD": "", "QBT_ACCESS_TOKEN": ""},
            ["RM_USERNAME is not", "RM_PASSWORD is not set", "QBT_ACCESS_TOKEN is not"],
        ),
        (
            {
                "RM_BASE_URL": "http://rm.example.com",
                "RM_SITE_IDS": "a;b",
                "DATABASE_URL": "oracle of delphi",
                "QBT_BASE_URL": "http://10.0.0.8/api",
                "QBT_RATE_LIMIT": "many",
                "CPR_TIMEZONE": "Mars",
            },
            [
                "RM_BASE_URL sends secrets",
                "RM_SITE_IDS is",
                "DATABASE_URL is no URL",
                "QBT_BASE_URL sends secrets",
                "QBT_RATE_LIMIT is 'many'",
                "CPR_TIMEZONE is",
            ],
        ),
    ],
)
def test_wrong_settings_are_a_line_each(
    small_system: System, values: dict[str, str], said: list[str]
) -> None:
    done = small_system.run("up", **values)
    lines = done.stderr.splitlines()
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(lines) == len(said)
    for words in said:
        assert any(line.startswith(f"error: {words}") for line in lines), lines


def test_up_without_any_setting_or_with_a_broken_timetable_is_refused(
    small_system: System, tmp_path: Path
) -> None:
    def up(**env: str) -> list[str]:
        command = [sys.executable, "-m", "cprqueue", "up", "--no-flower"]
        done = subprocess.run(
            command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (2, "")
        return done.stderr.splitlines()

    hint, *missing = up(**clean_environment())
    assert hint.startswith(f"error: there is no .env in {tmp_path}: `cp {ROOT}/.env.example .env`")
    assert len(missing) == 5
    (tmp_path / "celerybeat-schedule.py").write_text("nonsense")
    [line] = up(**{**small_system.env, "CPR_VAR_DIR": str(tmp_path / "var")})
    assert "celerybeat-schedule.py line 1: NameError" in line


def test_a_broker_that_does_not_answer_is_one_line(small_system: System, tmp_path: Path) -> None:
    nowhere = {"CELERY_BROKER_URL": "redis://:secret@127.0.0.1:1/0", "CPR_VAR_DIR": str(tmp_path)}
    done = small_system.run("up", "--no-flower", **nowhere)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert "does not answer" in done.stderr
    assert "secret" not in done.stderr
