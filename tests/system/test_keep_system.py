"""``keep`` and late hours, while real workers prune."""

from __future__ import annotations

import json
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cprqueue.domain.states import RunKind
from tests.place import Place, running_place
from tests.real_processes import wait_until

TODAY = datetime.now(UTC).date()
YESTERDAY, IN_A_MONTH = str(TODAY - timedelta(days=1)), str(TODAY + timedelta(days=30))


def code(place: Place, name: str) -> int:
    rows = place.sandbox.qbt.state()["jobcodes"]
    return int(next(row["id"] for row in rows if row["name"] == name))


def reasons(report: dict[str, Any]) -> dict[str, str]:
    return {row["job_number"]: row["reason"] for row in report["held_back"]}


def prune_that_is_suspended_once_it_has_planned(place: Place) -> None:
    """Keep one more job, and book late hours for one more, before the first batch is sent."""
    with place.started("prune", "run") as process:
        wait_until(place.suspended)
        (pid,) = place.suspended()
        assert place.run("keep", "3", "--because", "one more visit")[0] == 0
        place.sandbox.client.book_hours(code(place, "Phase 1"), YESTERDAY)
        os.kill(pid, signal.SIGCONT)
        place.sweep_until(lambda: not place.live())
        process.wait(30)


def test_what_is_kept_or_has_hours_stays_even_if_that_comes_during_the_prune(
    tmp_path: Path,
) -> None:
    with running_place(tmp_path, CPR_FAILPOINTS="stored_plan:stop", SUDO_USER="Ànna") as place:
        place.begin_anew(60)
        place.close(range(1, 6))
        place.sandbox.client.book_hours(code(place, "A-1"), YESTERDAY)
        phase = place.sandbox.qbt.add_jobcode(name="Phase 1", parent_id=code(place, "A-4"))
        place.sandbox.qbt.change_jobcode(phase, active=False)
        words = ("keep", "A-2", "--until", IN_A_MONTH, "--because", "warranty")
        done = place.system.run(*words, "--json")
        (kept,) = json.loads(done.stdout)
        assert (done.returncode, kept["until"], kept["requested_by"]) == (0, IN_A_MONTH, "Ànna")
        prune_that_is_suspended_once_it_has_planned(place)
        run = place.newest(RunKind.PRUNE)
        assert run is not None
        assert place.archived() == {"A-5"}
        hours = f"has hours of {YESTERDAY}, in the last 7 days (PRUNE_QUIET_DAYS)"
        expected = {
            "A-1": hours,
            "A-2": f"kept by Ànna until {IN_A_MONTH}: warranty",
            "A-3": "kept by Ànna until further notice: one more visit",
        }
        shown = reasons(place.run("prune", "show", str(run.run_id))[1])
        assert shown == {**expected, "A-4": hours}

        exit_code, undone, _ = place.run("undo", str(run.run_id), "--keep")
        assert (exit_code, undone["restored"], undone["kept"]) == (0, 1, 1)
        exit_code, report, _ = place.run("prune", "run")
        assert (report["archive"], report["note"]) == ([], "0 archived, 5 held back")
        assert reasons(report)["A-5"].startswith("kept by Ànna until further notice: restored by")
        assert place.system.run("unkeep", "A-2", "A-5").stdout == "2 kept no longer\n"
        assert place.run("prune", "run")[1]["note"] == "2 archived, 3 held back"
        assert place.archived() == {"A-2", "A-5"}
        assert place.run("status")[1]["kept"] == 1
        late = place.system.run("keep", "5", "--until", IN_A_MONTH)
        assert (late.returncode, late.stdout) == (1, f"A-5 is kept by Ànna until {IN_A_MONTH}\n")
        assert "A-5: its jobcode is archived: `cprqueue undo " in late.stderr
        over = place.system.run("keep", "5", "--until", "2020-01-01")
        line = "error: --until is 2020-01-01, which is over: write today or a later day\n"
        assert (over.returncode, over.stderr) == (2, line)
