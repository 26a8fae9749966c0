"""One alert for each change of state and one for its end; few where a state flaps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from cprqueue.domain.alerting import QUIET, Alert, Condition, Level, Told, settle

START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DOWN = Condition(name="rm", title="down", text="why", over="up")


class People:
    """Hears what each minute brings about; URLs take what is sent at once."""

    def __init__(self, *urls: str) -> None:
        self.urls = urls or ("a",)
        self.book: dict[str, Told] = {}
        self.now = START
        self.heard: list[str] = []
        self.last: Alert | None = None

    def see(self, *found: Condition, after: timedelta = MINUTE, host: str = "h") -> list[str]:
        """Return what is heard of this moment; the book goes through its stored form."""
        self.now += after
        stored = {name: Told.of_json(told.as_json()) for name, told in self.book.items()}
        assert stored == self.book
        self.book = settle(stored, found, self.now, host=host, urls=self.urls)
        fresh = []
        for name, told in self.book.items():
            fresh += [alert.title for _url in told.left if (alert := told.alert)]
            self.last = told.alert or self.last
            self.book[name] = told.tried(()) if told.left else told
        self.heard += fresh
        return fresh


def test_a_state_is_told_once_and_its_end_once() -> None:
    people = People()
    assert people.see() == []
    assert people.see(DOWN) == ["down"]
    assert [people.see(DOWN) for _ in range(60)] == [[]] * 60
    assert people.see() == ["up"]
    assert people.last == Alert(title="up", text="It lasted 61 min.", level=Level.INFO)
    assert people.book["rm"].alert is None, "what was sent is not kept"
    assert [people.see() for _ in range(60)] == [[]] * 60
    people.see(after=QUIET)
    assert people.book == {}


def test_one_that_comes_back_is_told_again_when_it_stays() -> None:
    people = People()
    people.see(DOWN)
    people.see()
    assert [people.see(DOWN) for _ in range(10)] == [[]] * 10
    assert people.see(DOWN) == ["down"]
    assert people.see() == ["up"]
    people.see(DOWN, after=QUIET)
    assert people.heard == ["down", "up"] * 2 + ["down"]


def test_one_that_flaps_and_then_stays_is_told_soon() -> None:
    people = People()
    for _ in range(30):
        people.see(DOWN)
        people.see()
    assert people.heard == ["down", "up"]
    assert [people.see(DOWN) for _ in range(11)] == [*[[]] * 10, ["down"]]


@given(st.lists(st.booleans(), min_size=360, max_size=360))
def test_a_flapping_state_sends_few_alerts_and_they_alternate(minutes: list[bool]) -> None:
    people = People()
    for down in minutes:
        people.see(*([DOWN] if down else []))
    assert len(people.heard) <= 12
    assert people.heard == (["down", "up"] * 6)[: len(people.heard)]


def test_another_kind_of_the_same_state_is_told_and_the_first_is_not_over() -> None:
    people = People()
    kinds = [
        Condition(name=f"push/{status}", title=str(status), text="", over="on", kind_of="push")
        for status in (401, 402)
    ]
    heard = [people.see(kinds[0]), people.see(kinds[1]), people.see(kinds[1]), people.see()]
    assert heard == [["401"], ["402"], [], ["on"]]


def test_an_event_is_told_once_for_as_long_as_it_is_seen() -> None:
    people = People()
    done = Condition(name="run/7/done", title="done", text="")
    before = Condition(name="run/6/done", title="old", text="", old=True)
    assert people.see(done, before) == ["done"]
    assert people.see(done, before) == []
    assert people.see() == []
    assert people.book == {}


def test_what_another_host_sees_does_not_end_here() -> None:
    people = People()
    full = Condition(name="disk/a", title="full", text="", over="space", host="a")
    assert people.see(full, host="a") == ["full"]
    assert people.see(host="b") == []
    assert people.see(host="a") == ["space"]


def test_a_url_that_fails_is_tried_again_and_the_others_hear_nothing_twice() -> None:
    told = settle({}, [DOWN], START, host="h", urls=("a", "b"))["rm"]
    left, tries = told.sent("a"), 0
    assert not left.is_due("a")
    for _ in range(2000):
        tries += left.is_due("b")
        left = left.tried(("a", "b"))
    assert not left.left, "given up after a day"
    assert 100 < tries < 200
    assert told.tried(("a",)).left == ("a",), "a URL that was taken out of ALERT_URLS"
