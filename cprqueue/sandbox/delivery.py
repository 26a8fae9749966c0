"""How a fault changes a call, and how an answer goes out: whole, in drips, cut, or not at all."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from http.client import responses
from typing import Any, cast

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine

from cprqueue.sandbox.faults import Fault
from cprqueue.sandbox.restoration_manager import Streamed
from cprqueue.sandbox.wire import Answer, Request

Handler = Callable[[Request], Answer]

PAGE = "<!DOCTYPE html><html><body><h1>{} {}</h1></body></html>"
HTML = {"Content-Type": "text/html; charset=utf-8"}
JSON = {"Content-Type": "application/json; charset=utf-8"}
GARBLED = '{"results": {"oops'
DRIP_PIECES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What the client gets: an answer (None: the connection just closes), and in what manner."""

    answer: Answer | None
    cut: bool = False
    drip_seconds: float = 0.0


async def perform(
    service: str, request: Request, handle: Handler, fault: Fault | None, rng: random.Random
) -> Delivery:
    """Let ``handle`` act as far as ``fault`` allows, and return what to deliver."""
    if fault is None:
        return Delivery(answer=handle(request))
    if fault.kind == "items":
        return Delivery(answer=without_items(request, handle, fault, rng))
    if fault.kind == "slow":
        return await _slowly(request, handle, fault)
    answer = handle(request) if fault.acts() else None
    if fault.kind in ("drop", "lost"):
        return Delivery(answer=None)
    if fault.kind == "drip":
        return Delivery(answer=answer, drip_seconds=fault.seconds)
    if fault.kind == "cut":
        return Delivery(answer=answer or _failure(service, fault), cut=True)
    return Delivery(answer=_failure(service, fault))


async def _slowly(request: Request, handle: Handler, fault: Fault) -> Delivery:
    answer = handle(request) if fault.acts() else None
    await asyncio.sleep(fault.seconds)
    return Delivery(answer=answer or handle(request))


def _failure(service: str, fault: Fault) -> Answer:
    if fault.kind == "garbled":
        text = GARBLED if fault.body is None else fault.body
        return Answer(status=fault.status or 200, body=text.encode(), headers=JSON)
    default = {"rate_limited": 429, "html": 200, "cut": 200}.get(fault.kind, 503)
    status = fault.status or default
    headers = HTML if fault.html or fault.kind == "html" else JSON
    body = _body(service, status, headers is HTML) if fault.body is None else fault.body
    return Answer(status=status, body=body.encode(), headers=headers | dict(fault.headers))


def _body(service: str, status: int, html: bool) -> str:
    reason = "Too many requests" if status == 429 else responses.get(status, "Unknown")
    if html:
        return PAGE.format(status, reason)
    if service == "rm":
        return json.dumps({"Message": reason})
    return json.dumps({"error": {"code": status, "message": reason}})


# -- single items of a write -------------------------------------------------------------


def without_items(request: Request, handle: Handler, fault: Fault, rng: random.Random) -> Answer:
    """Let ``handle`` act on the items that ``fault`` spares, and answer for all by position.

    With ``act`` it acts on all of them, and the answer alone is wrong.
    """
    items = data_items(request)
    failing = {n for n, item in enumerate(items, 1) if fault.fails_item(n, item, rng)}
    if not failing:
        return handle(request)
    spared = [n for n in range(1, len(items) + 1) if fault.act or n not in failing]
    body: dict[str, Any] = {"results": {}}
    if spared:
        data = [items[n - 1] for n in spared]
        answer = handle(replace(request, body=json.dumps({"data": data}).encode()))
        body = json.loads(answer.body)
        if not isinstance(body.get("results"), dict):
            return answer
    endpoint = request.path.strip("/").partition("/")[0]
    done = dict(zip(spared, dict(body["results"].get(endpoint) or {}).values(), strict=False))
    failed = {n: _failed_item(items[n - 1], fault) for n in failing}
    body["results"][endpoint] = {str(n): item for n, item in sorted((done | failed).items())}
    return Answer.json(body)


def data_items(request: Request) -> list[dict[str, Any]]:
    """Return the items of a write, empty where there are none."""
    try:
        data = json.loads(request.body)["data"]
    except (ValueError, TypeError, KeyError, IndexError):
        return []
    return data if isinstance(data, list) and all(isinstance(d, dict) for d in data) else []


def _failed_item(item: dict[str, Any], fault: Fault) -> dict[str, Any]:
    echo = {"name": item["name"]} if "name" in item else {}
    extra = {"_status_extra": fault.extra} if fault.extra else {}
    return {"_status_code": fault.code, "_status_message": fault.message, **extra, **echo}


# -- onto the wire -----------------------------------------------------------------------


async def send(
    http: HTTPServerRequest, delivery: Delivery, *, date: datetime | None = None
) -> None:
    """Deliver, dated by the service's own clock; StreamClosedError: the client went away first."""
    answer = delivery.answer
    if answer is None:
        hang_up(http)
        return
    connection = cast(HTTP1Connection, http.connection)
    start = ResponseStartLine("HTTP/1.1", answer.status, responses.get(answer.status, "Unknown"))
    headers = HTTPHeaders(dict(answer.headers))
    headers.setdefault("Date", format_datetime(date or datetime.now(UTC), usegmt=True))
    if not isinstance(answer, Streamed):
        headers["Content-Length"] = str(len(answer.body))
    if isinstance(answer, Streamed) or delivery.cut or delivery.drip_seconds:
        await _send_pieces(connection, start, headers, delivery)
    else:
        # One write, not awaited: the common case stays within one turn of the loop.
        connection.write_headers(start, headers, b"" if http.method == "HEAD" else answer.body)
        connection.finish()


async def _send_pieces(
    connection: HTTP1Connection, start: ResponseStartLine, headers: HTTPHeaders, delivery: Delivery
) -> None:
    await connection.write_headers(start, headers)
    pieces, pause = _pieces(delivery)
    for piece in pieces:
        await connection.write(piece)
        await asyncio.sleep(pause)
    if delivery.cut:
        connection.stream.close()
    else:
        connection.finish()


def hang_up(http: HTTPServerRequest) -> None:
    """Close the connection without another word."""
    cast(HTTP1Connection, http.connection).stream.close()


def _pieces(delivery: Delivery) -> tuple[Iterable[bytes], float]:
    answer = delivery.answer or Answer()
    if isinstance(answer, Streamed):
        pause = (delivery.drip_seconds or answer.seconds) / answer.pieces
        half = max(1, answer.pieces // 2)
        return itertools.islice(answer.chunks, half if delivery.cut else None), pause
    if delivery.cut:
        return [answer.body[: len(answer.body) // 2]], 0.0
    return _split(answer.body, DRIP_PIECES), delivery.drip_seconds / DRIP_PIECES


def _split(body: bytes, pieces: int) -> Iterator[bytes]:
    size = -(-len(body) // pieces) or 1
    return (body[start : start + size] for start in range(0, len(body), size))
