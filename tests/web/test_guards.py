"""What the board refuses, and what each of its answers carries."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from cprqueue.web import pages
from cprqueue.web.answer import HEADERS
from cprqueue.web.page import Act, Page
from tests.web.conftest import TOKEN, Browser, Running, StartBoard

HOSTILE = (
    b"%00",
    b"%ED%A0%80",  # half of a pair, as UTF-8
    b"%FF%FE",
    b"%1B[2J",
    b"-1",
    b"0",
    b"99999999999999999999999",
    b"%27%20OR%201=1--",
    b"%3Cscript%3Ealert(1)%3C/script%3E",
    b"%E2%80%AE%E2%81%A6",
    b"x" * 1500,
    b"%25%5B_",
    b"%D9%A1",  # a digit, but not one of ours
)

PARAMETERS = ("q", "page", "sort", "state", "next", "tab", "v")


@pytest.fixture(scope="module")
def ann(board: Running) -> Browser:
    """An operator."""
    return board.browser("ann")


def raw(url: str, request: bytes) -> bytes:
    """Send bytes as they are; return the answer."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), 10) as connection:
        connection.sendall(request)
        found = b""
        while chunk := connection.recv(65536):
            found += chunk
    return found


@pytest.mark.parametrize("path", ["/", "/login", "/nothing", "/now.json", "/static/board.css"])
def test_every_answer_has_the_headers(ann: Browser, path: str) -> None:
    answer = ann.get(path)
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert "Server" not in answer.headers
    assert answer.headers["Cache-Control"] == ("no-cache" if "static" in path else "no-store")
    assert "unsafe" not in answer.headers["Content-Security-Policy"]


def test_no_page_has_an_inline_script_or_style(ann: Browser) -> None:
    for template in (Path(pages.__file__).parent.parent / "templates").glob("*.html"):
        text = template.read_text(encoding="utf-8")
        for word in (" style=", "<style", " onclick=", " onload=", "javascript:", "{% raw"):
            assert word not in text, template.name
    assert ann.get("/").text.count("<script") == 1


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/nothing", "GET", 404),
        ("/static/nothing.css", "GET", 404),
        ("/static/../page.py", "GET", 403),
        ("/static/%2e%2e/page.py", "GET", 403),
        ("/fetch", "GET", 405),
        ("/logout", "GET", 405),
        ("/", "DELETE", 405),
        ("/", "PUT", 405),
        ("/", "BREW", 405),
    ],
)
def test_what_cannot_be_is_a_page_of_ours(
    ann: Browser, path: str, method: str, status: int
) -> None:
    prepared = requests.Request(method, ann.url, cookies=ann.http.cookies).prepare()
    prepared.url = ann.url + path
    answer = ann.http.send(prepared, timeout=20, allow_redirects=False)
    assert answer.status_code in (status, 403) if method != "GET" else answer.status_code == status
    assert f"Status {answer.status_code}." in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "[::1", "a@localhost"]
)
def test_a_name_that_is_not_ours_is_refused(board: Running, host: str) -> None:
    answer = raw(
        board.url, f"GET /login HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    )
    assert answer.split(b" ")[1] in (b"403", b"400")
    assert b'name="password"' not in answer


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST:8080"])
def test_loopbacks_names_are_ours(board: Running, host: str) -> None:
    assert board.browser().get("/login", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/login", "/logout", "/fetch"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_a_form_of_another_site_does_nothing(
    board: Running, path: str, headers: dict[str, str]
) -> None:
    browser = board.browser("ann")
    browser.http.headers.update(headers)
    answer = browser.post(path, name="bo", password="x")
    assert answer.status_code == 403
    assert "another site" in answer.text
    assert browser.get("/now.json").status_code == 200


@pytest.mark.parametrize("path", ["/login", "/logout", "/fetch"])
@pytest.mark.parametrize("token", ["", "0" * 64, "\N{SNOWMAN}"])
def test_a_form_without_its_token_does_nothing(board: Running, path: str, token: str) -> None:
    answer = board.browser("ann").post(path, token=token)
    assert answer.status_code == 403
    assert "form is too old" in answer.text


def test_the_token_of_somebody_else_is_none(board: Running, ann: Browser) -> None:
    other = board.browser("ann")
    assert other.post("/fetch", token=ann.token()).status_code == 403


def test_the_token_from_before_the_log_in_is_none_after_it(board: Running) -> None:
    browser = board.browser()
    before = browser.token()
    browser.log_in("ann")
    assert browser.post("/fetch", token=before).status_code == 403


def test_a_viewer_sees_no_buttons_and_may_order_nothing(board: Running) -> None:
    viewer = board.browser("bo")
    assert 'action="/fetch"' not in viewer.get("/").text
    acts = [pattern for pattern, handler in pages.routes() if issubclass(handler, Act)]
    for pattern in acts:
        path = pattern.replace("([0-9]{1,18})", "1")
        answer = viewer.post(path)
        assert (answer.status_code, "Your role is viewer" in answer.text) == (403, True), path
    assert acts


def test_an_act_is_a_post_of_an_operator_and_nothing_else() -> None:
    for _, handler in pages.routes():
        assert issubclass(handler, Page)
        if handler.post is not Page.post and not handler.is_public:
            assert issubclass(handler, Act)


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: value[:12].decode())
def test_hostile_text_in_a_parameter_is_no_fault(ann: Browser, value: bytes) -> None:
    for pattern, handler in pages.routes():
        if issubclass(handler, Act):
            continue
        path = pattern.replace("([0-9]{1,18})", "1")
        query = "&".join(f"{name}={value.decode()}" for name in PARAMETERS)
        answer = ann.get(f"{path}?{query}")
        assert answer.status_code in (200, 400, 404, 405), (path, answer.text)
        assert "<script>alert" not in answer.text


@pytest.mark.parametrize("field", ["name", "next", "token", "password"])
@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: value[:12].decode())
def test_hostile_text_in_the_log_in_is_no_fault(board: Running, field: str, value: bytes) -> None:
    browser = board.browser()
    fields = {"token": browser.token(), "name": "zed", "password": "x", field: value.decode()}
    answer = browser.http.post(
        f"{board.url}/login",
        data="&".join(f"{name}={text}" for name, text in fields.items()),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        timeout=20,
    )
    assert answer.status_code in (400, 403, 429), answer.text
    assert "<script>alert" not in answer.text


def test_a_parameter_given_twice_is_refused(ann: Browser) -> None:
    assert ann.get("/login?next=/&next=/").status_code in (200, 400)
    answer = requests.get(f"{ann.url}/login?next=/a&next=/b", timeout=20)
    assert answer.status_code == 400
    assert "Next stands there 2 times" in answer.text


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"FFFFFFF\r\nx",
    ],
    ids=["long address", "large body", "negative length", "odd version", "no text", "large chunk"],
)
def test_what_is_too_large_or_no_request_ends_its_connection_alone(
    board: Running, request_bytes: bytes
) -> None:
    try:
        answer = raw(board.url, request_bytes)
    except ConnectionError:  # it hung up before all was sent
        answer = b""
    assert answer == b"" or answer.split(b" ")[1] in (b"400", b"413")
    assert board.browser().get("/login").status_code == 200


def test_a_text_that_was_told_is_not_believed_from_others(board: Running) -> None:
    browser = board.browser("ann")
    port = urlsplit(board.url).port
    browser.http.cookies.set(f"cpr-told-{port}", "aGVsbG8=." + "0" * 64)
    assert "hello" not in browser.get("/").text


def test_a_database_that_is_away_is_a_page_with_a_cure(start: StartBoard) -> None:
    away = start(DATABASE_URL="postgresql+psycopg://cpr:secret-word@127.0.0.1:1/cpr")
    answer = away.browser("ann").get("/")
    assert answer.status_code == 503
    assert "check DATABASE_URL" in answer.text
    assert "secret-word" not in answer.text
    answer = away.browser("ann").get("/now.json")
    assert (answer.status_code, answer.json()["status"]) == (503, 503)


def test_tables_that_are_missing_are_a_page_with_a_cure(start: StartBoard, tmp_path: Path) -> None:
    empty = start(DATABASE_URL=f"sqlite:///{tmp_path / 'empty.db'}")
    answer = empty.browser("ann").get("/")
    assert answer.status_code == 503
    assert "start <code>cprqueue up</code> once" in answer.text


def test_a_broker_that_is_away_is_said_and_no_order_is_lost(board: Running, ann: Browser) -> None:
    assert "The broker is out of reach" in ann.get("/").text
    answer = ann.post("/fetch")
    assert answer.status_code == 503
    assert "the embedded broker is not running" in answer.text.lower()


def test_what_was_done_is_said_once(board: Running) -> None:
    browser = board.browser("ann")
    browser.post("/logout")
    assert "You are logged out." in browser.get("/login").text
    assert "You are logged out." not in browser.get("/login").text


def test_a_fault_of_ours_is_a_page_without_its_traceback(
    board: Running, ann: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("boom of Main Street")

    monkeypatch.setattr(pages.now.Now, "read", fail)
    answer = ann.get("/")
    assert answer.status_code == 500
    assert "A fault in cprqueue itself" in answer.text
    assert "boom" not in answer.text


def test_a_token_is_on_every_form(ann: Browser) -> None:
    page = ann.get("/").text
    assert len(TOKEN.findall(page)) == page.count("<form")
