"""The board in a process of its own, and somebody who looks at its pages without a browser."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import requests

from tests import log_scan
from tests.office import Office
from tests.real_processes import killed_at_the_end, wait_until
from tests.running import clean_environment

ROOT = Path(__file__).parent.parent
OPEN = "from cprqueue.cli.web import serve; serve(port=0, address='127.0.0.1', is_open=True)"
READY = re.compile(r"the board answers.*?(http://127\.0\.0\.1:\d+)/")
TOKEN = re.compile(r'name="token" value="([^"]+)"')
PATIENCE_SECONDS = 30

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' OR '1'='1",
    "{{ 7*7 }}{% raw x %}",
    "javascript:alert(1)",
    '=HYPERLINK("http://x")',
    "%_[^]\\",
    "\u202egnp.exe \ufeff\u0000",
    "😀" * 60,
    "-1",
    "0",
    "9" * 30,
    "1e9",
    "٣",
    "null",
    "../../etc/passwd",
    "a\r\nSet-Cookie: x=1",
    "x" * 3000,
)


class Seen(HTMLParser):
    """What stands in a page: elements, attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        """All of it, in one line."""
        return " ".join(" ".join(self.texts).split())

    def unfit(self) -> list[str]:
        """Return what the browser would refuse, or must never be there."""
        return [
            f"<{tag} {name}={value[:40]}>"
            for tag, name, value in self.attributes
            if name == "style" or name.startswith("on") or value.lower().startswith("javascript:")
        ] + [
            f"<{tag}>"
            for tag in self.tags
            if tag in ("img", "style", "iframe", "object", "base") or self.tags.count("script") > 1
        ]


class Visitor:
    """Somebody at the board; keeps cookies, and follows no redirect."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()

    def get(self, path: str, **query: str) -> requests.Response:
        """Ask for a page."""
        return self.session.get(
            self.url + path, params=query or None, allow_redirects=False, timeout=PATIENCE_SECONDS
        )

    def see(self, path: str, **query: str) -> Seen:
        """Ask for a page that is there."""
        found = self.get(path, **query)
        assert found.status_code == 200, (path, found.status_code, found.text[-600:])
        return Seen(found.text)

    def token(self) -> str:
        """Return what a form of this visitor carries."""
        found = TOKEN.search(self.get("/").text)
        assert found is not None
        return found[1]

    def press(self, path: str, **fields: str) -> requests.Response:
        """Press a button."""
        return self.session.post(
            self.url + path,
            data={"token": self.token(), **fields},
            allow_redirects=False,
            timeout=PATIENCE_SECONDS,
        )

    def told(self, path: str, **fields: str) -> tuple[str, Seen]:
        """Press a button that does something; return where it leads, and the page there."""
        found = self.press(path, **fields)
        assert found.status_code == 303, (found.status_code, Seen(found.text).text)
        to = found.headers["Location"]
        return to, self.see(to)


@contextmanager
def served(office: Office, code: str = OPEN) -> Iterator[str]:
    """Serve the board of this office for the block, without log-in; give its address."""
    lines: list[str] = []
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=clean_environment(**office.env),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    with killed_at_the_end(process):
        assert process.stderr is not None
        reader = threading.Thread(target=_collect, args=(process.stderr, lines), daemon=True)
        reader.start()
        wait_until(
            lambda: _address(lines) or process.poll() is not None, timeout_seconds=PATIENCE_SECONDS
        )
        assert _address(lines), "".join(lines)
        yield _address(lines)
        process.terminate()
        assert process.wait(20) == 0, "".join(lines)
    reader.join(5)
    assert not [line for line in lines if "a page failed" in line], "".join(lines)


def _collect(stream: object, lines: list[str]) -> None:
    for line in stream:  # type: ignore[attr-defined]  # the standard error of a process
        lines.append(line)
        log_scan.collect([line])


def _address(lines: list[str]) -> str:
    found = READY.search("".join(lines))
    return found[1] if found else ""
