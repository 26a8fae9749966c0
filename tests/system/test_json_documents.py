"""Every command's ``--json``, on a system at work, has the keys that docs/json.md lists."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

import pytest

from tests.office import job
from tests.running import ROOT, System

Keys = dict[str, Any]

TOO_LONG = "X" * 65
JOBS = [job(1, "A-1"), job(2, "A-2"), job(3, TOO_LONG), job(4, "A-4")]
TIME = re.compile(r"(.*_at|at|since)$")

pytestmark = pytest.mark.rm_jobs(*JOBS)


def documented() -> dict[str, Keys]:
    """Return the keys of each section of the page; keys below a key are nested."""
    sections: dict[str, Keys] = {}
    levels: list[Keys] = [{}]
    for line in (ROOT / "docs/json.md").read_text().splitlines():
        if line.startswith("#"):
            levels = [sections.setdefault(line.strip("# ").replace("`", ""), {})]
        elif found := re.match(r"( *)- (`.*)", line):
            names = re.findall(r"`(\w+)`", found[2].partition(":")[0])
            del levels[len(found[1]) // 2 + 1 :]
            below: Keys = {}
            levels[-1].update(dict.fromkeys(names, below))
            levels.append(below)
    return sections


PAGE = documented()


def keys_of_run(kind: str) -> Keys:
    """Return the keys of a run, with the counts of its kind."""
    counts = next(
        keys
        for title, keys in PAGE.items()
        if title.startswith("Counts of") and kind in re.findall(r"\w+", title)
    )
    return {**PAGE["A run"], **counts}


def require_keys(value: Any, keys: Keys, where: str) -> None:
    """Fail where a value has other keys, or a time without its zone."""
    if isinstance(value, list):
        for item in value:
            require_keys(item, keys, where)
    elif isinstance(value, dict) and "run_id" in value and "kind" in value and not keys:
        require_keys(value, keys_of_run(value["kind"]), where)
    elif isinstance(value, dict) and keys:
        assert set(value) == set(keys), where
        for name, part in value.items():
            require_keys(part, keys[name], f"{where}: {name}")
    if isinstance(value, dict):
        for name, part in value.items():
            if TIME.fullmatch(name) and part is not None:
                assert datetime.fromisoformat(part).tzinfo is not None, f"{where}: {name}"


def require_documented(system: System, words: str, title: str = "", code: int = 0) -> Any:
    """Run a command with ``--json``; return its document, once its keys are those of the page."""
    done = system.run(*words.split(), "--json")
    assert "Traceback" not in done.stderr
    assert done.returncode == code, done.stderr
    found = json.loads(done.stdout)
    require_keys(found, PAGE[title or f"cprqueue {words} --json"], words)
    return found


def test_every_document_has_the_keys_of_the_page(system: System) -> None:
    require_documented(system, "plan", code=1)  # one would be parked
    with system.up("--no-beat", "--no-flower"):
        require_documented(system, "sync", code=1)  # one is parked
        assert require_documented(system, "failures")
        require_documented(system, "explain 1", "cprqueue explain --json")
        require_documented(system, f"explain {TOO_LONG}", "cprqueue explain --json")
        require_documented(system, "explain A-", "cprqueue explain --json, a choice", code=1)
        assert require_documented(system, "retry 3 1", "cprqueue retry --json") == {
            "due": [3],
            "unchanged": [1],
        }
        require_documented(system, "fetch")
        path = system.var / "cpr_all_jobs.json"
        require_documented(system, "fetch --full", "cprqueue fetch --json")
        require_documented(system, f"import {path}", "cprqueue import --json")
        for words in ("resync A-1", "resync A-1 --no-wait"):
            (report,) = require_documented(system, words, "cprqueue resync --json")
            assert (report["job"], report["ok"]) == ("A-1", None if "--no" in words else True)
        require_documented(system, "snapshot")
        system.sandbox.rm.put_jobs([job(2, "A-2", jobProgress="Lost Lead")])
        require_documented(system, "sync --full", "cprqueue sync --json", code=1)
        require_documented(system, "keep 2 --until 2999-12-31", "cprqueue keep --json")
        require_documented(system, "explain 2", "cprqueue explain --json")
        require_documented(system, "prune plan")
        require_documented(system, "unkeep 2 1", "cprqueue unkeep --json")
        run = require_documented(system, "prune run", "cprqueue prune show --json")
        require_documented(system, f"prune show {run['run_id']}", "cprqueue prune show --json")
        require_documented(system, f"undo {run['run_id']}", "cprqueue undo --json")
        rehearsal = require_documented(
            system, "remove-all", "cprqueue remove-all --json, a rehearsal"
        )
        phrase = rehearsal["phrase"]
        done = system.run("remove-all", "--json", "--confirm", phrase)
        require_keys(json.loads(done.stdout), PAGE["cprqueue remove-all --json"], "remove-all")
        assert require_documented(system, "status")["suspended"]
        require_documented(system, "check", code=0)
        require_documented(system, "health", code=1)  # without beat
        require_documented(system, "digest")
        kinds = {run["kind"] for run in require_documented(system, "history")}
        assert kinds == {"fetch", "import", "resync", "snapshot", "prune", "remove_all", "undo"}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("status", 2),
        ("explain x", 2),
        ("retry", 2),
        ("import nothing.json", 2),
        ("resync", 2),
        ("history --limit 0", 2),
        ("prune show 1", 2),
        ("undo 1", 2),
        ("keep 1 --until 2000-01-01", 2),
        ("sync", 2),
        ("snapshot", 2),
    ],
)
def test_an_error_is_a_document_too(system: System, words: str, code: int) -> None:
    done = system.run(*words.split(), "--json")
    found = json.loads(done.stdout)
    assert set(found) == set(PAGE["An error"])
    assert (done.returncode, found["exit"]) == (code, code)
    assert done.stderr == "".join(f"error: {line}\n" for line in found["error"].splitlines())
