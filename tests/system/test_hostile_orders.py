"""Numbers that some small language would read as its own go through the queue as they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cprqueue.sandbox.server import Sandbox
from tests.hostile import TEXTS
from tests.office import broken, job
from tests.place import CLOSED
from tests.running import System

PLAIN = [text for text, clean in TEXTS.items() if text == clean]
NUMBERS = [f"{text} {n}" for n, text in enumerate(PLAIN[::2], 1)]


@pytest.mark.timeout(180)
def test_every_order_reaches_the_job_that_was_meant(tmp_path: Path) -> None:
    names = dict(enumerate(NUMBERS, 1))
    jobs = [job(n, number, jobName=number, jobCity=number) for n, number in names.items()]
    with Sandbox(jobs=jobs) as sandbox:
        sandbox.qbt.switches.update({"geocode_seconds": 1e9})
        system = System(tmp_path, sandbox, CPR_TIMEZONE="UTC", PRUNE_MAX_LIMIT="1000")
        with system.up("--no-flower", "--no-beat") as up:
            done = system.sync("--full")
            assert (done["in_sync"], done["error"]) == (len(names), [])
            sandbox.rm.put_jobs([job(n, names[n], jobCity=f"{names[n]} new") for n in names])
            again = system.run("resync", "--json", "--", *names.values())
            reports = json.loads(again.stdout)
            assert {(r["job"], r["job_id"], r["ok"]) for r in reports} == {
                (number, n, True) for n, number in names.items()
            }
            assert broken(sandbox) == []
            sandbox.rm.put_jobs([job(n, names[n], **CLOSED) for n in list(names)[:6]])
            assert system.sync("--full")["error"] == []
            prune = json.loads(system.run("prune", "run", "--json").stdout)
            assert system.run("prune", "show", str(prune["run_id"])).returncode == 0
            state = sandbox.qbt.state()["jobcodes"]
            gone = {code["name"] for code in state if not code["active"]}
            assert gone == {names[n] for n in list(names)[:6]}
            assert not up.heard("Traceback")
