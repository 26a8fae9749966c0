"""A user of Redis with no more rights than docs/operations.md names: everything works."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from cprqueue.sandbox.server import Sandbox
from tests.own_valkey import own_valkey
from tests.running import ROOT, System


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[redis.Redis]:
    with own_valkey(tmp_path) as port, redis.Redis(port=port) as client:
        yield client


def documented() -> list[str]:
    """Return the commands that the documentation allows this user."""
    text = (ROOT / "docs" / "operations.md").read_text()
    found = re.search(r"^ACL SETUSER cprqueue on >PASSWORD ~\* &\* (.*)$", text, re.MULTILINE)
    assert found
    return found[1].split()


def test_up_works_with_the_rights_that_are_documented(admin: redis.Redis, tmp_path: Path) -> None:
    port = admin.connection_pool.connection_kwargs["port"]
    admin.acl_setuser(
        "cprqueue", True, passwords="+few", keys=["*"], channels=["*"], commands=documented()
    )
    with Sandbox(jobs=20) as sandbox:
        url = f"redis://cprqueue:few@127.0.0.1:{port}/0"
        (tmp_path / "office").mkdir()
        system = System(tmp_path / "office", sandbox, CELERY_BROKER_URL=url)
        with system.up("--flower-port", "0") as up:
            done = system.sync("--full")
            assert (done["due"], done["error"]) == (0, [])
            checks = json.loads(system.run("check", "--json").stdout)["checks"]
            assert [one for one in checks if one["state"] not in ("ok", "warning")] == []
            assert json.loads(system.run("status", "--json").stdout)["broker"]["workers"]
            assert system.run("snapshot").returncode == 0
            assert system.run("resync", "--timeout", "60", "1").returncode in (0, 1)
            assert not up.heard("Traceback")
    assert [entry["object"] for entry in admin.acl_log()] == []
