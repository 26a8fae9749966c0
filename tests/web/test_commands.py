"""``cprqueue web`` and ``web-user``, as commands."""

from __future__ import annotations

import io
import os
import pty
import signal
import socket
import subprocess
import sys

import pytest
import requests

from cprqueue.cli.web_user import web_user
from cprqueue.errors import UsageError
from cprqueue.settings.web import Role, users
from cprqueue.store import schema
from cprqueue.store.database import Database
from cprqueue.web import passwords
from tests import log_scan
from tests.running import System
from tests.web.conftest import PASSWORD, USERS


def test_a_users_line_is_what_the_settings_read(system: System) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cprqueue", "web-user", "ann", "--role", "operator"],
        env=system.env,
        cwd=system.directory,
        input=f"{PASSWORD}\r\nmore".encode(),
        capture_output=True,
        timeout=60,
        check=True,
    )
    [found] = users(done.stdout.decode().strip())
    assert (found.name, found.role) == ("ann", Role.OPERATOR)
    assert passwords.is_right(PASSWORD, found.hash)
    assert not passwords.is_right(f"{PASSWORD}\r", found.hash)
    assert PASSWORD not in done.stdout.decode() + done.stderr.decode()
    assert not (system.directory / ".env").exists()
    assert "behind CPR_WEB_USERS=, like CPR_WEB_USERS=ann:...:operator" in done.stderr.decode()


def test_on_a_terminal_the_password_is_asked_for_twice_and_not_shown(system: System) -> None:
    parent, child = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "cprqueue", "web-user", "ann"],
        env=system.env,
        cwd=system.directory,
        stdin=child,
        stdout=subprocess.PIPE,
        stderr=child,
    ) as asking:
        os.close(child)
        shown = b""
        # What is typed before the blank behind a prompt is lost.
        for prompt in (b"Password of ann: ", b"confirmation: "):
            while prompt not in shown:
                shown += os.read(parent, 4096)
            os.write(parent, f"{PASSWORD}\n".encode())
        assert asking.stdout is not None
        [found] = users(asking.stdout.read().decode().strip())
        assert asking.wait(20) == 0
    os.close(parent)
    assert passwords.is_right(PASSWORD, found.hash)
    assert PASSWORD.encode() not in shown


@pytest.mark.parametrize(
    ("name", "typed", "told"),
    [
        ("ann", b"short\n", "from 10 to 200 characters"),
        ("ann", b"", "from 10 to 200 characters"),
        ("ann", b"\xff" * 12, "no text in UTF-8"),
        ("a;b:c", b"", "is no name for a user"),
    ],
)
def test_what_is_no_user_is_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, typed: bytes, told: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed)))
    with pytest.raises(UsageError, match=told) as raised:
        web_user(name)
    assert len(str(raised.value).splitlines()) == 1


def test_without_users_there_is_no_board_and_the_cure_is_named(system: System) -> None:
    done = system.run("web")
    assert done.returncode == 2
    assert "`cprqueue web-user NAME --role operator`" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_port_that_is_taken_is_one_line(system: System) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = system.run("web", "--port", port, CPR_WEB_USERS=USERS)
    assert done.returncode == 2
    assert f"port {port} is not free for the board" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_it_serves_until_it_is_asked_to_end(system: System) -> None:
    db = Database(f"sqlite:///{system.var / 'cprqueue.db'}")
    system.var.mkdir(exist_ok=True)
    schema.upgrade(db)
    db.close()
    with log_scan.Watched(
        [sys.executable, "-m", "cprqueue", "web", "--port", "0"],
        env={**system.env, "CPR_WEB_USERS": USERS},
        cwd=system.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as board:
        assert board.stdout is not None
        line = board.stdout.readline()
        url = line.strip().partition("url=")[2]
        answer = requests.get(f"{url}login", timeout=20)
        board.send_signal(signal.SIGTERM)
        assert board.wait(20) == 0
    assert answer.status_code == 200
    assert "Log in" in answer.text
