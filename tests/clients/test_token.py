"""The access token is renewed early, by one worker at a time, and never lost on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from cprqueue.clients.token import LOCK_LIMIT, NAME
from cprqueue.clients.transport import CONNECT_SECONDS, READ_SECONDS
from cprqueue.domain.states import ErrorCode
from cprqueue.errors import AccessStopped, ServiceUnreachable
from cprqueue.sandbox.credentials import QBT_ACCESS_TOKEN
from cprqueue.sandbox.server import Sandbox
from cprqueue.store import app_state
from cprqueue.store.database import clock
from cprqueue.store.tables import locks as locks_table
from tests.office import MakeOffice, Office, job
from tests.real_processes import killed_at_the_end, wait_until


def grants(sandbox: Sandbox) -> int:
    return sum(call.path == "/grant" for call in sandbox.calls)


def age(office: Office, by: timedelta) -> None:
    """Let the stored pair be older by this much."""
    with office.app.durable_db.begin() as conn:
        name_of_pair = f"{NAME}:{office.app.token.grant.origin}"
        pair: Any = app_state.get(conn, name_of_pair)
        for name in ("expires_at", "renewed_from"):
            moment = clock(conn).fromisoformat(pair[name]) - by
            pair[name] = moment.isoformat()
        app_state.put(conn, name_of_pair, pair, now=clock(conn))


def test_an_expired_token_is_renewed_and_the_new_pair_is_kept(office: Office) -> None:
    office.sandbox.qbt.expire_token()
    office.app.qbt().current_user()
    assert grants(office.sandbox) == 1
    assert office.app.token.current() == office.sandbox.qbt.access_token != QBT_ACCESS_TOKEN
    office.sandbox.qbt.expire_token()
    office.app.qbt().current_user()
    assert grants(office.sandbox) == 2


def test_a_new_process_finds_the_renewed_pair(
    office: Office, sandbox: Sandbox, make_office: MakeOffice
) -> None:
    office.app.token.renew(QBT_ACCESS_TOKEN)
    other = make_office()
    assert other.app.token.current() == sandbox.qbt.access_token
    assert grants(sandbox) == 1


def test_a_token_is_renewed_a_day_before_its_end(office: Office) -> None:
    office.app.token.renew(QBT_ACCESS_TOKEN)
    age(office, timedelta(days=8, hours=23))
    office.app.token.current()
    assert grants(office.sandbox) == 1
    age(office, timedelta(hours=2))
    assert office.app.token.current() == office.sandbox.qbt.access_token
    assert grants(office.sandbox) == 2


def test_a_token_that_lives_for_an_hour_is_not_renewed_at_each_call(office: Office) -> None:
    office.sandbox.qbt.switches.update({"token_lifetime_seconds": 3600})
    office.app.token.renew(QBT_ACCESS_TOKEN)
    for _ in range(3):
        office.app.qbt().current_user()
    assert grants(office.sandbox) == 1
    age(office, timedelta(minutes=50))
    office.app.qbt().current_user()
    assert grants(office.sandbox) == 2


def test_an_early_renewal_that_fails_leaves_the_good_token_and_is_not_tried_at_each_call(
    office: Office,
) -> None:
    first = office.app.token.renew(QBT_ACCESS_TOKEN)
    age(office, timedelta(days=9, hours=1))
    office.sandbox.client.set_faults([{"kind": "status", "status": 503, "path": "/grant"}])
    for _ in range(3):
        assert office.app.token.current() == first
    assert grants(office.sandbox) == 2
    office.sandbox.client.clear_faults()
    age(office, timedelta(minutes=11))
    assert office.app.token.current() != first


def test_of_many_workers_at_once_one_renews_and_all_go_on(
    office: Office, sandbox: Sandbox, make_office: MakeOffice
) -> None:
    sandbox.qbt.expire_token()
    sandbox.client.set_faults([{"kind": "slow", "path": "/grant", "seconds": 0.5}])
    offices = [office, *(make_office() for _ in range(3))]
    gate = threading.Barrier(len(offices))

    def work(one: Office) -> None:
        gate.wait()
        one.app.qbt().current_user()

    with ThreadPoolExecutor(len(offices)) as pool:
        list(pool.map(work, offices))
    assert grants(sandbox) == 1


def test_the_lock_of_a_renewal_outlives_the_slowest_request(office: Office) -> None:
    body = office.app.token.transport.total_seconds + READ_SECONDS  # its last piece may linger
    assert timedelta(seconds=CONNECT_SECONDS + READ_SECONDS + body) < LOCK_LIMIT


def test_an_answer_that_comes_after_another_workers_pair_does_not_replace_it(
    office: Office, sandbox: Sandbox, make_office: MakeOffice
) -> None:
    sandbox.qbt.switches.update({"grant_grace": 3600})
    sandbox.client.set_faults(
        [{"kind": "slow", "path": "/grant", "act": "first", "seconds": 1.5, "nth": [1]}]
    )
    other = make_office()
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(office.app.token.renew, QBT_ACCESS_TOKEN)
        wait_until(lambda: sandbox.qbt.access_token != QBT_ACCESS_TOKEN)
        with other.app.durable_db.begin() as conn:  # as if its time were up
            conn.execute(update(locks_table).values(holder=None, until=None))
        newest = other.app.token.renew(QBT_ACCESS_TOKEN)
        assert late.result() == newest == office.app.token.current() == sandbox.qbt.access_token


RENEW = "from cprqueue.bootstrap import application; print(application().token.renew({!r}))"


@contextmanager
def suspended_before_it_asks(office: Office) -> Iterator[subprocess.Popen[str]]:
    """A worker that is suspended between the last look at its lock and its request."""
    office.app.token.current()  # the pair is on record
    env = {**os.environ, **office.env, "CPR_FAILPOINTS": "before_grant:stop"}
    code = [sys.executable, "-c", RENEW.format(QBT_ACCESS_TOKEN)]
    process = subprocess.Popen(code, env=env, stdout=subprocess.PIPE, text=True)
    with killed_at_the_end(process):
        wait_until(lambda: is_stopped(process.pid))
        with office.app.durable_db.begin() as conn:  # as if its time were up
            conn.execute(update(locks_table).values(holder=None, until=None))
        yield process


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_a_worker_suspended_before_its_request_takes_the_pair_of_another(
    office: Office, sandbox: Sandbox
) -> None:
    with suspended_before_it_asks(office) as late:
        newest = office.app.token.renew(QBT_ACCESS_TOKEN)
        late.send_signal(signal.SIGCONT)
        assert late.communicate(timeout=30)[0].strip() == newest
    assert (late.returncode, grants(sandbox)) == (0, 2)
    assert office.app.token.current() == newest == sandbox.qbt.access_token
    office.app.qbt().current_user()


def test_a_refusal_while_another_worker_renews_is_no_reason_to_connect_again(
    office: Office, sandbox: Sandbox
) -> None:
    with suspended_before_it_asks(office) as late, ThreadPoolExecutor(1) as pool:
        sandbox.client.set_faults(
            [{"kind": "slow", "path": "/grant", "act": "first", "seconds": 1.5, "nth": [1]}]
        )
        renewing = pool.submit(office.app.token.renew, QBT_ACCESS_TOKEN)
        wait_until(lambda: sandbox.qbt.access_token != QBT_ACCESS_TOKEN)
        late.send_signal(signal.SIGCONT)
        assert late.communicate(timeout=30)[0].strip() == renewing.result()
    assert (late.returncode, grants(sandbox)) == (0, 2)
    assert office.app.token.current() == sandbox.qbt.access_token


def test_the_settings_pair_never_replaces_one_that_is_stored_at_the_same_moment(
    office: Office,
) -> None:
    name, newer = f"{NAME}:{office.app.token.grant.origin}", {"access_token": "newer"}
    with office.app.durable_db.begin() as conn:
        app_state.put(conn, name, newer, now=clock(conn))
        assert not app_state.put_first(conn, name, {"access_token": "older"}, now=clock(conn))
        assert not app_state.swap(conn, name, {"access_token": "older"}, {}, now=clock(conn))
        assert app_state.get(conn, name) == newer


def test_a_lost_answer_that_spent_the_refresh_token_asks_a_person_to_connect_again(
    office: Office,
) -> None:
    office.sandbox.qbt.expire_token()
    office.sandbox.client.set_faults([{"kind": "lost", "path": "/grant", "times": 1}])
    with pytest.raises(ServiceUnreachable):
        office.app.qbt().current_user()
    with pytest.raises(AccessStopped, match="connect again"):
        office.app.qbt().current_user()


def test_a_lost_answer_within_the_grace_of_the_old_pair_is_made_good(office: Office) -> None:
    office.sandbox.qbt.switches.update({"grant_grace": 3600})
    office.sandbox.client.set_faults([{"kind": "lost", "path": "/grant", "times": 1}])
    with pytest.raises(ServiceUnreachable):
        office.app.token.renew(QBT_ACCESS_TOKEN)
    assert office.app.token.renew(QBT_ACCESS_TOKEN) == office.sandbox.qbt.access_token
    office.app.qbt().current_user()


@pytest.mark.parametrize("status", [400, 404])
def test_a_refused_refresh_token_stops_with_the_cure(office: Office, status: int) -> None:
    office.sandbox.qbt.switches.update({"bad_refresh_status": status})
    office.sandbox.qbt.revoke_token()
    with pytest.raises(AccessStopped, match="connect again and put the new"):
        office.app.qbt().current_user()


def test_a_renewal_that_is_refused_for_another_reason_is_not_blamed_on_a_job(
    office: Office,
) -> None:
    office.put(job(1, "A-1"))
    office.sandbox.rm.put_jobs([job(1, "A-1", jobAddress1="2 New Street")])
    office.fetch()
    office.sandbox.qbt.expire_token()
    conflict = {"kind": "status", "status": 409, "service": "qbt", "path": "/grant", "times": 1}
    office.sandbox.client.set_faults([conflict])
    office.app.push.push_due()
    assert office.link(1).error_code == ErrorCode.NO_ANSWER
    office.push()
    assert office.broken() == []


def test_new_settings_replace_the_stored_pair(
    office: Office, sandbox: Sandbox, make_office: MakeOffice
) -> None:
    office.app.token.renew(QBT_ACCESS_TOKEN)
    new = {
        "QBT_ACCESS_TOKEN": sandbox.qbt.access_token,
        "QBT_REFRESH_TOKEN": sandbox.qbt.refresh_token,
    }
    sandbox.qbt.expire_token()
    other = make_office(**new)
    other.app.qbt().current_user()
    assert other.app.token.current() == sandbox.qbt.access_token


def test_a_token_made_by_hand_is_used_as_it_is_and_never_renewed(
    sandbox: Sandbox, make_office: MakeOffice
) -> None:
    made = {"QBT_CLIENT_ID": "", "QBT_CLIENT_SECRET": "", "QBT_REFRESH_TOKEN": ""}
    office = make_office(**made)
    office.app.qbt().current_user()
    assert office.app.token.expires_at() is None
    sandbox.qbt.expire_token()
    with pytest.raises(AccessStopped):
        office.app.qbt().current_user()
    assert grants(sandbox) == 0


def test_a_mistyped_setting_that_is_put_right_does_not_cost_the_renewed_pair(
    office: Office, sandbox: Sandbox, make_office: MakeOffice
) -> None:
    sandbox.qbt.expire_token()
    office.app.qbt().current_user()
    mistyped = make_office(QBT_ACCESS_TOKEN="mistyped")
    with pytest.raises(AccessStopped):
        mistyped.app.qbt().current_user()
    assert office.app.qbt().current_user()
