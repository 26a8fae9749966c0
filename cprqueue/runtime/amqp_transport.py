"""RabbitMQ's wire: a limit on every wait, a verified certificate, our own type of queues.

py-amqp waits for an answer for as long as the connection stands. Where the way to RabbitMQ
falls silent but stays open (a balancer whose back end is gone, a broker that is suspended) a
worker waited for ever in ``Channel.close``, and a publisher's messages went nowhere. Here:

* no answer within ``read_timeout`` (ANSWER_SECONDS by default) is a lost connection, whatever
  else arrives meanwhile, and so is a write that takes longer: TimeoutError, one line;
* who publishes on a connection that has not been heard of for QUIET_SECONDS asks for a sign of
  life first, so at most the messages of those seconds are lost, which the sweep makes good;
* amqps verifies the certificate and the host's name, as ``settings.broker_address`` reads it;
* a task that takes longer than RabbitMQ's consumer_timeout costs its worker a new connection;
* a queue of a worker's own that RabbitMQ holds for its lost connection is asked for again;
* a queue is a classic one, whatever the virtual host makes by default: quorum queues refuse the
  prefetch that Celery asks for, and a worker would connect anew for ever.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from amqp import spec
from amqp import transport as wire
from amqp.exceptions import PreconditionFailed, RecoverableConnectionError, ResourceLocked
from kombu.transport import TRANSPORT_ALIASES, pyamqp

ANSWER_SECONDS = 10.0
QUIET_SECONDS = 5.0
LOCKED_SECONDS = 2.0
CONSUMER_TIMEOUT = "delivery acknowledgement"
QUEUE_TYPE = {"x-queue-type": "classic"}


def install() -> None:
    """Have kombu use this for all that is amqp, in this process. Safe to call again."""
    for scheme in ("amqp", "pyamqp", "amqps"):
        kind = "TlsTransport" if scheme == "amqps" else "Transport"
        TRANSPORT_ALIASES[scheme] = f"{__name__}:{kind}"


def tls_context(options: dict[str, Any]) -> ssl.SSLContext:
    """Return what a client verifies: certificate and host, unless ``options`` say otherwise."""
    context = ssl.create_default_context(
        cafile=options.get("ssl_ca_certs"), capath=options.get("ssl_ca_path")
    )
    if options.get("ssl_certfile"):
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    context.check_hostname = options.get("ssl_check_hostname", True)
    context.verify_mode = options.get("ssl_cert_reqs", ssl.CERT_REQUIRED)
    return context


class _Limited:
    """A socket on which no read and no write waits for ever."""

    def _init_socket(self: Any, *arguments: Any) -> None:
        super()._init_socket(*arguments)  # type: ignore[misc]
        self.sock.settimeout(self.write_timeout or ANSWER_SECONDS)

    def _read(self: Any, n: int, initial: bool = False) -> Any:
        # Half a frame and then nothing: py-amqp would try again without a pause, for ever.
        # What was read is kept, and the rest is read when it comes.
        return super()._read(n, initial=True)  # type: ignore[misc]


class _TcpWire(_Limited, wire.TCPTransport):  # type: ignore[misc]
    pass


class _TlsWire(_Limited, wire.SSLTransport):  # type: ignore[misc]
    def _wrap_socket(self, sock: Any, **options: Any) -> ssl.SSLSocket:
        wrapped: ssl.SSLSocket = tls_context(options).wrap_socket(
            sock, do_handshake_on_connect=False, server_hostname=self.host
        )
        return wrapped

    def _shutdown_transport(self) -> None:
        """Do not wait for the other side's goodbye."""


class _Answered:
    """What waits for an answer, and gives the connection up where none comes."""

    def wait(self: Any, method: Any, callback: Any = None, timeout: Any = None, **more: Any) -> Any:
        connection = self.connection
        if connection is None:
            return super().wait(method, callback, timeout, **more)  # type: ignore[misc]
        with connection.answering():
            return super().wait(method, callback, timeout, **more)  # type: ignore[misc]


class Channel(_Answered, pyamqp.Channel):  # type: ignore[misc]
    """A channel whose questions are answered in time, and whose queues are of one type."""

    def prepare_queue_arguments(self, arguments: Any, **more: Any) -> Any:
        return super().prepare_queue_arguments({**QUEUE_TYPE, **(arguments or {})}, **more)

    def queue_declare(self, queue: str = "", *arguments: Any, **more: Any) -> Any:
        vhost = self.connection.virtual_host if self.connection else "/"
        try:
            return super().queue_declare(queue, *arguments, **more)
        except PreconditionFailed as error:
            cure = f"`rabbitmqctl delete_queue -p {vhost} {queue}` deletes it, then start again"
            error.reply_text += f": {cure}; what it held is sent again"
            error.args = (error.reply_code, error.reply_text)  # which Celery shows
            raise
        except ResourceLocked:
            # A worker would end, and its pool with it. RabbitMQ lets go once it misses heartbeats.
            time.sleep(LOCKED_SECONDS)
            text = f"RabbitMQ still holds {queue} for a connection that is gone: tried again"
            raise RecoverableConnectionError(text) from None

    def _on_close(self, code: int, text: str, *where: Any) -> None:
        try:
            super()._on_close(code, text, *where)
        except PreconditionFailed:
            if CONSUMER_TIMEOUT not in text:
                raise
            # A worker would end. As a lost connection it makes a new one, the task goes on, and
            # its message comes again, which every task is made for.
            raise RecoverableConnectionError("a task takes longer than consumer_timeout") from None

    def _basic_publish(self, *arguments: Any, **more: Any) -> Any:
        if self.connection is not None and self.connection.is_quiet():
            self.flow(True)  # it goes on anyway: this only asks for an answer
        return super()._basic_publish(*arguments, **more)

    basic_publish = _basic_publish


class Connection(_Answered, pyamqp.Connection):  # type: ignore[misc]
    """A connection that is lost as soon as an answer does not come in time."""

    Channel = Channel
    _METHODS: ClassVar[Any] = {
        **pyamqp.Connection._METHODS,
        spec.Connection.Blocked: spec.method(spec.Connection.Blocked, "s"),
    }
    blocked = ""
    _heard_at = 0.0
    _until: float | None = None

    def Transport(self, host: str, seconds: Any, tls: Any, *limits: Any, **more: Any) -> Any:  # noqa: N802  (amqp's name)
        """Make the wire."""
        return (_TlsWire if tls else _TcpWire)(
            host, connect_timeout=seconds, ssl=tls, write_timeout=limits[-1], **more
        )

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Raise TimeoutError, and drop the connection, where the block takes too long."""
        seconds = self.read_timeout or ANSWER_SECONDS
        before, self._until = self._until, time.monotonic() + seconds
        try:
            yield
        except TimeoutError:
            self.collect()
            because = f": it blocks whoever sends ({self.blocked})" if self.blocked else ""
            raise TimeoutError(f"no answer from RabbitMQ in {seconds:g} s{because}") from None
        finally:
            self._until = before

    def is_quiet(self) -> bool:
        """Tell whether nothing was heard for so long that one should ask before one sends."""
        return time.monotonic() - self._heard_at > QUIET_SECONDS

    def blocking_read(self, timeout: float | None = None) -> Any:
        found = super().blocking_read(self._limited(timeout))
        self._heard_at = time.monotonic()
        return found

    def _limited(self, timeout: float | None) -> float | None:
        if self._until is None:
            return timeout
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left if timeout is None else min(timeout, left)

    def _on_blocked(self, reason: str = "") -> None:
        self.blocked = reason or "it gives no reason"
        super()._on_blocked()

    def _on_unblocked(self) -> None:
        self.blocked = ""
        super()._on_unblocked()


class Transport(pyamqp.Transport):  # type: ignore[misc]
    """``amqp://``"""

    Connection = Connection


class TlsTransport(pyamqp.SSLTransport):  # type: ignore[misc]
    """``amqps://``"""

    Connection = Connection
