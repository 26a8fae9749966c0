"""``explain`` says from the record why a job is, or is not, in QuickBooks Time."""

from __future__ import annotations

from typing import Any

import pytest

from cprqueue.domain.push_plan import Compared
from cprqueue.services.reports.explain import explain, search
from cprqueue.store.database import clock
from tests.office import Office, job


def told(office: Office, job_id: int) -> str:
    return explain(office.app.db, job_id).sentence


# --- the sentence -------------------------------------------------------------------------


def test_a_job_in_step_is_named_with_its_jobcode_and_location(office: Office) -> None:
    office.put(job(1, "BMS-1"))
    link = office.link(1)
    assert told(office, 1).startswith(
        f"BMS-1 is in QuickBooks Time as jobcode {link.jobcode_id} "
        f"with location {link.location_id}, in step since 20"
    )


def test_a_job_without_an_address_says_why_it_has_no_location(office: Office) -> None:
    nowhere = dict.fromkeys(("jobAddress1", "jobCity", "jobStateCd", "jobZip"), "")
    office.put(job(1, "BMS-1", **nowhere))
    assert "without a location, because RM has no address for it" in told(office, 1)


@pytest.mark.parametrize(
    ("fields", "because"),
    [
        ({"jobProgress": "Lost Lead"}, "progress Lost Lead is one of RM_INACTIVE_PROGRESS"),
        ({"jobProgress": ""}, "progress is missing"),
        ({"jobStatus": "Closed"}, "status Closed is not one of RM_ACTIVE_STATUSES"),
        (
            {"jobJobId": "LAX-UNALLOCATED JC"},
            "job number LAX-UNALLOCATED JC is one of RM_EXCLUDED_JOB_NUMBERS",
        ),
    ],
)
def test_an_inactive_job_names_the_rule(
    office: Office, fields: dict[str, Any], because: str
) -> None:
    office.put(job(1, "BMS-1") | fields)
    number = fields.get("jobJobId", "BMS-1")
    assert told(office, 1) == f"{number} is not in QuickBooks Time, because {because}."


def test_a_job_without_a_number_is_called_by_its_id(office: Office) -> None:
    office.put(job(7, ""))
    assert told(office, 7) == "RM job 7 is not in QuickBooks Time, because job number is missing."


def test_a_closed_job_whose_jobcode_is_still_there_says_what_archives_it(office: Office) -> None:
    office.put(job(1, "BMS-1"))
    office.put(job(1, "BMS-1", jobProgress="Lost Lead"))
    assert told(office, 1) == (
        "BMS-1 should not be in QuickBooks Time, because progress Lost Lead is one of "
        f"RM_INACTIVE_PROGRESS; its jobcode {office.link(1).jobcode_id} stays until the monthly "
        "prune archives it."
    )


def test_a_parked_job_gives_the_reason_and_names_the_other_job(office: Office) -> None:
    office.put(job(1, "BMS-1"), job(2, "bms-1"), job(3, "X" * 65))
    assert told(office, 2).startswith("bms-1 is parked, and not in QuickBooks Time yet: RM job 1 ")
    assert "job number is too long by 1" in told(office, 3)


def test_a_job_that_just_came_waits_for_a_worker(office: Office) -> None:
    office.record([job(1, "BMS-1")])
    assert told(office, 1).startswith(
        "BMS-1 is due, and not in QuickBooks Time yet: waiting for a worker since 20"
    )


def test_a_job_that_failed_gives_the_last_answer_and_the_next_try(office: Office) -> None:
    office.put(job(1, "BMS-1"))
    office.app.push.work.retry_base *= 1_000_000
    office.sandbox.client.set_faults([{"kind": "status", "service": "qbt", "method": "PUT"}])
    office.record([job(1, "BMS-2")])
    office.ring()
    said = told(office, 1)
    assert said.startswith(f"BMS-2 is due, while jobcode {office.link(1).jobcode_id} stays as it")
    assert "last answer: QuickBooks Time: PUT /jobcodes answered 503" in said
    assert "next try in " in said


def test_while_the_push_is_stopped_a_due_job_says_so(office: Office) -> None:
    office.record([job(1, "BMS-1")])
    office.sandbox.qbt.switches.update({"force_status": 402})
    office.push()
    assert "the push is stopped since 20" in told(office, 1)
    assert "billing is not current" in told(office, 1)


def test_a_changed_address_shows_field_by_field_what_differs(office: Office) -> None:
    office.put(job(1, "BMS-1"))
    office.record([job(1, "BMS-1", jobCity="Nampa")])
    found = explain(office.app.db, 1)
    assert [row for row in found.differences if not row.equal] == [
        Compared(field="city", desired="Nampa", observed="Boise", equal=False)
    ]
    assert [event.kind for event in found.events] == ["recorded", "pushed", "recorded"]


# --- the search ---------------------------------------------------------------------------

CROWD = [
    job(11, "BMS-25-00008M", jobName="Peña & Söhne", jobAddress1="5 Calle Añil"),
    job(12, "BMS-25-00009M", jobName="50% Off", jobAddress1="77 Camelback Rd"),
    job(13, "12", jobName="Numbered", jobAddress1="9 Oak Ave"),
]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("11", [11]),
        ("12", [12, 13]),  # one job's id, another one's number: a person must choose
        ("bms-25-00008m", [11]),
        ("  BMS-25-00008M ", [11]),
        ("BMS-25", [11, 12]),
        ("numbered", [13]),
        ("camelback", [12]),
        ("Añil", [11]),
        ("Söhne", [11]),
        ("50%", [12]),
        ("5_ Off", []),
        ("nothing", []),
        ("", []),
        ("99999999999999999999999", []),
    ],
)
def test_a_job_is_found_by_id_number_name_or_part_of_the_street(
    office: Office, text: str, ids: list[int]
) -> None:
    office.record(CROWD)
    assert [hit.job_id for hit in search(office.app.db, text)] == ids


# --- the command --------------------------------------------------------------------------


def test_what_a_worker_holds_right_now_is_said(office: Office) -> None:
    office.record([job(1, "BMS-1")])
    with office.app.db.begin() as conn:
        office.app.push._claim(conn, at_least=1)
        assert clock(conn)
    assert told(office, 1).endswith("a worker is pushing it right now.")
