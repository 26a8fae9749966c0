"""The plugin fails a session that executed what SQL Server would not take, with xdist too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import ROOT

WRONG = """
from sqlalchemy import bindparam, create_engine, exists, literal, select, text
from cprqueue.store.tables import jobs, metadata

def engine():
    made = create_engine("sqlite://")
    metadata.create_all(made)
    return made.connect()

def test_a_reserved_word():
    with engine() as conn:
        conn.execute(text("SELECT rule FROM jobs LIMIT 1"))

def test_what_a_grammar_lets_pass():
    with engine() as conn:
        conn.execute(select(exists().where(jobs.c.active)))

def test_too_many_parameters():
    try:
        with engine() as conn:
            conn.execute(select(jobs).where(jobs.c.job_id.in_(range(2001))))
    except AssertionError:
        pass

def test_right():
    with engine() as conn:
        conn.execute(select(jobs.c.rule).where(jobs.c.job_id.in_(range(1990))).limit(1))
"""


@pytest.mark.parametrize("processes", ["0", "2"])
def test_a_session_that_executed_what_sql_server_refuses_fails(
    tmp_path: Path, processes: str
) -> None:
    (tmp_path / "test_wrong.py").write_text(WRONG)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.tsql.recording"]
    done = subprocess.run(
        [*command, "-n", processes, "-p", "no:cacheprovider", f"--rootdir={tmp_path}", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout.split("SQL Server would not take")[-1]
    assert (done.returncode, "4 passed" in done.stdout) == (1, True), done.stdout + done.stderr
    assert "EXISTS is no value there" in said
    assert "no T-SQL: SELECT rule FROM" in said
    assert "2001 parameters, at most 2000 are allowed" in said
    assert said.count("jobs.[rule]") == 0, "what is right is not named"
