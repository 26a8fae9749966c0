"""How the programs of ``up`` end, and how many ``up`` there can be: a line each, and one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cprqueue.runtime import supervised
from cprqueue.sandbox.server import Sandbox
from tests.real_processes import marked, no_process_left_behind, wait_until
from tests.running import PATIENT, ROOT, System, Up

AT_ONCE = 4


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[System]:
    with Sandbox(jobs=5) as sandbox, no_process_left_behind(tmp_path):
        yield System(tmp_path, sandbox)


def test_of_several_up_at_once_one_stays_and_the_others_name_it(installed: System) -> None:
    words = ("--no-flower",)
    all_ = [Up(installed.env, installed.directory, *words) for _ in range(AT_ONCE)]
    wait_until(lambda: sum(up.process.poll() is not None for up in all_) == AT_ONCE - 1, **PATIENT)
    [stays] = [up for up in all_ if up.process.poll() is None]
    stays.wait_until_ready()
    for loser in (up for up in all_ if up is not stays):
        assert loser.process.wait() == 2
        wait_until(lambda: all(up.err for up in all_))
        [line] = loser.err
        assert f"(pid {stays.process.pid}) is using {installed.var}" in line
    assert not stays.heard("died")

    stays.process.kill()  # nothing is left that a next one would wait for
    stays.process.wait()
    with installed.up("--no-flower", "--no-beat") as up:
        assert supervised.holder(installed.var / "lock") == str(up.process.pid)
        descriptor = supervised.take_lock(installed.var / "beat" / "lock", patience_seconds=5)
        assert descriptor is not None
        os.close(descriptor)
        taken = (installed.var / "lock").stat().st_ino
        holders = [
            pid
            for pid in marked(installed.directory)
            for file in Path(f"/proc/{pid}/fd").iterdir()
            if file.exists() and file.stat().st_ino == taken
        ]
        assert holders == [up.process.pid], "a program inherited the lock"


def start(system: System, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cprqueue.serve", *words],
        env={**system.env, "PYTHONPATH": str(ROOT), **env},
        cwd=system.directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


PROGRAMS = {
    "worker": ("worker", "-Q", "fetch", "-n", "x@%h", "-c", "1"),
    "beat": ("beat", "--schedule", "/proc/nowhere/schedule"),
    "flower": ("flower", "--address=192.0.2.1", "--port=5555"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_ends_in_a_line(installed: System, name: str) -> None:
    system = installed
    (system.directory / "file").write_text("")
    broken = {
        "settings": {"QBT_RATE_LIMIT": "many"},
        "no directory": {"CPR_VAR_DIR": str(system.directory / "file")},
        "broker": {"CELERY_BROKER_URL": "redis://:hidden/part@127.0.0.1:1/0"},
    }
    for what, env in broken.items():
        done = start(system, *PROGRAMS[name], **env)
        said = done.stdout + done.stderr
        assert done.returncode == 2, (what, said)
        assert len(said.splitlines()) == 1, (what, said)
        assert "hidden" not in said


@pytest.mark.parametrize("name", ["worker", "beat"])
def test_a_fault_of_ours_is_a_line_that_names_the_file(installed: System, name: str) -> None:
    (installed.directory / "workers").mkdir()
    (installed.directory / "workers" / "__init__.py").write_text("raise RuntimeError('boom')")
    done = start(installed, *PROGRAMS[name])
    [line] = [text for text in done.stderr.splitlines() if text.startswith("error: ")]
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    [crash] = installed.var.glob("crash-*.txt")
    assert str(crash) in line
    assert "boom" in crash.read_text()
    assert crash.stat().st_mode & 0o777 == 0o600


def test_what_beat_and_flower_meet_outside_is_a_line(installed: System) -> None:
    for name in ("beat", "flower"):
        done = start(installed, *PROGRAMS[name])
        errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        assert done.returncode, done
        assert "Traceback" not in done.stderr + done.stdout
        assert errors, done.stderr


def test_a_program_that_dies_twice_shows_its_last_lines(installed: System) -> None:
    with installed.up("--no-beat", "--no-flower") as up:
        broker = installed.var / "broker"
        server = next(p for p in marked(installed.directory) if is_broker(p))
        (broker / "appendonlydir").rename(broker / "aside")
        (broker / "appendonlydir").write_text("in the way of the server")
        os.kill(server, signal.SIGKILL)
        wait_until(lambda: up.heard("broker died: exit code 1") >= 2, **PATIENT)
        assert up.heard("broker      | ")
        assert up.heard("appendonly"), "".join(up.err)
        (broker / "appendonlydir").unlink()
        (broker / "aside").rename(broker / "appendonlydir")
        wait_until(lambda: up.heard("broker is back"), **PATIENT)


def is_broker(pid: int) -> bool:
    return b"unixsocket" in Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.parametrize("module", ["logging", "typer", "sqlalchemy.engine", "cprqueue.config"])
def test_ctrl_c_while_a_command_loads_is_a_line(installed: System, module: str) -> None:
    started = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "cprqueue", "status"],
        env=installed.env,
        cwd=installed.directory,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stderr
    for line in started.stderr:  # one for each module that has been imported
        if line.rpartition("|")[2].strip() == module:
            break
    started.send_signal(signal.SIGINT)
    _, rest = started.communicate(timeout=60)
    said = [line for line in rest.splitlines() if not line.startswith("import time:")]
    assert (started.returncode, said) == (130, ["error: stopped"])


UNSHARE = ("unshare", "--pid", "--fork")


def may_unshare() -> bool:
    return bool(shutil.which("unshare")) and subprocess.call((*UNSHARE, "true")) == 0


@pytest.mark.skipif(not may_unshare(), reason="needs root's right to a process namespace")
def test_a_containers_first_process_can_be_ended_before_anything_runs(installed: System) -> None:
    env = {**installed.env, "CELERY_BROKER_URL": "redis://127.0.0.1:9/0"}  # waited for
    words = (*UNSHARE, sys.executable, "-m", "cprqueue", "up")
    with subprocess.Popen(words, env=env, cwd=ROOT, stderr=subprocess.DEVNULL) as outside:
        wait_until(lambda: (installed.var / "lock").exists(), **PATIENT)
        children = Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text()
        os.kill(int(children), signal.SIGTERM)
        assert outside.wait(60) == 128 + signal.SIGTERM
