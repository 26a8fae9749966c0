"""What pages are made of: parameters, the chart, moments, names of hosts."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from cprqueue.settings.web import networks
from cprqueue.web import chart, wire
from cprqueue.web.kept import Kept
from cprqueue.web.parts import ago
from cprqueue.web.problems import Problem
from cprqueue.web.query import Query
from cprqueue.web.wire import Place

NOON = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "found"),
    [(b"", 1), (b"1", 1), (b" 7 ", 7), (b"500", 500)],
)
def test_a_number_within_its_bounds_is_read(given: bytes, found: int) -> None:
    assert Query({"page": [given]}).number("page", 1, least=1, most=500) == found


@pytest.mark.parametrize(
    "given", [b"0", b"501", b"-1", b"1e3", b"x", b"\xd9\xa1", b"9" * 30, b"1 2"]
)
def test_any_other_number_is_refused(given: bytes) -> None:
    with pytest.raises(Problem, match="400"):
        Query({"page": [given]}).number("page", 1, least=1, most=500)


@pytest.mark.parametrize(
    "given", [b"\x00", b"a\x1bb", b"\xff", b"\xed\xa0\x80", b"x" * 201, b"\x7f"]
)
def test_what_is_no_text_is_refused(given: bytes) -> None:
    with pytest.raises(Problem, match="400"):
        Query({"q": [given]}).text("q")


def test_a_choice_and_a_day_are_what_they_may_be() -> None:
    query = Query({"state": [b"due"], "day": [b"2027-01-31"], "odd": [b"x"]})
    assert query.choice("state", ("due", "parked"), "due") == "due"
    assert query.day("day") == "2027-01-31"
    assert (query.day("none"), query.choice("none", ("a",), "a")) == (None, "a")
    with pytest.raises(Problem):
        query.choice("odd", ("a",), "a")
    with pytest.raises(Problem):
        query.day("odd")


def test_boxes_may_be_ticked_many_times_and_count_once() -> None:
    query = Query({"job": [b"7", b"9", b"7"]})
    assert query.numbers("job", most=3) == [7, 9]
    with pytest.raises(Problem):
        query.numbers("job", most=2)


@pytest.mark.parametrize(
    ("most", "top"), [(0, 5), (5, 5), (6, 10), (11, 20), (21, 50), (1258, 2000)]
)
def test_a_charts_scale_is_a_round_number(most: int, top: int) -> None:
    assert chart.ceiling(most) == top


def test_a_chart_says_in_words_what_it_shows() -> None:
    hours = [(NOON + timedelta(hours=n), number) for n, number in enumerate((0, 1, 1200))]
    made = chart.of(hours, "America/Denver")
    assert made.text == "1,201 pushes in the last 24 hours, most (1,200) in the hour from 07:00"
    heights = [bar.height for bar in made.bars]
    assert heights[0] == 0
    assert 0 < heights[1] < heights[2] <= chart.HEIGHT
    assert chart.of([(NOON, 0)], "UTC").text == "Nothing was pushed in the last 24 hours"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "now"),
        (1, "1 second ago"),
        (90, "2 minutes ago"),
        (86400, "1 day ago"),
        (-60, "in 1 minute"),
    ],
)
def test_a_moment_is_said_as_people_say_it(seconds: int, text: str) -> None:
    assert ago(NOON - timedelta(seconds=seconds), NOON) == text


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("localhost:8080", True),
        ("127.0.0.1", True),
        ("[::1]:80", True),
        ("board.example.com", True),
        ("BOARD.example.com", True),
        ("board.example.com:8443", False),
        ("board.example.com.evil.example", False),
        ("evil.example", False),
        ("localhost@evil.example", False),
        ("localhost:99999", False),
        ("", False),
    ],
)
def test_only_our_own_names_are_ours(host: str, ours: bool) -> None:
    place = Place(url="https://board.example.com", proxies=())
    assert wire.host_is_ours(host, place) is ours


@pytest.mark.parametrize(
    ("peer", "believed"),
    [
        ("127.0.0.1", True),
        ("172.18.0.1", True),
        ("172.19.0.1", False),
        ("192.0.2.1", False),
        ("", False),
    ],
)
def test_what_a_proxy_says_is_believed_from_a_proxy(peer: str, believed: bool) -> None:
    place = Place(url="", proxies=networks("172.18.0.0/16"))
    headers = {"X-Forwarded-For": "203.0.113.9, 198.51.100.1", "X-Forwarded-Proto": "https"}
    found = wire.visit(peer, "localhost", headers, place)
    assert found.secure is believed
    assert found.address == ("198.51.100.1" if believed else peer)


def test_what_is_kept_is_made_once_and_an_old_one_is_shown_meanwhile() -> None:
    kept, begun, go = Kept[int](seconds=0, stale=60), threading.Event(), threading.Event()
    assert kept.get(lambda: 1) == 1

    def slow() -> int:
        begun.set()
        go.wait(20)
        return 2

    slowly = threading.Thread(target=lambda: kept.get(slow))
    slowly.start()
    begun.wait(20)
    assert kept.get(lambda: 3) == 1
    go.set()
    slowly.join()
    assert kept.get(lambda: 4) == 4
