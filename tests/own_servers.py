"""A database server of a test's own, which it may kill, restart, and close connections on."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from cprqueue.store.database import Database
from tests.real_processes import wait_until

IDLE_SECONDS = 2
"""How long these servers leave a connection open that nobody uses."""

OTHERS = {
    "postgresql": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    "mariadb": "SELECT id FROM information_schema.processlist"
    " WHERE db = database() AND id <> connection_id()",
}


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def close_connections(url: str) -> int:
    """Close all connections to this database at the server; return how many there were."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as conn:
        found = conn.execute(text(OTHERS[engine.dialect.name])).scalars().all()
        for number in found if engine.dialect.name == "mariadb" else ():
            with suppress(DBAPIError):  # it has ended by itself
                conn.execute(text(f"KILL {number}"))
    return len(found)


class Program:
    """A server program that runs as the user of its package."""

    def __init__(self, user: str, command: list[str], directory: Path) -> None:
        self.user, self.command, self.directory = user, command, directory
        self.process: subprocess.Popen[bytes] | None = None

    def as_user(self) -> list[str]:
        """Return what makes a command run as the user: these servers refuse to be root."""
        return ["setpriv", "--reuid", self.user, "--regid", self.user, "--clear-groups"]

    def prepare(self, *command: str) -> None:
        """Run a command as the user, to its end."""
        subprocess.run(
            [*self.as_user(), *command], check=True, capture_output=True, cwd=self.directory
        )

    def start(self) -> None:
        """Start it; it may take a while until it answers."""
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.as_user(), *self.command], stdout=log, stderr=log, cwd=self.directory
            )

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send it a signal and wait for its end."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(60)


class Server(Program):
    """A database server with one database; ``url`` is that database's."""

    url = ""

    def answers(self) -> bool:
        """Tell whether it takes connections."""
        database = Database(self.url)
        try:
            with database.engine.connect():
                return True
        except DBAPIError:
            return False
        finally:
            database.close()

    def restart(self) -> None:
        """Kill it with SIGKILL and start it again."""
        self.end(signal.SIGKILL)
        self.start()
        self.wait_until_it_answers()

    def wait_until_it_answers(self) -> None:
        """Return once it takes connections; fail at once if it ended instead."""
        process = self.process
        assert process is not None
        wait_until(lambda: self.answers() or process.poll() is not None, timeout_seconds=60)
        assert process.poll() is None, (self.directory / "log").read_text()


@contextmanager
def running(kind: str) -> Iterator[Server]:
    """Run a server of this kind, ``postgresql`` or ``mariadb``, for the block."""
    user = {"postgresql": "postgres", "mariadb": "mysql"}[kind]
    with _directory_for(user) as directory:
        server = {"postgresql": _postgresql, "mariadb": _mariadb}[kind](user, directory)
        try:
            server.start()
            server.wait_until_it_answers()
            _make_database(server)
            yield server
        finally:
            server.end()


def _make_database(server: Server) -> None:
    engine = create_engine(server.url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as conn:
        conn.execute(text("CREATE DATABASE cpr"))
    server.url = make_url(server.url).set(database="cpr").render_as_string(hide_password=False)


@contextmanager
def _directory_for(user: str) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("a server of its own needs root: `.ci/run` has it")
    directory = Path(tempfile.mkdtemp(prefix="cpr-server-"))
    try:
        shutil.chown(directory, user)
    except LookupError:
        directory.rmdir()
        pytest.skip(f"there is no user {user}: .ci/run installs the server")
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def _postgresql(user: str, directory: Path) -> Server:
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: float(p.parent.name))
    data, port = str(directory / "data"), free_port()
    command = f"{programs}/postgres -D {data} -p {port} -c unix_socket_directories="
    command += f" -c listen_addresses=127.0.0.1 -c idle_session_timeout={IDLE_SECONDS}s"
    server = Server(user, command.split(), directory)
    server.url = f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    locale = ["--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"]
    server.prepare(f"{programs}/initdb", "--pgdata", data, "--auth", "trust", *locale)
    return server


def _mariadb(user: str, directory: Path) -> Server:
    data, port = str(directory / "data"), free_port()
    command = f"/usr/sbin/mariadbd --no-defaults --datadir={data} --port={port}"
    command += f" --bind-address=127.0.0.1 --socket={directory}/socket --pid-file={directory}/pid"
    command += f" --skip-grant-tables --skip-networking=0 --wait-timeout={IDLE_SECONDS}"
    server = Server(user, command.split(), directory)
    server.url = (
        f"mariadb+pyodbc://root@127.0.0.1/mysql?driver=MariaDB+Unicode&port={port}&charset=utf8mb4"
    )
    how = ["--auth-root-authentication-method=normal", "--skip-test-db"]
    server.prepare("mariadb-install-db", "--no-defaults", f"--datadir={data}", *how)
    return server


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def pooled(url: str, *, connections: int, mode: str = "transaction") -> Iterator[str]:
    """Put PgBouncer before a PostgreSQL database; yields its URL.

    It keeps so few ``connections`` that every client meets those of others.
    """
    behind = make_url(url)
    with _directory_for("postgres") as directory:
        port, config = free_port(), directory / "pgbouncer.ini"
        config.write_text(
            "[databases]\n"
            f"* = host={behind.host} port={behind.port} user={behind.username}\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = any\npool_mode = {mode}\ndefault_pool_size = {connections}\n"
        )
        config.chmod(0o644)  # the server is another user, whatever our umask
        server = Server("postgres", ["pgbouncer", str(config)], directory)
        pooled = behind.set(host="127.0.0.1", port=port)
        server.url = pooled.render_as_string(hide_password=False)
        try:
            server.start()
            wait_until(lambda: _listens(port))
            yield server.url
        finally:
            server.end(signal.SIGINT)
