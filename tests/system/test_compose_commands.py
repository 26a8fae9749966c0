"""Each command of docker-compose.yml is one that its program accepts."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import yaml
from celery.bin.celery import celery as celery_command

from tests.running import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


def test_celery_and_cprqueue_accept_each_command_of_compose() -> None:
    for name, service in COMPOSE["services"].items():
        if service["image"] != "cprqueue":
            continue
        words = service["command"]
        if words[0] == "sh":
            assert "exec celery -A cprqueue flower" in words[2] or "cprqueue sandbox" in words[2]
        elif words[0] == "celery":
            assert words[1:3] == ["-A", "cprqueue"], name
            command = celery_command.commands[words[3]]
            if words[3] != "flower":  # it reads its own options, later
                with command.make_context(words[3], list(words[4:]), resilient_parsing=True):
                    pass
        elif words[0] == "python":
            done = subprocess.run(
                [sys.executable, *words[1:], "--help"], cwd=ROOT, capture_output=True, check=False
            )
            assert done.returncode == 0, name
