"""``cprqueue plan`` before the first write and after it: what it says is what the sync does."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cprqueue.sandbox.server import Sandbox
from tests.office import job
from tests.running import System

PARTS = ("addr1", "addr2", "city", "state", "zip")
State = dict[str, list[dict[str, Any]]]


def address(number: int) -> dict[str, str]:
    street = f"{number} Main Street"
    return {"addr1": street, "addr2": "", "city": "Boise", "state": "ID", "zip": "83702"}


def spelled(number: int) -> str:
    """Return a job's number as people typed it: some in other letters, some with blanks."""
    name = f"A-{number} x"
    return (name, name.upper(), f"{name} ", name.replace(" ", "  "))[number % 4]


def add(sandbox: Sandbox, name: str, place: dict[str, str] | None, **fields: Any) -> int:
    active = fields.pop("active", True)
    code = sandbox.qbt.add_jobcode(name=name, assigned_to_all=fields.pop("to_all", True), **fields)
    if place:
        sandbox.qbt.add_location(**place, linked_objects={"jobcodes": [code]})
    if not active:
        sandbox.qbt.change_jobcode(code, active=False)
    return code


def fill(sandbox: Sandbox) -> list[dict[str, Any]]:
    """Make 1,400 jobcodes by hand, 600 of them jobs of RM; return RM's jobs."""
    for n in range(1, 601):
        place = (address(n), address(n) | {"city": "Bose"}, None, address(n))[n // 2 % 4]
        add(sandbox, spelled(n), place, active=n % 5 != 0, to_all=n % 7 != 0)
    second = add(sandbox, "A-601 x", address(601))
    sandbox.qbt.add_location(**address(1601), linked_objects={"jobcodes": [second]})
    customers = [add(sandbox, f"=Customer [/b] {n}", None) for n in range(10)]
    for n in range(40):
        sandbox.qbt.add_jobcode(name=f"B-{n}", parent_id=customers[n % 10])
    for n in range(80):
        add(sandbox, f"Old {n}", None, active=False)
    for n in range(668):
        add(sandbox, f"Shop {n}", None)
    add(sandbox, "D-1", None, type="pto")
    assert len(sandbox.qbt.state()["jobcodes"]) == 1400
    ours = [job(n, f"A-{n} x") for n in range(1, 602)]
    for item in ours[::6]:
        item |= dict.fromkeys(("jobAddress1", "jobCity", "jobStateCd", "jobZip"), "")
    new = [job(1000 + n, f"B-{n}") for n in range(100)]
    inactive = [job(2000 + n, f"C-{n}", jobProgress="Lost Lead") for n in range(50)]
    odd = [job(3001, "b-1"), job(3002, "X" * 65), job(3003, "D-1"), job(3004, "[/red] E=1")]
    return [*ours, *new, *inactive, *odd]


def place_of(state: State, code_id: int) -> list[dict[str, str]]:
    linked = [p for p in state["locations"] if code_id in p["linked_objects"].get("jobcodes", ())]
    return [{part: p[part] for part in PARTS} for p in linked if p["active"]]


def done(before: State, after: State, number: str) -> dict[str, Any]:
    """Say what happened to the jobcode that has this name now."""
    (now,) = (c for c in after["jobcodes"] if c["name"] == number and not c["parent_id"])
    was = next((c for c in before["jobcodes"] if c["id"] == now["id"]), None)
    old, new = place_of(before, now["id"]), place_of(after, now["id"])
    checks = {
        "create": was is None,
        "adopt": was is not None,
        "restore": was is not None and not was["active"],
        "rename": was is not None and was["name"] != number,
        "set_address": bool(new) and not old,
        "change_address": bool(new) and bool(old) and new[0] not in old,
        "remove_address": len(new) < len(old),
    }
    shown = {"name": now["name"], "active": now["active"], "assigned_to_all": True}
    return {"actions": [name for name, yes in checks.items() if yes]} | shown | dict(*new)


def plan(system: System, *words: str) -> dict[str, Any]:
    ended = system.run("plan", "--json", *words)
    assert ended.stderr == "", ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    assert ended.returncode == int(found["counts"]["park"] > 0)
    return found


def by_number(made: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {job["job_number"]: job for job in made["jobs"]}


@pytest.mark.timeout(400)
def test_the_plan_of_a_hand_made_account_is_what_the_sync_does(
    system: System, tmp_path: Path
) -> None:
    sandbox = system.sandbox
    jobs = fill(sandbox)
    sandbox.rm.put_jobs(jobs)
    before = sandbox.qbt.state()
    made = plan(system)
    assert sandbox.qbt.state() == before
    assert not system.var.exists(), "no file is made"
    _assert_reports(system, made)
    sandbox.client.reset_calls()
    with system.up("--no-beat", "--no-flower"):
        synced = system.sync("--full")
        calls = len(sandbox.call_log.select("qbt"))
        after = sandbox.qbt.state()
        assert (synced["parked"], synced["code"]) == (made["counts"]["park"], 1)
        _assert_as_planned(made, before, after)
        assert abs(made["calls"] - calls) <= 4, "as many, but for a batch that was cut in two"
        _assert_plans_of_a_synced_account(system)


def _assert_as_planned(made: dict[str, Any], before: State, after: State) -> None:
    parked = {job["job_id"]: job for job in made["jobs"] if "park" in job["actions"]}
    assert parked.keys() == {3001, 3002, 3003}
    assert "RM job 1001 (B-1) has the same number" in parked[3001]["reason"]
    counted: Counter[str] = Counter(park=3)
    for planned in made["jobs"]:
        if planned["job_id"] in parked or planned["reason"].startswith("inactive"):
            assert planned["actions"] in ([], ["park"])
            continue
        found = done(before, after, planned["job_number"])
        actions = found.pop("actions")
        counted.update(actions)
        assert planned["actions"] == actions, planned
        now = {**dict.fromkeys(PARTS, ""), **found, "other_addresses": []}
        assert {k: now[k] for k in planned["after"]} == planned["after"]
        assert (planned["before"] == {}) == (actions[:1] == ["create"] or not planned["after"])
        below = "below '=Customer" in planned["reason"]
        assert below == (1000 <= planned["job_id"] < 1040)
    assert made["counts"] == {name: counted[name] for name in made["counts"]}
    names = [c["name"] for c in before["jobcodes"] if c["active"] and c["name"][0] in "=SBD"]
    assert made["unclaimed"] == sorted(names)


def _assert_reports(system: System, made: dict[str, Any]) -> None:
    """The table, the CSV and a selection say the same; text from outside is only text."""
    text = system.run("plan", "--all").stdout
    for words in ("[/red] E=1", "=Customer [/b] 3", "job number is too long", "601   adopt"):
        assert words in text, words
    chosen = system.run("plan", "--csv", "--only", "rename", "--only", "park").stdout
    rows = list(csv.DictReader(io.StringIO(chosen)))
    found = [job for job in made["jobs"] if {"rename", "park"} & set(job["actions"])]
    assert [row["job_number"] for row in rows] == [job["job_number"] for job in found]
    assert {row["name_before"] for row in rows} >= {"A-1 X"}


def _assert_plans_of_a_synced_account(system: System) -> None:
    """With links: nothing to do; then what RM changed."""
    sandbox = system.sandbox
    again = plan(system)
    assert {name for name, n in again["counts"].items() if n} == {"park"}
    assert (again["calls"], again["seconds"]) == (0, 0)
    assert sum(bool(job["actions"]) for job in again["jobs"]) == 3
    sandbox.rm.put_jobs(
        [
            job(5, "A-5 new"),
            job(2, "A-2 x", jobAddress1="2 Other Street"),
            job(3, "A-3 x", jobAddress1="", jobCity="", jobStateCd="", jobZip=""),
            job(4, "A-4 x", jobProgress="Lost Lead"),
            job(2000, "C-0"),
            job(1001, "B-1", jobProgress="Lost Lead"),
        ]
    )
    made = by_number(plan(system))
    changed = {number: job["actions"] for number, job in made.items() if job["actions"]}
    assert changed == {
        "A-5 new": ["rename"],
        "A-2 x": ["change_address"],
        "A-3 x": ["remove_address"],
        "C-0": ["create", "set_address"],
        "b-1": ["adopt", "rename", "change_address"],
        "X" * 65: ["park"],
        "D-1": ["park"],
    }
    assert made["A-2 x"]["before"] == {"addr1": "2 Main Street"}
    before = sandbox.qbt.state()
    assert system.sync("--full")["due"] == 0
    for number in ("A-5 new", "A-2 x", "A-3 x", "C-0", "b-1"):
        linked = done(before, sandbox.qbt.state(), number)["actions"]
        assert set(changed[number]) - {"adopt"} == set(linked) - {"adopt"}
