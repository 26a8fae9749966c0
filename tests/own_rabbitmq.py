"""A RabbitMQ of a test's own, for states in which the shared one would serve nobody."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from cprqueue.runtime.broker import wait_until_answering
from tests.other_servers import url_of
from tests.real_processes import killed_at_the_end

PROGRAMS = Path("/usr/lib/rabbitmq/bin")
CONFIG = """
[{rabbit, [{consumer_timeout, 3000}, {channel_tick_interval, 500}, {heartbeat, 2}]}].
"""
"""So that what takes half an hour, or two minutes of silence, takes seconds."""


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RabbitMq:
    """One server: ``ctl`` is its rabbitmqctl, ``port`` where it listens."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.port, self.mapper = directory, free_port(), free_port()
        directory.chmod(0o755)
        (directory / "advanced.config").write_text(CONFIG)
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self.mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_MNESIA_BASE": str(directory / "data"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": str(directory / "none"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(directory / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(directory / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
            "RABBITMQ_PID_FILE": str(directory / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def ctl(self, *words: str) -> str:
        """Run rabbitmqctl; return what it prints."""
        done = subprocess.run(
            [PROGRAMS / "rabbitmqctl", "-q", *words],
            env=self.env,
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def url(self, vhost: str, user: str = "guest:guest") -> str:
        """Return the URL of a virtual host."""
        return f"amqp://{user}@127.0.0.1:{self.port}/{quote(vhost, safe='')}"

    def new_vhost(self, name: str, *options: str) -> str:
        """Make a virtual host that guest may use; return its URL."""
        self.ctl("add_vhost", name, *options)
        self.ctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        return self.url(name)

    def program(self, *words: str) -> subprocess.Popen[str]:
        with (self.directory / "log").open("a") as log:
            return subprocess.Popen(
                words, env=self.env, cwd=self.directory, stdout=log, stderr=log, text=True
            )


@contextmanager
def own_rabbitmq(directory: Path) -> Iterator[RabbitMq]:
    """Run a server of one's own for the block; skip where RabbitMQ is not installed."""
    url_of("CPR_TEST_RABBITMQ_URL")  # says whether RabbitMQ has to be there
    if not (PROGRAMS / "rabbitmq-server").exists():
        pytest.skip("RabbitMQ's programs are not where Debian puts them")
    made = RabbitMq(directory)
    with ExitStack() as running:
        # A port mapper of our own: the ordinary one is a daemon that would outlive us.
        epmd = shutil.which("epmd") or "epmd"
        mapper = (epmd, "-port", str(made.mapper), "-address", "127.0.0.1")
        running.enter_context(killed_at_the_end(made.program(*mapper)))
        server = made.program(str(PROGRAMS / "rabbitmq-server"))
        running.enter_context(killed_at_the_end(server))
        wait_until_answering(made.url("/"), 60)
        made.ctl("await_startup")
        yield made
        server.terminate()
        server.wait(30)
