"""Orders of the timetable that piled up while no worker took them: one of them is enough.

Celery would tell by their age, by the clocks of two machines: a worker whose clock is ahead would
drop every order, and nothing would be done without a word. Here the database's clock decides.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from datetime import timedelta

from cprqueue.store.app_state import claim_moment
from cprqueue.store.database import Database, clock

SHARE = 0.5
"""So much of the time in which an order is to be taken has to lie between two that are."""


def carried_out(db: Database, task: str, kwargs: Mapping[str, object], *, seconds: float) -> bool:
    """Tell whether this order was carried out just now; if not, it counts as carried out.

    ``seconds``: the time in which somebody is to take it (``expires`` in the timetable).
    """
    words = zlib.crc32(json.dumps(kwargs, sort_keys=True, default=str).encode())
    with db.begin() as conn:
        now = clock(conn)
        moment = now + timedelta(seconds=seconds * SHARE)
        return not claim_moment(conn, f"order.{task[:24]}.{words:08x}", now=now, moment=moment)
