"""A log line is an event with fields, and never holds a password."""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from billiard.einfo import ExceptionWithTraceback
from billiard.exceptions import WorkerLostError
from celery.beat import SchedulingError
from celery.exceptions import Reject
from kombu.exceptions import OperationalError

from cprqueue import log
from tests.log_scan import leaks


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, formatwarning = root.handlers[:], root.level, warnings.formatwarning
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    warnings.formatwarning = formatwarning
    log.bind_task()


def record(
    message: str = "jobs pushed", *, name: str = "cprqueue.x", **extra: object
) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": name, "levelname": "INFO", "msg": message, **extra})
    made.created = 0.0
    return made


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("redis://:secret@host/0", "redis://:***@host/0"),
        ("mssql+pyodbc://user:secret@host/db", "mssql+pyodbc://user:***@host/db"),
        ("a://u:secret@h and b://v:other@i", "a://u:***@h and b://v:***@i"),
        ("postgresql://u:s/e:c@h/db", "postgresql://u:***@h/db"),
        ("redis://:p@ss@host:6379/0", "redis://:***@host:6379/0"),
        ("redis://:p@h;redis://:q@i", "redis://:***@h;redis://:***@i"),
        ("sqlite:////var/x.db", "sqlite:////var/x.db"),
        ("https://host/path?x=a@b", "https://host/path?x=a@b"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://host:6379/0 mail a@b", "redis://host:6379/0 mail a@b"),
    ],
)
def test_the_password_of_every_url_is_masked(text: str, masked: str) -> None:
    assert log.without_password(text) == masked


def test_a_text_line_is_the_event_and_its_fields() -> None:
    line = log.TextFormatter().format(record(count=50, url="redis://:secret@h"))
    assert line.endswith("INFO cprqueue.x: jobs pushed count=50 url=redis://:***@h")


def test_a_json_line_is_one_object() -> None:
    line = log.JsonFormatter().format(record("größer\n2", count=50, url="redis://:secret@h"))
    assert "\n" not in line
    assert json.loads(line) == {
        "at": "1970-01-01T00:00:00.000+00:00",
        "level": "INFO",
        "logger": "cprqueue.x",
        "event": "größer\n2",
        "count": 50,
        "url": "redis://:***@h",
    }


@pytest.mark.parametrize("formatter", [log.TextFormatter(), log.JsonFormatter()])
def test_what_celery_hangs_on_a_record_is_left_out(formatter: logging.Formatter) -> None:
    assert "secret" not in formatter.format(record(name="celery.worker", args_of="secret"))


@pytest.mark.parametrize("formatter", [log.TextFormatter(), log.JsonFormatter()])
def test_an_exception_is_shown_without_passwords(formatter: logging.Formatter) -> None:
    try:
        raise ValueError("no redis://:secret@host/0")
    except ValueError:
        made = record(exc_info=sys.exc_info())
    text = formatter.format(made)
    assert "ValueError" in text
    assert "secret" not in text


def test_a_full_disk_is_one_line_and_no_file(tmp_path: Path) -> None:
    formatter, lines = log.TextFormatter(tmp_path), []
    for number in (errno.ENOSPC, errno.EIO):
        try:
            raise OSError(number, os.strerror(number))
        except OSError:
            failed = record("not saved", exc_info=sys.exc_info())
        lines.append(formatter.format(failed).splitlines())
    assert [len(line) for line in lines] == [1, 1]
    assert lines[0][0].endswith("not saved: OSError: [Errno 28] No space left on device")
    [crash] = tmp_path.glob("crash-*.txt")
    assert str(crash) in lines[1][0]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_logs_go_to_standard_error_alone(
    capsys: pytest.CaptureFixture[str], log_format: str
) -> None:
    log.set_up(log_format)
    logging.getLogger("cprqueue.test").info("hello", extra={"count": 1})
    logging.getLogger("urllib3").info("not shown")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "hello" in err


def test_what_is_bound_is_on_each_line_until_the_block_ends() -> None:
    with log.bound(job=7, run_id=1), log.bound(run_id=3):
        text = log.TextFormatter().format(record(count=2))
        entry = json.loads(log.JsonFormatter().format(record(count=2)))
        assert log.current_run() == 3
    assert text.endswith("jobs pushed count=2 job=7 run_id=3")
    assert (entry["count"], entry["job"], entry["run_id"]) == (2, 7, 3)
    assert log.fields(record()) == {}
    assert log.current_run() is None


def test_a_task_that_begins_forgets_what_was_bound() -> None:
    with log.bound(job=7):
        log.bind_task(task="cpr.sweep", run_id=None)
        assert log.fields(record()) == {"task": "cpr.sweep"}


def test_a_line_of_celery_names_its_task_and_no_arguments() -> None:
    data = {"name": "cpr.insert_job", "id": "0-1", "args": "secret"}
    made = record(name="celery.app.trace", data=data)
    assert log.fields(made) == {"task": "cpr.insert_job", "task_id": "0-1"}


@pytest.mark.parametrize(
    ("name", "error", "traceback"),
    [
        ("kombu.message", BrokenPipeError("gone"), False),
        ("celery.app.trace", OperationalError("redis://:secret@h is gone"), False),
        ("celery.app.trace", Reject(OperationalError("gone"), False), False),
        ("celery.worker.request", ExceptionWithTraceback(WorkerLostError("killed"), ""), False),
        ("celery.app.trace", ValueError("a bug"), True),
        ("celery.worker.request", ExceptionWithTraceback(ValueError("a bug"), ""), True),
        ("cprqueue.x", ConnectionError("a bug"), True),
    ],
)
def test_a_lost_broker_and_a_killed_process_are_one_line_and_a_bug_is_not(
    capsys: pytest.CaptureFixture[str], name: str, error: Exception, traceback: bool
) -> None:
    log.set_up("text")
    try:
        raise error
    except type(error):
        words = "Couldn't ack %r, reason:%r\n[stack]"
        logging.getLogger(name).critical(words, 1, error, exc_info=True)
    _, err = capsys.readouterr()
    assert ("Traceback (most" in err) == traceback
    assert (err.count("\n") > 1) == traceback
    assert "Couldn't ack 1" in err
    assert "secret" not in err


@pytest.mark.parametrize(
    ("why", "traceback"), [(OperationalError("gone"), False), (ValueError("a bug"), True)]
)
def test_beat_says_in_one_line_that_the_broker_is_gone(
    capsys: pytest.CaptureFixture[str], why: Exception, traceback: bool
) -> None:
    log.set_up("text")
    try:
        try:
            raise why
        except type(why):
            raise SchedulingError("not sent")  # noqa: B904 - as Celery does
    except SchedulingError as error:
        logging.getLogger("celery.beat").error("Message Error: %s", error, exc_info=True)
    assert ("Traceback (most" in capsys.readouterr()[1]) == traceback


def test_a_warning_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up("text")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        log.set_up("text")
        warnings.warn("Use b\n   instead", DeprecationWarning, stacklevel=1)
    assert capsys.readouterr().err.endswith("py.warnings: DeprecationWarning: Use b instead\n")


def test_what_is_printed_is_a_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up("json")
    streams = sys.stdout, sys.stderr
    try:
        log.log_prints(out=True)
        sys.stdout.write("hello\n")
        sys.stderr.write("RM_PASSWORD is not set\n\nhalf")
    finally:
        sys.stdout, sys.stderr = streams
    out, err = capsys.readouterr()
    found = [json.loads(line) for line in err.splitlines()]
    assert out == ""
    assert [(e["level"], e["event"]) for e in found] == [
        ("INFO", "hello"),
        ("ERROR", "RM_PASSWORD is not set"),
    ]


def test_the_scan_of_the_logs_finds_addresses_and_secrets() -> None:
    lines = ["fetch done job=12", "refused: ('12 Main Street', NULL)", "token=hidden", "12 Main"]
    assert list(leaks(lines, ["12 Main Street", "9 Elm Ct"], ["hidden"])) == lines[1:3]


@pytest.mark.parametrize(
    "formatter", [log.TextFormatter(), log.JsonFormatter()], ids=["text", "json"]
)
def test_text_from_outside_moves_no_cursor_and_begins_no_line(formatter: logging.Formatter) -> None:
    hostile = "a\x1b[2J\u202eb\x9b1m\r\u2028\ud800 Ñ🏠"
    made = record(name="x", msg=f"said {hostile}", args=(), reason=f"{hostile}\nERROR b")
    line = formatter.format(made)
    assert line.isprintable()
    assert line.count("Ñ🏠") == 2
    if isinstance(formatter, log.JsonFormatter):
        assert json.loads(line)["reason"] == f"{hostile}\nERROR b"
