"""Files that are damaged, full, gone, open to others, or in places with odd names."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from io import RawIOBase
from pathlib import Path

import pytest

from cprqueue import celery, private_files
from cprqueue.errors import DatabaseUnavailable, SettingsError, UsageError
from cprqueue.runtime.beat_state import Scheduler
from cprqueue.sandbox.server import Sandbox
from cprqueue.store import schema
from cprqueue.store.database import Database
from tests.real_processes import wait_until
from tests.running import PATIENT, ROOT, System, errors

ODD_NAMES = ["x?1 a#b", "a%20b", "50% %(here)s", "it's é&b=c", "new\nline"]


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with Sandbox(jobs=20) as sandbox:
        yield System(tmp_path, sandbox)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def open_to_others(directory: Path) -> list[Path]:
    """Return what other users may do anything with; in a private directory none is left."""
    return [path for path in (directory, *directory.rglob("*")) if mode(path) & 0o077]


# --- rights -------------------------------------------------------------------------------


def test_everything_that_up_writes_is_for_its_user_alone(system: System) -> None:
    old = os.umask(0)
    try:
        with system.up("--flower-port", "0"):
            assert system.sync()["in_sync"] > 0
            files = {path.name for path in system.var.rglob("*")}
            assert {"cprqueue.db", "cprqueue.db-wal", "cpr_all_jobs.json", "schedule.dat"} <= files
            assert open_to_others(system.var) == []
    finally:
        os.umask(old)


def test_the_database_alone_is_private_without_any_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        db = Database(f"sqlite:///{tmp_path / 'below' / 'x.db'}")
        schema.upgrade(db)
        assert {path.name for path in (tmp_path / "below").iterdir()} >= {"x.db", "x.db-wal"}
        assert open_to_others(tmp_path / "below") == []
        db.close()
    finally:
        os.umask(old)


def test_what_an_older_version_left_open_is_narrowed(system: System) -> None:
    assert system.run("migrate").returncode == 0
    for path in (system.var, system.var / "cprqueue.db"):
        path.chmod(0o755)
    assert system.run("migrate").returncode == 0
    assert system.run("check").returncode == 0
    assert open_to_others(system.var) == []


def test_a_directory_that_others_use_too_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "report.xlsx").touch()
    tmp_path.chmod(0o755)
    private_files.make_directory(tmp_path)
    assert mode(tmp_path) == 0o755


# --- odd names ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ODD_NAMES)
def test_the_database_lands_where_it_belongs(system: System, name: str) -> None:
    place = system.directory / name
    place.mkdir()
    for env, cwd in (({"CPR_VAR_DIR": ""}, place), ({"CPR_VAR_DIR": str(place)}, place.parent)):
        done = subprocess.run(
            [sys.executable, "-m", "cprqueue", "migrate"],
            env={**system.env, **env},
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert {path.relative_to(place) for path in system.directory.rglob("*.db")} == {
        Path("var/cprqueue.db"),
        Path("cprqueue.db"),
    }


def test_a_whole_system_runs_in_a_place_with_an_odd_name(tmp_path: Path) -> None:
    place = tmp_path / "x?1 50% a#b"
    place.mkdir()
    with Sandbox(jobs=20) as sandbox:
        system = System(place, sandbox)
        with system.up("--flower-port", "0"):
            assert system.sync()["in_sync"] > 0
    assert [path.name for path in tmp_path.iterdir()] == [place.name]


def test_the_code_may_lie_in_a_place_with_an_odd_name(system: System) -> None:
    code = system.directory / "50%(x)s? ${x} {0} [/x] 'q' #;&=1 🏠"
    for name in ("cprqueue", "workers"):
        shutil.copytree(ROOT / name, code / name, ignore=shutil.ignore_patterns("__pycache__"))
    (code / "celerybeat-schedule.py").write_bytes((ROOT / "celerybeat-schedule.py").read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "cprqueue", "migrate"],
        env=system.env,
        cwd=code,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(system.var / "cprqueue.db")) as conn:
        assert conn.execute("SELECT version_num FROM alembic_version").fetchone() == (schema.HEAD,)


# --- beat's state -------------------------------------------------------------------------


def scheduler(directory: Path) -> Scheduler:
    """Build beat's scheduler as ``celery beat`` does."""
    directory.mkdir(mode=0o700, exist_ok=True)
    celery.app.loader.import_default_modules()
    found = celery.app.conf.beat_schedule
    return Scheduler(app=celery.app, schedule=found, schedule_filename=f"{directory}/schedule")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("schedule.dat", lambda whole: whole[: len(whole) // 2]),
        ("schedule.dat", lambda _whole: b""),
        ("schedule.dat", lambda whole: b"\0" * len(whole)),
        ("schedule.dat", lambda whole: whole[::-1]),
        ("schedule.dir", lambda whole: whole[:20]),
        ("schedule.dir", lambda _whole: b"garbage\n"),
        ("schedule.dir", lambda _whole: b"\xff\xfe\0"),
    ],
)
def test_beat_puts_a_damaged_state_aside_and_begins_afresh(
    tmp_path: Path, name: str, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    scheduler(tmp_path).close()
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(damage(whole))
    with caplog.at_level("WARNING"):
        again = scheduler(tmp_path)
    assert set(again.schedule) >= {"fetch all jobs every night"}
    again.close()
    assert any("begins afresh" in r.message or "DB Reset" in r.message for r in caplog.records)
    assert [r for r in caplog.records if r.exc_info] == []
    assert not (tmp_path / "schedule-opening").exists()


def test_beat_goes_on_while_its_state_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with small_disk(tmp_path / "beat"):
        running = scheduler(tmp_path / "beat")
        fill(tmp_path / "beat")
        running.schedule["another"] = running.Entry(
            name="x" * 10_000, task="cpr.sweep", schedule=60, app=celery.app
        )
        running.sync()
        assert "beat's state cannot be written" in caplog.text
        (tmp_path / "beat" / "filler").unlink()
        running.close()


def test_beat_begins_afresh_where_its_state_ended_the_last_one(system: System) -> None:
    (system.var / "beat").mkdir(parents=True)
    (system.var / "beat" / "schedule-opening").touch()
    for name in ("schedule.dat", "schedule.dir"):
        (system.var / "beat" / name).write_bytes(b"garbage\n")
    with system.up("--no-flower") as up:
        assert up.heard("beat begins afresh: its state file was damaged") == 1
        assert up.heard("Traceback") + up.heard("beat died") == 0
    assert not (system.var / "beat" / "schedule-opening").exists()


# --- a database that is gone, newer or damaged --------------------------------------------


def one_line(system: System, *words: str, code: int) -> str:
    """Run a command that must end with one error line and this exit code; return the line."""
    done = system.run(*words)
    assert done.returncode == code, done.stdout + done.stderr
    [line] = errors(done.stderr)
    assert done.stderr.splitlines() == [f"error: {line}"]
    return line


def test_a_newer_schema_is_one_line(system: System) -> None:
    assert system.run("migrate").returncode == 0
    with closing(sqlite3.connect(system.var / "cprqueue.db")) as conn, conn:
        conn.execute("UPDATE alembic_version SET version_num = '9999'")
    for command in ("up", "status", "migrate", "history"):
        line = one_line(system, command, code=2)
        assert "the tables of a newer version: put the version of cprqueue back" in line
    done = system.run("check", "--json")
    found = {one["name"]: one for one in json.loads(done.stdout)["checks"]}
    assert found["database"]["state"] == "problem"
    assert "newer version" in found["database"]["text"]
    assert "Traceback" not in done.stderr


def test_a_database_that_is_deleted_under_a_running_system_is_one_line(system: System) -> None:
    with system.up("--no-flower") as up:
        assert system.sync()["in_sync"] > 0
        for path in system.var.glob("cprqueue.db*"):
            path.unlink()
        assert "has no tables yet, or old ones" in one_line(system, "status", code=2)
        done = system.run("check", "--json")
        found = {one["name"]: one for one in json.loads(done.stdout)["checks"]}
        assert (done.returncode, found["database"]["state"]) == (1, "problem")
        assert "its file was deleted" in found["database"]["text"]
        assert "put the file or a backup in its place" in found["database"]["cure"]
        words = [sys.executable, "-m", "celery", "-A", "cprqueue", "call", "cpr.sweep"]
        env = {**system.env, "PYTHONPATH": str(ROOT)}
        subprocess.run(words, env=env, cwd=ROOT, check=True, capture_output=True)
        wait_until(lambda: up.heard("was deleted or replaced while this was running"), **PATIENT)
        assert up.heard("Traceback") == 0


def test_who_holds_a_deleted_or_replaced_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    db = Database(f"sqlite:///{path}")
    schema.upgrade(db)
    path.rename(tmp_path / "aside.db")
    with pytest.raises(DatabaseUnavailable, match="was deleted or replaced"), db.begin():
        pass
    path.write_bytes((tmp_path / "aside.db").read_bytes())
    with pytest.raises(DatabaseUnavailable, match="was deleted or replaced"), db.read():
        pass
    path.unlink()
    (tmp_path / "aside.db").rename(path)
    assert schema.is_current(db)
    db.close()


@pytest.mark.parametrize("content", [b"no database" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_one_line(system: System, content: bytes) -> None:
    system.var.mkdir()
    (system.var / "cprqueue.db").write_bytes(content)
    for command in ("up", "status"):
        assert "restore a backup" in one_line(system, command, code=3)
    assert "Traceback" not in system.run("check").stderr


def test_an_asynchronous_driver_is_one_line() -> None:
    with pytest.raises(SettingsError, match=r"asynchronous driver|not installed"):
        Database("sqlite+aiosqlite:///x.db")


# --- a full disk --------------------------------------------------------------------------


@contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """Mount a disk of 8 MB."""
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(words, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def room_left(file: RawIOBase) -> bool:
    """Write a page; tell whether it went in."""
    try:
        return bool(file.write(bytes(4096)))
    except OSError:
        return False


def fill(place: Path) -> None:
    """Write until nothing more can be written."""
    with (place / "filler").open("wb", buffering=0) as file:
        while room_left(file):
            pass


def test_a_full_disk_is_one_line(system: System) -> None:
    with small_disk(system.var):
        fill(system.var)
        assert "No space left on device: free some space" in one_line(system, "up", code=3)
        assert "free some space" in one_line(system, "migrate", code=3)
        done = system.run("check")
        assert done.returncode == 3
        assert "free some space" in " ".join(done.stdout.split())
        assert done.stderr == ""


def test_a_disk_that_fills_up_under_a_running_system_is_a_line_and_it_goes_on_after(
    system: System,
) -> None:
    with small_disk(system.var), system.up("--no-flower") as up:
        fill(system.var)
        done = system.run("status", "--json")
        assert done.returncode in (0, 3), done.stderr
        assert "free some space" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert system.run("check").returncode == 3
        (system.var / "filler").unlink()
        assert system.sync()["in_sync"] > 0
        assert up.heard("Traceback") == 0


def test_a_disk_that_was_made_read_only_is_called_so(system: System) -> None:
    with small_disk(system.var):
        assert system.run("migrate").returncode == 0
        subprocess.run(["mount", "-o", "remount,ro", str(system.var)], check=True)
        for command in ("up", "status", "backup copy.db"):
            assert "Read-only file system" in one_line(system, *command.split(), code=2)
        assert "Read-only file system" in system.run("check").stdout


def test_a_limit_on_file_sizes_is_one_line_too(system: System) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    done = subprocess.run(
        [sys.executable, "-m", "cprqueue", "up", "--no-flower"],
        env=system.env,
        cwd=system.directory,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert "File too large" in done.stderr


def test_tables_that_are_not_there_are_still_said_to_be_missing(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path / 'x.db'}")
    with pytest.raises(UsageError, match="no tables yet"):
        schema.require_current(db)
    db.close()
