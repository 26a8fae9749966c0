"""Pure: which jobcode and location are a job's, by what QuickBooks Time shows of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cprqueue.domain.models import Address, Jobcode, Location, Observed, name_key
from cprqueue.domain.push_item import Item
from cprqueue.domain.push_plan import observe


def choose(candidates: Iterable[Jobcode], name: str) -> Jobcode | None:
    """Return the jobcode to adopt for ``name``: an active one first, then the exact spelling."""
    fit = [
        code
        for code in candidates
        if code.type == "regular" and code.parent_id == 0 and name_key(code.name) == name_key(name)
    ]
    return min(fit, key=lambda c: (not c.active, c.name != name, c.id), default=None)


def choose_created(candidates: Iterable[Jobcode], name: str) -> Jobcode | None:
    """Return the jobcode that our create of ``name`` made, if it made one.

    Ours has no location yet: one that has is somebody else's, and stays as it is.
    """
    return choose((code for code in candidates if not code.location_ids), name)


def choose_of(item: Item, candidates: Sequence[Jobcode]) -> Jobcode | None:
    """Return the jobcode to adopt for the first of the item's names that has one."""
    found = (choose(candidates, name) for name in item.names)
    return next((code for code in found if code is not None), None)


def observe_for(item: Item, code: Jobcode, places: Iterable[Location]) -> Observed:
    """Return what is observed for the item, whose jobcode is ``code``."""
    ours = item.observed.location_id
    near = [place for place in places if code.id in place.jobcode_ids or place.id == ours]
    return observe(code, near, ours=ours, address=item.desired.address)


def find_adoptable(
    item: Item, free: Iterable[Jobcode], places: Iterable[Location]
) -> tuple[Observed, bool] | None:
    """Return what is observed of the jobcode to adopt for a job that has none, if there is one.

    And whether that is sure: no location is shared with another jobcode.
    """
    code = choose(free, item.desired.name)
    if code is None:
        return None
    observed = observe_for(item, code, places)
    return observed, not any(spare.others for spare in observed.spares)


def observe_changes(
    item: Item, codes: Mapping[int, Jobcode], places: Sequence[Location], free: Sequence[Jobcode]
) -> Observed | None:
    """Return what is observed, where only what is in the listings has changed.

    ``free``: those of ``codes`` that no job is linked to. None for a jobcode that was there
    before and has locations of its own: the listings do not show it whole.
    """
    known = item.observed
    code = codes.get(known.jobcode_id or 0) or _unchanged(known) or choose_of(item, free)
    if code is None:
        return Observed()
    if known.jobcode_id is None and code.location_ids:
        return None
    near = {place.id: place for place in _unchanged_places(known)}
    near |= {p.id: p for p in places if code.id in p.jobcode_ids or p.id in near}
    return observe(code, near.values(), ours=known.location_id, address=item.desired.address)


def _unchanged(observed: Observed) -> Jobcode | None:
    if observed.jobcode_id is None:
        return None
    return Jobcode(
        id=observed.jobcode_id,
        name=observed.name,
        active=observed.active,
        assigned_to_all=observed.assigned_to_all,
    )


def _unchanged_places(observed: Observed) -> list[Location]:
    """Rebuild our location and the spare ones; of a spare one the address is not on record."""
    if observed.jobcode_id is None:
        return []
    own = (observed.jobcode_id,)
    places = [
        Location(id=spare.location_id, address=Address(), jobcode_ids=(*own, *spare.others))
        for spare in observed.spares
    ]
    if observed.location_id is not None:
        linked = observed.location_linked
        place = Location(
            id=observed.location_id,
            address=observed.address,
            active=linked,
            jobcode_ids=own if linked else (),
        )
        places.append(place)
    return places
