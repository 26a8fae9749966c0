"""What is sent to one URL, and what is said where it does not go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email import message_from_string, policy
from socketserver import StreamRequestHandler, TCPServer, ThreadingTCPServer
from threading import Event, Thread

import pytest

from cprqueue import alerts
from tests.receiver import receiving


@pytest.mark.parametrize(
    ("level", "kind"), [("info", "info"), ("warning", "warning"), ("error", "failure")]
)
def test_a_message_carries_its_level_and_host(level: str, kind: str) -> None:
    with receiving() as people:
        url = f"json://127.0.0.1:{people.port}/in"
        assert alerts.send(url, title="push held", text="why", level=level) == ""
    (message,) = people.messages
    assert (message["title"], message["type"]) == ("cprqueue: push held", kind)
    assert message["message"].startswith(f"why\n\nlevel: {level}, host: ")


HOSTILE = "2 went: *A_1*, <b>bold</b>, <!channel>\n# two & `code`"


@contextmanager
def mail_server() -> Iterator[tuple[int, list[str]]]:
    """Take mail for the block; yield the port and the letters so far."""
    letters: list[str] = []

    class Session(StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 ready\r\n")
            while (words := self.rfile.readline().split()) and words[0].upper() != b"QUIT":
                self.wfile.write(b"354 go on\r\n" if words[0].upper() == b"DATA" else b"250 ok\r\n")
                if words[0].upper() == b"DATA":
                    lines = iter(self.rfile.readline, b".\r\n")
                    letters.append(b"".join(lines).decode())
                    self.wfile.write(b"250 taken\r\n")
            self.wfile.write(b"221 bye\r\n")

    with TCPServer(("127.0.0.1", 0), Session) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], letters
        server.shutdown()


def test_mail_is_plain_text_with_its_lines_whatever_a_job_is_called() -> None:
    with mail_server() as (port, letters):
        url = f"mailto://127.0.0.1:{port}?from=cpr@h.example&to=office@h.example&mode=insecure"
        assert alerts.send(url, title="digest", text=HOSTILE, level="info") == ""
    (letter,) = letters
    body = message_from_string(letter, policy=policy.default).get_body()
    assert body is not None
    assert body.get_content_type() == "text/plain"
    assert body.get_content().replace("\r\n", "\n").startswith(f"{HOSTILE}\n\nlevel: info")


def test_what_is_too_long_for_one_message_is_several() -> None:
    """Discord, Pushover and others refuse what is longer: nobody would read it."""
    with receiving() as people:
        url = f"mmost://127.0.0.1:{people.port}/3ccdd113474722377935511fc85d3dd4"
        assert alerts.send(url, title="digest", text=HOSTILE * 200, level="info") == ""
    texts = [message["text"] for message in people.messages]
    assert len(texts) > 1
    assert max(map(len, texts)) <= 4000


@pytest.mark.parametrize("path", ["gone", "hush-1"])
def test_a_heartbeat_says_why_it_was_not_heard_and_never_where(path: str) -> None:
    with receiving() as monitor:
        assert alerts.beat(f"http://127.0.0.1:{monitor.port}/hush") == ""
        assert monitor.called == {"/hush": 1}
        assert alerts.beat(f"http://u:hush@127.0.0.1:{monitor.port}/gone") == "it answered 404"
    assert alerts.beat(f"http://127.0.0.1:1/{path}") == "ConnectionError"


def test_a_heartbeat_waits_no_longer_than_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Monitor(StreamRequestHandler):
        def handle(self) -> None:
            first = self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            if b"/round" in first:
                self.wfile.write(b"HTTP/1.1 302 x\r\nLocation: /round\r\nConnection: close\r\n\r\n")
                return
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            with suppress(OSError):
                while not over.wait(0.1):  # a header after another, each in time
                    self.wfile.write(b"X-More: hush\r\n")

    over = Event()
    monkeypatch.setattr(alerts, "HEARTBEAT_TOTAL_SECONDS", 1)
    with ThreadingTCPServer(("127.0.0.1", 0), Monitor) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        assert alerts.beat(f"{url}/round") == "TooManyRedirects"
        assert alerts.beat(f"{url}/hush") == "no answer within 1 s"
        over.set()
        server.shutdown()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "json://user:hush-pass@h.example:8080/hush-path?x=hush",
            "json://user:****@h.example:8080",
        ),
        ("mailtos://user:hush-pass@h.example?to=hush@h.example", "mailtos://user:****@h.example"),
        ("hush", "hush://"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert alerts.shown(url).startswith(shown)
    assert alerts.shown(url).endswith("/...")
    assert alerts.shown(url).count("hush") == shown.count("hush")


def test_the_reason_holds_no_part_of_the_url_but_the_host() -> None:
    said = alerts._without_secrets(
        "no hush%2F1 or hush/1 at h.example", "x://u:hush%2F1@h.example/a"
    )
    assert said == "no *** or *** at h.example"
