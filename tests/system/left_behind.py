"""What an old system left behind (``data/make.py`` made it), as if it had just died.

All its times are moved, so that it died ``AWAY`` ago: its leases have ended by then, and the
broker gives out again what was not acknowledged.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from redis import Redis
from sqlalchemy import Boolean, Connection, MetaData, create_engine, func, select, text

from cprqueue.sandbox.server import Sandbox

DATA = Path(__file__).parent / "data"
AWAY = timedelta(minutes=11)
MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?")
BODY = re.compile(r"""(?<=body)([\\": ]+)([A-Za-z0-9+/=]+)""")
QUEUES = ("fetch", "insert", "upsert", "urgent", "maintenance")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftBehind:
    """The database as SQL, the broker by key, and what the two services held."""

    later: timedelta
    sql: list[str]
    broker: dict[str, dict[str, Any]]
    rm: list[dict[str, Any]]
    qbt: dict[str, list[dict[str, Any]]]

    @contextmanager
    def sandbox(self) -> Iterator[Sandbox]:
        """Serve both services as they were."""
        with Sandbox(jobs=self.rm) as sandbox:
            sandbox.qbt.load(self.qbt)
            yield sandbox

    def rows(self, sql: str) -> list[Any]:
        """Ask the database that was left."""
        with closing(self._open(":memory:")) as db:
            return db.execute(sql).fetchall()

    def write(self, var: Path, postgres_url: str = "") -> None:
        """Put the broker's files into ``var``, and the database there or on PostgreSQL."""
        kept = var / "broker" / "appendonlydir"
        kept.mkdir(parents=True)
        name = "appendonly.aof.1.incr.aof"
        (kept / name).write_bytes(b"".join(_command(*words) for words in self._commands()))
        (kept / "appendonly.aof.manifest").write_text(f"file {name} seq 1 type i\n")
        if postgres_url:
            self._write_to_postgresql(postgres_url)
        else:
            self._open(var / "cprqueue.db").close()

    def _open(self, path: Path | str) -> sqlite3.Connection:
        db = sqlite3.connect(path)
        db.executescript("\n".join(self.sql))
        later = self.later // timedelta(milliseconds=1)
        moved = "UPDATE call_slots SET used_at_ms = used_at_ms + ? WHERE used_at_ms > 0"
        db.execute(moved, [later])
        db.commit()
        return db

    def _write_to_postgresql(self, url: str) -> None:
        engine = create_engine(url)
        with closing(self._open(":memory:")) as old, engine.begin() as conn:
            conn.exec_driver_sql((DATA / "postgresql.sql").read_text())
            old.row_factory = sqlite3.Row
            _copy(old, conn)
        engine.dispose()

    def _commands(self) -> Iterator[list[Any]]:
        """Yield the commands that make the broker's keys."""
        yield ["SELECT", 0]
        for key, entry in self.broker.items():
            value = entry["value"]
            if entry["type"] == "list":
                yield ["RPUSH", key, *map(self._moved, value)]
            elif entry["type"] == "hash":
                yield ["HSET", key, *(self._moved(w) for pair in value.items() for w in pair)]
            elif entry["type"] == "set":
                yield ["SADD", key, *value]
            elif entry["type"] == "zset":  # the scores are moments
                later = self.later.total_seconds()
                yield ["ZADD", key, *(w for name, at in value for w in (at + later, name))]

    def _moved(self, message: str) -> str:
        """Move the times in the body of a message."""

        def move(found: re.Match[str]) -> str:
            body = _move_all(base64.b64decode(found[2]).decode(), self.later)
            return found[1] + base64.b64encode(body.encode()).decode()

        return BODY.sub(move, message)


def load(name: str) -> LeftBehind:
    """Read ``data/NAME.json.gz``, and move its times."""
    written = gzip.decompress((DATA / f"{name}.json.gz").read_bytes()).decode()
    died = datetime.fromisoformat(json.loads(written)["at"])
    later = datetime.now(UTC) - AWAY - died
    found = json.loads(_move_all(written, later))
    del found["at"]
    return LeftBehind(later=later, **found)


def messages_left(var: Path) -> int:
    """Count what the running broker has of messages, unacknowledged ones too."""
    with closing(Redis(unix_socket_path=str(var / "broker" / "broker.sock"))) as client:
        return sum(map(client.llen, QUEUES)) + client.hlen("unacked")


def _move_all(written: str, later: timedelta) -> str:
    def move(found: re.Match[str]) -> str:
        moment = datetime.fromisoformat(found[0]) + later
        places = "microseconds" if "." in found[0] else "seconds"
        return moment.isoformat(found[0][10], places)

    return MOMENT.sub(move, written)


def _command(*words: Any) -> bytes:
    parts = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


def _copy(old: sqlite3.Connection, conn: Connection) -> None:
    """Copy every row into the tables of the same names, and let ids go on from there."""
    found = MetaData()
    found.reflect(conn)
    for table in found.sorted_tables:
        truths = [c.name for c in table.c if isinstance(c.type, Boolean)]
        rows = [dict(row) for row in old.execute(f"SELECT * FROM {table.name}")]  # noqa: S608
        for row in rows:
            row |= {n: bool(row[n]) for n in truths if row[n] is not None}
            row |= {n: datetime.fromisoformat(v) for n, v in row.items() if _is_moment(v)}
        if rows:
            conn.execute(table.insert(), rows)
        for key in (c for c in table.primary_key if c.server_default is not None):
            last = conn.execute(select(func.max(key))).scalar() or 1
            sequence = f"pg_get_serial_sequence('{table.name}', '{key.name}')"
            conn.execute(text(f"SELECT setval({sequence}, {last})"))


def _is_moment(value: Any) -> bool:
    return isinstance(value, str) and MOMENT.fullmatch(value) is not None
