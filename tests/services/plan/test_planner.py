"""A plan writes nothing but call slots, and needs no database."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from cprqueue import config
from cprqueue.bootstrap import Application
from cprqueue.errors import AccessStopped, UsageError
from cprqueue.sandbox.credentials import environment
from cprqueue.sandbox.server import Sandbox
from cprqueue.store.tables import metadata
from tests.office import Office, job

SECRETS = {
    "QBT_CLIENT_ID": "sandbox-client",
    "QBT_CLIENT_SECRET": "sandbox-secret",
    "QBT_REFRESH_TOKEN": "sandbox-refresh",
}


def application(sandbox: Sandbox, var: Path, **settings: str) -> Application:
    env = {**environment(sandbox.url), "CPR_VAR_DIR": str(var), "CPR_TESTING": "1", **settings}
    return Application(config.load(env))


def rows(office: Office) -> dict[str, list[Any]]:
    with office.app.db.read() as conn:
        return {
            name: [
                tuple(row)
                for row in conn.execute(select(table))
                if not (name == "state" and row.name.startswith("clock"))  # when a call was made
            ]
            for name, table in metadata.tables.items()
            if name != "call_slots"
        }


@pytest.mark.rm_jobs(job(1, "A-1"))
def test_without_a_database_no_file_is_made_and_the_budget_is_kept(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    for n in range(700):
        sandbox.qbt.add_jobcode(name=f"Shop {n}")
    sandbox.qbt.switches.update({"rate_limit": 3, "rate_window_seconds": 1.0})
    settings = {"QBT_RATE_LIMIT": "3", "QBT_RATE_WINDOW": "1"}
    said: list[str] = []
    with closing(application(sandbox, tmp_path / "var", **settings)) as app:
        made = app.planner.make(said.append)
    assert (made.plan.counts["create"], len(made.plan.unclaimed)) == (1, 700)
    assert any(text.startswith("waiting for a free call") for text in said)
    assert made.seconds >= 3
    calls = [call for call in sandbox.calls if call.service == "qbt"]
    assert [call.status for call in calls] == [200] * 5
    assert not (tmp_path / "var").exists()


@pytest.mark.rm_jobs(job(1, "A-1"))
@pytest.mark.settings(**SECRETS)
def test_with_a_database_nothing_but_call_slots_is_written(office: Office) -> None:
    office.fetch()
    before, state = rows(office), office.sandbox.qbt.state()
    with office.app.db.read() as conn:
        free = office.app.budget.free(conn)
    assert office.app.planner.make(lambda _text: None).plan.counts["create"] == 1
    assert (rows(office), office.sandbox.qbt.state()) == (before, state)
    with office.app.db.read() as conn:
        assert office.app.budget.free(conn) == free - 2
    office.sandbox.qbt.expire_token()
    with pytest.raises(AccessStopped):
        office.app.planner.make(lambda _text: None)
    assert rows(office) == before
    office.app.token.renew(office.settings.qbt_access_token)
    assert office.app.planner.make(lambda _text: None).calls == 4


def test_tables_of_another_version_are_one_line(sandbox: Sandbox, office: Office) -> None:
    with office.app.db.begin() as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(UsageError, match="old ones"):
        _ = application(sandbox, office.settings.var_dir).planner
