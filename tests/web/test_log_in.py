"""Who may see the board, for how long, and how often somebody may guess."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cprqueue import config
from cprqueue.bootstrap import Application
from cprqueue.settings.web import Role
from cprqueue.web import sessions
from cprqueue.web.board import Board
from cprqueue.web.throttle import ADDRESS, BOTH, WINDOW_SECONDS, Throttle, network
from tests.web.conftest import PASSWORD, Running, StartBoard, user


def cookie(running: Running, name: str) -> str:
    """Return the session's cookie of somebody who has just logged in."""
    found = running.browser(name).http.cookies
    return next(c.value or "" for c in found if "session" in c.name)


def test_nobody_sees_a_page_without_a_session(board: Running) -> None:
    visitor = board.browser()
    answer = visitor.get("/?x=1", allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/login")
    assert visitor.get("/now.json").status_code == 401
    assert "Log in" in visitor.get("/").text


def test_a_link_from_another_site_goes_on_from_here_where_the_cookies_are_sent(
    board: Running,
) -> None:
    visitor = board.browser()
    cross = {"Sec-Fetch-Site": "cross-site"}
    answer = visitor.get("/?x=1&y=%22%3E", headers=cross, allow_redirects=False)
    assert (answer.status_code, 'url=/?x=1&amp;y=%22%3E"' in answer.text) == (200, True)
    assert visitor.get("//evil.example/", headers=cross).text.count("evil") == 0


def test_a_log_in_leads_to_the_page_that_was_asked_for(board: Running) -> None:
    answer = board.browser().log_in("ann", next="/nothing?x=1")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/nothing?x=1")


@pytest.mark.parametrize(
    "elsewhere",
    ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", "/ /"],
)
def test_a_log_in_leads_nowhere_else(board: Running, elsewhere: str) -> None:
    answer = board.browser().log_in("ann", next=elsewhere)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")


@pytest.mark.parametrize(
    ("name", "password"),
    [("ann", "wrong"), ("nobody", PASSWORD), ("", ""), ("ann", ""), ("ann", PASSWORD + " ")],
)
def test_a_wrong_name_and_a_wrong_password_look_the_same(
    board: Running, name: str, password: str
) -> None:
    answer = board.browser().log_in(name, password)
    assert answer.status_code == 403
    assert "The name or the password is not right." in answer.text
    assert password not in answer.text or not password


def test_a_session_cookie_is_for_no_script_and_no_other_site(board: Running) -> None:
    answer = board.browser().log_in("ann")
    for word in ("HttpOnly", "SameSite=Strict", "Path=/"):
        assert word in answer.headers["Set-Cookie"]
    assert "Secure" not in answer.headers["Set-Cookie"]


def test_behind_tls_a_cookie_is_for_tls_alone(start: StartBoard) -> None:
    running = start(CPR_WEB_URL="https://board.example.com")
    browser = running.browser()
    for headers in ({"Host": "board.example.com"}, {"X-Forwarded-Proto": "https"}):
        answer = browser.get("/login", headers=headers)
        assert "__Host-cpr-visitor" in answer.headers["Set-Cookie"]
        assert "Secure" in answer.headers["Set-Cookie"]


def test_log_out_ends_the_session_for_a_copied_cookie_too(board: Running) -> None:
    browser = board.browser("ann")
    copied = {c.name: c.value or "" for c in browser.http.cookies}
    assert browser.post("/logout").headers["Location"] == "/login"
    assert "You are logged out." in browser.get("/login").text
    answer = board.browser().get("/now.json", cookies=copied)
    assert answer.status_code == 401


def test_an_ended_session_stays_so_after_a_restart(board: Running) -> None:
    browser = board.browser("ann")
    [text] = [c.value or "" for c in browser.http.cookies if "session" in c.name]
    browser.post("/logout")
    again = Board.of(board.board.app, is_open=False)
    assert again.sessions.find(text, time.time()) is None
    assert again.sessions.find(cookie(board, "ann"), time.time()) is not None
    again.close()


def test_a_session_ends_after_its_time(board: Running) -> None:
    text, now = cookie(board, "ann"), time.time()
    found = board.board.sessions
    assert found.find(text, now + sessions.LASTS_SECONDS - 60) is not None
    assert found.find(text, now + sessions.LASTS_SECONDS + 60) is None


@pytest.mark.parametrize("change", ["name", "until", "signature", "key"])
def test_a_changed_cookie_is_no_session(board: Running, change: str) -> None:
    parts = dict(
        zip(("name", "key", "until", "signature"), cookie(board, "bo").split("|"), strict=True)
    )
    parts[change] = {"name": "ann", "until": str(int(parts["until"]) + 1)}.get(
        change, ("0" if parts[change][0] != "0" else "1") + parts[change][1:]
    )
    assert board.board.sessions.find("|".join(parts.values()), time.time()) is None


@pytest.mark.parametrize(
    "users",
    [
        user("bo", Role.VIEWER),
        ";".join([user("ann", Role.OPERATOR), user("bo", Role.VIEWER)]),
    ],
    ids=["taken out", "another password"],
)
def test_who_is_taken_out_of_the_settings_has_no_session(board: Running, users: str) -> None:
    text, settings = cookie(board, "ann"), board.board.app.settings
    env = {"CPR_VAR_DIR": str(settings.var_dir), "CPR_WEB_USERS": users}
    changed = Board.of(Application(config.load(env)), is_open=False)
    assert changed.sessions.find(text, time.time()) is None
    changed.close()


def test_the_secret_is_for_this_user_alone(board: Running) -> None:
    var = board.board.app.settings.var_dir
    board.browser("ann").post("/logout")
    for name in ("web-secret", "web-ended-sessions"):
        assert (var / name).stat().st_mode & 0o777 == 0o600


def test_too_many_wrong_passwords_have_to_wait_and_a_right_one_then_too(start: StartBoard) -> None:
    running = start()
    browser = running.browser()
    answers = [browser.log_in("ann", "wrong").status_code for _ in range(BOTH.tries + 1)]
    assert answers == [403] * BOTH.tries + [429]
    answer = browser.log_in("ann")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= WINDOW_SECONDS
    assert browser.log_in("bo").status_code == 303


def test_another_address_is_believed_from_a_proxy_alone(start: StartBoard) -> None:
    """On loopback everybody is a proxy: each address that it names has tries of its own."""
    running = start()
    browser = running.browser()
    token = browser.token()

    def answer(address: str) -> int:
        return browser.http.post(
            f"{running.url}/login",
            data={"token": token, "name": "ann", "password": "wrong"},
            headers={"X-Forwarded-For": address},
            timeout=20,
        ).status_code

    assert [answer("198.51.100.1") for _ in range(BOTH.tries + 1)][-1] == 429
    assert answer("198.51.100.2, 198.51.100.1") == 429
    assert answer("198.51.100.2") == 403


def test_the_throttle_counts_right_ones_for_nothing_and_forgets() -> None:
    throttle, now = Throttle(), 1000.0
    for _ in range(3 * BOTH.tries):
        assert throttle.try_one("192.0.2.1", "ann", now) == 0
        throttle.take_back("192.0.2.1", "ann", now)
    for _ in range(BOTH.tries):
        throttle.try_one("192.0.2.1", "ann", now)
    assert throttle.try_one("192.0.2.1", "Ann", now) == WINDOW_SECONDS
    assert throttle.try_one("192.0.2.1", "ann", now + WINDOW_SECONDS) == 0


def test_one_address_cannot_try_many_names() -> None:
    throttle = Throttle()
    waits = [throttle.try_one("2001:db8::1", f"n{n}", 0) for n in range(ADDRESS.tries + 1)]
    assert [bool(wait) for wait in waits] == [False] * ADDRESS.tries + [True]
    assert throttle.try_one("2001:db8::ffff", "other", 0) > 0
    assert throttle.try_one("2001:db8:1::1", "other", 0) == 0


def test_the_throttles_memory_is_bounded() -> None:
    throttle = Throttle(buckets=16)
    for number in range(300):
        throttle.try_one(f"203.0.113.{number}", f"name{number}", 1000.0 * number)
    assert len(throttle) <= 3 * 16


def test_addresses_of_one_customer_are_one() -> None:
    assert network("2001:db8:0:1::5") == network("2001:db8:0:1:ffff::9")
    assert network("::ffff:192.0.2.1") == "192.0.2.1"
    assert network("not an address") == "not an address"


def test_the_demos_board_is_open_and_only_on_loopback(start: StartBoard) -> None:
    running = start(is_open=True, CPR_WEB_USERS="")
    page = running.browser().get("/")
    assert page.status_code == 200
    assert "Demo: no log-in" in page.text
    assert running.browser().get("/", headers={"Host": "rebound.example"}).status_code == 403


def test_the_file_of_ended_sessions_may_hold_anything(tmp_path: Path, board: Running) -> None:
    path = board.board.app.settings.var_dir / "web-ended-sessions"
    path.write_bytes(b"\xff\xfe nonsense\n\nabc 99999999999999\nkey 12x\n")
    again = Board.of(board.board.app, is_open=False)
    assert again.sessions.find(cookie(board, "ann"), time.time()) is not None
    again.close()
