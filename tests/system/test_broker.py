"""The embedded broker, as a real Valkey server under a real supervisor."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kombu.connection import Connection

from cprqueue import errors
from cprqueue.runtime import broker, broker_start
from cprqueue.runtime.supervisor import Event, Supervisor
from tests.real_processes import no_process_left_behind, wait_until


@pytest.fixture
def var_dir(tmp_path: Path) -> Iterator[Path]:
    with no_process_left_behind(tmp_path):
        yield tmp_path / "var"


@contextmanager
def running(var_dir: Path) -> Iterator[list[Event]]:
    events: list[Event] = []
    supervisor = Supervisor([broker.broker_program(var_dir)], on_event=events.append)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        wait_until(lambda: ready(events))
        yield events
    finally:
        supervisor.stop()
        thread.join(20)


def ready(events: list[Event]) -> list[int]:
    return [event.pid for event in events if event.kind == "ready" and event.pid]


def connected(var_dir: Path) -> Connection:
    return Connection(broker.broker_url(var_dir))


def put(var_dir: Path, text: str) -> None:
    with connected(var_dir) as connection:
        connection.SimpleQueue("letters").put(text)


def get(var_dir: Path) -> object:
    with connected(var_dir) as connection:
        message = connection.SimpleQueue("letters").get(timeout=5)
        message.ack()
        return message.payload


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_messages_survive_a_clean_restart_of_everything(var_dir: Path) -> None:
    with running(var_dir):
        put(var_dir, "kept")
    with running(var_dir):
        assert get(var_dir) == "kept"


def test_messages_survive_a_killed_broker_which_comes_back_by_itself(var_dir: Path) -> None:
    with running(var_dir) as events:
        put(var_dir, "kept")
        os.kill(ready(events)[0], signal.SIGKILL)
        wait_until(lambda: len(ready(events)) == 2)
        assert (var_dir / "broker" / "broker.sock").is_socket()
        assert get(var_dir) == "kept"


def test_only_this_user_may_reach_it_and_no_network_may(var_dir: Path) -> None:
    program = broker.broker_program(var_dir)
    with running(var_dir):
        assert mode_of(var_dir / "broker") == 0o700
        assert mode_of(var_dir / "broker" / "broker.sock") == 0o700
    assert program.argv[program.argv.index("--port") + 1] == "0"


def test_a_second_broker_on_the_same_directory_is_refused_with_one_line(var_dir: Path) -> None:
    with running(var_dir) as events:
        with pytest.raises(errors.AlreadyRunning) as refused:
            broker.broker_program(var_dir)
        pid = ready(events)[0]
        line = f"another process (pid {pid}) is using {var_dir}/broker; stop it first"
        assert str(refused.value) == line
    broker.broker_program(var_dir)


def test_a_stale_socket_file_is_no_obstacle(var_dir: Path) -> None:
    (var_dir / "broker").mkdir(parents=True)
    (var_dir / "broker" / "broker.sock").write_text("left behind")
    with running(var_dir):
        broker.wait_until_answering(broker.broker_url(var_dir), 5)


def test_a_long_path_gets_a_short_private_directory_for_its_socket(var_dir: Path) -> None:
    deep = var_dir / ("d" * 60) / ("e" * 60)
    socket = broker._socket_path(deep)
    try:
        with running(deep):
            put(deep, "short enough")
            assert get(deep) == "short enough"
            assert len(os.fsencode(socket)) <= broker.MAX_SOCKET_PATH_BYTES
            assert mode_of(socket.parent) == 0o700
            assert (deep / "broker" / "appendonlydir").is_dir()
    finally:
        shutil.rmtree(socket.parent, ignore_errors=True)


def test_a_directory_that_somebody_else_prepared_is_refused(var_dir: Path) -> None:
    (var_dir / "elsewhere").mkdir(parents=True)
    (var_dir / "broker").symlink_to(var_dir / "elsewhere")
    with pytest.raises(errors.SettingsError, match="is not a directory of this user"):
        broker._make_private(var_dir / "broker")


def test_a_directory_name_with_odd_characters_works(var_dir: Path) -> None:
    odd = var_dir / "50% of #1 ü?"
    with running(odd):
        put(odd, "quoted")
        assert get(odd) == "quoted"


def test_waiting_for_a_broker_that_is_not_there_ends_with_one_line(var_dir: Path) -> None:
    with pytest.raises(errors.ServiceUnreachable, match="does not answer: ConnectionError"):
        broker.wait_until_answering(broker.broker_url(var_dir), 0.3)


def test_waiting_never_shows_a_password() -> None:
    with pytest.raises(errors.ServiceUnreachable) as unreachable:
        broker.wait_until_answering("redis://:hunter2@127.0.0.1:1/0", 0)
    assert "hunter2" not in str(unreachable.value)


def test_a_broker_with_damaged_files_comes_up_empty_after_three_starts(tmp_path: Path) -> None:
    kept = tmp_path / "appendonlydir"
    kept.mkdir()
    asides = [broker_start.put_aside_if_stuck(tmp_path, 1000.0 + n) for n in range(4)]
    assert asides[:3] == [None, None, None]
    assert asides[3] == tmp_path / "appendonlydir-damaged-1003"
    assert not kept.exists()


def test_starts_that_are_far_apart_put_nothing_aside(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").mkdir()
    asides = [broker_start.put_aside_if_stuck(tmp_path, 1000.0 + 30 * n) for n in range(9)]
    assert asides == [None] * 9
