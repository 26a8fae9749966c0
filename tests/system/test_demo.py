"""``cprqueue demo`` and ``cprqueue sandbox``, as somebody would try them first."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from dotenv import dotenv_values

from cprqueue.sandbox.credentials import environment
from tests.real_processes import no_process_left_behind, wait_until
from tests.running import PATIENT, clean_environment


@contextmanager
def started(directory: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command whose temporary files and processes bear our mark."""
    command = [sys.executable, "-m", "cprqueue", *words]
    env = clean_environment(TMPDIR=str(directory))
    pipe = subprocess.PIPE
    with (
        no_process_left_behind(directory),
        subprocess.Popen(
            command, env=env, cwd=directory, stdout=pipe, stderr=pipe, text=True
        ) as process,
    ):
        yield process


def test_a_small_demo_finds_everything_right_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DATABASE_URL=sqlite:////nowhere/at/all.db\nQBT_RATE_LIMIT=x\n")
    picture = tmp_path / "demo.svg"
    with started(tmp_path, "demo", "--jobs", "120", "--picture", str(picture)) as demo:
        assert demo.stdout is not None
        board = next(line for line in demo.stdout if line.startswith("The board"))
        page = requests.get(board.split()[-1], timeout=20)
        out, err = demo.communicate(timeout=120)
    assert demo.returncode == 0, out + err
    assert (page.status_code, "Demo: no log-in" in page.text) == (200, True)
    assert "All as it should be." in out
    assert "demo --keep" in out
    assert "error" not in err
    assert {path.name for path in tmp_path.iterdir()} == {".env", picture.name}
    drawn = picture.read_text(encoding="utf-8")
    assert "All as it should be." in drawn.replace("&#160;", " ")
    assert re.findall(r"url\([^#]|@import|href", drawn) == []  # it fetches nothing


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_stopped_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    with started(tmp_path, "demo", "--jobs", "2000") as demo:
        wait_until(lambda: list(tmp_path.glob("*/var/cpr_all_jobs.json")), **PATIENT)
        demo.send_signal(number)
        _out, err = demo.communicate(timeout=60)
    assert demo.returncode != 0
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_the_sandbox_hands_out_its_settings_and_serves(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    words = ("sandbox", "--port", "0", "--jobs", "10", "--env", str(file))
    with started(tmp_path, *words) as sandbox:
        assert sandbox.stderr is not None
        lines = [sandbox.stderr.readline() for _ in range(3)]
        found = {name: value or "" for name, value in dotenv_values(file).items()}
        assert found == environment(found["RM_BASE_URL"])
        assert f"10 jobs, and an empty QuickBooks Time: {found['RM_BASE_URL']}\n" in lines[1]
        me = requests.get(
            f"{found['QBT_BASE_URL']}/current_user",
            headers={"Authorization": f"Bearer {found['QBT_ACCESS_TOKEN']}"},
            timeout=10,
        )
        assert me.status_code == 200
        sandbox.send_signal(signal.SIGINT)
        assert sandbox.wait(20) == 0
    assert file.stat().st_mode & 0o077 == 0
