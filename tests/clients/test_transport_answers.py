"""What a request takes along, and what of an answer is understood."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from cprqueue import errors
from cprqueue.clients import transport as transport_module
from cprqueue.clients.transport import Reply, Transport, error_for
from cprqueue.sandbox.server import Sandbox

TOKEN = {"Authorization": "Bearer sandbox-token"}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(jobs=[]) as running:
        yield running


@pytest.fixture
def transport(sandbox: Sandbox) -> Iterator[Transport]:
    sandbox.faults.clear()
    made = Transport("QuickBooks Time", sandbox.qbt_url)
    yield made
    made.close()
    sandbox.faults.clear()


def test_how_far_the_services_clock_is_ahead_is_known_after_an_answer(
    sandbox: Sandbox, transport: Transport
) -> None:
    transport.request("GET", "/jobcodes", headers=TOKEN)
    assert transport.ahead is not None
    assert abs(transport.ahead) < timedelta(seconds=60)


@pytest.mark.parametrize("date", ["", "yesterday"], ids=["none", "unreadable"])
def test_an_answer_without_a_date_says_nothing_about_the_clock(date: str) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
    head += f"Date: {date}\r\n".encode() if date else b""
    with socket.create_server(("127.0.0.1", 0)) as server:
        made = Transport("It", f"http://127.0.0.1:{server.getsockname()[1]}")
        answered, _over = _answer_once(server, head + b"\r\n{}")
        assert made.request("GET", "/").json() == {}
        assert made.ahead is None
        answered.join()
        made.close()


def _answer_once(
    server: socket.socket, answer: bytes, *, wait: bool = False
) -> tuple[threading.Thread, threading.Event]:
    """Give this answer to one request; with ``wait`` keep the connection until the event."""
    over = threading.Event()

    def work() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)
            if wait:
                over.wait(30)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, over


def test_an_answer_that_stops_in_the_middle_is_never_taken_for_a_whole_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport_module, "READ_SECONDS", 0.2)
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}"
    with socket.create_server(("127.0.0.1", 0)) as server:
        made = Transport("It", f"http://127.0.0.1:{server.getsockname()[1]}")
        answered, over = _answer_once(server, half, wait=True)
        with pytest.raises(errors.ServiceUnreachable, match="stopped in the middle"):
            made.request("GET", "/")
        over.set()
        answered.join()
        made.close()


def test_a_request_without_an_answer_is_sent_once() -> None:
    """Whether it had an effect is not known: whoever sends it again must verify first."""
    requests: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            with contextlib.suppress(OSError):  # the server is closed at the end
                while True:
                    with server.accept()[0] as connection:
                        requests.append(connection.recv(65536))

        thread = threading.Thread(target=hang_up)
        thread.start()
        made = Transport("It", f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(errors.ServiceUnreachable):
            made.request("GET", "/")
        made.close()
        server.shutdown(socket.SHUT_RDWR)
    thread.join()
    assert len(requests) == 1


def test_nobody_who_takes_the_connection_is_named_with_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport_module, "CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        address = server.getsockname()
        with socket.create_connection(address):  # it fills the queue of those who wait
            made = Transport("It", f"http://127.0.0.1:{address[1]}")
            with pytest.raises(errors.ServiceUnreachable, match=r"no connection within 0\.2 s"):
                made.request("GET", "/")
            made.close()


def test_no_connection_is_left_open_after_the_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        made = Transport("It", f"http://127.0.0.1:{server.getsockname()[1]}")
        rest: list[bytes] = []

        def answer_and_wait() -> None:
            with server.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                connection.settimeout(10)
                rest.append(connection.recv(1))

        thread = threading.Thread(target=answer_and_wait)
        thread.start()
        assert made.request("GET", "/").json() == {}
        made.close()
        thread.join()
        assert rest == [b""]


def test_a_base_url_may_end_in_a_slash(sandbox: Sandbox) -> None:
    made = Transport("QuickBooks Time", sandbox.qbt_url + "/")
    assert made.request("GET", "/jobcodes", headers=TOKEN).status == 200
    made.close()


def reply(status: int, body: Any = "", **headers: str) -> Reply:
    text = body if isinstance(body, str) else json.dumps(body)
    return Reply(status=status, body=text.encode(), headers=headers, what="It: GET /x")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (399, errors.Refused),
        (400, errors.Refused),
        (401, errors.AccessStopped),
        (428, errors.Refused),
        (429, errors.RateLimited),
        (430, errors.Refused),
        (499, errors.AccessStopped),
        (500, errors.ServiceFailed),
        (501, errors.ServiceFailed),
    ],
)
def test_each_status_at_a_border_has_its_error(status: int, kind: type[Exception]) -> None:
    assert type(error_for(reply(status))) is kind


def test_without_any_words_of_the_service_the_line_ends_with_the_status() -> None:
    bodies: list[Any] = ["", "<html>", [1], {}, {"error": None}, {"error": {}}]
    for body in bodies:
        assert str(error_for(reply(400, body))) == "It: GET /x answered 400"


def test_the_services_words_are_cut_at_two_hundred_characters() -> None:
    assert str(error_for(reply(400, {"error": "x" * 300}))).endswith(f": {'x' * 200}")
