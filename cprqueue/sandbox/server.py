"""Both services, the faults and the control API on one port, in a thread of their own."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, Self, Unpack
from urllib.parse import parse_qsl, unquote

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError

from cprqueue.sandbox import dataset, delivery
from cprqueue.sandbox.client import SandboxClient
from cprqueue.sandbox.control import Call, CallLog, Control
from cprqueue.sandbox.faults import WRITES, FaultScript
from cprqueue.sandbox.quickbooks_time import Account
from cprqueue.sandbox.restoration_manager import RestorationManager
from cprqueue.sandbox.wire import Answer, Request

QBT, RM, CONTROL = "/api/v1", "/rm", "/_sandbox"
MAX_BODY_BYTES = 1 << 30


class Sandbox:
    """A running sandbox: serves from ``start`` (or ``with``) to ``close``.

    ``jobs`` is a list of RM jobs, or how many to make, and ``made`` says how
    (``dataset.iter_jobs``). Port 0 takes any free one. ``rm_switches`` and ``qbt_switches`` set
    switches by name. The services ``rm`` and ``qbt`` and the ``faults`` may be used from the
    caller's thread while it serves.
    """

    def __init__(
        self,
        *,
        jobs: int | list[dict[str, Any]] = 0,
        port: int = 0,
        host: str = "127.0.0.1",
        rm_switches: Mapping[str, Any] | None = None,
        qbt_switches: Mapping[str, Any] | None = None,
        **made: Unpack[dataset.Options],
    ) -> None:
        if isinstance(jobs, int):
            jobs = dataset.make_jobs(jobs, **made)
        seed = made.get("seed", 1)
        self.rm = RestorationManager(jobs=jobs)
        self.qbt = Account(seed=seed)
        self.rm.switches.update(rm_switches or {})
        self.qbt.switches.update(qbt_switches or {})
        self.faults = FaultScript(seed)
        self.call_log = CallLog()
        self._control = Control(rm=self.rm, qbt=self.qbt, faults=self.faults, calls=self.call_log)
        self._host, self._port = host, port
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The base of RestorationManager and of the control API."""
        return f"http://{self._host}:{self._port}"

    @property
    def rm_url(self) -> str:
        """The base of RestorationManager, with a path."""
        return self.url + RM

    @property
    def qbt_url(self) -> str:
        """The base of QuickBooks Time."""
        return self.url + QBT

    @property
    def client(self) -> SandboxClient:
        """The control API, over HTTP."""
        return SandboxClient(self.url)

    @property
    def calls(self) -> list[Call]:
        """The calls that both services received since the last reset."""
        return self.call_log.select()

    def start(self) -> Self:
        """Take the port and begin to serve; OSError: the port is taken."""
        listening = socket.create_server((self._host, self._port), backlog=128)
        listening.setblocking(False)
        self._port = listening.getsockname()[1]
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(listening, ready)), name="sandbox", daemon=True
        )
        self._thread.start()
        ready.wait()
        return self

    def close(self) -> None:
        """Stop serving and end every connection; harmless when done already."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def _serve(self, listening: socket.socket, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = HTTPServer(self._on_request, max_body_size=MAX_BODY_BYTES)
        server.add_socket(listening)
        ready.set()
        await self._stop.wait()
        server.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await server.close_all_connections()

    def _on_request(self, http: HTTPServerRequest) -> None:
        task = self._loop.create_task(self._respond(http))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._done(done, http))

    def _done(self, task: asyncio.Task[None], http: HTTPServerRequest) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A mistake of the sandbox's own must be seen, and must not leave a client waiting.
            self._loop.call_exception_handler({"message": http.path, "exception": error})
            delivery.hang_up(http)

    async def _respond(self, http: HTTPServerRequest) -> None:
        path = unquote(http.path)
        with suppress(StreamClosedError):
            if _below(path, CONTROL):
                answer = self._control.handle(_request(http, path[len(CONTROL) :]))
                await delivery.send(http, delivery.Delivery(answer=answer))
            elif _below(path, QBT):
                await self._call(http, "qbt", _request(http, path[len(QBT) :]), self.qbt.handle)
            else:
                path = path[len(RM) :] if _below(path, RM) else path
                await self._call(http, "rm", _request(http, path), self.rm.handle)

    async def _call(
        self,
        http: HTTPServerRequest,
        service: str,
        request: Request,
        handle: Callable[[Request], Answer],
    ) -> None:
        fault = self.faults.decide(service, request.method, request.path)
        call = Call(
            service=service,
            method=request.method,
            path=request.path,
            query=dict(request.query),
            items=len(delivery.data_items(request)) if request.method in WRITES else 0,
            fault=fault.kind if fault else None,
            at=time.time(),
        )
        self.call_log.add(call)
        made = await delivery.perform(service, request, handle, fault, self.faults.rng)
        if made.answer is not None:
            call.status = made.answer.status
        await delivery.send(http, made, date=(self.rm if service == "rm" else self.qbt).now())


def serve(
    *,
    port: int,
    jobs: int | list[dict[str, Any]],
    host: str = "127.0.0.1",
    ready: Callable[[Sandbox], None] | None = None,
    **options: Any,
) -> None:
    """Serve until SIGTERM or SIGINT; ``ready`` is called once, with the running sandbox.

    Call it from the main thread. The ``options`` are those of ``Sandbox``.
    """
    with _told_to_stop() as stopped, Sandbox(port=port, jobs=jobs, host=host, **options) as sandbox:
        if ready is not None:
            ready(sandbox)
        stopped.wait()


@contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _below(path: str, base: str) -> bool:
    return path == base or path.startswith(base + "/")


def _request(http: HTTPServerRequest, path: str) -> Request:
    return Request(
        method=http.method or "GET",
        path=path,
        query=dict(parse_qsl(http.query, keep_blank_values=True)),
        headers={name.lower(): value for name, value in http.headers.items()},
        body=http.body,
    )
