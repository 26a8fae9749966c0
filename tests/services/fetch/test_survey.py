"""What one pass over a job list finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cprqueue.errors import UnreadableAnswer
from cprqueue.services.fetch.survey import survey_file
from tests.office import job


def answer(tmp_path: Path, *items: Any) -> Path:
    path = tmp_path / "answer.json"
    path.write_text(json.dumps(items))
    return path


def test_of_doubles_the_last_place_counts_and_what_is_no_job_is_skipped(tmp_path: Path) -> None:
    seen: list[int] = []
    path = answer(tmp_path, job(1, "A-1"), {"x": 1}, job(2, "A-2"), job(1, "B-1"), {})
    survey = survey_file(path, seen=seen.append)
    assert (survey.last_index, survey.skipped) == ({1: 3, 2: 2}, 2)
    assert seen == [1, 2, 3, 4, 5]


def test_a_list_of_something_else_than_jobs_is_refused_and_an_empty_one_is_not(
    tmp_path: Path,
) -> None:
    with pytest.raises(UnreadableAnswer, match="is a list, but holds no jobs"):
        survey_file(answer(tmp_path, {"x": 1}))
    assert survey_file(answer(tmp_path)).last_index == {}
