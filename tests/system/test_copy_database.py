"""``cprqueue copy-database`` as an operator uses it: stop, copy, one line in .env, start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sqlalchemy.engine import make_url

from tests.office import Office, job
from tests.other_servers import new_database
from tests.running import System


def copied(system: System, url: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command with the URL on standard input."""
    return subprocess.run(
        [sys.executable, "-m", "cprqueue", "copy-database", "--to", "-"],
        env={**system.env, **env},
        cwd=system.directory,
        input=f"{url}\n",
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_system_moves_to_a_server_and_goes_on_there(system: System) -> None:
    system.sandbox.rm.put_jobs([job(n, f"A-{n}") for n in range(1, 21)])
    with new_database("CPR_TEST_POSTGRES_URL") as url:
        url = make_url(url).set(password="hush").render_as_string(hide_password=False)
        with system.up("--no-flower"):
            assert system.sync("--full")["in_sync"] == 20
            refused = copied(system, url)
            assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
            assert "stop it first" in refused.stderr
        moved = copied(system, url, CPR_LEASE_SECONDS="0.1")
        assert moved.returncode == 0, moved.stderr
        assert "jobs                20 rows, the same in both" in moved.stdout
        assert "hush" not in moved.stdout + moved.stderr
        last = moved.stdout.splitlines()[-1]
        assert last == f"DATABASE_URL={make_url(url).render_as_string(hide_password=True)}"
        again = copied(system, url)
        assert again.returncode == 2
        assert "the target is not empty: its table" in again.stderr
        before = system.writes()
        system.env["DATABASE_URL"] = url
        with system.up("--no-flower"):
            assert system.sync("--full")["in_sync"] == 20
        assert system.writes() == before


def test_a_target_that_cannot_be_is_one_line_that_names_the_option(
    system: System, office: Office
) -> None:
    office.record([job(1, "A-1")])
    own = f"sqlite:///{system.var / 'cprqueue.db'}"
    for url, words in (
        ("hush", "--to is no URL"),
        ("postgresql+psycopg://u:hush@127.0.0.1:1/x", "check --to and the server"),
        ("oracle+nothing://u:hush@h/x", "--to needs a driver that is not installed"),
        ("sqlite:////nowhere/at/all.db", "--to names a file in /nowhere/at: there is no"),
        (own, "names the database that is in use"),
    ):
        done = copied(system, url)
        assert (done.returncode in (2, 3), done.stdout, done.stderr.count("\n")) == (True, "", 1)
        assert words in done.stderr
        assert "hush" not in done.stderr
    assert not Path("/nowhere").exists()
