"""QuickBooks Time's answers: objects, sections, outcomes by position, and what its errors mean."""

from __future__ import annotations

from collections.abc import Mapping

from cprqueue.clients.transport import Reply, error_for
from cprqueue.domain.mapping import read_item_result
from cprqueue.domain.models import ItemResult, Json
from cprqueue.errors import Refused, ServiceFailed, UnreadableAnswer

TOO_LARGE = 413


def error_of(reply: Reply) -> Exception:
    """Return the error for a status that is no success.

    A refusal that is not in the service's own words comes from something on the way to it, a
    gateway or a proxy: it says nothing about the items, nor whether the service got them. But
    what was too large for anybody on the way has done nothing.
    """
    error = error_for(reply)
    if not isinstance(error, Refused):
        return error
    if reply.status == TOO_LARGE or _own_words(reply):
        return error
    return ServiceFailed(f"{reply.what} answered {reply.status}, but not in its own words")


def _own_words(reply: Reply) -> bool:
    """Tell whether the body has one of the shapes of QuickBooks Time's errors."""
    try:
        data = reply.json()
    except UnreadableAnswer:
        return False
    return isinstance(data, dict) and ("error" in data or "results" in data)


def as_object(reply: Reply) -> dict[str, Json]:
    data = reply.json()
    if data == []:  # an empty answer may come as an empty list
        return {}
    if not isinstance(data, dict):
        raise UnreadableAnswer(f"{reply.what} answered with JSON that is no object")
    return data


def items_of(data: Mapping[str, Json], section: str) -> list[dict[str, Json]]:
    """Return the objects of a section, which may be a map, an empty list, or missing."""
    results = data.get("results", {})
    found = results.get(section, {}) if isinstance(results, Mapping) else results
    values = list(found.values()) if isinstance(found, Mapping) else found
    if not isinstance(values, list) or not all(isinstance(v, dict) for v in values):
        raise UnreadableAnswer(
            f"QuickBooks Time answered with a {section} section of no known form"
        )
    return values


def item_results(reply: Reply, endpoint: str, expected: int) -> list[ItemResult]:
    """Return the results by position ("1", "2", ...); they may come even with a 4xx."""
    try:
        results = as_object(reply).get("results", {})
        found = results.get(endpoint, {}) if isinstance(results, Mapping) else {}
    except UnreadableAnswer:
        if reply.status >= 400:
            raise error_of(reply) from None
        raise
    if not found and reply.status >= 400:
        raise error_of(reply)
    by_position = _by_position(found)
    if set(by_position) != set(range(1, expected + 1)):
        raise ServiceFailed(f"{reply.what} named {len(by_position)} outcomes for {expected} items")
    return [read_item_result(by_position[n]) for n in range(1, expected + 1)]


def _by_position(found: object) -> dict[int, Mapping[str, Json]]:
    if isinstance(found, Mapping):
        pairs = [(str(key), value) for key, value in found.items()]
    elif isinstance(found, list):
        pairs = [(str(n), value) for n, value in enumerate(found, 1)]
    else:
        pairs = []
    return {int(k): v for k, v in pairs if k.isdecimal() and isinstance(v, Mapping)}
