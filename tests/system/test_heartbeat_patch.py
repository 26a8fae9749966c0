"""A worker that is asked to end just when its broker is gone ends all the same."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import celery
import pytest
from celery.worker import heartbeat

from cprqueue.runtime import heartbeat_patch
from cprqueue.sandbox import credentials
from tests.real_processes import no_process_left_behind, wait_until
from tests.running import ROOT
from tests.system.test_kombu_patch import over_tcp

ENDS_WITHIN_SECONDS = 20  # without the cure: never, in two of three trials


def test_worker_and_broker_end_together(tmp_path: Path) -> None:
    """As ``docker compose down`` does it; the fetch worker's SIGTERM is a SIGQUIT there."""
    server = over_tcp(tmp_path / "broker")
    log = tmp_path / "worker.log"
    environment = credentials.environment("http://127.0.0.1:9") | {
        "CPR_VAR_DIR": str(tmp_path / "var"),
        "CELERY_BROKER_URL": server.url,
        "REMAP_SIGTERM": "SIGQUIT",
    }
    command = "-m celery -A cprqueue worker -Q fetch -c 1 -l info"
    with no_process_left_behind(tmp_path), contextlib.ExitStack() as at_the_end:
        at_the_end.callback(server.kill)
        server.start()
        with log.open("wb") as output:
            worker = subprocess.Popen(
                [sys.executable, *command.split()],
                env={**os.environ, **environment},
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        at_the_end.callback(worker.wait)
        at_the_end.callback(worker.kill)
        wait_until(lambda: "at work" in log.read_text())
        server.kill()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(ENDS_WITHIN_SECONDS) in (0, 1)  # 1: it was about to connect anew


def test_the_cure_is_installed_once_and_only_for_the_version_it_was_written_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = heartbeat.Heart._send
    monkeypatch.setattr(heartbeat.Heart, "_send", original)
    monkeypatch.setattr(celery, "__version__", "5.8.0")
    assert not heartbeat_patch.install()
    assert heartbeat.Heart._send is original
    monkeypatch.setattr(celery, "__version__", heartbeat_patch.GUARDED_VERSION)
    assert heartbeat_patch.install()
    cured = heartbeat.Heart._send
    assert heartbeat_patch.install()
    assert heartbeat.Heart._send is cured
