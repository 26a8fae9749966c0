"""docs/moving.md: its commands in its order, in an empty directory, on the scripts' account."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from cprqueue.sandbox.audit import audit
from cprqueue.sandbox.client import SandboxClient
from cprqueue.sandbox.server import Sandbox
from tests import log_scan
from tests.real_processes import killed_at_the_end, no_process_left_behind, wait_until
from tests.running import ROOT, System, clean_environment, errors

PAGE = (ROOT / "docs" / "moving.md").read_text(encoding="utf-8")
JOB = "BMS-25-00008M"
MAY_PARK = ("plan", "sync")
ADDRESS = {"addr1": "1 Old Road", "addr2": "", "city": "Boise", "state": "ID", "zip": "83702"}


def commands() -> list[str]:
    """Return the page's commands in their order."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]


class NewUser:
    """Somebody who types the page's commands in an empty directory."""

    def __init__(self, directory: Path, closing: ExitStack) -> None:
        self.directory, self.closing = directory, closing
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.env = clean_environment(PATH=path)
        self.up: subprocess.Popen[str] | None = None

    def begin(self, command: str, sign: str) -> subprocess.Popen[str]:
        """Start a command that stays; return once it has said ``sign``."""
        log = self.directory.parent / f"{command.split()[1]}.log"
        with log.open("w", encoding="utf-8") as file:
            process = subprocess.Popen(
                command.split(),
                cwd=self.directory,
                env=self.env,
                stdout=file,
                stderr=file,
                text=True,
            )
        self.closing.enter_context(killed_at_the_end(process))
        wait_until(
            lambda: sign in log.read_text() or process.poll() is not None, timeout_seconds=90
        )
        assert process.poll() is None, log.read_text()
        self.closing.callback(lambda: log_scan.collect(log.read_text().splitlines()))
        return process

    def type(self, command: str) -> str:
        """Run a command to its end in a shell; return what it printed."""
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.directory,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        log_scan.collect(done.stderr.splitlines())
        may_park = command.split()[1] in MAY_PARK
        assert done.returncode in ((0, 1) if may_park else (0,)), (command, done)
        assert not errors(done.stderr), (command, done.stderr)
        return done.stdout

    @property
    def sandbox(self) -> SandboxClient:
        """The sandbox that ``.env`` names."""
        found = re.search(r"http://127\.0\.0\.1:\d+", (self.directory / ".env").read_text())
        assert found
        return SandboxClient(found[0])


def leave_as_the_scripts_do(user: NewUser) -> list[str]:
    """Fill the account as the scripts have: five jobs, one archived, one with two locations."""
    jobs = [
        job
        for job in user.sandbox.jobs()
        if re.fullmatch(r"[A-Z]{3}-25-\d+[MR]", job["jobJobId"] or "")
    ]
    open_ = [
        j for j in jobs if j["jobStatus"] == "Active" and j["jobProgress"] == "Work in Progress"
    ]
    names = [JOB, *(j["jobJobId"] for j in open_ if j["jobJobId"] != JOB)][:5]
    codes = [user.sandbox.add_jobcode(name=name, assigned_to_all=True) for name in names]
    for code in (codes[0], codes[0]):
        user.sandbox.add_location(**ADDRESS, linked_objects={"jobcodes": [code]})
    user.sandbox.change_jobcode(codes[1], active=False)
    user.sandbox.add_jobcode(name="Shop")
    (user.directory / "cpr_all_jobs.json").write_text(json.dumps(user.sandbox.jobs()))
    return names


def wrong(user: NewUser) -> list[str]:
    """Return what the sandbox's own audit finds; the jobcode "Shop" is nobody's."""
    state: Any = user.sandbox.qbt_state()
    shop = {code["id"] for code in state["jobcodes"] if code["name"] == "Shop"}
    return audit(user.sandbox.jobs(), state, unmanaged=shop).wrong


def written(user: NewUser) -> int:
    return sum(user.sandbox.call_count("qbt", method) for method in ("POST", "PUT"))


@contextmanager
def new_user(directory: Path) -> Iterator[NewUser]:
    with no_process_left_behind(directory), ExitStack() as closing:
        home = directory / "cprqueue"
        home.mkdir()
        yield NewUser(home, closing)


def test_the_commands_of_the_page_move_an_account_over_and_back(tmp_path: Path) -> None:
    typed = commands()
    assert all(line.startswith("cprqueue ") for line in typed)
    names: list[str] = []
    with new_user(tmp_path) as user:
        for command in typed:
            match command.split()[1:3]:
                case ["sandbox", *_]:
                    user.begin(f"{command} --port 0", "Ctrl-C ends it")
                    names = leave_as_the_scripts_do(user)
                case ["up", *_]:
                    assert written(user) == 0, "nothing is written before"
                    user.up = user.begin(f"{command} --no-flower", "ready")
                case ["prune", "plan"]:
                    closed = [j for j in user.sandbox.jobs() if j["jobJobId"] in names[1:3]]
                    user.sandbox.put_jobs([j | {"jobProgress": "Lost Lead"} for j in closed])
                    user.type("cprqueue sync --full")
                    assert all(name in user.type(command) for name in names[1:3])
                case ["undo", _]:
                    history = json.loads(user.type("cprqueue history --json"))
                    run = next(run for run in history if run["kind"] == "prune")
                    assert run["archived"] == 2
                    assert user.type(f"cprqueue undo {run['run_id']}")
                    assert user.up is not None
                    user.up.send_signal(signal.SIGINT)
                    user.up.wait(60)
                case _:
                    said = user.type(command)
                    if command == "cprqueue sync --full":
                        assert wrong(user) == []
                        state = user.sandbox.qbt_state()
                        mine = [c for c in state["jobcodes"] if c["name"] == JOB]
                        assert [len(code["locations"]) for code in mine] == [1]
                    if command == f"cprqueue explain {JOB}":
                        assert said.startswith(JOB)
        rows = csv.DictReader((user.directory / "plan.csv").read_text().splitlines())
        plan = {row["job_number"]: row for row in rows}
        assert "restore" in plan[names[1]]["actions"]
        assert "address" in plan[JOB]["actions"]
        file = json.loads((user.directory / "cpr_all_jobs.json").read_text())
        assert {j["jobId"] for j in file} == {j["jobId"] for j in user.sandbox.jobs()}


def test_tables_of_others_with_our_names_are_named_before_anything_is_made(
    tmp_path: Path,
) -> None:
    (tmp_path / "var").mkdir()
    path = tmp_path / "var" / "cprqueue.db"
    with closing(sqlite3.connect(path)) as old, old:
        old.execute("CREATE TABLE active_jobs (jobId INTEGER)")
        old.execute("CREATE VIEW qbt_export AS SELECT jobId FROM active_jobs")
    with Sandbox(jobs=[]) as sandbox:
        system = System(tmp_path, sandbox)
        done = system.run("migrate")
        assert done.returncode == 2
        (line,) = errors(done.stderr)
        assert "has active_jobs, qbt_export already" in line
        found = json.loads(system.run("check", "--json").stdout)["checks"]
        assert line.endswith(next(c["text"] for c in found if c["name"] == "database"))
    with closing(sqlite3.connect(path)) as old, old:
        assert old.execute("SELECT count(*) FROM sqlite_master").fetchone() == (2,)
