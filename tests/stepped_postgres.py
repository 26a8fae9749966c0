"""A PostgreSQL whose clock a test can step while it runs (Debian's ``libfaketime``)."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from tests.real_processes import wait_until

AS_POSTGRES = ("setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups")


@dataclass(frozen=True, slots=True)
class SteppedPostgres:
    """``url`` of an empty database; ``step`` sets its clock."""

    url: str
    offset: Path

    def step(self, seconds: float) -> None:
        """Set the server's clock so far ahead of the true time (negative: behind it)."""
        new = self.offset.with_suffix(".new")
        new.write_text(f"{seconds:+.3f}\n")
        new.rename(self.offset)


def _found(pattern: str) -> Path:
    found = sorted(Path("/usr/lib").glob(pattern))
    if not found and os.environ.get("CI") == "true" and os.geteuid() == 0:
        pytest.fail(f"/usr/lib/{pattern} is missing: .ci/run installs it")
    if not found or os.geteuid() != 0:
        pytest.skip(f"needs root and /usr/lib/{pattern}: .ci/run installs it")
    return found[-1]


@contextmanager
def stepped_postgres() -> Iterator[SteppedPostgres]:
    """Start a server of its own for the block."""
    bin_dir = _found("postgresql/*/bin/initdb").parent
    library = _found("*/faketime/libfaketime.so.1")
    home = Path(tempfile.mkdtemp(prefix="cpr-clock-"))
    shutil.chown(home, "postgres")
    offset = home / "offset"
    offset.write_text("+0\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = str(home / "data")
    make = [*AS_POSTGRES, str(bin_dir / "initdb"), "--pgdata", data, "--auth", "trust", "--no-sync"]
    subprocess.run(make, check=True, capture_output=True, cwd=home)
    options = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off")
    faked = (  # set after the change of user, whose semaphore it is then
        f"LD_PRELOAD={library}",
        f"FAKETIME_TIMESTAMP_FILE={offset}",
        "FAKETIME_NO_CACHE=1",
        "DONT_FAKE_MONOTONIC=1",
    )
    server = subprocess.Popen(
        [*AS_POSTGRES, "env", *faked, str(bin_dir / "postgres"), "-D", data, "-p", str(port)]
        + [word for option in options for word in ("-c", option)],
        cwd=home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    try:
        wait_until(lambda: _answers(url), timeout_seconds=60)
        yield SteppedPostgres(url, offset)
    finally:
        server.terminate()
        server.wait(60)
        shutil.rmtree(home)
        for left in Path("/dev/shm").glob(f"*faketime_*_{server.pid}"):
            left.unlink()


def _answers(url: str) -> bool:
    engine = create_engine(url)
    try:
        engine.connect().close()
    except OperationalError:
        return False
    finally:
        engine.dispose()
    return True
