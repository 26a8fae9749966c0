"""What RestorationManager may send: odd bytes, odd numbers, damaged jobs, no list at all."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cprqueue.clients import job_list
from cprqueue.clients.job_list import read_job_list
from cprqueue.domain.mapping import Damaged, read_job
from cprqueue.domain.models import name_key
from cprqueue.domain.recording import Sighting
from cprqueue.errors import UnreadableAnswer
from cprqueue.sandbox.server import Sandbox
from cprqueue.services.fetch import job_files
from cprqueue.services.fetch.fetch import ALL_JOBS
from cprqueue.services.fetch.survey import each_last, survey_file
from cprqueue.services.record import record
from cprqueue.store import runs
from cprqueue.store.jobs import read_back
from tests.office import Office, job


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.json"


def read(path: Path, body: bytes) -> list[Any]:
    path.write_bytes(body)
    return list(read_job_list(path))


def outcome(path: Path) -> tuple[list[Any], str]:
    """Return the items of the list, or the line that says what is wrong with it."""
    try:
        return list(read_job_list(path)), ""
    except UnreadableAnswer as error:
        return [], str(error)


def ids(items: list[Any]) -> list[Any]:
    return [None if isinstance(item, Damaged) else read_job(item).job_id for item in items]


# --- one item -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"Caf\xe9", "Café"),
        (b"Caf\xc3\xa9 and \xe9", "Café and é"),
        (b"cut \xe2\x82", "cut â‚"),
        (b"cut \xc3", "cut Ã"),
        (b"none \x81.", "none \ufffd."),
        (b"a\tb\nc\x00d\x1fe", "a b c d e"),
        ("🏚 ok".encode(), "🏚 ok"),
    ],
)
def test_bytes_that_ought_not_to_be_are_read_as_what_they_are(
    path: Path, raw: bytes, name: str
) -> None:
    body = b'[{"jobId":1},{"jobId":2,"jobName":"' + raw + b'"},{"jobId":3}]'
    first, second, third = (read_job(item) for item in read(path, body))
    assert (first.job_id, second.job_name, third.job_id) == (1, name, 3)


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"-Infinity", b"1e99999999999999999999"])
def test_a_number_that_is_none_is_null(path: Path, value: bytes) -> None:
    assert read(path, b'[{"jobId":1,"jobLatitude":' + value + b"}]")[0]["jobLatitude"] is None


def test_a_number_of_many_digits_is_null(path: Path) -> None:
    assert ids(read(path, b'[{"jobId":1,"x":' + b"9" * 5000 + b"}]")) == [1]


@pytest.mark.parametrize("text", ["2.0", '"2.0"', "2", '"2"', "2e0", '" 2. "'])
def test_a_whole_number_may_come_in_any_form(path: Path, text: str) -> None:
    item = read(path, f'[{{"jobId":{text},"siteId":{text},"jobZip":{text}}}]'.encode())[0]
    found = read_job(item)
    assert (found.job_id, found.site_id) == (2, 2)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("2134.0"), "02134"),
        ("2134.0", "02134"),
        (2134.0, "02134"),
        ("2134", "2134"),
        ("02134-1234", "02134-1234"),
        (Decimal("2134.5"), "2134.5"),
        ("a.b", "a.b"),
    ],
)
def test_a_zip_that_was_a_number_is_a_zip_again(value: object, text: str) -> None:
    assert read_job({"jobId": 1, "jobZip": value}).address.zip == text


@pytest.mark.parametrize("value", ["1.5", Decimal("1.5"), Decimal("1e999999999"), "1e3", "1.0.0"])
def test_what_is_no_whole_number_is_no_id(value: object) -> None:
    with pytest.raises(UnreadableAnswer):
        read_job({"jobId": value})


INVISIBLE = ["\u200b", "\u200e", "\ufeff", "\u00ad", "\u200d", "\u2060", "\u202e", "\u2066"]


@pytest.mark.parametrize("mark", INVISIBLE)
def test_what_nobody_sees_makes_no_other_name(mark: str) -> None:
    found = read_job({"jobId": 1, "jobJobId": f"A{mark}-1{mark}", "jobCity": f"{mark}Boi{mark}se"})
    assert (found.job_number, found.address.city) == ("A-1", "Boise")
    assert name_key(f"{mark}A-{mark}1") == name_key("a-1")


def test_a_letter_in_two_characters_is_the_letter_in_one() -> None:
    found = read_job({"jobId": 1, "jobJobId": "CAFE\u0301", "jobAddress1": "1 e\u200b\u0301 St"})
    assert (found.job_number, found.address.addr1) == ("CAFÉ", "1 é St")
    assert name_key("cafe\u0301") == name_key("CAFÉ") == "café"


@given(st.text())
def test_a_name_key_is_its_own_key(name: str) -> None:
    assert name_key(name_key(name)) == name_key(name)


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("13 O&#39;Connell St &amp; 5th", "13 O'Connell St & 5th"),
        ("13 O&amp;#39;Connell St", "13 O'Connell St"),
        ("Main&nbsp;St&shy;reet &#x26; 5th", "Main Street & 5th"),
        ("A&B, Main &copyright &c; &", "A&B, Main &copyright &c; &"),
    ],
)
def test_entities_in_an_address_are_the_characters_that_they_stand_for(
    sent: str, meant: str
) -> None:
    found = read_job({"jobId": 1, "jobAddress1": sent, "jobCity": sent, "jobName": sent})
    assert (found.address.addr1, found.address.city) == (meant, meant)


# --- damaged jobs -------------------------------------------------------------------------

DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    ("damaged", "label"),
    [
        (b'{"jobId":2,"jobJobId":"A-2","x":undefined}', "RM job 2 (A-2)"),
        (b'{"JOBID":"2.0","x":\'\'}', "RM job 2"),
        (b'{"jobJobId":"A-2","x":01,"jobId":2}', "job number A-2 (item 2 at byte 13)"),
        (b'{"x":"a"b"c","jobId":2}', "item 2 at byte 13"),
        (b'{"jobId":2,"jobNotes":' + DEEP + b"}", "RM job 2"),
        (b'{"jobNotes":' + DEEP + b',"jobId":2}', "item 2 at byte 13"),
        (b'{"jobId":2,,"jobId ":7}', "RM job 2"),
        (b'{"jobId":2,"a":"\\x"}', "RM job 2"),
        (b'{"jobId":2,}', "RM job 2"),
        (b"{}", "item 2"),
        (b"null", "item 2"),
        (b'{"jobId":"two","jobJobId":"A-2"}', "job number A-2 (item 2)"),
    ],
)
def test_a_job_that_cannot_be_read_is_named_and_the_others_are_read(
    path: Path, damaged: bytes, label: str
) -> None:
    path.write_bytes(b'[{"jobId":1},' + damaged + b',{"jobId":3}]')
    survey = survey_file(path)
    assert [found.job_id for found in each_last(path, survey)] == [1, 3]
    assert [item.label for item in survey.unread] == [label]


def test_a_deep_job_takes_no_more_memory_than_its_text(path: Path) -> None:
    path.write_bytes(b'[{"jobId":1,"x":' + DEEP + b'},{"jobId":3}]')
    tracemalloc.start()
    assert len(list(read_job_list(path))) == 2
    assert tracemalloc.get_traced_memory()[1] < 8_000_000
    tracemalloc.stop()


def test_what_never_ends_is_one_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_list, "LONGEST", 1_000_000)
    with pytest.raises(UnreadableAnswer, match=r"no end within .* at byte 13, behind RM job 1$"):
        read(path, b'[{"jobId":1},{"jobId":2,"x":"' + b"x" * 3_000_000 + b'"}]')


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'[{"jobId":1},{"jobId":2', "was cut short: .* at byte 13, behind RM job 1"),
        (b'[{"jobId":1},', "was cut short: it ends at byte 13, behind RM job 1"),
        (b'[{"jobId":1}}]', "is not JSON at byte 12, behind RM job 1"),
        (b'[{"jobId":2,"jobId":7}, 1]', "is not JSON at byte 1"),
        (b'[{"jobId":2,,"jobId":7}, 1]', "is not JSON at byte 1"),
        (b'[{"x":1}{"jobId":3}]', "is not JSON at byte 8, behind item 1"),
        (b'[{"jobId":1,"x":"5" p"},{"jobId":2},{"x":"5" p"}]', "is not JSON at byte 1"),
        (b'{"jobs":[{"jobId":1}],"n":', "was cut short: it ends at byte 26, behind RM job 1"),
        (b"<html>", "is not JSON at byte 0"),
    ],
)
def test_where_the_list_is_broken_the_place_is_named(path: Path, body: bytes, said: str) -> None:
    with pytest.raises(UnreadableAnswer, match=rf"^RestorationManager's answer {said}$"):
        read(path, body)


JOBS = [job(n, f"A-{n}", jobName=f'Café {n} \\ "x" {{[') for n in range(1, 9)]


def placed(items: list[dict[str, Any]]) -> tuple[bytes, list[tuple[int, int]]]:
    """Return a list as JSON, and where in it each of its items stands."""
    body, places = b"[", []
    for number, item in enumerate(items):
        text = json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode()
        body += b"," if number else b""
        places.append((len(body), len(body) + len(text)))
        body += text
    return body + b"]", places


BODY, PLACES = placed(JOBS)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    at=st.integers(0, len(BODY)),
    length=st.integers(0, 12),
    put=st.one_of(
        st.binary(max_size=6), st.sampled_from([b'"', b"}", b"{", b",", b"},{", b"[", b"\\", b"\0"])
    ),
    piece=st.sampled_from([7, 64, 1 << 18]),
)
@example(at=3, length=0, put=b'"', piece=7)
@example(at=1123, length=7, put=b"", piece=7)
def test_any_one_damage_leaves_every_other_job_or_says_where(
    tmp_path: Path, at: int, length: int, put: bytes, piece: int
) -> None:
    path, end = tmp_path / "x.json", min(at + length, len(BODY))
    path.write_bytes(BODY[:at] + put + BODY[end:])
    whole = {
        item["jobId"]: item
        for item, (first, last) in zip(JOBS, PLACES, strict=True)
        if last < at or first > end
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job_list, "PIECE", piece)
        found, said = outcome(path)
    if said:
        assert re.fullmatch(r"RestorationManager's answer [^\n]*( at byte |not a list)[^\n]*", said)
        assert "Main Street" not in said
        return
    jobs = [item for item in found if isinstance(item, dict) and item.get("jobId") in whole]
    assert jobs == list(whole.values())


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=40), start=st.sampled_from([b"", b"[", b"{", b'{"jobs":[', b"[{"]))
def test_any_bytes_are_a_list_or_one_line(tmp_path: Path, body: bytes, start: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(start + body)
    _, said = outcome(path)
    assert re.fullmatch(r"(RestorationManager's answer [^\n]+)?", said)


# --- from RestorationManager to the record ------------------------------------------------


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with Sandbox(jobs=[job(n, f"A-{n}") for n in (1, 2, 3)]) as sandbox:
        made = Office(sandbox, tmp_path)
        yield made
        made.close()


def fetch(office: Office, *, complete: bool = True) -> Any:
    """Fetch and record, as the workers do; return the run."""
    fetch = office.app.fetch
    with fetch.running(None, complete=complete) as run:
        messages = list(fetch.messages(run))
    for message in messages:
        sighting = Sighting(
            run_id=run.run_id,
            number=run.number,
            complete=run.complete,
            observed_at=run.observed_at,
        )
        record(office.app.db, office.app.rules, message, sighting)
    assert not fetch.close()
    with office.app.db.read() as conn:
        return runs.get(conn, run.run_id)


def active(office: Office) -> list[int]:
    return [n for n in (1, 2, 3) if office.row(n).active]


@pytest.mark.parametrize(
    "switches",
    [
        {"wrapping": "$values"},
        {"numbers_as_floats": True, "zip_as_int": True},
        {"numbers_as_floats": True, "numbers_as_strings": True, "zip_as_int": True},
        {"not_a_number": True},
        {"html_entities": True},
        {"encoding": "windows-1252"},
        {"raw_controls": True},
    ],
    ids=str,
)
def test_whatever_the_form_the_record_is_the_same(office: Office, switches: dict[str, Any]) -> None:
    odd = {"jobName": "Café\t\n\0 x", "jobAddress1": "13 O'Connell St & 5th", "jobZip": "02134"}
    office.sandbox.rm.put_jobs([job(2, "Ä-2", **odd)])
    fetch(office)
    before = office.row(2)
    office.sandbox.rm.switches.update(switches)
    run = fetch(office)
    assert (run.state, run.recorded, run.note) == ("done", 3, None)
    assert (before.addr1, before.zip) == ("13 O'Connell St & 5th", "02134")
    same = read_back(office.row(2)) == read_back(before)
    assert same or switches == {"raw_controls": True}  # there a NUL is a blank
    single = read_job(office.app.rm.get_job(2))
    assert (single.job_number, single.address.zip) == ("Ä-2", "02134")


@pytest.mark.parametrize("nothing", ["204", "null", "empty"])
def test_nothing_is_an_answer_to_what_changed_but_not_to_what_there_is(
    office: Office, nothing: str
) -> None:
    fetch(office)
    office.sandbox.rm.switches.update({"nothing": nothing})
    office.sandbox.rm.delete_jobs([1, 2, 3])
    run = fetch(office, complete=False)
    assert (run.state, run.complete, run.emitted, run.recorded) == ("done", False, 0, 0)
    path = office.settings.var_dir / "mine.json"
    done = job_files.fetch_file(
        office.app.fetch, full=False, output=path, loaded=lambda _: None, counted=lambda _: None
    )
    assert (done.jobs, done.complete) == (0, False)
    kept = (office.settings.var_dir / ALL_JOBS).read_bytes()
    with pytest.raises(UnreadableAnswer):
        fetch(office)
    assert (office.settings.var_dir / ALL_JOBS).read_bytes() == kept
    assert active(office) == [1, 2, 3]


def test_a_job_that_cannot_be_read_stays_as_it_is_and_is_named(office: Office) -> None:
    fetch(office)
    office.sandbox.rm.put_jobs([job(2, "A-2", jobProgress="Lost Lead")])
    office.sandbox.rm.switches.update({"unreadable_job": 2})
    for _ in range(3):
        run = fetch(office)
        assert (run.state, run.emitted, run.recorded, run.skipped) == ("done", 2, 2, 1)
        assert run.note == ("1 in the list could not be read and stay as they are: RM job 2 (A-2)")
    assert active(office) == [1, 2, 3]
    office.sandbox.rm.switches.update({"unreadable_job": 0})
    assert fetch(office).note is None
    assert active(office) == [1, 3]


def test_while_it_may_be_any_job_that_cannot_be_read_none_vanishes(office: Office) -> None:
    fetch(office)
    office.sandbox.rm.switches.update({"unreadable_job": 2, "unreadable_first": True})
    office.sandbox.rm.delete_jobs([3])
    for _ in range(3):
        run = fetch(office)
        assert run.note.endswith("; so no job counts as vanished by this fetch")
        assert "item 2 at byte" in run.note
        assert active(office) == [1, 2, 3]
    office.sandbox.rm.switches.update({"unreadable_job": 0})
    fetch(office)
    assert active(office) == [1, 2, 3]
    fetch(office)
    assert active(office) == [1, 2]


def test_an_item_that_is_no_job_at_all_keeps_nothing_from_vanishing(
    office: Office, path: Path
) -> None:
    fetch(office)
    items = [
        job(1, "A-1"),
        {"jobId": None, "jobName": "template"},
        {"jobId": None, "jobJobId": "A-3"},
    ]
    body = json.dumps(items)
    rule = {"kind": "garbled", "path": "/api/Jobs", "body": body, "act": False}
    office.sandbox.faults.set([rule])
    for _ in range(2):
        assert fetch(office).skipped == 2
    assert active(office) == [1, 3]  # the third is known by its number
