"""What a Redis or a limit of this machine refuses is named, never called a broker that is off."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from cprqueue.sandbox.server import Sandbox
from tests.own_valkey import own_valkey
from tests.running import System

OURS = ("broker", "queues", "memory", "connections", "open files")


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with own_valkey(tmp_path) as running:
        yield running


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with Sandbox(jobs=[]) as sandbox:
        yield System(tmp_path, sandbox)


def checked(system: System, url: str) -> dict[str, dict[str, Any]]:
    """Return what ``check`` finds about the broker, by name."""
    done = system.run("check", "--json", CELERY_BROKER_URL=url)
    assert "hush" not in done.stdout + done.stderr
    found = {one["name"]: one for one in json.loads(done.stdout)["checks"] if one["name"] in OURS}
    found["code"] = {"is": done.returncode}
    return found


def test_what_redis_refuses_is_said_in_its_own_words(system: System, port: int) -> None:
    url = f"redis://127.0.0.1:{port}/0"
    with redis.Redis(port=port) as admin:
        fine = checked(system, url)
        assert (fine["broker"]["state"], fine["queues"]["state"]) == ("ok", "ok")
        assert not [key for key in admin.keys("*") if b"_kombu" not in key], "it left something"
        as_told = ["+@all", "-@dangerous", "+info"]  # in docs/operations.md
        few = {"username": "few", "enabled": True, "keys": ["*"], "channels": ["*"]}
        admin.acl_setuser(**few, passwords="+hush", commands=as_told)
        assert checked(system, f"redis://few:hush@127.0.0.1:{port}/0")["queues"]["state"] == "ok"
        admin.acl_setuser(**few, commands=[*as_told, "-brpop"])
        refused = checked(system, f"redis://few:hush@127.0.0.1:{port}/0")
        assert "receiving: the broker refuses: NoPermissionError" in refused["queues"]["text"]
        assert refused["code"]["is"] == 1
        wrong = checked(system, f"redis://few:hush%21@127.0.0.1:{port}/0")
        assert "refuses: AuthenticationError" in wrong["broker"]["text"]
        admin.config_set("maxclients", "10")
        admin.config_set("maxmemory", "100")
        full = checked(system, url)
        assert "OutOfMemoryError" in full["queues"]["text"]
        assert "maxmemory" in full["queues"]["cure"]
        assert full["connections"]["state"] == "warning"
        admin.config_set("maxmemory", "0")
        admin.replicaof("127.0.0.1", "1")
        assert "replica" in checked(system, url)["queues"]["cure"]
        admin.config_set("maxclients", "1")
        assert "max number of clients" in checked(system, url)["broker"]["text"]


def test_too_few_open_files_are_a_line_of_their_own(system: System) -> None:
    command = f"ulimit -n 64; exec {sys.executable} -m cprqueue check --json"
    done = subprocess.run(
        ["bash", "-c", command],
        env=system.env,
        cwd=system.directory,
        capture_output=True,
        text=True,
        check=False,
    )
    found = {one["name"]: one for one in json.loads(done.stdout)["checks"]}
    assert "may open 64 files" in found["open files"]["text"]
    assert "ulimit -n 1024" in found["open files"]["cure"]
