"""Every command, with everything outside that may be broken, ends in one line with its reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.office import Office, written
from tests.running import System

COMMANDS = (
    "plan --json",
    "status --json",
    "metrics",
    "failures",
    "history",
    "explain 1 --json",
    "retry --all --json",
    "sync --json",
    "resync A-1 --json",
    "fetch --json",
    "import jobs.json --json",
    "snapshot --json",
    "prune plan --json",
    "prune run",
    "undo 1 --json",
    "keep 1 --json",
    "unkeep 1 --json",
    "remove-all --json",
    "backup copy.db",
    "digest --json",
    "migrate",
)


def env_is_latin(system: System) -> dict[str, str]:
    (system.directory / ".env").write_bytes(b"# Buchf\xfchrung\nRM_USERNAME=x\n")
    return {}


def env_is_utf16(system: System) -> dict[str, str]:
    (system.directory / ".env").write_text("RM_USERNAME=x\n", encoding="utf-16")
    return {}


def var_is_a_file(system: System) -> dict[str, str]:
    (system.directory / "file").write_text("")
    return {"CPR_VAR_DIR": str(system.directory / "file")}


def database_is_garbage(system: System) -> dict[str, str]:
    path = system.directory / "garbage.db"
    path.write_text("no database" * 1000)
    return {"DATABASE_URL": f"sqlite:///{path}"}


def database_is_away(system: System) -> dict[str, str]:
    return {"DATABASE_URL": "postgresql+psycopg://user:hidden@127.0.0.1:1/none"}


def broker_url_is_cut_in_two(system: System) -> dict[str, str]:
    return {"CELERY_BROKER_URL": "redis://:hidden/part@127.0.0.1:1/0"}


def broker_is_away(system: System) -> dict[str, str]:
    return {"CELERY_BROKER_URL": "redis://:hidden@127.0.0.1:1/0"}


BROKEN: tuple[Callable[[System], dict[str, str]], ...] = (
    env_is_latin,
    env_is_utf16,
    var_is_a_file,
    database_is_garbage,
    database_is_away,
    broker_url_is_cut_in_two,
    broker_is_away,
)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_every_command_ends_in_a_line(
    system: System, office: Office, broken: Callable[[System], dict[str, str]]
) -> None:
    written(system.directory, [])
    env = broken(system)

    def wrong(command: str) -> str:
        done = system.run(*command.split(), **env)
        printed = done.stdout + done.stderr
        if any(words in printed for words in ("Traceback", "fault in", "hidden", "part@")):
            return f"{command}: {printed}"
        if "--json" in command:
            json.loads(done.stdout)
        lines = len(done.stderr.splitlines())
        fails = broken is not broker_is_away
        if fails and (done.returncode not in (1, 2, 3) or not 1 <= lines <= 3):
            return f"{command}: exit {done.returncode}, {done.stderr}"
        return ""

    with ThreadPoolExecutor(2) as pool:
        assert [text for text in pool.map(wrong, COMMANDS) if text] == []
    assert not list(Path(system.var).glob("crash-*"))
