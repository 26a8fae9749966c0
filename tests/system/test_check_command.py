"""The command ``check`` says in one line each what is right and what is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cprqueue.sandbox import credentials
from tests.office import Office, job
from tests.running import System

pytestmark = pytest.mark.rm_jobs(job(1, "A-1"), job(2, "A-2"))


def checked(system: System, **env: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit code, and the findings by name."""
    done = system.run("check", "--json", **env)
    document = json.loads(done.stdout)
    assert document["ok"] is (done.returncode == 0)
    return done.returncode, {finding["name"]: finding for finding in document["checks"]}


def test_where_all_is_well_every_line_is_ok_but_the_broker_that_up_starts(
    system: System, office: Office
) -> None:
    code, found = checked(system)
    assert code == 0
    assert {n for n, f in found.items() if f["state"] != "ok"} == {"broker"}
    assert "`cprqueue up` starts it" in found["broker"]["cure"]
    assert set(found) == {
        "settings",
        "database",
        "broker",
        "RestorationManager",
        "QuickBooks Time",
        "rights",
        "integration",
        "jobcode limit",
        "token's end",
        "clocks",
        "push",
    }


def test_it_is_readable_on_80_columns(system: System, office: Office) -> None:
    done = system.run("check", COLUMNS="80", RM_PASSWORD="wrong")
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "OK       settings" in done.stdout
    assert "problem  RestorationManager" in done.stdout
    assert "-> check RM_USERNAME" in done.stdout


def test_before_the_first_up_there_are_no_tables_and_that_is_no_problem(system: System) -> None:
    code, found = checked(system)
    assert (code, found["database"]["state"]) == (0, "warning")
    assert found["QuickBooks Time"]["state"] == "ok"
    assert checked(system)[1]["database"]["state"] == "warning"


def test_each_missing_setting_is_a_line_and_exit_2(system: System, office: Office) -> None:
    done = system.run("check", RM_BASE_URL="", QBT_ACCESS_TOKEN="")
    assert done.returncode == 2
    assert "RM_BASE_URL is not set" in done.stdout
    assert "QBT_ACCESS_TOKEN is not set" in done.stdout
    assert "OK       database" in done.stdout


def test_malformed_settings_are_one_json_document_and_exit_2(system: System) -> None:
    done = system.run("check", "--json", RM_BASE_URL="http://example.com", QBT_RATE_LIMIT="x")
    found = json.loads(done.stdout)
    assert (done.returncode, found["ok"]) == (2, False)
    assert [f["text"].split()[0] for f in found["checks"]] == ["RM_BASE_URL", "QBT_RATE_LIMIT"]


def test_a_directory_that_cannot_be_used_is_named_and_the_document_is_whole(
    system: System,
) -> None:
    path = system.directory / "file"
    path.write_text("no directory")
    for var_dir in (path, path / "below", Path("/proc/none")):
        code, found = checked(system, CPR_VAR_DIR=str(var_dir))
        assert (code, found["settings"]["state"]) == (2, "settings")
        assert found["settings"]["text"].startswith(f"CPR_VAR_DIR is {var_dir}, where nothing")
        assert set(found) == {"settings"}


def test_a_directory_that_cannot_be_used_is_one_line_for_every_command(system: System) -> None:
    path = system.directory / "file"
    path.write_text("no directory")
    inside = f"sqlite:///{path}/x.db"
    for name, value, words in (
        ("CPR_VAR_DIR", f"{path}", "check CPR_VAR_DIR and DATABASE_URL"),
        ("DATABASE_URL", inside, f"DATABASE_URL names a file in {path}: there is no such"),
    ):
        done = system.run("history", **{name: value})
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert words in done.stderr


def test_a_file_that_is_no_database_is_a_problem(system: System) -> None:
    path = system.directory / "text.db"
    path.write_text("no database" * 1000)
    code, found = checked(system, DATABASE_URL=f"sqlite:///{path}")
    assert code in (1, 3)
    assert "not a database" in found["database"]["text"]


def test_a_database_that_is_away_is_exit_3_and_its_password_is_not_shown(system: System) -> None:
    url = "postgresql+psycopg://user:hidden@127.0.0.1:1/none"
    done = system.run("check", DATABASE_URL=url)
    assert done.returncode == 3
    assert "OK       RestorationManager" in done.stdout
    assert "hidden" not in done.stdout + done.stderr


def test_a_broker_of_ones_own_that_is_away_is_exit_3(system: System, office: Office) -> None:
    code, found = checked(system, CELERY_BROKER_URL="redis://127.0.0.1:1/0")
    assert (code, found["broker"]["state"]) == (3, "unreachable")


def test_no_secret_is_printed_whatever_is_wrong(system: System, office: Office) -> None:
    system.sandbox.qbt.switches.update({"force_status": 401})
    done = system.run("check", RM_API_SECRET="wrong-secret")
    secrets = (
        credentials.RM_PASSWORD,
        "wrong-secret",
        credentials.QBT_ACCESS_TOKEN,
        credentials.QBT_REFRESH_TOKEN,
        credentials.QBT_CLIENT_SECRET,
    )
    assert not [secret for secret in secrets if secret in done.stdout + done.stderr]
