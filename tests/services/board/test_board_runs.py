"""Runs: listed by the page, with bars of counts, seconds and calls."""

from __future__ import annotations

import pytest

from cprqueue.services.board import runs
from tests.office import Office, job


def test_runs_are_listed_newest_first_with_their_charts(office: Office) -> None:
    office.put(job(1, "A-1"))
    office.app.snapshot.take()
    found = runs.read(office.app.db)
    assert [row.run.run_id for row in found.rows] == sorted(
        (row.run.run_id for row in found.rows), reverse=True
    )
    assert [chart.title.split()[0] for chart in found.charts] == ["Jobs", "Seconds", "Calls"]
    for chart in found.charts:
        assert [bar.run_id for bar in chart.bars] == [row.run.run_id for row in found.rows][::-1]
        assert all(0 <= bar.height <= 100 for bar in chart.bars)
    assert max(bar.height for bar in found.charts[2].bars) == 100


def test_runs_of_one_kind_come_by_the_page(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.put(job(1, "A-1"))
    ids = [office.app.snapshot.take() for _ in range(3)]
    monkeypatch.setattr(runs, "PAGE", 2)
    first = runs.read(office.app.db, kind="snapshot")
    assert [row.run.run_id for row in first.rows] == [ids[2], ids[1]]
    second = runs.read(office.app.db, kind="snapshot", before=first.more)
    assert ids[0] in [row.run.run_id for row in second.rows]
    assert {row.run.kind for row in (*first.rows, *second.rows)} == {"snapshot"}


def test_no_runs_make_no_bars(office: Office) -> None:
    found = runs.read(office.app.db)
    assert (found.rows, found.more) == ([], None)
    assert [(chart.bars, chart.most.split()[0]) for chart in found.charts] == [
        ([], "0"),
        ([], "0.0"),
        ([], "0"),
    ]


def test_one_run_is_read_by_its_id(office: Office) -> None:
    run_id = office.app.snapshot.take()
    found = runs.read_one(office.app.db, run_id)
    assert found is not None
    assert (found.run.run_id, found.is_wrong) == (run_id, False)
    assert runs.read_one(office.app.db, run_id + 1) is None
