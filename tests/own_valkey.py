"""A Valkey of a test's own on a TCP port, for what the embedded one on its socket cannot show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cprqueue.runtime.broker import wait_until_answering
from tests.own_brokers import Broker


@contextmanager
def own_valkey(directory: Path) -> Iterator[int]:
    """Run a server for the block; give its port."""
    made = Broker(directory)
    try:
        made.start()
        wait_until_answering(made.url(made.port), 10)
        yield made.port
    finally:
        made.close()
