"""Answers that take for ever, have no end, or are none: one line, in time, whatever drips."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from cprqueue import config, errors
from cprqueue.clients import time_limit
from cprqueue.clients import transport as transport_module
from cprqueue.clients.rm import BEGINNING, RestorationManager
from cprqueue.clients.transport import Reply, Transport, error_for

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
HEAD = b"HTTP/1.1 200 OK\r\n"
Answer = Callable[[socket.socket], None]


@contextmanager
def answering(*answers: Answer) -> Iterator[int]:
    """Give one answer after another, each on a connection of its own; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def work() -> None:
            for answer in answers:
                with server.accept()[0] as connection, suppress(OSError):
                    connection.recv(65536)
                    answer(connection)

        thread = threading.Thread(target=work)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def asked(*answers: Answer, total_seconds: float = 30) -> Reply:
    """Ask once for each answer; return the last reply."""
    with answering(*answers) as port:
        for _ in answers:
            made = Transport("It", f"http://127.0.0.1:{port}", total_seconds=total_seconds)
            try:
                reply = made.request("GET", "/x")
            finally:
                made.close()
        return reply


def whole(answer: bytes) -> Answer:
    return lambda connection: connection.sendall(answer)


def again_and_again(piece: bytes, *, first: bytes = b"") -> Answer:
    """Send a piece every few milliseconds, until nobody listens any more."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(first)
        for _ in range(2000):
            connection.sendall(piece)
            time.sleep(0.01)

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        again_and_again(b"X-A: b\r\n"[:1], first=HEAD),
        again_and_again(b"HTTP/1.1 100 Continue\r\n\r\n"),
        again_and_again(b" ", first=HEAD + b"\r\n"),
    ],
    ids=["its head drips", "to go on is all it says", "its body drips"],
)
def test_an_answer_that_drips_ends_at_the_limit_of_the_whole_request(answer: Answer) -> None:
    began = time.monotonic()
    with pytest.raises(errors.ServiceUnreachable, match=r"no (complete )?answer (with)?in"):
        asked(answer, total_seconds=0.3)
    assert time.monotonic() - began < 5


def test_the_beginning_of_a_list_may_take_long_and_who_waits_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_module, "READ_SECONDS", 0.1)
    monkeypatch.setattr(time_limit, "ALIVE_SECONDS", 0.1)
    signs: list[int] = []

    def late(connection: socket.socket) -> None:
        while len(signs) < 3:
            time.sleep(0.01)
        connection.sendall(OK)

    login = whole(HEAD + b"Content-Length: 5\r\nConnection: close\r\n\r\ntoken")
    with answering(login, late) as port:
        made = Transport("It", f"http://127.0.0.1:{port}")
        rm = RestorationManager(made, username="u", password="p", secret="s")
        kept = rm.download(
            tmp_path / "jobs.json",
            since=BEGINNING,
            check=lambda path: path.read_bytes(),
            alive=signs.append,
        )
        made.close()
    assert kept == b"{}"


@pytest.mark.parametrize("packed", [False, True])
def test_more_than_memory_is_for_is_not_read(
    monkeypatch: pytest.MonkeyPatch, *, packed: bool
) -> None:
    monkeypatch.setattr(transport_module, "MOST_BYTES", 1024 * 1024)
    body = b" " * 5 * 1024 * 1024
    encoding = b"Content-Encoding: gzip\r\n" if packed else b""
    answer = HEAD + encoding + b"\r\n" + (gzip.compress(body) if packed else body)
    with pytest.raises(errors.UnreadableAnswer, match="answered with more than 1 MB"):
        asked(whole(answer))


@pytest.mark.parametrize("place", [b"https://login.test/?a=b", b"http://[::1"])
def test_of_a_redirect_neither_place_nor_body_is_waited_for(place: bytes) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: " + place + b"\r\n\r\n"
    with pytest.raises((errors.Refused, errors.ServiceUnreachable)):
        asked(again_and_again(b" ", first=head), total_seconds=0.3)


@pytest.mark.parametrize(
    "answer",
    [
        b"{}",
        b"HTTP/1.1 abc OK\r\n\r\n",
        HEAD + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
        HEAD + b"Content-Length: 2\r\nContent-Length: 5\r\n\r\n{}",
    ],
    ids=["no head", "no status", "a long line", "two lengths"],
)
def test_what_is_no_http_is_called_so(answer: bytes) -> None:
    with pytest.raises(
        errors.ServiceUnreachable, match="GET /x: what answers there speaks no HTTP"
    ):
        asked(whole(answer))


def test_a_name_that_is_not_found_is_called_so() -> None:
    made = Transport("It", "https://nowhere.invalid")
    with pytest.raises(errors.ServiceUnreachable, match=r"GET /x: its name is not found$"):
        made.request("GET", "/x")


@pytest.mark.parametrize("host", ["a..test", f"{'a' * 70}.test"])
def test_a_name_that_cannot_be_is_one_line(host: str) -> None:
    made = Transport("It", f"https://{host}")
    with pytest.raises(errors.ServiceUnreachable, match=r"GET /x: its address, or .* cannot be"):
        made.request("GET", "/x")
    for name in ("RM_BASE_URL", "QBT_BASE_URL", "ALERT_HEARTBEAT_URL"):
        with pytest.raises(errors.SettingsError, match=rf"^{name} [^\n]*$"):
            config.load({name: f"https://{host}"})


def test_a_service_that_does_not_encrypt_is_called_so() -> None:
    with answering(whole(OK)) as port:
        made = Transport("It", f"https://127.0.0.1:{port}")
        with pytest.raises(errors.ServiceUnreachable, match="what answers there is not encrypted"):
            made.request("GET", "/x")


@pytest.mark.parametrize("header", ["\u00b2", "1e3", "-1", "9" * 400])
def test_any_wish_to_wait_is_a_number_or_none(header: str) -> None:
    error = error_for(Reply(status=429, body=b"", headers={"Retry-After": header}, what="x"))
    assert isinstance(error, errors.RateLimited)
    assert error.retry_after_seconds is None or error.retry_after_seconds > 0


def test_the_services_words_move_no_cursor_and_fit_every_database() -> None:
    words = b'{"error": {"message": "a\\u001b[2J\\u202e\\u0007\\u0000\\ud800 b\\nc\\u009b0m"}}'
    error = error_for(Reply(status=417, body=words, headers={}, what="x"))
    assert str(error) == "x answered 417: a[2J b c0m"
