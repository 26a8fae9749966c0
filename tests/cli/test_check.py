"""``check`` says of everything that the work needs whether it is there, and what to do if not."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from cprqueue.cli import check
from cprqueue.errors import AccessStopped
from cprqueue.operating import checking
from cprqueue.services import gates
from cprqueue.services.reports.checkup import Checkup
from cprqueue.services.reports.findings import clocks, jobcode_limit, token_end
from tests.office import MakeOffice, Office, job

NOW = datetime(2026, 1, 2, tzinfo=UTC)

pytestmark = pytest.mark.rm_jobs(job(1, "A-1"), job(2, "A-2"))


def looked_at(office: Office) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the same without a process of its own, and without a broker."""
    parts = replace(checking.parts(office.app), broker_problem=lambda: "", broker=lambda: iter(()))
    found = list(Checkup(office.app.settings, parts).run())
    code = check.exit_code({finding.state for finding in found})
    return code, {finding.name: asdict(finding) for finding in found}


def states(found: dict[str, dict[str, Any]]) -> set[str]:
    return {finding["state"] for finding in found.values()}


# --- all is well --------------------------------------------------------------------------


def test_the_calls_of_a_check_count_in_the_budget(office: Office) -> None:
    looked_at(office)
    with office.app.db.read() as conn:
        assert office.app.budget.free(conn) == 298


def test_where_no_call_is_left_quickbooks_time_is_not_asked(make_office: MakeOffice) -> None:
    office = make_office(QBT_RATE_LIMIT="2")
    looked_at(office)
    code, found = looked_at(office)
    assert code == 1
    assert "all calls of this window are used" in found["QuickBooks Time"]["text"]


# --- settings -----------------------------------------------------------------------------


# --- database and broker ------------------------------------------------------------------


def test_tables_of_a_newer_version_are_a_problem(office: Office) -> None:
    with office.app.db.begin() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    code, found = looked_at(office)
    assert (code, found["database"]["state"]) == (1, "problem")
    assert "a newer version" in found["database"]["text"]
    assert "put the version of cprqueue back" in found["database"]["cure"]


# --- RestorationManager -------------------------------------------------------------------


@pytest.mark.parametrize(
    "env", [{"RM_PASSWORD": "wrong"}, {"RM_USERNAME": "wrong"}, {"RM_API_SECRET": "wrong"}]
)
def test_a_wrong_login_or_secret_is_exit_1(make_office: MakeOffice, env: dict[str, str]) -> None:
    code, found = looked_at(make_office(**env))
    assert (code, found["RestorationManager"]["state"]) == (1, "problem")
    assert "RM_API_SECRET" in found["RestorationManager"]["cure"]


def test_a_login_page_instead_of_jobs_is_a_problem(office: Office) -> None:
    office.sandbox.client.set_faults([{"kind": "html", "service": "rm", "path": "/api/Jobs"}])
    code, found = looked_at(office)
    assert (code, found["RestorationManager"]["state"]) == (1, "problem")


def test_the_check_reads_no_more_than_the_beginning_of_the_job_list(office: Office) -> None:
    office.sandbox.rm.switches.update({"since_honoured": False, "drip_seconds": 60})
    assert looked_at(office)[0] == 0


@pytest.mark.parametrize("variable", ["RM_BASE_URL", "QBT_BASE_URL"])
def test_a_service_that_is_away_is_exit_3(make_office: MakeOffice, variable: str) -> None:
    code, found = looked_at(make_office(**{variable: "http://127.0.0.1:1"}))
    assert code == 3
    assert states(found) - {"warning"} == {"ok", "unreachable"}


# --- QuickBooks Time ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "put a valid QBT_ACCESS_TOKEN into .env"),
        (402, "billing is not current"),
        (403, "the token lacks a right"),
        (499, "this machine's address is blocked"),
    ],
)
def test_what_stops_all_access_is_said_plainly(office: Office, status: int, words: str) -> None:
    office.sandbox.qbt.switches.update({"force_status": status})
    code, found = looked_at(office)
    assert (code, found["QuickBooks Time"]["state"]) == (1, "problem")
    assert words in found["QuickBooks Time"]["cure"]


def test_a_service_that_fails_is_out_of_reach(office: Office) -> None:
    office.sandbox.qbt.switches.update({"force_status": 503})
    assert looked_at(office)[0] == 3


@pytest.mark.parametrize(
    ("admin", "manage", "code"), [(True, False, 0), (False, True, 0), (False, False, 1)]
)
def test_the_token_needs_an_administrator_or_the_right_to_manage_jobcodes(
    office: Office, admin: bool, manage: bool, code: int
) -> None:
    office.sandbox.qbt.switches.update({"admin": admin, "manage_jobcodes": manage})
    found = looked_at(office)
    assert (found[0], found[1]["rights"]["state"]) == (code, "problem" if code else "ok")


def test_a_connected_quickbooks_is_a_warning(office: Office) -> None:
    office.sandbox.qbt.switches.update({"quickbooks_installed": True})
    code, found = looked_at(office)
    assert (code, found["integration"]["state"]) == (0, "warning")


def test_more_active_jobs_than_the_account_takes_are_a_problem(office: Office) -> None:
    office.fetch()
    office.sandbox.qbt.switches.update({"max_jobcodes": 1})
    code, found = looked_at(office)
    assert (code, found["jobcode limit"]["state"]) == (1, "problem")


@pytest.mark.parametrize(
    ("limit", "active", "state"),
    [
        ("-1", 9999, "ok"),
        (-1, 9999, "ok"),
        ("", 9999, "ok"),
        ("100", 89, "ok"),
        ("100", 90, "warning"),
        (100, 100, "warning"),
        ("100", 101, "problem"),
    ],
)
def test_the_jobcode_limit_is_read_in_any_form(limit: Any, active: int, state: str) -> None:
    sections = {"general": {"settings": {"max_jobcodes": limit}}}
    assert jobcode_limit(sections, active).state == state


@pytest.mark.parametrize(
    ("end", "state", "words"),
    [
        (None, "ok", "made by hand"),
        (NOW + timedelta(days=5), "ok", "renewed before"),
        (NOW - timedelta(seconds=1), "problem", "expired then"),
    ],
)
def test_the_end_of_the_token_is_said_where_it_can_be_known(
    end: datetime | None, state: str, words: str
) -> None:
    found = token_end(end, "then", now=NOW)
    assert found.state == state
    assert words in found.text


# --- clocks -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "code", "state"), [(20, 0, "ok"), (120, 0, "warning"), (400, 1, "problem")]
)
def test_a_clock_that_differs_is_found_by_the_date_of_answers(
    office: Office, seconds: int, code: int, state: str
) -> None:
    office.sandbox.client.advance(seconds)
    found = looked_at(office)
    assert (found[0], found[1]["clocks"]["state"]) == (code, state)


@pytest.mark.parametrize(
    ("seconds", "state"), [(60, "ok"), (-60, "ok"), (61, "warning"), (-300, "warning")]
)
def test_a_clock_may_be_a_minute_off_to_either_side(seconds: int, state: str) -> None:
    found = clocks({"the database": timedelta(0), "QuickBooks Time": timedelta(seconds=seconds)})
    assert found.state == state


def test_the_clocks_that_are_wrong_are_named() -> None:
    found = clocks({"the database": timedelta(seconds=-301), "QuickBooks Time": timedelta(0)})
    assert (found.state, found.text) == ("problem", "the database is 301 s behind our clock")


# --- the stopped push ---------------------------------------------------------------------


def stopped(office: Office) -> Any:
    with office.app.db.read() as conn:
        return gates.push_stopped(conn)


def test_a_stopped_push_goes_on_once_quickbooks_time_accepts_us(office: Office) -> None:
    gates.stop_push(office.app.db, AccessStopped("QuickBooks Time answered 402", 402))
    code, found = looked_at(office)
    assert code == 0
    assert found["push"]["text"].startswith("goes on now; it was stopped since 20")
    assert stopped(office) is None


@pytest.mark.parametrize("switch", [{"force_status": 402}, {"admin": False}])
def test_a_stopped_push_stays_stopped_while_something_is_wrong(
    office: Office, switch: dict[str, Any]
) -> None:
    gates.stop_push(office.app.db, AccessStopped("QuickBooks Time answered 402", 402))
    office.sandbox.qbt.switches.update(switch)
    code, found = looked_at(office)
    assert (code, found["push"]["state"]) == (1, "problem")
    assert "billing is not current" in found["push"]["text"]
    assert stopped(office) is not None


def test_a_job_whose_name_a_customers_jobcode_has_is_a_warning(office: Office) -> None:
    parent = office.sandbox.qbt.add_jobcode(name="Customer")
    office.sandbox.qbt.add_jobcode(name="a-1", parent_id=parent)
    office.fetch()
    office.app.snapshot.take()
    code, found = looked_at(office)
    assert (code, found["names"]["state"]) == (0, "warning")
    assert found["names"]["text"].endswith("not ours: A-1")


def test_a_digest_that_goes_to_nobody_is_a_warning(make_office: MakeOffice) -> None:
    code, found = looked_at(make_office(CPR_DIGEST="07:00"))
    assert (code, found["digest"]["state"]) == (0, "warning")
    told = make_office(CPR_DIGEST="07:00", ALERT_URLS="json://127.0.0.1:1/in")
    assert "digest" not in looked_at(told)[1]
