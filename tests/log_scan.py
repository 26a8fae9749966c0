"""Reads all that the suite logs: no customer's address and no secret may be in it.

What is logged in the test process and what every command and worker writes to standard error is
collected; at the end of each test it is compared with the addresses in the sandboxes of that
test and with the secrets that open them.
"""

from __future__ import annotations

import logging
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from cprqueue import log
from cprqueue.sandbox import credentials
from cprqueue.sandbox.server import Sandbox

SECRETS = (
    credentials.RM_PASSWORD,
    quote(credentials.RM_PASSWORD),
    credentials.RM_API_SECRET,
    credentials.QBT_ACCESS_TOKEN,
    credentials.QBT_CLIENT_SECRET,
    credentials.QBT_REFRESH_TOKEN,
)
_WORD = re.compile(r"\w+")
ENOUGH = 5
"""So many places are shown; one is enough to mend the kind."""

_lines: list[str] = []
_sandboxes: list[Sandbox] = []
_addresses: set[str] = set()


class _Collector(logging.Handler):
    """Keeps each line as the product's own formatters write it."""

    def emit(self, record: logging.LogRecord) -> None:
        _lines.append(log.TextFormatter().format(record))


class Watched(subprocess.Popen[str]):
    """A process whose output is read by the scan too, where the test takes all of it at once."""

    def communicate(self, *args: Any, **kwargs: Any) -> tuple[str, str]:
        out, err = super().communicate(*args, **kwargs)
        collect((err or "").splitlines())
        return out, err


def begin() -> None:
    """Collect what is logged in this process from now on."""
    logging.getLogger().addHandler(_Collector())
    logging.getLogger().setLevel(logging.INFO)


def watch(sandbox: Sandbox) -> None:
    """Count the addresses of this sandbox's jobs among those that may not be logged."""
    _sandboxes.append(sandbox)
    _addresses.update(_held(sandbox))


def collect(lines: Iterable[str]) -> None:
    """Take lines that were logged elsewhere."""
    _lines.extend(lines)


def end_of_test() -> list[str]:
    """Return the lines with an address or a secret in them, and forget all of this test."""
    for sandbox in _sandboxes:
        _addresses.update(_held(sandbox))
    found = list(leaks(_lines, _addresses, SECRETS))[:ENOUGH]
    for kept in (_lines, _sandboxes):
        kept.clear()
    _addresses.clear()
    return found


def leaks(lines: Iterable[str], addresses: Iterable[str], secrets: Iterable[str]) -> Iterator[str]:
    """Return each line that holds one of the addresses or secrets.

    Addresses are found by their first word, so that thousands of them cost no more than ten.
    """
    by_word: dict[str, list[str]] = defaultdict(list)
    for address in addresses:
        by_word[_WORD.findall(address)[0]].append(address)
    for line in lines:
        words = set(_WORD.findall(line))
        private = (text for word in words & by_word.keys() for text in by_word[word])
        if any(text in line for text in (*private, *secrets)):
            yield line


def _held(sandbox: Sandbox) -> Iterator[str]:
    texts = [str(job.get("jobAddress1") or "") for job in sandbox.rm.jobs()]
    texts += [str(location.get("addr1") or "") for location in sandbox.qbt.state()["locations"]]
    yield from (text.strip() for text in texts if len(_WORD.findall(text)) > 1)
