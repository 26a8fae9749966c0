"""Which jobcode of those with a name is adopted."""

from __future__ import annotations

from cprqueue.domain.adoption import choose, choose_created
from cprqueue.domain.models import Jobcode


def test_only_an_ordinary_top_level_jobcode_of_the_name_is_chosen() -> None:
    wrong = [
        Jobcode(id=1, name="A-2"),
        Jobcode(id=2, name="A-1", type="pto"),
        Jobcode(id=3, name="A-1", parent_id=9),
    ]
    assert choose(wrong, "A-1") is None
    assert choose([*wrong, Jobcode(id=4, name=" a-1 ")], "A-1") == Jobcode(id=4, name=" a-1 ")


def test_an_active_jobcode_is_chosen_first_then_the_exact_spelling_then_the_older() -> None:
    archived = Jobcode(id=1, name="A-1", active=False)
    other_case, exact = Jobcode(id=2, name="a-1"), Jobcode(id=3, name="A-1")
    younger = Jobcode(id=4, name="A-1")
    assert choose([younger, archived, other_case, exact], "A-1") == exact
    assert choose([archived, other_case], "A-1") == other_case
    assert choose([archived], "A-1") == archived


def test_a_jobcode_with_a_location_was_not_made_by_our_create() -> None:
    theirs = Jobcode(id=1, name="A-1", location_ids=(7,))
    ours = Jobcode(id=2, name="A-1")
    assert choose_created([theirs], "A-1") is None
    assert choose_created([theirs, ours], "A-1") == ours
