"""Which token stands when, who renews it, and what an odd answer to the renewal means."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from cprqueue.clients.token import ASSUMED_LIFE, EARLY, NAME, PAUSE, Grant
from cprqueue.errors import AccessStopped, ServiceFailed, UnreadableAnswer
from cprqueue.sandbox.credentials import QBT_ACCESS_TOKEN, QBT_REFRESH_TOKEN
from cprqueue.store import app_state
from cprqueue.store.database import clock
from tests.office import Office

FULL = {"access_token": "a", "client_id": "b", "client_secret": "c", "refresh_token": "d"}


def now(office: Office) -> datetime:
    with office.app.durable_db.begin() as conn:
        return clock(conn)


def pair(office: Office) -> Any:
    """Return the stored pair."""
    with office.app.durable_db.begin() as conn:
        return app_state.get(conn, f"{NAME}:{office.app.token.grant.origin}")


def store(office: Office, **values: Any) -> None:
    """Change the stored pair."""
    stored = pair(office) | values
    with office.app.durable_db.begin() as conn:
        app_state.put(conn, f"{NAME}:{office.app.token.grant.origin}", stored, now=clock(conn))


def answer(office: Office, body: Any) -> None:
    """Let /grant answer with this."""
    rule = {"kind": "status", "status": 200, "path": "/grant", "body": json.dumps(body)}
    office.sandbox.client.set_faults([rule])


def grants(office: Office) -> int:
    return sum(call.path == "/grant" for call in office.sandbox.calls)


def about(moment: str, expected: datetime) -> bool:
    return abs(datetime.fromisoformat(moment) - expected) < timedelta(minutes=1)


@pytest.mark.parametrize("missing", ["client_id", "client_secret", "refresh_token"])
def test_a_token_is_renewable_only_with_all_that_a_renewal_needs(missing: str) -> None:
    assert Grant(**FULL).renewable
    assert not Grant(**{**FULL, missing: ""}).renewable


def test_another_pair_in_the_settings_has_another_place_and_hides_the_token() -> None:
    origins = {
        Grant(**{**FULL, **other}).origin
        for other in ({}, {"access_token": "x"}, {"refresh_token": "x"}, {"client_id": "x"})
    }
    assert len(origins) == 3, "who asks does not matter"
    assert all(len(origin) == 16 for origin in origins)


def test_the_token_of_the_settings_stands_until_its_assumed_end_is_near(office: Office) -> None:
    assert office.app.token.current() == QBT_ACCESS_TOKEN
    assert grants(office) == 0
    stored = pair(office)
    assert stored["refresh_token"] == QBT_REFRESH_TOKEN
    assert about(stored["expires_at"], now(office) + ASSUMED_LIFE)
    assert about(stored["renewed_from"], now(office) + ASSUMED_LIFE - EARLY)
    assert office.app.token.expires_at() == datetime.fromisoformat(stored["expires_at"])


def test_a_renewed_pair_stands_with_the_end_that_the_service_names(office: Office) -> None:
    answer(office, {"access_token": "new", "refresh_token": "next", "expires_in": 7200})
    assert office.app.token.renew(QBT_ACCESS_TOKEN) == "new"
    stored = pair(office)
    assert (stored["access_token"], stored["refresh_token"]) == ("new", "next")
    assert about(stored["expires_at"], now(office) + timedelta(hours=2))
    assert about(stored["renewed_from"], now(office) + timedelta(minutes=90))
    assert office.app.token.current() == "new"
    assert grants(office) == 1


@pytest.mark.parametrize("life", [None, 0, -5, "soon", [1]], ids=str)
def test_an_end_that_the_service_does_not_name_is_assumed(office: Office, life: Any) -> None:
    answer(office, {"access_token": "new", "refresh_token": "next", "expires_in": life})
    assert office.app.token.renew(QBT_ACCESS_TOKEN) == "new"
    assert about(pair(office)["expires_at"], now(office) + ASSUMED_LIFE)


@pytest.mark.parametrize(
    "body", [[], {}, {"access_token": "new"}, {"refresh_token": "next"}, "text"], ids=str
)
def test_an_answer_without_a_pair_replaces_nothing(office: Office, body: Any) -> None:
    office.app.token.current()
    before = pair(office)
    answer(office, body)
    with pytest.raises(UnreadableAnswer, match="without a pair of tokens"):
        office.app.token.renew(QBT_ACCESS_TOKEN)
    assert pair(office) == before


def test_a_token_that_another_worker_has_renewed_costs_no_renewal(office: Office) -> None:
    office.app.token.current()
    store(office, access_token="newer")
    assert office.app.token.renew(QBT_ACCESS_TOKEN) == "newer"
    assert grants(office) == 0


def test_the_lock_is_released_after_a_renewal_done_or_failed(office: Office) -> None:
    office.sandbox.client.set_faults([{"kind": "status", "status": 503, "path": "/grant"}])
    with pytest.raises(ServiceFailed):
        office.app.token.renew(QBT_ACCESS_TOKEN)
    office.sandbox.client.clear_faults()
    first = office.app.token.renew(QBT_ACCESS_TOKEN)
    assert office.app.token.renew(first) not in (first, QBT_ACCESS_TOKEN)


def test_an_early_renewal_that_fails_is_tried_again_after_a_pause(office: Office) -> None:
    office.app.token.current()
    store(office, renewed_from=now(office).isoformat())
    office.sandbox.client.set_faults([{"kind": "status", "status": 503, "path": "/grant"}])
    assert office.app.token.current() == QBT_ACCESS_TOKEN
    assert about(pair(office)["renewed_from"], now(office) + PAUSE)
    assert office.app.token.current() == QBT_ACCESS_TOKEN
    assert grants(office) == 1


def test_a_token_that_has_ended_and_cannot_be_renewed_is_an_error(office: Office) -> None:
    office.app.token.current()
    past = (now(office) - timedelta(minutes=1)).isoformat()
    store(office, renewed_from=past, expires_at=past)
    office.sandbox.client.set_faults([{"kind": "status", "status": 503, "path": "/grant"}])
    with pytest.raises(ServiceFailed):
        office.app.token.current()


def test_a_pair_that_an_older_version_stored_is_renewed_a_day_before_its_end(
    office: Office,
) -> None:
    office.app.token.current()
    stored = pair(office)
    del stored["renewed_from"]
    for left, renewals in ((EARLY + timedelta(hours=1), 0), (EARLY - timedelta(hours=1), 1)):
        stored["expires_at"] = (now(office) + left).isoformat()
        with office.app.durable_db.begin() as conn:
            name = f"{NAME}:{office.app.token.grant.origin}"
            app_state.put(conn, name, stored, now=clock(conn))
        office.app.token.current()
        assert grants(office) == renewals


@pytest.mark.parametrize(("status", "kind"), [(400, 401), (401, 401), (404, 401), (403, 403)])
def test_a_refused_refresh_token_stops_and_names_the_cure(
    office: Office, status: int, kind: int
) -> None:
    office.sandbox.client.set_faults([{"kind": "status", "status": status, "path": "/grant"}])
    with pytest.raises(AccessStopped) as raised:
        office.app.token.renew(QBT_ACCESS_TOKEN)
    assert raised.value.status == kind


def test_a_token_made_by_hand_that_is_refused_stops_and_names_its_setting(office: Office) -> None:
    office.app.token.grant = Grant(access_token="by hand")
    assert office.app.token.current() == "by hand"
    assert office.app.token.expires_at() is None
    with pytest.raises(AccessStopped, match="does not accept QBT_ACCESS_TOKEN") as raised:
        office.app.token.renew("by hand")
    assert (raised.value.status, grants(office)) == (401, 0)
