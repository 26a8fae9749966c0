"""Lines that cannot be written are lost and counted; the next one that can says how many."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cprqueue import streams
from tests.real_processes import wait_until
from tests.running import ROOT, clean_environment


def test_lines_that_nobody_could_read_are_counted(tmp_path: Path) -> None:
    full, file = os.open("/dev/full", os.O_WRONLY), tmp_path / "log"
    lossy = streams.Lossy(full)
    for text in (b"one\n", b"two\nthree\n", b"four"):
        assert lossy.write(text) == len(text)
    lossy.lose(2)
    os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), full)  # the disk has room again
    lossy.write(b"five\n")
    lossy.write(b"six\n")
    told = streams.lost_lines(6)
    assert file.read_text().splitlines() == [told, "five", "six"]
    os.close(full)


def test_a_line_that_was_cut_off_does_not_run_into_the_next() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    lossy = streams.Lossy(writing)
    lossy.write(b"x" * 1_000_000 + b"\n")  # more than a pipe holds
    cut = os.read(reading, 1_000_000)
    lossy.write(b"next\n")
    assert set(cut) == {ord("x")}
    assert os.read(reading, 1000).decode().splitlines() == ["", streams.lost_lines(1), "next"]
    for each in (reading, writing):
        os.close(each)


LOGS = """
import logging, os, sys, time
from cprqueue import log
log.set_up(sys.argv[1])
for n in range(3): logging.error("lost %s", n)
os.dup2(os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT), 2)
logging.error("kept"); print("printed", file=sys.stderr)
"""


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "2>&1 | true"])
def test_a_process_logs_on_once_it_can(tmp_path: Path, form: str, redirection: str) -> None:
    path = tmp_path / "log"
    words = f"sleep 0.2; exec {sys.executable} -c '{LOGS}' {form} {path}"
    line = f"({words}) {redirection}"
    subprocess.run(["/bin/bash", "-c", line], cwd=ROOT, env=clean_environment(), check=True)
    wait_until(lambda: "printed" in path.read_text(), timeout_seconds=5)
    found = path.read_text()
    assert "kept" in found
    assert "3 lines before this one" in found


def test_a_reader_who_stops_is_waited_for_once_and_told_how_much_is_lost() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"x" * fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ))
    lossy = streams.Lossy(writing, patience_seconds=0.2)
    began = time.monotonic()
    for _ in range(100):
        lossy.write(b"lost\n")
    assert 0.2 <= time.monotonic() - began < 3
    os.read(reading, 1_000_000)
    lossy.write(b"y" * 10_000 + b"\n")  # in pieces
    assert os.read(reading, 1_000_000).decode() == f"{streams.lost_lines(100)}\n{'y' * 10_000}\n"
    for each in (reading, writing):
        os.close(each)


STOPPED = """
import logging
from cprqueue import log, streams
from cprqueue.cli import program_log
log.set_up("text", patience_seconds=0.1)
streams.protect_output()
logging.error("lost"); print("lost")
log.write_text("lost"); log.write_line("lost")
program_log.CLOSING_SECONDS = 0.1
shown = program_log.ProgramLog(as_json=False, on_all_ready=lambda: None)
shown.say("lost"); shown.say_out("ready"); shown.close()
"""


def test_no_program_waits_for_a_reader_who_has_stopped() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"x" * fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ))
    subprocess.run(
        [sys.executable, "-c", STOPPED],
        cwd=ROOT,
        env=clean_environment(),
        stdout=writing,
        stderr=writing,
        check=True,
        timeout=60,
    )
    for each in (reading, writing):
        os.close(each)
