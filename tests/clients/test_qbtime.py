"""The QuickBooks Time client against the sandbox: listings, batches, and every odd answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from cprqueue import errors
from cprqueue.clients.qbtime import QuickBooksTime
from cprqueue.clients.transport import Transport
from cprqueue.domain.models import Address, ItemResult
from cprqueue.sandbox.server import Sandbox

FOUND = {"_status_code": 200, "_status_message": "Created", "id": 7}


@pytest.fixture
def qbt(sandbox: Sandbox) -> Iterator[QuickBooksTime]:
    transport = Transport("QuickBooks Time", sandbox.qbt_url)
    yield QuickBooksTime(
        transport, token=lambda: sandbox.qbt.access_token, renew=no_other, spend=nullcontext
    )
    transport.close()


def no_other(_token: str) -> str:
    raise errors.AccessStopped("QuickBooks Time answered 401, and there is no other token", 401)


def named(*names: str) -> list[dict[str, Any]]:
    return [{"name": name} for name in names]


def answer(sandbox: Sandbox, body: Any, status: int = 200) -> None:
    """Let every call be answered with ``body``."""
    text = body if isinstance(body, str) else json.dumps(body)
    sandbox.faults.set([{"kind": "garbled", "body": text, "status": status, "act": False}])


def test_a_created_jobcode_is_listed_as_it_was_sent(qbt: QuickBooksTime) -> None:
    [result] = qbt.create_jobcodes([{"name": "A-1", "assigned_to_all": True}])
    assert (result.done, result.exists) == (True, False)
    [code] = qbt.jobcodes()
    assert (code.id, code.name, code.active, code.assigned_to_all) == (result.id, "A-1", True, True)


def test_a_location_and_its_link_come_back(qbt: QuickBooksTime) -> None:
    [code] = qbt.create_jobcodes(named("A-1"))
    address = Address("1 Elm St", "Apt 4", "Boston", "MA", "02108")
    links = {"linked_objects": {"jobcodes": [code.id]}}
    [made] = qbt.create_locations([{**address.as_dict(), **links}])
    [place] = qbt.locations()
    assert (place.id, place.address, place.jobcode_ids) == (made.id, address, (code.id,))
    [changed] = qbt.change_locations([{"id": made.id, "addr2": ""}])
    assert changed.done
    assert [p.address.addr2 for p in qbt.locations()] == [""]


@pytest.mark.parametrize("empty", ["section", "missing", "bare_list"])
@pytest.mark.parametrize("as_list", [True, False])
def test_an_empty_listing_is_empty_however_it_is_written(
    sandbox: Sandbox, qbt: QuickBooksTime, empty: str, as_list: bool
) -> None:
    sandbox.qbt.switches.update({"empty_results": empty, "empty_as_list": as_list})
    assert list(qbt.jobcodes()) == []
    assert list(qbt.locations()) == []


@pytest.mark.parametrize("order", ["id", "random"])
def test_all_pages_are_read_one_call_each_and_only_as_needed(
    sandbox: Sandbox, qbt: QuickBooksTime, order: str
) -> None:
    sandbox.qbt.switches.update({"order": order})
    for start in range(0, 450, 50):
        qbt.create_jobcodes(named(*(f"A-{n}" for n in range(start, start + 50))))
    sandbox.client.reset_calls()
    listing = qbt.jobcodes()
    assert next(listing).name.startswith("A-")
    assert len(sandbox.calls) == 1, "an iterator reads no page ahead"
    assert len({code.id for code in listing}) == 449
    assert [call.query["page"] for call in sandbox.calls] == ["1", "2", "3"]
    assert {call.query["limit"] for call in sandbox.calls} == {"200"}


@pytest.mark.parametrize("number", [0, 51])
def test_a_batch_of_a_wrong_size_is_refused_before_it_is_sent(
    sandbox: Sandbox, qbt: QuickBooksTime, number: int
) -> None:
    with pytest.raises(ValueError, match=f"1 to 50 items, not {number}"):
        qbt.create_jobcodes(named(*map(str, range(number))))
    assert sandbox.calls == []


def test_outcomes_come_by_position(sandbox: Sandbox, qbt: QuickBooksTime) -> None:
    sandbox.faults.set([{"kind": "items", "positions": [2], "code": 417, "extra": "Oops!"}])
    results = qbt.create_jobcodes(named("A-1", "A-2", "A-3"))
    assert [(r.code, r.done, r.text) for r in results] == [
        (200, True, "Created"),
        (417, False, "Oops!"),
        (200, True, "Created"),
    ]


def test_positions_count_though_the_answer_is_out_of_order(
    sandbox: Sandbox, qbt: QuickBooksTime
) -> None:
    body = {str(n): FOUND | {"id": n} for n in (10, 2, 1, 3, 4, 5, 6, 7, 8, 9)}
    answer(sandbox, {"results": {"jobcodes": body}})
    assert [r.id for r in qbt.create_jobcodes(named(*"abcdefghij"))] == list(range(1, 11))


@pytest.mark.parametrize("full", [True, False])
def test_a_202_is_there_already_and_not_done(
    sandbox: Sandbox, qbt: QuickBooksTime, full: bool
) -> None:
    sandbox.qbt.switches.update({"duplicate_echo_full": full})
    [first] = qbt.create_jobcodes(named("A-1"))
    [again] = qbt.create_jobcodes(named("a-1 "))
    assert (again.code, again.done, again.exists) == (202, False, True)
    assert again.id == (first.id if full else None)


def test_items_count_though_http_says_417(sandbox: Sandbox, qbt: QuickBooksTime) -> None:
    sandbox.qbt.switches.update({"all_failed_status_417": True})
    results = qbt.create_jobcodes(named("", "x" * 65))
    assert [r.code for r in results] == [417, 417]
    assert "64" in results[1].text


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"results": {"jobcodes": {"1": FOUND}}}, errors.ServiceFailed),
        ({"results": {"jobcodes": {"1": FOUND, "3": FOUND}}}, errors.ServiceFailed),
        ({"results": {"jobcodes": {"7": FOUND, "8": FOUND}}}, errors.ServiceFailed),
        ({"results": {"jobcodes": []}}, errors.ServiceFailed),
        ({"results": {"jobcodes": "?"}}, errors.ServiceFailed),
        ({"results": {}}, errors.ServiceFailed),
        ({}, errors.ServiceFailed),
        ([], errors.ServiceFailed),
        ("", errors.UnreadableAnswer),
        ("[1]", errors.UnreadableAnswer),
        ("<html>", errors.UnreadableAnswer),
        ({"results": {"jobcodes": {"1": FOUND, "2": {"id": 3}}}}, errors.UnreadableAnswer),
    ],
)
def test_a_write_without_an_outcome_for_each_item_is_an_error(
    sandbox: Sandbox, qbt: QuickBooksTime, body: Any, kind: type[Exception]
) -> None:
    answer(sandbox, body)
    with pytest.raises(kind, match=r"^QuickBooks Time[^\n]+$"):
        qbt.create_jobcodes(named("A-1", "A-2"))


@pytest.mark.parametrize("status", [400, 404, 406, 409, 413, 417])
@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": 417, "message": "no"}},
        {"error": "invalid", "error_description": "no"},
        {"results": {"jobcodes": []}},
    ],
)
def test_a_refusal_without_outcomes_is_a_refusal(
    sandbox: Sandbox, qbt: QuickBooksTime, status: int, body: Any
) -> None:
    answer(sandbox, body, status)
    with pytest.raises(errors.Refused, match=f"answered {status}") as raised:
        qbt.create_jobcodes(named("A-1"))
    assert raised.value.status == status


@pytest.mark.parametrize("status", [204, 302, 400, 404, 405, 409, 417])
@pytest.mark.parametrize("body", ["<html>", "", "[]", "3", {"message": "no Route matched"}])
def test_a_refusal_in_words_not_its_own_says_nothing_about_what_was_done(
    sandbox: Sandbox, qbt: QuickBooksTime, status: int, body: Any
) -> None:
    answer(sandbox, body, status)
    for send in (lambda: qbt.create_jobcodes(named("A-1")), lambda: list(qbt.jobcodes())):
        with pytest.raises(errors.ServiceFailed, match=f"answered {status}, but not in its own"):
            send()


@pytest.mark.parametrize("status", [401, 402, 403, 499])
def test_what_stops_the_access_stops_it_in_any_words(
    sandbox: Sandbox, qbt: QuickBooksTime, status: int
) -> None:
    answer(sandbox, "<html>", status)
    with pytest.raises(errors.AccessStopped):
        qbt.create_jobcodes(named("A-1"))


def test_what_is_too_large_for_a_gateway_is_refused_so_that_it_is_sent_in_halves(
    sandbox: Sandbox, qbt: QuickBooksTime
) -> None:
    answer(sandbox, "<html>", 413)
    with pytest.raises(errors.Refused) as raised:
        qbt.create_jobcodes(named("A-1"))
    assert raised.value.status == 413


@pytest.mark.parametrize(
    "body",
    [
        {"results": {"jobcodes": {"1": 5}}},
        {"results": {"jobcodes": "?"}},
        {"results": {"jobcodes": 3}},
        {"results": 3},
        {"results": {"jobcodes": {"1": {"name": "no id"}}}},
        "3",
        "[1, 2]",
        '{"results": {"oops',
        "<html></html>",
        "",
    ],
)
def test_a_listing_of_no_known_form_is_unreadable(
    sandbox: Sandbox, qbt: QuickBooksTime, body: Any
) -> None:
    answer(sandbox, body)
    with pytest.raises(errors.UnreadableAnswer, match=r"^QuickBooks Time[^\n]+$"):
        list(qbt.jobcodes())


def test_a_listing_may_come_as_a_list(sandbox: Sandbox, qbt: QuickBooksTime) -> None:
    answer(sandbox, {"results": {"jobcodes": [{"id": "5", "name": "A"}]}, "more": False})
    assert [(code.id, code.name) for code in qbt.jobcodes()] == [(5, "A")]


def test_an_empty_page_that_promises_more_ends_the_listing(
    sandbox: Sandbox, qbt: QuickBooksTime
) -> None:
    answer(sandbox, {"results": {"jobcodes": []}, "more": True})
    with pytest.raises(errors.UnreadableAnswer, match="promises more after the empty page 1"):
        list(qbt.jobcodes())


def test_a_refused_token_is_renewed_once_and_the_request_sent_again(sandbox: Sandbox) -> None:
    transport = Transport("QuickBooks Time", sandbox.qbt_url)
    refused: list[str] = []

    def renew(token: str) -> str:
        refused.append(token)
        return "sandbox-token"

    stale = QuickBooksTime(transport, token=lambda: "stale", renew=renew, spend=nullcontext)
    assert stale.create_jobcodes(named("A-1"))[0].done
    assert (refused, len(sandbox.calls)) == (["stale"], 2)
    transport.close()


@pytest.mark.parametrize("body", ["oauth", "error", "html"])
def test_a_bad_token_stops_the_access(sandbox: Sandbox, qbt: QuickBooksTime, body: str) -> None:
    sandbox.qbt.switches.update({"unauthorized_body": body})
    sandbox.qbt.revoke_token()
    with pytest.raises(errors.AccessStopped, match="answered 401") as raised:
        qbt.current_user()
    assert raised.value.status == 401
    assert "sandbox-token" not in str(raised.value)


def test_the_user_and_the_settings_are_read(qbt: QuickBooksTime) -> None:
    permissions: Any = qbt.current_user()["permissions"]
    assert permissions["admin"] is True
    assert "general" in qbt.effective_settings()


def test_who_is_on_the_clock_is_known(sandbox: Sandbox, qbt: QuickBooksTime) -> None:
    [code] = qbt.create_jobcodes(named("A-1"))
    assert code.id is not None
    assert qbt.on_the_clock([code.id], since="2000-01-01") == []
    sandbox.qbt.clock_in(code.id)
    assert [sheet["jobcode_id"] for sheet in qbt.on_the_clock([code.id], since="2000-01-01")] == [
        code.id
    ]


def test_each_call_is_spent_before_it_is_sent(sandbox: Sandbox) -> None:
    def broke() -> AbstractContextManager[None]:
        raise errors.OutOfCalls("none left", 3.0)

    transport = Transport("QuickBooks Time", sandbox.qbt_url)
    poor = QuickBooksTime(transport, token=lambda: "sandbox-token", renew=no_other, spend=broke)
    with pytest.raises(errors.OutOfCalls):
        list(poor.jobcodes())
    with pytest.raises(errors.OutOfCalls):
        poor.create_jobcodes(named("A-1"))
    assert sandbox.calls == []
    transport.close()


def test_an_outcome_says_what_the_service_said_best() -> None:
    assert ItemResult(code=417, message="Expectation Failed", extra="Oops!").text == "Oops!"
    assert ItemResult(code=417, message="Expectation Failed").text == "Expectation Failed"
    assert ItemResult(code=417).text == "code 417"
