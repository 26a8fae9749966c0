"""A password, or a directory, is what was written, whoever reads it; no error shows a password."""

from __future__ import annotations

import uuid
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
from kombu.exceptions import OperationalError
from sqlalchemy import create_engine
from sqlalchemy.engine import URL, make_url

from cprqueue import config, log
from cprqueue.clients import rm
from cprqueue.clients.transport import Transport
from cprqueue.errors import CprqueueError, SettingsError
from cprqueue.runtime import broker, broker_link
from cprqueue.sandbox import credentials
from cprqueue.sandbox.restoration_manager import RestorationManager
from cprqueue.sandbox.server import Sandbox
from cprqueue.settings import broker_address, dotenv_file
from cprqueue.store import engines, schema
from cprqueue.store.database import Database
from tests.hostile import TEXTS
from tests.other_servers import url_of
from tests.own_valkey import own_valkey

MARK = "hush"
ONE_LINE = [t for t in TEXTS if not set(t) & set("\r\n\0\u2028")]
PASSWORDS = [f"{t}{MARK}{t}".strip() for t in ONE_LINE]
ALL_AT_ONCE = "".join(t for t in ONE_LINE if t.isprintable() and len(t) < 12)


@pytest.mark.parametrize("password", PASSWORDS)
def test_it_is_read_as_it_was_written(tmp_path: Path, password: str) -> None:
    escaped = password.replace("\\", "\\\\").replace("'", "\\'")
    (tmp_path / ".env").write_text(f"RM_PASSWORD='{escaped}'\n")
    assert dotenv_file.read(tmp_path / ".env") == {"RM_PASSWORD": password}
    if not password.startswith(("#", "'", '"', "`")) and " #" not in password:
        (tmp_path / ".env").write_text(f"RM_PASSWORD={password}\n")
        assert dotenv_file.read(tmp_path / ".env") == {"RM_PASSWORD": password}
    (tmp_path / "secret").write_text(f"{password}\n")
    for environ in ({"RM_PASSWORD": password}, {"RM_PASSWORD_FILE": str(tmp_path / "secret")}):
        assert config.load(environ).rm_password == password


@pytest.mark.parametrize("password", [p for p in PASSWORDS if p.isprintable()])
def test_in_a_url_that_quotes_it_every_reader_finds_the_same(password: str) -> None:
    quoted = quote(password, safe="")
    for scheme in ("redis", "rediss", "amqp"):
        url = f"{scheme}://me:{quoted}@127.0.0.1:1/0"
        assert config.load({"CELERY_BROKER_URL": url}).broker_url == url
        assert broker_link.connection(url).password == password
        assert broker_address.read(url).url == url
        assert MARK not in log.without_password(f"to {url} and on")
    for scheme in ("postgresql+psycopg", "mariadb+pyodbc"):
        url = f"{scheme}://me:{quoted}@127.0.0.1:1/x"
        assert engines.make(config.load({"DATABASE_URL": url}).database_url, durable=False)
        assert make_url(url).password == password
        assert MARK not in log.without_password(f"to {url} and on")


@pytest.mark.parametrize("password", PASSWORDS)
def test_a_url_that_does_not_quote_it_is_refused_or_hidden_in_every_line(password: str) -> None:
    schemes = {"redis": "CELERY_BROKER_URL", "amqp": "CELERY_BROKER_URL"}
    for scheme, name in (schemes | {"postgresql+psycopg": "DATABASE_URL"}).items():
        url = f"{scheme}://me:{password}@127.0.0.1:1/0"
        if refused := problem(name, url):
            assert MARK not in refused
            continue
        assert MARK not in log.without_password(f"to {url} and on"), url
        if name != "DATABASE_URL":
            error = OperationalError(f"cannot reach {url}: {password}")
            assert MARK not in broker_link.described(error, url)


def problem(name: str, url: str) -> str:
    try:
        config.load({name: url})
    except SettingsError as error:
        return str(error)
    return ""


def test_a_lost_server_is_told_of_without_it(tmp_path: Path) -> None:
    for scheme, name in (("redis", "broker"), ("postgresql+psycopg", "database")):
        url = f"{scheme}://me:{quote(ALL_AT_ONCE + MARK, safe='')}@127.0.0.1:1/0"
        with pytest.raises(CprqueueError) as raised:
            use(name, url)
        assert MARK not in str(raised.value)


def use(name: str, url: str) -> None:
    if name == "broker":
        broker.wait_until_answering(url, 0)
    with Database(url).read():
        pytest.fail("somebody listens")


def test_a_login_carries_it(sandbox: Sandbox) -> None:
    for password in PASSWORDS:
        sandbox.rm = RestorationManager(password=password)
        client = rm.RestorationManager(
            Transport("RestorationManager", sandbox.url),
            username=credentials.RM_USERNAME,
            password=password,
            secret=credentials.RM_API_SECRET,
        )
        client.login()  # raises where another password arrives


# --- directories --------------------------------------------------------------------------


def test_the_database_lies_in_the_directory_that_was_named(tmp_path: Path) -> None:
    names = [f"d {text}" for text in TEXTS if not set(text) & set("/\0")]
    for name in (*names, f"d {ALL_AT_ONCE}".replace("/", "")):
        (tmp_path / name).mkdir()
        database = Database(config.load({"CPR_VAR_DIR": str(tmp_path / name)}).database_url)
        with database.begin() as conn:
            conn.exec_driver_sql("CREATE TABLE here (id INTEGER)")
        if name is names[0] or name not in names:
            schema.upgrade(database)
        database.close()
    assert set(tmp_path.rglob("*.db")) == {place / "cprqueue.db" for place in tmp_path.iterdir()}


# --- real servers -------------------------------------------------------------------------


def test_a_redis_takes_it(tmp_path: Path) -> None:
    with own_valkey(tmp_path) as port, redis.Redis(port=port) as admin:
        admin.acl_setuser(
            "me", True, passwords=f"+{ALL_AT_ONCE}", keys="*", channels="*", commands=["+@all"]
        )
        url = f"redis://me:{quote(ALL_AT_ONCE, safe='')}@127.0.0.1:{port}/0"
        with broker_link.connection(config.load({"CELERY_BROKER_URL": url}).broker_url) as found:
            found.ensure_connection(max_retries=1)
            with found.SimpleQueue("x") as queue:
                queue.put({"a": 1})
                assert queue.get(timeout=5).payload == {"a": 1}


def test_a_postgresql_takes_it() -> None:
    server = make_url(url_of("CPR_TEST_POSTGRES_URL"))
    literal = ALL_AT_ONCE.replace("'", "''").replace("%", "%%")
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    role = f"cpr_{uuid.uuid4().hex}"
    with admin.connect() as conn:
        conn.exec_driver_sql(f"CREATE ROLE {role} LOGIN PASSWORD '{literal}'")
        try:
            assert answers(server.set(username=role, password=ALL_AT_ONCE))
        finally:
            conn.exec_driver_sql(f"DROP ROLE {role}")
    admin.dispose()


def test_through_odbc_it_brings_no_other_option_along() -> None:
    server = make_url(url_of("CPR_TEST_MARIADB_URL"))
    assert answers(server.set(password=f"{ALL_AT_ONCE};DRIVER=none;SERVER=none"))


def answers(url: URL) -> bool:
    """Tell whether a database answers where our settings name it so."""
    text = url.render_as_string(hide_password=False)
    database = Database(config.load({"DATABASE_URL": text}).database_url)
    with database.read() as conn:
        found = conn.exec_driver_sql("SELECT 1").scalar_one()
    database.close()
    return bool(found)
