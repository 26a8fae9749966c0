"""PgBouncer in transaction mode: no setting is needed, and nothing of ours reaches others."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from cprqueue.sandbox.server import Sandbox
from tests.office import broken, job
from tests.own_servers import pooled
from tests.running import System

CLOSED = {"jobProgress": "Paid in Full - File Closed"}
CONNECTIONS = 3


@pytest.mark.timeout(200)
def test_a_sync_a_resync_and_a_prune_go_through_three_connections_that_all_share(
    postgres_url: str, tmp_path: Path
) -> None:
    everything = [job(n, f"A-{n}") for n in range(1, 61)]
    with Sandbox(jobs=everything) as sandbox, pooled(postgres_url, connections=CONNECTIONS) as url:
        sandbox.qbt.switches.update({"rate_limit": 3000})
        system = System(tmp_path, sandbox, DATABASE_URL=url, QBT_RATE_LIMIT="3000")
        with system.up("--no-flower") as up:
            assert system.sync("--full")["code"] == 0
            sandbox.rm.put_jobs([job(n, f"A-{n}", **CLOSED) for n in range(1, 6)])
            assert system.sync("--full")["code"] == 0
            for words in (("resync", "A-9"), ("prune", "run"), ("check",), ("status",)):
                done = system.run(*words)
                assert done.returncode == 0, [words, done.stdout, done.stderr]
        assert broken(sandbox) == []
        there = make_url(url)
        with psycopg.connect(
            host=there.host, port=there.port, user="postgres", dbname=there.database
        ) as conn:
            found = [
                conn.execute(f"SHOW {name}_timeout").fetchone() for name in ("lock", "statement")
            ]
        assert found == [("0",), ("0",)]
    assert up.heard("Traceback") == 0, "".join(up.err)
