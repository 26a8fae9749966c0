"""An answer becomes a value or one clear error; nothing else leaves the transport."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cprqueue import errors
from cprqueue.clients.transport import Reply, Transport, error_for
from cprqueue.sandbox.server import Sandbox

TOKEN = {"Authorization": "Bearer sandbox-token"}
SECRET: dict[str, str | int] = {"name": "1 Elm Street", "page": 1}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture
def transport(sandbox: Sandbox) -> Iterator[Transport]:
    sandbox.faults.clear()
    made = Transport("QuickBooks Time", sandbox.qbt_url)
    yield made
    made.close()
    sandbox.faults.clear()


def get(transport: Transport) -> Reply:
    return transport.request("GET", "/jobcodes", params=SECRET, headers=TOKEN)


def stream(transport: Transport) -> bytes:
    with transport.stream("/jobcodes", params=SECRET, headers=TOKEN, total_seconds=1) as chunks:
        return b"".join(chunks)


@pytest.mark.parametrize("read", [get, stream])
@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        ({"kind": "status", "status": 400}, errors.Refused, "answered 400"),
        ({"kind": "status", "status": 401}, errors.AccessStopped, "answered 401"),
        ({"kind": "status", "status": 402}, errors.AccessStopped, "answered 402"),
        ({"kind": "status", "status": 403, "html": True}, errors.AccessStopped, "answered 403"),
        ({"kind": "status", "status": 404}, errors.Refused, "answered 404"),
        ({"kind": "status", "status": 413}, errors.Refused, "answered 413"),
        ({"kind": "status", "status": 417}, errors.Refused, "answered 417"),
        ({"kind": "rate_limited"}, errors.RateLimited, "answered 429: Too many requests"),
        ({"kind": "status", "status": 499}, errors.AccessStopped, "answered 499"),
        ({"kind": "status", "status": 500, "html": True}, errors.ServiceFailed, "answered 500"),
        ({"kind": "status", "status": 503}, errors.ServiceFailed, "answered 503"),
        ({"kind": "status", "status": 302}, errors.Refused, "answered 302"),
        ({"kind": "act_then_status"}, errors.ServiceFailed, "answered 503"),
        ({"kind": "drop"}, errors.ServiceUnreachable, "closed"),
        ({"kind": "lost"}, errors.ServiceUnreachable, "closed"),
        ({"kind": "cut", "act": True}, errors.ServiceUnreachable, "cut short"),
    ],
)
def test_each_fault_is_one_error_with_one_line_and_no_query(
    sandbox: Sandbox,
    transport: Transport,
    read: Any,
    fault: dict[str, Any],
    kind: type[errors.CprqueueError],
    said: str,
) -> None:
    sandbox.faults.set([fault])
    with pytest.raises(kind) as raised:
        read(transport)
    text = str(raised.value)
    assert text.startswith("QuickBooks Time: GET /jobcodes")
    assert said in text
    assert "\n" not in text
    assert not any(secret in text for secret in ("Elm", "sandbox-token", "<html", "page=1"))
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("kind", ["garbled", "html"])
def test_a_body_that_is_no_json_is_named_without_being_shown(
    sandbox: Sandbox, transport: Transport, kind: str
) -> None:
    sandbox.faults.set([{"kind": kind}])
    with pytest.raises(errors.UnreadableAnswer, match=r"^[^\n]*bytes that are not JSON$"):
        get(transport).json()


@pytest.mark.parametrize("read", [get, stream])
def test_a_slow_drip_ends_at_the_total_limit(
    sandbox: Sandbox, transport: Transport, read: Any
) -> None:
    sandbox.faults.set([{"kind": "drip", "seconds": 20}])
    limited = Transport("QuickBooks Time", sandbox.qbt_url, total_seconds=0.5)
    began = time.monotonic()
    with pytest.raises(errors.ServiceUnreachable, match="no complete answer in"):
        read(limited)
    assert time.monotonic() - began < 5
    limited.close()


def test_an_answer_in_small_pieces_arrives_whole(sandbox: Sandbox, transport: Transport) -> None:
    sandbox.faults.set([{"kind": "drip", "seconds": 0.2}])
    assert "results" in get(transport).body.decode()


def test_nobody_there_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    nobody = Transport("RestorationManager", f"http://127.0.0.1:{port}/secret-path")
    with pytest.raises(errors.ServiceUnreachable) as raised:
        nobody.request("POST", "/api/login")
    assert str(raised.value) == (
        "RestorationManager: POST /api/login: no connection (Connection refused)"
    )


def test_a_base_url_keeps_its_path(sandbox: Sandbox) -> None:
    with_slash = Transport("QuickBooks Time", f"{sandbox.qbt_url}/")
    assert get(with_slash).status == 200
    with_slash.close()


def test_a_redirect_is_not_followed(sandbox: Sandbox, transport: Transport) -> None:
    location = {"Location": f"{sandbox.url}/_sandbox/calls"}
    sandbox.faults.set([{"kind": "status", "status": 302, "headers": location}])
    sandbox.client.reset_calls()
    with pytest.raises(errors.Refused):
        get(transport)
    assert len(sandbox.calls) == 1


@pytest.mark.parametrize(
    ("header", "expected"), [("7", 7.0), ("", None), ("Wed, 21 Oct 2015 07:28:00 GMT", None)]
)
def test_a_429_passes_the_wish_of_the_service_on(header: str, expected: float | None) -> None:
    reply = Reply(status=429, body=b"", headers={"Retry-After": header}, what="x")
    error = error_for(reply)
    assert isinstance(error, errors.RateLimited)
    assert error.retry_after_seconds == expected


@pytest.mark.parametrize(
    ("statuses", "kind"),
    [
        ((300, 399, 400), errors.Refused),
        ((401, 402, 403), errors.AccessStopped),
        ((404, 428), errors.Refused),
        ((429,), errors.RateLimited),
        ((430, 498), errors.Refused),
        ((499,), errors.AccessStopped),
        ((500, 599), errors.ServiceFailed),
    ],
)
def test_every_status_has_an_error(
    statuses: tuple[int, ...], kind: type[errors.CprqueueError]
) -> None:
    """The first and the last status of each kind, in the order of the statuses."""
    for status in statuses:
        error = error_for(Reply(status=status, body=b"", headers={}, what="x"))
        assert type(error) is kind
        assert str(error) == f"x answered {status}"
        if isinstance(error, errors.Refused):
            assert error.status == status


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"code": 417, "message": "Oops!\nno"}}, ": Oops! no"),
        ({"error": "invalid_grant", "error_description": "gone"}, ": invalid_grant gone"),
        ({"Message": "denied"}, ": denied"),
        ({"error": None}, ""),
        ({"error": {"message": None}}, ""),
        ({}, ""),
        ([], ""),
        ({"error": "x" * 500}, ": " + "x" * 200),
    ],
)
def test_the_services_own_words_are_quoted_in_one_short_line(body: Any, said: str) -> None:
    reply = Reply(status=417, body=json.dumps(body).encode(), headers={}, what="x")
    assert str(error_for(reply)) == "x answered 417" + said
