"""Tokens, their renewal, the calls they may make, and forced failures."""

from __future__ import annotations

import json

import pytest

from tests.sandbox.quickbooks_time_desk import Desk, error_of

BEARER = {"authorization": "Bearer sandbox-token"}


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="no header"),
        pytest.param({"authorization": "Bearer other"}, id="unknown token"),
        pytest.param({"authorization": "Basic sandbox-token"}, id="other scheme"),
    ],
)
def test_a_request_without_a_good_token_is_401(headers: dict[str, str]) -> None:
    answer = Desk().ask("GET", "/jobcodes", headers=headers)
    assert answer.status == 401
    assert json.loads(answer.body)["error"] == "invalid_token"


@pytest.mark.parametrize("path", ["/jobcodes", "/nothing-here"])
def test_an_expired_and_a_revoked_token_are_401_on_every_path(path: str) -> None:
    expired, revoked = Desk(), Desk()
    expired.account.expire_token()
    revoked.account.revoke_token()
    assert expired.ask("GET", path).status == revoked.ask("GET", path).status == 401


def test_a_token_lives_for_ten_days() -> None:
    desk = Desk()
    desk.account.advance(864_000 - 1)
    assert desk.ask("GET", "/jobcodes").status == 200
    desk.account.advance(1)
    assert desk.ask("GET", "/jobcodes").status == 401


def test_the_body_of_a_401_can_be_the_error_object_or_no_json_at_all() -> None:
    answer = Desk(unauthorized_body="error").ask("GET", "/jobcodes", headers={})
    assert error_of(answer) == (401, "Unauthorized")
    answer = Desk(unauthorized_body="html").ask("GET", "/jobcodes", headers={})
    assert answer.status == 401
    assert answer.body.startswith(b"<html>")


def test_a_refresh_rotates_both_tokens_and_the_old_ones_die_at_once() -> None:
    desk = Desk()
    answer = desk.grant(BEARER, grant_type="refresh_token", refresh_token="sandbox-refresh")
    fresh = json.loads(answer.body)
    assert answer.status == 200
    assert (fresh["expires_in"], fresh["token_type"], fresh["scope"]) == (864_000, "bearer", "")
    assert isinstance(fresh["user_id"], str)
    assert isinstance(fresh["company_id"], str)
    assert desk.ask("GET", "/jobcodes").status == 401
    new = {"authorization": "Bearer " + fresh["access_token"]}
    assert desk.ask("GET", "/jobcodes", headers=new).status == 200
    again = desk.grant(new, grant_type="refresh_token", refresh_token="sandbox-refresh")
    assert again.status == 404
    assert fresh["refresh_token"] == desk.account.refresh_token


def test_old_tokens_can_have_a_grace_period() -> None:
    desk = Desk(grant_grace=60)
    form = {"grant_type": "refresh_token", "refresh_token": "sandbox-refresh"}
    assert desk.grant(BEARER, **form).status == 200
    assert desk.ask("GET", "/jobcodes").status == 200
    assert desk.grant(BEARER, **form).status == 200
    desk.account.advance(60)
    assert desk.ask("GET", "/jobcodes").status == 401
    assert desk.grant(BEARER, **form).status == 404


def test_an_expired_token_can_still_be_refreshed_but_a_revoked_one_cannot() -> None:
    desk = Desk()
    form = {"grant_type": "refresh_token", "refresh_token": "sandbox-refresh"}
    desk.account.expire_token()
    assert desk.grant(BEARER, **form).status == 200
    desk.account.revoke_token()
    form["refresh_token"] = desk.account.refresh_token
    assert desk.grant(BEARER, **form).status == 404


def test_a_refresh_can_need_a_living_token() -> None:
    desk = Desk(refresh_needs_live_token=True)
    desk.account.expire_token()
    form = {"grant_type": "refresh_token", "refresh_token": "sandbox-refresh"}
    assert desk.grant(BEARER, **form).status == 401


def test_a_refresh_without_the_authorization_header_is_refused() -> None:
    form = {"grant_type": "refresh_token", "refresh_token": "sandbox-refresh"}
    answer = Desk().grant(**form)
    assert answer.status == 400
    assert json.loads(answer.body)["error"] == "invalid_request"
    assert Desk(refresh_needs_authorization=False).grant(**form).status == 200


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"grant_type": "authorization_code", "code": "x"}, 400, "unsupported_grant_type"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, 404, "invalid_grant"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": "refresh_token", "client_secret": "x"}, 400, "invalid_client"),
    ],
)
def test_a_bad_grant_is_refused(form: dict[str, str], status: int, error: str) -> None:
    answer = Desk().grant(BEARER, **form)
    assert (answer.status, json.loads(answer.body)["error"]) == (status, error)


def test_a_bad_refresh_token_can_be_a_400() -> None:
    form = {"grant_type": "refresh_token", "refresh_token": "x"}
    assert Desk(bad_refresh_status=400).grant(BEARER, **form).status == 400


def test_an_issued_token_has_the_lifetime_that_the_answer_names() -> None:
    desk = Desk(token_lifetime_seconds=100)
    answer = desk.grant(BEARER, grant_type="refresh_token", refresh_token="sandbox-refresh")
    token = {"authorization": f"Bearer {desk.account.access_token}"}
    assert json.loads(answer.body)["expires_in"] == 100
    desk.account.advance(100)
    assert desk.ask("GET", "/jobcodes", headers=token).status == 401


def test_call_301_of_a_window_is_429_until_the_window_ends() -> None:
    desk = Desk()
    statuses = {desk.ask("GET", "/current_user").status for _ in range(300)}
    assert statuses == {200}
    desk.account.advance(299)
    answer = desk.ask("GET", "/current_user")
    assert (answer.status, error_of(answer)) == (429, (429, "Too many requests"))
    assert "Retry-After" not in answer.headers
    desk.account.advance(1)
    assert desk.ask("GET", "/current_user").status == 200
    assert desk.account.calls == 301


def test_a_429_can_say_when_to_come_back() -> None:
    desk = Desk(rate_limit=1, retry_after=True)
    desk.get("/current_user")
    desk.account.advance(10.5)
    assert desk.ask("GET", "/current_user").headers["Retry-After"] == "290"


def test_the_limit_can_be_lowered_and_the_window_can_slide() -> None:
    desk = Desk(rate_limit=2, rate_window_seconds=10, rate_window="sliding")
    desk.get("/current_user")
    desk.account.advance(9)
    desk.get("/current_user")
    desk.account.advance(1)
    desk.get("/current_user")
    assert desk.ask("GET", "/current_user").status == 429


def test_calls_are_counted_for_each_token_and_grant_costs_none() -> None:
    desk = Desk(rate_limit=1)
    desk.get("/current_user")
    form = {"grant_type": "refresh_token", "refresh_token": "sandbox-refresh"}
    assert desk.grant(BEARER, **form).status == 200
    desk.headers["authorization"] = f"Bearer {desk.account.access_token}"
    assert desk.ask("GET", "/current_user").status == 200
    assert desk.ask("GET", "/current_user").status == 429


@pytest.mark.parametrize("status", [402, 499, 500, 503])
def test_a_status_can_be_forced_on_everything(status: int) -> None:
    desk = Desk(force_status=status)
    assert error_of(desk.ask("GET", "/jobcodes"))[0] == status
    assert desk.grant(BEARER).status == status
    desk.account.switches.update({"forced_body": "html"})
    assert desk.ask("GET", "/jobcodes").body.startswith(b"<html>")


def test_a_write_can_be_applied_and_its_answer_lost() -> None:
    desk = Desk(act_then_status=503)
    body = b'{"data":[{"name":"BMS-1"}]}'
    assert desk.ask("POST", "/jobcodes", body=body).status == 503
    assert desk.names() == ["BMS-1"]


def test_an_unknown_path_is_404_and_an_unlisted_method_405() -> None:
    desk = Desk()
    assert desk.ask("GET", "/jobs").status == 404
    assert desk.ask("GET", "/authorize").status == 404
    for method, path in [("POST", "/timesheets"), ("DELETE", "/jobcodes")]:
        assert desk.ask(method, path).status == 405
