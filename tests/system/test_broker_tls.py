"""An encrypted broker: its certificate is verified, by every reader of CELERY_BROKER_URL alike."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from celery import Celery
from flower.utils.broker import Broker
from redis.exceptions import ConnectionError as RedisConnectionError

from cprqueue import config
from cprqueue.celery import celery_settings
from cprqueue.errors import ServiceUnreachable, SettingsError
from cprqueue.runtime.broker import wait_until_answering
from cprqueue.sandbox.server import Sandbox
from tests.certificates import make_certificates
from tests.other_servers import url_of
from tests.own_valkey import own_valkey
from tests.real_processes import wait_until
from tests.running import System
from tests.silent_proxy import proxy_to


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"), "broker.example.test")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with own_valkey(tmp_path_factory.mktemp("valkey")) as port:
        yield port


@pytest.fixture(params=["rediss", "amqps"])
def target(request: pytest.FixtureRequest, valkey: int) -> tuple[int, str]:
    """The plain port behind the proxy, and the URL with HOST in it."""
    if request.param == "rediss":
        return valkey, "rediss://HOST/0"
    parts = urlsplit(url_of("CPR_TEST_RABBITMQ_URL"))
    return parts.port or 0, f"amqps://{parts.username}:{parts.password}@HOST//"


def test_a_certificate_is_accepted_only_from_a_known_authority_and_for_its_host(
    target: tuple[int, str], certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = str(certificates / "ca.pem")
    with proxy_to(target[0], certificates) as proxy:
        url = target[1].replace("HOST", f"127.0.0.1:{proxy.port}")
        with pytest.raises(ServiceUnreachable, match=r"CERTIFICATE_VERIFY_FAILED.*ssl_ca_certs"):
            wait_until_answering(url, 1)
        wait_until_answering(f"{url}?ssl_ca_certs={authority}", 5)
        wait_until_answering(f"{url}?ssl_cert_reqs=CERT_NONE", 5)
        for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
            with monkeypatch.context() as there:
                there.setenv(name, authority)
                wait_until_answering(url, 5)
    with proxy_to(target[0], certificates, host="127.0.0.2") as proxy:
        url = target[1].replace("HOST", f"127.0.0.2:{proxy.port}")
        with pytest.raises(ServiceUnreachable, match=r"not valid for '127\.0\.0\.2'"):
            wait_until_answering(f"{url}?ssl_ca_certs={authority}", 1)
        wait_until_answering(f"{url}?ssl_ca_certs={authority}&ssl_check_hostname=false", 5)


def test_celery_and_flower_s_page_of_the_broker_verify_it_in_the_same_way(
    target: tuple[int, str], certificates: Path
) -> None:
    with proxy_to(target[0], certificates) as proxy:
        url = target[1].replace("HOST", f"127.0.0.1:{proxy.port}")
        for given, trusted in ((f"{url}?ssl_ca_certs={certificates}/ca.pem", True), (url, False)):
            with Celery("trial", set_as_current=False) as app:
                app.conf.update(celery_settings(config.load({"CELERY_BROKER_URL": given})))
                assert reached(app) is trusted
                if given.startswith("rediss"):
                    assert shown_by_flower(app) is trusted


def reached(app: Celery) -> bool:
    with app.connection_for_write() as connection, suppress(*connection.connection_errors):
        return bool(connection.connection)
    return False


def shown_by_flower(app: Celery) -> bool:
    page = Broker(app.conf.broker_url, broker_use_ssl=app.conf.broker_use_ssl)
    with suppress(RedisConnectionError):
        return bool(asyncio.run(page.queues(["none"])) == [{"name": "none", "messages": 0}])
    return False


def test_tls_at_a_plain_port_ends_soon_and_says_what_to_look_at(valkey: int) -> None:
    with pytest.raises(ServiceUnreachable, match="is this its port for TLS"):
        wait_until_answering(f"rediss://:hush@127.0.0.1:{valkey}/0", 1)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("rediss://h/0?ssl_ca_certs=/nowhere/ca.pem", "names /nowhere/ca.pem: there is no such"),
        ("rediss://h/0?ssl_ca=x", "an option behind the [?] that is none: write ssl_ca_certs"),
        ("redis://h/0?ssl_ca_certs=x", "an option behind the [?] that is none"),
        ("amqps://h//?ssl_cert_reqs=sometimes", "write none or optional or required"),
        ("amqp://a//;amqps://b//", "mixes amqp://, amqps://"),
        ("sentinel://h:26379/0", "names no master"),
    ],
)
def test_what_cannot_be_meant_is_one_line(url: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as told:
        config.load({"CELERY_BROKER_URL": url})
    assert len(told.value.problems) == 1


def test_workers_on_an_encrypted_redis_that_falls_silent_work_again_once_it_answers(
    valkey: int, certificates: Path, tmp_path: Path
) -> None:
    with proxy_to(valkey, certificates) as proxy, Sandbox(jobs=8) as sandbox:
        url = f"rediss://127.0.0.1:{proxy.port}/0?ssl_ca_certs={certificates}/ca.pem"
        system = System(tmp_path, sandbox, CELERY_BROKER_URL=url)
        with system.up("--no-beat", "--no-flower") as up:
            assert system.sync()["recorded"] == 8
            proxy.fall_silent()
            wait_until(lambda: up.heard("dropping stale connection") >= 3, timeout_seconds=60)
            proxy.recover()
            wait_until(lambda: system.sync("--full").get("recorded") == 8, timeout_seconds=120)
            assert not up.heard("Traceback"), "".join(up.err)
