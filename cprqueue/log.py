"""Logging: constant event names with fields, as text or as JSON, to standard error.

Write ``log.info("jobs pushed", extra={"count": 50})``: the event stays the same, the fields
vary. What the lines of a task, a run or a job have in common is ``bound`` once. No secret,
address or body is ever a field. URLs of databases and brokers are masked with
``without_password`` before anybody prints them.
"""

from __future__ import annotations

import errno
import json
import logging
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cprqueue import crashes, streams

RUNS = "cprqueue.run"
"""The logger of the lines that a run begins and ends with."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "data", "taskName"}
_PASSWORD = re.compile(r"(://[^:/@\n]*):(?!\d{1,5}(?:/[^@\s]*)?(?:\s|$))[^@\n]*@(?:[^@/;,\s]*@)*")
"""A user and password, which may hold blanks; a number before a blank is a port."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
"""A disk that is full says all that is to be known, and takes no file with the rest."""

_OUTSIDE = frozenset({"amqp", "kombu", "redis", "billiard"})
"""Libraries whose errors are a lost broker, or (billiard) a pool process that was killed."""

_bound: ContextVar[Mapping[str, object]] = ContextVar("bound", default=MappingProxyType({}))


@contextmanager
def bound(**names: object) -> Iterator[None]:
    """Let every line that is logged in the block carry these fields: ``run_id``, ``job``."""
    token = _bound.set({**_bound.get(), **names})
    try:
        yield
    finally:
        _bound.reset(token)


def bind_task(**names: object) -> None:
    """Let every line carry these fields, and none that was bound before: a new task begins."""
    _bound.set({name: value for name, value in names.items() if value is not None})


def current_run() -> Any:
    """Return the run that is bound, or None."""
    return _bound.get().get("run_id")


def without_password(text: str) -> str:
    """Return ``text`` with the password of every URL in it replaced by ``***``."""
    return _PASSWORD.sub(r"\1:***@", text)


def fields(record: logging.LogRecord) -> dict[str, object]:
    """Return what the caller gave as ``extra``, and what is bound.

    Of what Celery gives only the task is kept: the rest holds arguments.
    """
    if record.name.startswith("celery"):
        data = getattr(record, "data", None)
        given = {"task": data.get("name"), "task_id": data.get("id")} if data else {}
    else:
        given = {
            k: v for k, v in vars(record).items() if k not in _STANDARD and not k.startswith("_")
        }
    return {**given, **_bound.get(), **given}


class TextFormatter(logging.Formatter):
    """``2026-11-26 12:00:01+0000 INFO cprqueue.services.push: jobs pushed count=50``

    With a directory for ``crashes`` a traceback is a file there, and the line names it.
    """

    def __init__(self, crashes: Path | None = None) -> None:
        self._crashes = crashes
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S%z")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        """Put the fields behind the event: a traceback comes after both."""
        shown = ((name, printable(str(value))) for name, value in fields(record).items())
        event = printable(super().formatMessage(record), keep="\n")
        return f"{event} {' '.join(f'{name}={value}' for name, value in shown)}".rstrip()

    def format(self, record: logging.LogRecord) -> str:
        if record.exc_info and self._crashes is not None:
            record = _in_one_line(record, self.formatException(record.exc_info), self._crashes)
        return without_password(super().format(record))


def _in_one_line(record: logging.LogRecord, trace: str, directory: Path) -> logging.LogRecord:
    short = logging.makeLogRecord(vars(record))
    error = record.exc_info[1] if record.exc_info else None
    what = f"{type(error).__name__}: {error}" if error is not None else ""
    lines = (str(text).partition("\n")[0][:300] for text in (record.getMessage(), what))
    short.msg = ": ".join(filter(None, lines))
    if not (isinstance(error, OSError) and error.errno in _FULL):
        short.msg += f": the whole error is in {crashes.save(without_password(trace), [directory])}"
    short.args, short.exc_info, short.exc_text = (), None, None
    return short


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for log collectors."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
            **fields(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        text = without_password(json.dumps(entry, default=str, ensure_ascii=False))
        if text.isprintable():
            return text
        return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def printable(text: str, *, keep: str = "") -> str:
    """Return text from outside with all that is not printable as Python writes it: ``\\n``.

    It moves no cursor, and begins no line of its own.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else repr(c)[1:-1] for c in text)


def set_up(
    log_format: str,
    level: int = logging.INFO,
    *,
    crash_directory: Path | None = None,
    patience_seconds: float | None = None,
) -> None:
    """Send all logs and warnings of this process to standard error.

    ``crash_directory``: where tracebacks go, instead of into a log of text.
    ``patience_seconds``: how long a line waits for a reader who has stopped; None: for ever.
    ``log_format``: "text" or "json". Where nothing but JSON may come, ``log_prints`` as well.
    """
    as_json = log_format == "json"
    told = lost_as_json if as_json else streams.lost_lines
    streams.protect_error(told, patience_seconds=patience_seconds)
    handler = logging.StreamHandler(_real(sys.stderr))
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter(crash_directory))
    handler.addFilter(_shorten)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("urllib3", "alembic", "apprise"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    warnings.formatwarning = _one_line


def log_prints(*, out: bool = False) -> None:
    """Make a log line of each line that anybody writes to standard error from now on.

    With ``out`` also of what is printed on standard output: for programs without results.
    """
    sys.stderr = _Printed(sys.stderr, logging.ERROR)
    if out:
        sys.stdout = _Printed(sys.stdout, logging.INFO)


def json_line(text: str, *, level: int = logging.INFO, **names: object) -> str:
    """Return a line of JSON, as a logger would write it."""
    known = {"name": __name__, "levelno": level, "levelname": logging.getLevelName(level)}
    return JsonFormatter().format(logging.makeLogRecord({**known, "msg": text, **names}))


def write_line(text: str, *_: object) -> None:
    """Write a JSON line in a signal handler."""
    streams.write_now(f"{json_line(text)}\n")


def write_text(text: str, *_: object) -> None:
    """Write a plain line in a signal handler."""
    streams.write_now(f"{text}\n")


class _Printed:
    """A stream that logs what is written to it, line by line."""

    def __init__(self, stream: Any, level: int) -> None:
        self.stream, self.level = _real(stream), level
        self.rest = ""

    def write(self, text: str) -> int:
        *lines, self.rest = (self.rest + text).split("\n")
        for line in filter(str.strip, lines):
            logging.getLogger("printed").log(self.level, "%s", line)
        return len(text)

    def isatty(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def lost_as_json(number: int) -> str:
    """Return the line that says how many lines were lost, as JSON."""
    return json_line(streams.lost_lines(number), level=logging.WARNING)


def _real(stream: Any) -> Any:
    return stream.stream if isinstance(stream, _Printed) else stream


def _one_line(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> str:
    return f"{category.__name__}: {' '.join(str(message).split())}"


def _shorten(record: logging.LogRecord) -> bool:
    """Make one line of what a lost broker or a killed process brings about: nothing is lost.

    Celery and kombu show the whole way to each connection error, a hundred lines each time.
    """
    error = _inner(record.exc_info[1] if record.exc_info else None)
    library = type(error).__module__.partition(".")[0]
    if record.name.startswith(("celery", "kombu")) and (
        library in _OUTSIDE or isinstance(error, OSError)
    ):
        record.msg, record.args = record.getMessage().partition("\n")[0], ()
        record.exc_info = record.exc_text = None
    return True


def _inner(error: BaseException | None) -> BaseException | None:
    """Return what billiard wrapped (from a pool process) or Celery (it could not send a task)."""
    inner = [getattr(error, name, None) for name in ("exc", "reason")]
    if type(error).__module__ == "celery.beat":
        inner.append(getattr(error, "__context__", None))
    return next((found for found in inner if isinstance(found, Exception)), error)
