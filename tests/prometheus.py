"""A Prometheus of a test's own, where Debian's package is installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests import log_scan
from tests.own_rabbitmq import free_port
from tests.real_processes import killed_at_the_end, wait_until

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None or shutil.which("prometheus") is None,
    reason="prometheus and promtool are not installed: .ci/run installs Debian's package",
)

CONFIG = """
global: {{scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: cprqueue
    static_configs: [targets: ["{target}"]]
"""


class Prometheus:
    """One server; ``query`` asks it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str, **params: str) -> Any:
        """Ask its API; fail unless it calls the answer a success."""
        answer = requests.get(f"{self.url}/api/v1/{path}", params=params, timeout=10)
        found = answer.json()
        assert found["status"] == "success", (params, found)
        return found["data"]

    def query(self, expr: str) -> list[Any]:
        """Evaluate an expression now."""
        found: list[Any] = self.get("query", query=expr)["result"]
        return found

    def answers(self) -> bool:
        """Tell whether it is up."""
        try:
            return requests.get(f"{self.url}/-/ready", timeout=2).ok
        except requests.ConnectionError:
            return False


@contextmanager
def prometheus(directory: Path, target: str, rules: Path) -> Iterator[Prometheus]:
    """Run one for the block that reads ``target`` (host and port) every two seconds."""
    config = directory / "prometheus.yml"
    config.write_text(CONFIG.format(rules=rules, target=target), encoding="utf-8")
    port = free_port()
    options = (f"--config.file={config}", f"--storage.tsdb.path={directory / 'tsdb'}")
    server = log_scan.Watched(
        ["prometheus", *options, f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with killed_at_the_end(server):
        made = Prometheus(port)
        wait_until(made.answers)
        yield made
        server.kill()
