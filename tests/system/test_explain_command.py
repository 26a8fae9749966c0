"""The command ``explain``, as people and programs run it."""

from __future__ import annotations

import json

import pytest

from cprqueue.services.reports.explain import explain
from tests.office import Office, job
from tests.running import System

pytestmark = pytest.mark.usefixtures("office")  # the tables


def told(office: Office, job_id: int) -> str:
    return explain(office.app.db, job_id).sentence


def test_the_command_prints_the_sentence_first_then_what_it_rests_on(
    system: System, office: Office
) -> None:
    office.put(job(1, "BMS-1"))
    done = system.run("explain", "bms-1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("BMS-1 is in QuickBooks Time as jobcode ")
    for words in ("RM job 1, BMS-1", "1 Main Street, Boise", "addr1", "in step: jobcode"):
        assert words in done.stdout


def test_as_json_it_is_one_document(system: System, office: Office) -> None:
    office.put(job(1, "BMS-1"))
    found = json.loads(system.run("explain", "1", "--json").stdout)
    assert found["sentence"] == told(office, 1)
    assert found["link"]["jobcode_id"] == office.link(1).jobcode_id
    assert found["job"]["address"]["addr1"] == "1 Main Street"
    assert all(row["equal"] for row in found["differences"])


def test_several_hits_are_a_list_to_choose_from_and_exit_1(system: System, office: Office) -> None:
    office.record([job(1, "BMS-1"), job(2, "BMS-2")])
    done = system.run("explain", "main street")
    assert done.returncode == 1
    assert "BMS-1" in done.stdout
    assert "cprqueue explain ID" in done.stderr
    found = json.loads(system.run("explain", "main street", "--json").stdout)
    assert [hit["job_id"] for hit in found["candidates"]] == [1, 2]


def test_an_unknown_job_is_one_line_and_exit_2(system: System) -> None:
    done = system.run("explain", "nobody", "--json")
    line = "no job is known by 'nobody': neither id, number, name nor street"
    assert (done.returncode, done.stderr) == (2, f"error: {line}\n")
    assert json.loads(done.stdout) == {"error": line, "exit": 2}
    assert system.run("explain", "nobody").stdout == ""


def test_markup_in_a_name_is_printed_as_it_is(system: System, office: Office) -> None:
    office.record([job(1, "BMS-1 [bold]x[/bold]", jobName="[red]")])
    done = system.run("explain", "1")
    assert "BMS-1 [bold]x[/bold] is due" in done.stdout
    assert "[red]" in done.stdout
