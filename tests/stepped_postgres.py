"""A PostgreSQL whose clock a test can step while it runs (Debian's ``libfaketime``)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from tests.own_servers import free_port
from tests.real_processes import wait_until

AS_POSTGRES = ("setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups")


class SteppedPostgres:
    """``url`` of an empty database; ``step`` sets its clock, ``kill`` and ``start`` the rest."""

    def __init__(self, home: Path) -> None:
        self.home, self.offset, self.port = home, home / "offset", free_port()
        self.bin_dir = found_in_lib("postgresql/*/bin/initdb").parent
        self.library = found_in_lib("*/faketime/libfaketime.so.1")
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"
        self.server: subprocess.Popen[bytes] | None = None
        self.step(0)
        data = ("--pgdata", str(home / "data"))
        make = [*AS_POSTGRES, str(self.bin_dir / "initdb"), *data, "--auth", "trust", "--no-sync"]
        subprocess.run(make, check=True, capture_output=True, cwd=home)

    def step(self, seconds: float) -> None:
        """Set the server's clock so far ahead of the true time (negative: behind it)."""
        new = self.offset.with_suffix(".new")
        new.write_text(f"{seconds:+.3f}\n")
        new.chmod(0o644)  # the server is another user, whatever our umask
        new.rename(self.offset)

    def start(self) -> None:
        """Start it; it may take a while until it answers."""
        options = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off")
        faked = (  # set after the change of user, whose semaphore it is then
            f"LD_PRELOAD={self.library}",
            f"FAKETIME_TIMESTAMP_FILE={self.offset}",
            "FAKETIME_NO_CACHE=1",
            "DONT_FAKE_MONOTONIC=1",
        )
        program = (str(self.bin_dir / "postgres"), "-D", "data", "-p", str(self.port))
        with (self.home / "log").open("ab") as log:
            self.server = subprocess.Popen(
                [*AS_POSTGRES, "env", *faked, *program]
                + [word for option in options for word in ("-c", option)],
                cwd=self.home,
                stdout=log,
                stderr=log,
            )

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send it a signal and wait for its end; harmless where it does not run."""
        if self.server is not None:
            self.server.send_signal(number)
            self.server.wait(60)
            for left in Path("/dev/shm").glob(f"*faketime_*_{self.server.pid}"):
                left.unlink()
            self.server = None

    def answers(self) -> bool:
        """Tell whether it takes connections."""
        return _answers(self.url)


def found_in_lib(pattern: str) -> Path:
    found = sorted(Path("/usr/lib").glob(pattern))
    if not found and os.environ.get("CI") == "true" and os.geteuid() == 0:
        pytest.fail(f"/usr/lib/{pattern} is missing: .ci/run installs it")
    if not found or os.geteuid() != 0:
        pytest.skip(f"needs root and /usr/lib/{pattern}: .ci/run installs it")
    return found[-1]


@contextmanager
def stepped_postgres() -> Iterator[SteppedPostgres]:
    """Start a server of its own for the block."""
    found_in_lib("*/faketime/libfaketime.so.1")
    home = Path(tempfile.mkdtemp(prefix="cpr-clock-"))
    shutil.chown(home, "postgres")
    try:
        made = SteppedPostgres(home)
        try:
            made.start()
            wait_until(made.answers, timeout_seconds=60)
            yield made
        finally:
            made.end()
    finally:
        shutil.rmtree(home)


def _answers(url: str) -> bool:
    engine = create_engine(url)
    try:
        engine.connect().close()
    except OperationalError:
        return False
    finally:
        engine.dispose()
    return True
