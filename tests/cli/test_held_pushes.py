"""What the commands say and end with while the brake on pushes holds something."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Run
from tests.office import Office, job, written

pytestmark = pytest.mark.settings(PUSH_MIN_LIMIT="0")  # any change is too many


def test_an_import_that_is_held_ends_with_1_and_a_dismissed_job_is_retried_by_name(
    office: Office, run: Run
) -> None:
    office.put(job(1, "A-1"))
    path = str(written(office.settings.var_dir, [job(1, "B-1")]))
    code, out, _ = run("import", path, "--json")
    document = json.loads(out)
    assert (code, document["held"], document["due"]) == (1, 1, 0)
    run_id = str(document["run_id"])
    code, out, _ = run("plan", "show", run_id, "--json")
    assert [row["after"] for row in json.loads(out)["jobs"]] == [{"name": "B-1"}]
    assert run("plan", "dismiss", run_id)[0] == 0
    assert run("plan", "dismiss", run_id)[0] == 1, "it was decided"
    code, out, err = run("retry", "--all")
    assert (code, out) == (0, "0 due now\n")
    assert "1 job dismissed: `cprqueue retry JOB` pushes one after all" in err
    assert run("import", path)[0] == 0, "nothing new, so nothing is held"
    assert office.counts()["parked"] == 1


def test_an_approval_without_a_broker_says_that_it_stands(office: Office, run: Run) -> None:
    office.put(job(1, "A-1"))
    code, out, _ = run("import", str(written(office.settings.var_dir, [job(1, "B-1")])), "--json")
    run_id = str(json.loads(out)["run_id"])
    code, _, err = run("plan", "approve", run_id)
    said = "error: 1 job due now, and pushed once workers run: the embedded broker is not"
    assert (code, err.splitlines()[-1].startswith(said)) == (3, True)
    assert run("plan", "approve", run_id)[0] == 1, "it was decided"
    assert office.counts()["due"] == 1


@pytest.mark.settings(QBT_ACCESS_TOKEN="ended")
def test_a_plan_with_a_token_that_has_ended_says_the_cure(office: Office, run: Run) -> None:
    office.sandbox.rm.put_jobs([job(1, "A-1")])
    code, out, err = run("plan")
    assert (code, out) == (3, "")
    assert err.startswith("error: QuickBooks Time does not accept QBT_ACCESS_TOKEN: put a valid")
