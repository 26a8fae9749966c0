"""Closed, full, narrow and old-fashioned terminals; faults, Ctrl-C, and what restarts meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from cprqueue.domain.states import RunKind, RunState
from cprqueue.store import runs
from tests.office import Office, job
from tests.real_processes import killed_at_the_end, marked, wait_until
from tests.running import System, on_terminal

SPANISH = [job(1, "A-1", jobName="Peña ✓", jobAddress1="5 Calle Añil"), job(2, "Ñ" * 65)]

COMMANDS = ("status", "failures", "history", "explain 1", "--help", "--version", "history --json")


def shell(system: System, line: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``cprqueue LINE`` in a shell, with its redirections."""
    return subprocess.run(
        ["/bin/bash", "-c", f"set -o pipefail; {sys.executable} -m cprqueue {line}"],
        env={**system.env, **env},
        cwd=system.directory,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=100,
        check=False,
    )


# --- standard output ----------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_a_closed_or_full_standard_output_is_one_line_at_most(
    system: System, office: Office, command: str
) -> None:
    office.put(*SPANISH)
    closed = shell(system, f"{command} >&-")
    assert (closed.returncode, closed.stderr.replace(RETRY_HINT, "")) == (0, "")
    full = shell(system, f"{command} >/dev/full")
    assert full.returncode != 0
    assert "No space left on device" in full.stderr
    assert len(full.stderr.splitlines()) == 1


RETRY_HINT = "Once the cause is gone:  cprqueue retry JOB  or  cprqueue retry --all\n"


def test_a_reader_that_has_read_enough_is_no_error(system: System, office: Office) -> None:
    office.put(*(job(n, "X" * 65 + str(n)) for n in range(1, 200)))
    done = shell(system, "failures --json | head -1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[\n", "")
    assert shell(system, "failures 2>/dev/full | head -1").returncode == 0


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_old_terminal_shows_what_it_can(system: System, office: Office, encoding: str) -> None:
    office.put(*SPANISH)
    for command in ("explain 1", "failures", "explain 1 --json", "status"):
        done = shell(system, command, PYTHONIOENCODING=encoding)
        assert (done.returncode, "Error" in done.stderr) == (0, False)
    done = shell(system, "explain 1", PYTHONIOENCODING="ascii")
    assert "Pe\\xf1a \\u2713" in done.stdout
    found = json.loads(shell(system, "explain 1 --json", PYTHONIOENCODING="ascii").stdout)
    assert found["job"]["job_name"] == "Peña ✓"


def test_without_a_terminal_a_job_is_one_line_with_its_reason(
    system: System, office: Office
) -> None:
    office.put(job(1, "A-1"), job(2, "a-1"), job(3, "B" * 65))
    env = {name: value for name, value in system.env.items() if name != "COLUMNS"}
    system.env = env
    found = [line for line in system.run("failures").stdout.splitlines() if "a-1" in line]
    assert len(found) == 1
    assert "has the same number" in found[0]
    assert not [line for line in found if line != line.rstrip()]


# --- a terminal ---------------------------------------------------------------------------


def test_on_a_terminal_every_waiting_command_shows_how_far_it_is(
    system: System, office: Office
) -> None:
    system.sandbox.rm.put_jobs([job(1, "[/x] LAX-1"), job(2, "A-2")])
    with system.up("--no-beat", "--no-flower"):
        for words, shown in (
            (("sync",), "recorded"),
            (("resync", "[/x] LAX-1"), "found in RestorationManager"),
            (("resync", "[/y] LAX-1"), "[/y] LAX-1"),
            (("snapshot",), "snapshot"),
            (("explain", "[/x]"), "is in QuickBooks Time"),
        ):
            code, found = on_terminal(system, *words)
            assert code == int("[/y] LAX-1" in words), found
            assert shown in found
            assert "Traceback" not in found
        done = system.run("resync", "[/x] LAX-1")
        assert (done.returncode, done.stderr) == (0, "")
        done = system.run("resync", "--no-wait", "A-2")
        assert done.stderr == "1 resync queued: see `cprqueue history`\n"


# --- faults -------------------------------------------------------------------------------


def test_a_fault_of_ours_is_one_line_that_says_where_its_traceback_is(
    system: System, office: Office
) -> None:
    with office.app.db.begin() as conn:
        conn.exec_driver_sql(
            "INSERT INTO runs (key, kind, state, complete, requested_by, created_at,"
            " emitted, recorded, skipped, calls) VALUES ('k', 'nonsense', 'done',"
            " 0, '', '2026-01-01 00:00:00.000000', 0, 0, 0, 0)"
        )
    done = system.run("history", "--json")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    path = Path(done.stderr.rpartition(" ")[2].strip())
    assert path.parent == system.var
    assert "Traceback" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(done.stdout)["error"] in done.stderr


def test_a_table_that_is_gone_is_one_line(system: System, office: Office) -> None:
    office.record([job(1, "A-1")])
    with office.app.db.begin() as conn:
        conn.execute(text("DROP TABLE events"))
    done = system.run("explain", "1")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert "no such table: events" in done.stderr


# --- while a command waits ----------------------------------------------------------------


def start(system: System, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cprqueue", *words],
        env=system.env,
        cwd=system.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def is_fetching(office: Office) -> bool:
    with office.app.db.read() as conn:
        return runs.newest(conn, RunKind.FETCH, RunState.RUNNING) is not None


def test_ctrl_c_says_in_one_line_what_goes_on(system: System, office: Office) -> None:
    system.sandbox.rm.put_jobs([job(1, "A-1")])
    system.sandbox.rm.switches.update({"drip_seconds": 3})
    with system.up("--no-beat", "--no-flower"):
        process = start(system, "sync", "--json")
        with killed_at_the_end(process):
            wait_until(lambda: is_fetching(office))
            process.send_signal(signal.SIGINT)
            printed, noted = process.communicate(timeout=30)
        assert process.returncode == 130, printed
        line = "stopped waiting: sync 1 goes on: see `cprqueue history`"
        assert noted.splitlines()[-1] == f"error: {line}"
        assert json.loads(printed) == {"error": line, "exit": 130}
        wait_until(lambda: office.row(1))  # it does go on


def broker_process(system: System) -> int:
    (found,) = [
        pid
        for pid in marked(system.directory)
        if b"valkey" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
    ]
    return found


def test_a_broker_that_restarts_while_sync_watches_is_waited_for(
    system: System, office: Office
) -> None:
    system.sandbox.rm.put_jobs([job(n, f"A-{n}") for n in range(1, 30)])
    system.sandbox.rm.switches.update({"drip_seconds": 3})
    with system.up("--no-beat", "--no-flower") as up:
        process = start(system, "sync", "--json")
        with killed_at_the_end(process):
            wait_until(lambda: is_fetching(office))
            os.kill(broker_process(system), signal.SIGKILL)
            printed, noted = process.communicate(timeout=90)
        assert (process.returncode, json.loads(printed)["in_sync"]) == (0, 29), noted
        assert "Traceback" not in noted
        assert up.heard("broker is back")
