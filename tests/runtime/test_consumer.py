"""A worker whose broker refuses its connection does not fill the log."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from amqp.exceptions import NotAllowed
from celery.exceptions import WorkerShutdown
from celery.worker import state
from kombu import Connection
from kombu.exceptions import DecodeError

from cprqueue.celery import app
from cprqueue.runtime import consumer

JUNK = b"\xff 77 Hidden Lane"
REFUSED = NotAllowed("vhost gone not found")


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> tuple[consumer.Consumer, list[float]]:
    """A consumer as the app's workers have it, and what it slept so far."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    made = consumer.Consumer.__new__(consumer.Consumer)
    made.conninfo = Connection("amqp://guest:hush@h:5672/gone")
    return made, slept


def test_it_waits_before_it_tries_again(
    refused: tuple[consumer.Consumer, list[float]], caplog: pytest.LogCaptureFixture
) -> None:
    made, slept = refused
    made.on_connection_error_before_connected(REFUSED)
    assert sum(slept) == consumer.REFUSED_SECONDS
    assert "vhost gone not found" in caplog.text
    assert "hush" not in caplog.text


def test_a_worker_that_is_asked_to_end_does_not_wait(
    refused: tuple[consumer.Consumer, list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, slept = refused
    monkeypatch.setattr(state, "should_stop", 0)
    with pytest.raises(WorkerShutdown):
        made.on_connection_error_before_connected(REFUSED)
    assert slept == []


def test_the_app_s_workers_have_it() -> None:
    assert app.conf.worker_consumer == f"{consumer.__name__}:Consumer"


@pytest.mark.parametrize("body", [JUNK, [["77 Hidden Lane"], {}, {}]])
def test_a_message_that_it_cannot_use_is_logged_without_its_body(
    refused: tuple[consumer.Consumer, list[float]], caplog: pytest.LogCaptureFixture, body: Any
) -> None:
    made, _ = refused
    made.connection_errors = ()
    made.app, made.event_dispatcher = app, None
    message = SimpleNamespace(
        body=body,
        headers={"id": "1", "task": "cpr.new"},
        content_type="application/json",
        content_encoding="utf-8",
        delivery_info={},
        properties={},
        payload=None,
        ack=lambda: None,
        reject_log_error=lambda *_: None,
    )
    try:
        JUNK.decode()
    except UnicodeDecodeError as error:
        made.on_decode_error(message, DecodeError(error))
    made.on_unknown_message(body, message)
    made.on_invalid_task(body, message, ValueError("no"))
    made.on_unknown_task(body, message, KeyError("cpr.new"))
    assert "can't decode byte 0xff" in caplog.text
    assert "cpr.new" in caplog.text
    assert "Hidden" not in caplog.text
