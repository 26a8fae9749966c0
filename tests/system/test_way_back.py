"""An update that is taken back, as docs/operations.md says it: with the backup, or without one.

The version before is this one without its newest migration: what refuses tables, and takes them, is
the same code.
"""

from __future__ import annotations

import fcntl
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cprqueue.store import schema
from tests.office import Office, job
from tests.running import ROOT, System

BEFORE = sorted(path.name[:4] for path in (ROOT / "cprqueue/migrations/versions").glob("0*.py"))[-2]


@pytest.fixture(scope="module")
def version_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the version before can be imported from."""
    place = tmp_path_factory.mktemp("before")
    for package in ("cprqueue", "workers"):
        unwanted = shutil.ignore_patterns("__pycache__", f"{schema.HEAD}_*.py")
        shutil.copytree(ROOT / package, place / package, ignore=unwanted)
    file = place / "cprqueue/store/schema.py"
    text = file.read_text(encoding="utf-8")
    assert f'HEAD = "{schema.HEAD}"' in text
    file.write_text(text.replace(f'HEAD = "{schema.HEAD}"', f'HEAD = "{BEFORE}"'), encoding="utf-8")
    return place


def revision_and_jobs(system: System) -> tuple[str, int]:
    with closing(sqlite3.connect(system.var / "cprqueue.db")) as conn:
        ((revision, jobs),) = conn.execute(
            "SELECT version_num, (SELECT count(*) FROM active_jobs) FROM alembic_version"
        )
    return str(revision), int(jobs)


def said(system: System, *words: str, code: int = 0, path: Path = ROOT) -> str:
    """Run a command of the version in ``path``, and return the one line that it says."""
    done = system.run(*words, PYTHONPATH=str(path))
    [line] = done.stderr.splitlines() + done.stdout.splitlines()
    assert done.returncode == code, line
    return line


def test_an_update_is_taken_back_with_the_backup_or_without(
    system: System, office: Office, version_before: Path, tmp_path: Path
) -> None:
    office.record(job(n, f"A-{n}") for n in range(1, 11))
    office.close()

    # Without a backup: the newer version makes the tables fit, and no job is lost.
    refused = said(system, "migrate", code=2, path=version_before)
    assert "the tables of a newer version" in refused
    command = f"cprqueue migrate --back-to {BEFORE}"
    assert f"`{command}`" in refused
    assert said(system, *command.split()[1:]).endswith(f"are those of revision {BEFORE}")
    assert revision_and_jobs(system) == (BEFORE, 10)
    assert said(system, "migrate", path=version_before).endswith("up to date")

    # The update: a backup by the version before, then the newer one brings the tables up to date.
    backup = tmp_path / "before.db"
    assert said(system, "backup", str(backup), path=version_before).endswith("checked")
    assert "no tables yet, or old ones: start `cprqueue up` once" in said(system, "history", code=2)
    assert said(system, "migrate").endswith("up to date")
    assert revision_and_jobs(system) == (schema.HEAD, 10)
    assert "newer version" in said(system, "migrate", code=2, path=version_before)

    # With the backup: the version before takes it as it is.
    for name in ("cprqueue.db-wal", "cprqueue.db-shm"):
        (system.var / name).unlink(missing_ok=True)
    shutil.copy(backup, system.var / "cprqueue.db")
    assert said(system, "migrate", path=version_before).endswith("up to date")
    assert revision_and_jobs(system) == (BEFORE, 10)


def test_tables_in_use_and_revisions_that_are_none_stay(system: System, office: Office) -> None:
    assert "there is no revision 9999" in said(system, "migrate", "--back-to", "9999", code=2)
    assert "--since goes with --sql" in said(system, "migrate", "--since", BEFORE, code=2)
    (system.var / "beat").mkdir(exist_ok=True)
    with (system.var / "beat" / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "stop it first" in said(system, "migrate", "--back-to", BEFORE, code=2)
    assert revision_and_jobs(system)[0] == schema.HEAD
