"""A log line is an event with fields, and never holds a password."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from cprqueue import log


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


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
