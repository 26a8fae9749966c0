"""Pure: parents and children among jobcodes, and their locations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cprqueue.domain.models import Jobcode, Location


def children_of(jobcodes: Iterable[Jobcode]) -> dict[int, list[int]]:
    """Return the children's ids of each parent."""
    found: dict[int, list[int]] = {}
    for code in jobcodes:
        if code.parent_id:
            found.setdefault(code.parent_id, []).append(code.id)
    return found


def family_of(root: int, children: Mapping[int, list[int]]) -> set[int]:
    """Return ``root`` and all its children at any depth."""
    family: set[int] = set()
    todo = [root]
    while todo:
        code = todo.pop()
        if code not in family:
            family.add(code)
            todo += children.get(code, [])
    return family


def depth(jobcode_id: int, parents: Mapping[int, int]) -> int:
    """Return how many parents stand above a jobcode; ``parents`` maps ids to parents' ids."""
    found, seen = 0, {jobcode_id}
    parent = parents.get(jobcode_id, 0)
    while parent and parent not in seen:
        seen.add(parent)
        found += 1
        parent = parents.get(parent, 0)
    return found


def locations_by_jobcode(locations: Iterable[Location]) -> dict[int, list[Location]]:
    """Return the locations that are linked to each jobcode."""
    found: dict[int, list[Location]] = {}
    for place in locations:
        for code in place.jobcode_ids:
            found.setdefault(code, []).append(place)
    return found
