"""Logging: constant event names with fields, as text or as JSON, to standard error.

Write ``log.info("jobs pushed", extra={"count": 50})``: the event stays the same, the fields
vary. No secret, address or body is ever a field. URLs of databases and brokers are masked
with ``without_password`` before anybody prints them.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "data", "taskName"}
_PASSWORD = re.compile(r"(://[^:/@\s]*):[^@\s]*@")


def without_password(text: str) -> str:
    """Return ``text`` with the password of every URL in it replaced by ``***``."""
    return _PASSWORD.sub(r"\1:***@", text)


def fields(record: logging.LogRecord) -> dict[str, object]:
    """Return what the caller gave as ``extra``."""
    return {k: v for k, v in vars(record).items() if k not in _STANDARD and not k.startswith("_")}


class TextFormatter(logging.Formatter):
    """``12:00:01 INFO cprqueue.services.push: jobs pushed count=50``"""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        if record.name.startswith("celery"):
            return without_password(line)
        extra = " ".join(f"{name}={value}" for name, value in fields(record).items())
        return without_password(f"{line} {extra}".rstrip())


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for log collectors."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
        }
        if not record.name.startswith("celery"):
            entry |= fields(record)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return without_password(json.dumps(entry, default=str, ensure_ascii=False))


def set_up(log_format: str, level: int = logging.INFO) -> None:
    """Send all logs of this process to standard error in ``log_format`` ("text" or "json")."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
