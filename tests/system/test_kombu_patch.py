"""A worker whose broker is killed while it holds a message: it lives on, the message runs."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import kombu
import pytest
from celery import Celery
from kombu.connection import Connection
from kombu.transport import redis as kombu_redis

from cprqueue.runtime import broker, kombu_patch
from tests.real_processes import no_process_left_behind, wait_until
from tests.running import ROOT

HERE = Path(__file__).parent


@dataclass(kw_only=True)
class Server:
    """A Valkey that can be killed and started again on the same data."""

    argv: tuple[str, ...]
    url: str
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        self.process = subprocess.Popen(self.argv, stdout=subprocess.DEVNULL)
        broker.wait_until_answering(self.url, 10)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def over_unix_socket(var_dir: Path) -> Server:
    return Server(argv=broker.broker_program(var_dir).argv, url=broker.broker_url(var_dir))


def over_tcp(var_dir: Path) -> Server:
    port = str(free_port())
    argv = (*broker.broker_program(var_dir).argv, "--port", port)
    return Server(argv=argv, url=f"redis://127.0.0.1:{port}/0")


@contextlib.contextmanager
def worker(server: Server, tmp_path: Path, *, guard: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a worker; its log is ``worker.log``; kill all of it in the end."""
    log = tmp_path / "worker.log"
    command = "-m celery -A guarded_app worker -c 1 --without-mingle --without-gossip -l info"
    path = os.pathsep.join((str(HERE), str(ROOT)))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command.split()],
            env={**os.environ, "PYTHONPATH": path, "BROKER_URL": server.url, "GUARD": guard},
            cwd=tmp_path,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    with process:
        try:
            wait_until(lambda: " ready." in log.read_text())
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@dataclass(kw_only=True)
class Story:
    """A worker that holds an unacknowledged message and whose broker has just been killed."""

    worker: subprocess.Popen[bytes]
    server: Server
    directory: Path

    def runs(self) -> int:
        diary = self.directory / "diary"
        return diary.read_text().count("began") if diary.exists() else 0

    def unacknowledged(self) -> int:
        with Connection(self.server.url) as connection:
            return int(connection.default_channel.client.hlen("unacked"))

    def publish(self, countdown: float | None) -> None:
        with Celery(broker=self.server.url, set_as_current=False) as app:
            arguments = (str(self.directory / "gate"), str(self.directory / "diary"))
            app.send_task("guarded.wait_for", args=arguments, countdown=countdown)

    def let_the_task_end(self) -> None:
        (self.directory / "gate").touch()

    def log(self) -> str:
        return (self.directory / "worker.log").read_text()


@contextlib.contextmanager
def broker_killed(
    server: Server, tmp_path: Path, *, guard: str, countdown: float | None
) -> Iterator[Story]:
    with no_process_left_behind(tmp_path), contextlib.ExitStack() as at_the_end:
        at_the_end.callback(server.kill)
        server.start()
        process = at_the_end.enter_context(worker(server, tmp_path, guard=guard))
        story = Story(worker=process, server=server, directory=tmp_path)
        story.publish(countdown)
        began = 0 if countdown else 1
        wait_until(lambda: story.runs() == began and "received" in story.log())
        wait_until(lambda: story.unacknowledged() == 1)
        server.kill()
        wait_until(lambda: "Connection to broker lost" in story.log())
        yield story


@pytest.mark.parametrize("where", [over_unix_socket, over_tcp])
@pytest.mark.parametrize(("countdown", "runs"), [(None, 2), (3, 1)])
def test_the_worker_lives_and_the_message_is_delivered_again(
    tmp_path: Path, where: Callable[[Path], Server], countdown: float | None, runs: int
) -> None:
    """A late-acknowledged task that runs is run again; one that waits is run once."""
    server = where(tmp_path / "var")
    with broker_killed(server, tmp_path, guard="yes", countdown=countdown) as story:
        server.start()
        wait_until(lambda: story.log().count("received") == 2, timeout_seconds=40)
        story.let_the_task_end()
        wait_until(lambda: story.runs() == runs)
        wait_until(lambda: story.unacknowledged() == 0)
        assert story.worker.poll() is None
        assert "Unrecoverable error" not in story.log()


@pytest.mark.skipif(kombu.__version__ != kombu_patch.GUARDED_VERSION, reason="not needed")
def test_without_the_guard_the_worker_exits(tmp_path: Path) -> None:
    """An idle worker that holds a message with a countdown shows it every time."""
    server = over_unix_socket(tmp_path / "var")
    with broker_killed(server, tmp_path, guard="no", countdown=30) as story:
        assert story.worker.wait(40) == 1
        assert "has no attribute 'hostname'" in story.log()


def test_the_guard_is_installed_once_and_only_for_the_version_it_was_written_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = kombu_redis.Channel._connparams
    monkeypatch.setattr(kombu_redis.Channel, "_connparams", original)
    monkeypatch.setattr(kombu, "__version__", "5.8.0")
    assert not kombu_patch.install()
    assert kombu_redis.Channel._connparams is original
    monkeypatch.setattr(kombu, "__version__", kombu_patch.GUARDED_VERSION)
    assert kombu_patch.install()
    guarded = kombu_redis.Channel._connparams
    assert kombu_patch.install()
    assert kombu_redis.Channel._connparams is guarded
