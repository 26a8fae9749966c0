"""Keep a worker alive when its Redis or Valkey broker goes away. For kombu 5.7.0 only.

The failure: the broker is killed or restarted while a worker holds a message that is not
acknowledged yet, and the worker ends with exit code 1 and

    Unrecoverable error: AttributeError("'NoneType' object has no attribute 'hostname'")

How it was found: by killing the broker of real workers, with celery 5.7.0, kombu 5.7.0 and
redis 8.1.0. An idle worker that holds one message with a countdown ends every time; one with
a running ``acks_late`` task did in one series of trials and did not in another, so this way
to it depends on more than we know. Celery first forgets the broken connection
(``Connection.collect`` empties ``transport.client``) and then closes its channels. Closing
a channel puts unacknowledged messages back, for which kombu may connect again
and reads the address from the connection that is no longer there. Only connection errors are
expected at this place. A late acknowledgement can come to the same place some seconds
later, so it is not enough to guard the closing.

The cure: where kombu reads the address, a forgotten connection is what it should be, a
connection error. Celery then reconnects, and the broker hands the message out again after
the visibility timeout.

When it can go: with the first kombu whose ``Channel._connparams`` survives this;
tests/system/test_kombu_patch.py kills real brokers, with the guard and without.
It patches a private method, therefore it does nothing for any other version of kombu.
"""

from __future__ import annotations

from typing import Any

import kombu
from kombu.transport import redis as kombu_redis
from redis.exceptions import ConnectionError as RedisConnectionError

GUARDED_VERSION = "5.7.0"


def install() -> bool:
    """Guard all channels of this process; call it before the Celery app connects.

    Works for ``redis://``, ``rediss://`` and ``redis+socket://``. Safe to call again.
    Returns whether the guard is in place, which is False for other versions of kombu.
    """
    if kombu.__version__ != GUARDED_VERSION:
        return False
    if not getattr(kombu_redis.Channel._connparams, "guarded", False):
        guarded = _guarded(kombu_redis.Channel._connparams)
        kombu_redis.Channel._connparams = guarded
    return True


def _guarded(original: Any) -> Any:
    def connparams(self: Any, asynchronous: bool = False) -> Any:
        if getattr(self.connection, "client", None) is None:
            raise RedisConnectionError("the connection to the broker is already closed")
        return original(self, asynchronous=asynchronous)

    marked: Any = connparams
    marked.guarded = True
    return marked
