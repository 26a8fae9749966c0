"""What is sent to one URL, and what is said where it does not go."""

from __future__ import annotations

import pytest

from cprqueue import alerts
from tests.receiver import receiving


@pytest.mark.parametrize(
    ("level", "kind"), [("info", "info"), ("warning", "warning"), ("error", "failure")]
)
def test_a_message_carries_its_level_and_host(level: str, kind: str) -> None:
    with receiving() as people:
        url = f"json://127.0.0.1:{people.port}/in"
        assert alerts.send(url, title="push held", text="why", level=level) == ""
    (message,) = people.messages
    assert (message["title"], message["type"]) == ("cprqueue: push held", kind)
    assert message["message"].startswith(f"why\n\nlevel: {level}, host: ")


@pytest.mark.parametrize("path", ["gone", "hush-1"])
def test_a_heartbeat_says_why_it_was_not_heard_and_never_where(path: str) -> None:
    with receiving() as monitor:
        assert alerts.beat(f"http://127.0.0.1:{monitor.port}/hush") == ""
        assert monitor.called == {"/hush": 1}
        assert alerts.beat(f"http://u:hush@127.0.0.1:{monitor.port}/gone") == "it answered 404"
    assert alerts.beat(f"http://127.0.0.1:1/{path}") == "ConnectionError"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "json://user:hush-pass@h.example:8080/hush-path?x=hush",
            "json://user:****@h.example:8080",
        ),
        ("mailtos://user:hush-pass@h.example?to=hush@h.example", "mailtos://user:****@h.example"),
        ("hush", "hush://"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert alerts.shown(url).startswith(shown)
    assert alerts.shown(url).endswith("/...")
    assert alerts.shown(url).count("hush") == shown.count("hush")


def test_the_reason_holds_no_part_of_the_url_but_the_host() -> None:
    said = alerts._without_secrets(
        "no hush%2F1 or hush/1 at h.example", "x://u:hush%2F1@h.example/a"
    )
    assert said == "no *** or *** at h.example"
