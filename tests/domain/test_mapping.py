"""Wire JSON to values, and the rules that say which jobs are active."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cprqueue.domain.active import ActiveRules, plain
from cprqueue.domain.mapping import (
    read_item_result,
    read_job,
    read_jobcode,
    read_location,
    read_time,
    read_zip,
    truth,
)
from cprqueue.domain.models import Address, Job, Json, name_key
from cprqueue.errors import UnreadableAnswer

RULES = ActiveRules.build(
    site_ids=[8, 33],
    statuses=["Active"],
    inactive_progress=["Lost Lead", "Paid in Full - File Closed"],
    excluded_numbers=["LAX-UNALLOCATED JC"],
)
JOB = Job(
    job_id=1,
    job_number="BMS-25-00008M",
    job_name="Ortiz",
    site_id=33,
    status="Active",
    progress="Work in Progress",
    address=Address(),
)
WIRE: dict[str, Any] = {
    "jobId": 1,
    "jobName": "Ortiz",
    "jobJobId": "BMS-25-00008M",
    "siteId": 33,
    "jobStatus": "Active",
    "jobProgress": "Work in Progress",
    "jobAddress1": " 1  Elm St ",
    "jobAddress2": None,
    "jobCity": "Hoover",
    "jobStateCd": "AL",
    "jobZip": "35216-1234",
    "JobFullAddress": "ignored",
}


@pytest.mark.parametrize("case", [str, str.lower, str.upper])
def test_a_job_is_read_whatever_the_case_of_its_fields(case: Any) -> None:
    job = read_job({case(name): value for name, value in WIRE.items()})
    assert job == replace(JOB, address=Address("1 Elm St", "", "Hoover", "AL", "35216-1234"))
    assert Job.from_message(json.loads(json.dumps(job.as_message()))) == job
    assert "Elm" not in job.label


@pytest.mark.parametrize("job_id", ["17", " 17 ", 17, Decimal(17)])
def test_a_job_id_may_come_as_text(job_id: object) -> None:
    assert read_job({"jobId": job_id}).job_id == 17


@pytest.mark.parametrize(
    "item",
    [None, [], "x", 3, {}, *({"jobId": bad} for bad in (None, "", "x", 1.5, True, [1], 2**63))],
)
def test_what_has_no_job_id_is_no_job(item: object) -> None:
    with pytest.raises(UnreadableAnswer, match=r"^RestorationManager sent [^\n]+$"):
        read_job(item)


def test_nothing_but_an_id_is_still_a_job() -> None:
    job = read_job({"jobId": 5, "siteId": None, "jobName": {"odd": 1}, "jobCity": ["odd"]})
    assert job == Job(
        job_id=5,
        job_number="",
        job_name="",
        site_id=None,
        status="",
        progress="",
        address=Address(),
    )
    assert not job.address


def test_a_very_long_text_fits_the_tables() -> None:
    assert len(read_job({"jobId": 5, "jobName": "x" * 1000}).job_name) == 255


@pytest.mark.parametrize(
    ("value", "text"),
    [("02108", "02108"), (2108, "02108"), (85004, "85004"), (0, ""), (None, ""), (" 1 ", "1")],
)
def test_a_zip_keeps_its_leading_zeros(value: object, text: str) -> None:
    assert read_zip(value) == text


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({}, None),
        ({"progress": "Invoiced!"}, None),
        ({"status": " ACTIVE"}, None),
        ({"site_id": 9}, "site 9 is not one of RM_SITE_IDS"),
        ({"site_id": None}, "site None is not one of RM_SITE_IDS"),
        ({"status": "Closed"}, "status Closed is not one of RM_ACTIVE_STATUSES"),
        ({"status": ""}, "status missing is not one of RM_ACTIVE_STATUSES"),
        ({"progress": ""}, "progress is missing"),
        ({"progress": "lost  lead"}, "progress lost  lead is one of RM_INACTIVE_PROGRESS"),
        (
            {"progress": "Paid in Full = File Closed"},
            "progress Paid in Full = File Closed is one of RM_INACTIVE_PROGRESS",
        ),
        ({"job_number": ""}, "job number is missing"),
        (
            {"job_number": "lax-unallocated  jc"},
            "job number lax-unallocated  jc is one of RM_EXCLUDED_JOB_NUMBERS",
        ),
        ({"site_id": 9, "progress": ""}, "site 9 is not one of RM_SITE_IDS"),
    ],
)
def test_the_first_rule_that_says_no_is_named(change: dict[str, Any], rule: str | None) -> None:
    verdict = RULES.judge(replace(JOB, **change))
    assert verdict.active == (rule is None)
    assert verdict.rule.startswith("active: ") if rule is None else verdict.rule == rule


def test_without_site_ids_every_site_counts() -> None:
    everywhere = replace(RULES, site_ids=frozenset())
    assert everywhere.judge(replace(JOB, site_id=None)).active


@given(st.text())
def test_plain_and_name_key_are_stable(text: str) -> None:
    assert plain(plain(text)) == plain(text)
    assert name_key(f"  {text} ") == name_key(text)


@pytest.mark.parametrize("value", [True, 1, "1", "yes", "YES", "true", " True "])
def test_yes_comes_in_many_forms(value: object) -> None:
    assert truth(value) is True


@pytest.mark.parametrize("value", [False, 0, "0", "no", "false", "", None, [], {}, 2, "2"])
def test_everything_else_is_no(value: object) -> None:
    assert truth(value) is False


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2018-01-17T21:15:18+00:00", datetime(2018, 1, 17, 21, 15, 18, tzinfo=UTC)),
        ("2018-01-17T21:15:18+0000", datetime(2018, 1, 17, 21, 15, 18, tzinfo=UTC)),
        ("2018-01-17T14:15:18-07:00", datetime(2018, 1, 17, 21, 15, 18, tzinfo=UTC)),
        ("2018-01-17 21:15:18", datetime(2018, 1, 17, 21, 15, 18, tzinfo=UTC)),
        ("0000-00-00", None),
        ("", None),
        ("soon", None),
        (None, None),
        (5, None),
    ],
)
def test_a_time_comes_in_many_forms(text: object, moment: datetime | None) -> None:
    assert read_time(text) == moment


def test_an_odd_jobcode_is_read() -> None:
    code = read_jobcode(
        {"id": "5", "name": "A", "active": 1, "assigned_to_all": "", "locations": {"1": "7"}}
    )
    assert (code.id, code.active, code.assigned_to_all, code.location_ids) == (5, True, False, (7,))
    assert (code.type, code.parent_id, code.last_modified) == ("regular", 0, None)


@pytest.mark.parametrize("linked", [None, [], {}, {"jobcodes": []}, {"jobcodes": {}}, "x"])
def test_a_location_without_links_is_read(linked: Json) -> None:
    place = read_location({"id": 1, "zip": 2108, "linked_objects": linked})
    assert (place.jobcode_ids, place.address.zip) == ((), "02108")


@pytest.mark.parametrize("read", [read_jobcode, read_location])
def test_a_row_without_an_id_is_unreadable(read: Any) -> None:
    with pytest.raises(UnreadableAnswer, match="without an id"):
        read({"name": "A"})


@pytest.mark.parametrize(
    ("item", "code", "done", "exists"),
    [
        ({"_status_code": 200, "id": 1}, 200, True, False),
        ({"_status_code": "201", "id": "1"}, 201, True, False),
        ({"_status_code": 202}, 202, False, True),
        ({"_status_code": 417, "_status_extra": "Oops!"}, 417, False, False),
        ({"_status_code": 500}, 500, False, False),
    ],
)
def test_an_outcome_is_read(item: dict[str, Any], code: int, done: bool, exists: bool) -> None:
    result = read_item_result(item)
    assert (result.code, result.done, result.exists) == (code, done, exists)
    assert result.id == (1 if "id" in item else None)


def test_an_outcome_without_a_code_is_unreadable() -> None:
    with pytest.raises(UnreadableAnswer, match="_status_code"):
        read_item_result({"id": 1})


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("nul \x00 x", "nul x"),
        ("bell\x07", "bell"),
        ("\x1b[31mred\x7f\x9f", "[31mred"),
        ("half \ud83d", "half"),
        ("two\tlines\r\nand\x0bmore\x85", "two lines and more"),
        ("Ünal & Søn 🏚️", "Ünal & Søn 🏚️"),
    ],
)
def test_characters_that_a_database_or_a_message_refuses_are_left_out(text: str, kept: str) -> None:
    job = read_job({**WIRE, "jobName": text, "jobZip": text, "jobJobId": text})
    assert {job.job_name, job.address.zip, job.job_number} == {kept}
    assert len(job.content_hash()) == 64
    code = read_jobcode({"id": 1, "name": f"A {text}", "short_code": text})
    assert not set("\x00\x07\x1b\ud83d") & set(code.name + code.short_code)


def test_a_text_is_cut_where_sql_server_would_refuse_it() -> None:
    """It counts a character outside the basic plane as two."""
    assert read_job({"jobId": 5, "jobName": "x" + "🏚" * 200}).job_name == "x" + "🏚" * 127


LONG_NAMES = ["ß" * 200, "ß" * 199 + "a", "ΐ" * 255, "🏚" * 255, "x" * 300, "x" * 299 + " y"]


@pytest.mark.parametrize("name", LONG_NAMES)
def test_a_name_key_fits_its_column_however_a_name_grows_when_case_is_ignored(name: str) -> None:
    key = name_key(name)
    assert len(key.encode("utf-16-le")) // 2 <= 255
    assert name_key(key) == key
    assert name_key(f" {name.upper()} ") == name_key(name.upper())


def test_long_names_that_differ_only_at_the_end_have_different_keys() -> None:
    assert len({name_key(name) for name in LONG_NAMES}) == len(LONG_NAMES)


def test_a_name_that_fits_is_its_own_key() -> None:
    assert name_key("A" * 255) == "a" * 255
