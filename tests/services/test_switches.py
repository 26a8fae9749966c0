"""Every guess about the two services, each way: the promise holds, or one line says why not.

Each switch and each kind of fault of the sandbox has a row here. Where its expected text is
``HOLDS``, every stage of an installation's life ends as promised; elsewhere that text is what a
person reads, and once the service behaves again, nothing is lost and nothing is there twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import MISSING, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import pytest

from cprqueue.domain.recording import Sighting
from cprqueue.domain.states import RunKind, RunState
from cprqueue.errors import AccessStopped, CprqueueError, Transient
from cprqueue.sandbox.audit import audit
from cprqueue.sandbox.fault_fields import KINDS
from cprqueue.sandbox.quickbooks_time import Switches
from cprqueue.sandbox.restoration_manager import RmSwitches
from cprqueue.sandbox.server import Sandbox
from cprqueue.services import gates
from cprqueue.services.prune import orders
from cprqueue.services.record import record
from cprqueue.services.reports import overview
from cprqueue.services.snapshot import geocoding
from cprqueue.store import push_queue, runs
from cprqueue.store.database import clock
from tests.listening import by_the_minute
from tests.office import Office, job
from tests.pruning import CLOSED
from tests.real_processes import wait_until

pytestmark = pytest.mark.slow

T = TypeVar("T")
Values = Mapping[str, Any]

HOLDS = ""
SETTINGS = {"QBT_RATE_LIMIT": "1000", "QBT_RATE_WINDOW": "0.2"}
WINDOW = {"rate_window_seconds": 0.2}
TRIES = 30  # with eight calls a window a snapshot alone is refused several times
NO_RIGHT = "permission"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One value, with what brings it to bear, and the text expected (a pattern)."""

    value: Any
    says: str = HOLDS
    qbt: Values = field(default_factory=dict)
    rm: Values = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    patience: float = 5.0
    tries: int = TRIES


def each(*values: Any, says: str = HOLDS, **how: Any) -> list[Row]:
    """Return a row for each value, all with the same expectation."""
    return [Row(value=value, says=says, **how) for value in values]


ON, OFF = each(True), each(False)
FEW = {"rate_limit": 8}
STOPS = "QuickBooks Time"

QBT: dict[str, list[Row]] = {
    "unauthorized_body": each("error", "html"),
    "token_lifetime_seconds": each(1.0),
    "grant_grace": each(30.0),
    "refresh_needs_authorization": OFF,
    "refresh_needs_live_token": each(True, says="refuses the refresh token"),
    "bad_refresh_status": each(400),
    "rate_limit": each(8),
    "rate_window_seconds": each(0.4, qbt=FEW),
    "rate_window": each("sliding", qbt=FEW),
    "retry_after": each(True, qbt=FEW),
    "force_status": each(
        401, 402, 403, 413, 417, 429, 499, 500, 501, 503, says=STOPS, patience=0.2, tries=3
    ),
    "act_then_status": each(
        401, 402, 403, 413, 417, 429, 499, 500, 501, 503, says=STOPS, patience=0.2, tries=3
    ),
    "forced_body": each("html", qbt={"force_status": 503}, says=STOPS, patience=0.2, tries=3),
    "strict_filters": ON,
    "unknown_parameter_refused": ON,
    "since_inclusive": OFF,
    "naive_dates_refused": ON,
    "name_filter_prefix": ON,
    "order": each("last_modified", "random"),
    "empty_as_list": OFF,
    "empty_results": each("missing", "bare_list"),
    "all_failed_status_417": ON,
    "duplicate_echo_full": ON,
    "failed_update_echoes_id": OFF,
    "ids_above_2_31": ON,
    "names_exact": ON,
    "names_trimmed": OFF,
    "name_length_in_bytes": each(True, says="longer than 64"),
    "names_without_accents": each(True, says="without accents"),
    "archived_namesake": each("twin", "refused"),
    "rename_clash": each("accepted"),
    "unknown_id_code": each(404),
    "not_modified_moves_last_modified": ON,
    "archived_edit_accepted": ON,
    "archive_keeps_assigned_to_all": ON,
    "archive_drops_links": ON,
    "has_children_counts_archived": ON,
    "geocode_seconds": each(0.0),
    "geocode_moves_last_modified": OFF,
    "geocoding_filter": each("ignored", "refused"),
    "link_archived_accepted": ON,
    "linking_moves_jobcode": ON,
    "admin": each(False, says=NO_RIGHT),
    "manage_jobcodes": each(True, qbt={"admin": False}),
    "manage_users": each(True, qbt={"admin": False}, says=NO_RIGHT),
    "quickbooks_installed": ON,
    "max_jobcodes": each(215, says="maximum number"),
}

WRONG_LOGIN = {"RM_PASSWORD": "not it"}
RM: dict[str, list[Row]] = {
    "wrapping": each("results", "jobs", "value", "$values"),
    "nothing": each("204", "null", "empty"),
    "token_seconds": each(0.05),
    "denied": each("403", "html200"),
    "login_denied": each("403", "html200", settings=WRONG_LOGIN, says="RestorationManager"),
    "single_job": each("404", "405"),
    "modified_field": each("", "lastModified"),
    "modified_format": each("naive", "seconds", "offset"),
    "casing": each("lower", "upper", "pascal", "camel"),
    "numbers_as_strings": ON,
    "zip_as_int": ON,
    "numbers_as_floats": ON,
    "not_a_number": ON,
    "trailing_spaces": ON,
    "html_entities": ON,
    "encoding": each("windows-1252"),
    "raw_controls": ON,
    "unreadable_job": each(2, says="RM job 2"),
    "unreadable_first": each(True, rm={"unreadable_job": 2}, says="item 2 at byte"),
    "byte_order_mark": ON,
    "since_inclusive": OFF,
    "since_honoured": OFF,
    "paths_ignore_case": OFF,
    "names_ignore_case": OFF,
    "drip_seconds": each(0.2),
}
TABLES: dict[str, tuple[type[Any], dict[str, list[Row]]]] = {
    "qbt": (Switches, QBT),
    "rm": (RmSwitches, RM),
}
CASES = [
    pytest.param(service, name, row, id=f"{service}-{name}-{row.value}")
    for service, (_, table) in TABLES.items()
    for name, rows in table.items()
    for row in rows
]
FAULTS: list[dict[str, Any]] = [
    *({"kind": kind} for kind in KINDS if kind not in ("slow", "drip", "items")),
    {"kind": "slow", "seconds": 0.01},
    {"kind": "slow", "seconds": 0.01, "act": "first"},
    {"kind": "drip", "seconds": 0.01},
    {"kind": "items", "item_share": 0.3},
    {"kind": "items", "item_share": 0.3, "code": 417},
    {"kind": "items", "positions": [1], "code": 404},
    {"kind": "items", "where": {"name": "A-8"}, "code": 409},
    {"kind": "garbled", "act": False},
    {"kind": "html", "act": True},
    {"kind": "cut", "act": False},
    {"kind": "status", "status": 417},
    {"kind": "act_then_status", "status": 409},
]


def default(of: type[Any], name: str) -> Any:
    found = next(each.default for each in fields(of) if each.name == name)
    assert found is not MISSING
    return found


def choices(hint: Any) -> set[Any]:
    """Return every value there is, empty where there is no end of them."""
    if get_origin(hint) is Literal:
        return set(get_args(hint))
    return {True, False} if hint is bool else set()


@pytest.mark.parametrize("service", TABLES)
def test_each_value_of_each_switch_has_a_row(service: str) -> None:
    kind, table = TABLES[service]
    hints = get_type_hints(kind)
    assert list(table) == [each.name for each in fields(kind)]
    for name, rows in table.items():
        values, usual = {row.value for row in rows}, default(kind, name)
        assert values >= choices(hints[name]) - {usual}, name
        assert values - {usual}, name


class Life:
    """An installation from its first sync to an undo. ``said``: the errors met, a line each."""

    def __init__(self, office: Office) -> None:
        self.office = office
        self.app, self.rm, self.qbt = office.app, office.sandbox.rm, office.sandbox.qbt
        self.said: list[str] = []
        self.patience, self.tries = 5.0, TRIES
        self.unmanaged = set(self._by_hand())

    def _by_hand(self) -> Iterator[int]:
        """Fill more than a page, and give three jobs a jobcode that waits for them."""
        for n in range(205):
            yield self.qbt.add_jobcode(name=f"By hand {n}")
        customer = self.qbt.add_jobcode(name="A customer")
        yield from (customer, self.qbt.add_jobcode(name="A-9", parent_id=customer))
        archived = self.qbt.add_jobcode(name="A-3")
        self.qbt.change_jobcode(archived, active=False)
        self.qbt.add_jobcode(name="a-4", assigned_to_all=True)
        yield self.qbt.add_jobcode(name="Canon")

    def _archive_by_hand(self, name: str) -> None:
        """Make and archive a jobcode that no export shows; under a full account, do not."""
        with suppress(ValueError):
            made = self.qbt.add_jobcode(name=name)
            self.qbt.change_jobcode(made, active=False)
            if self.qbt.switches.archived_namesake == "twin":
                self.unmanaged.add(made)  # the service lets it be: it stays as it is, nobody's

    def attempt(self, act: Callable[[], T]) -> T | None:
        """Do it, again where that may help, as workers do."""
        for _ in range(self.tries):
            try:
                return act()
            except (Transient, AccessStopped) as error:
                self.say(str(error))
                wait_until(lambda: self.app.budget.wait_seconds() <= 0)
            except CprqueueError as error:
                self.say(str(error))
                break
        return None

    def say(self, text: str) -> None:
        assert len(text.splitlines()) == 1, text
        self.said.append(text)

    def sync(self, *changes: dict[str, Any], complete: bool = False) -> None:
        self.rm.put_jobs(changes)
        self.attempt(lambda: self._fetch(complete=complete))
        self.push()

    def _fetch(self, *, complete: bool) -> None:
        with self.app.fetch.running(None, complete=complete) as run:
            for each in self.app.fetch.messages(run):
                seen = Sighting(
                    run_id=run.run_id,
                    number=run.number,
                    complete=run.complete,
                    observed_at=run.observed_at,
                )
                record(self.app.db, self.app.rules, each, seen)
        assert not self.app.fetch.close()
        self.said += [each.label for each in run.unread]

    def push(self) -> None:
        """Push until nothing is due; where the push is stopped, try the way as the sweep does."""
        for _ in range(2):
            gates.probe_push(self.app.db, self.app.qbt())
            self.said += [result.text for result in self.office.push(seconds=self.patience)]
        for row in overview.failures(self.app.db):
            self.say(f"{row.job_number}: {row.error_reason}")

    def promise(self, *, closed: int) -> None:
        """Fail unless the account is as promised, with this many jobcodes of closed jobs."""
        found = audit(self.rm.jobs(), self.qbt.state(), unmanaged=self.unmanaged)
        assert found.wrong == []
        assert found.leftover == closed

    def prune(self) -> int | None:
        run_id = self.attempt(lambda: orders.request_prune(self.app.db, "test"))
        if run_id is not None:
            self.attempt(self.app.snapshot.take)
            self.attempt(lambda: self.app.prune.run(run_id, None))
        return run_id

    def undo(self, run_id: int | None) -> None:
        if run_id is not None:
            undo = self.attempt(lambda: self.app.undo.request(run_id))
            if undo is not None:
                self.attempt(lambda: self.app.undo.run(undo))

    def stages(self) -> Iterator[int]:
        """Live; yield after each stage how many jobcodes of closed jobs are active by then."""
        self.sync(*JOBS, complete=True)
        yield 0
        self.rm.expire_tokens()
        self.qbt.expire_token()
        self._archive_by_hand("A-20")
        self.sync(*CHANGES)
        yield 2
        self.sync()
        run_id = self.prune()
        self.attempt(lambda: geocoding.read(self.app.db, self.app.qbt()))
        yield 0
        self.undo(run_id)
        yield 2
        self.prune()
        yield 0
        self.sync(job(6, "A-6"))
        yield 0
        self.rm.put_jobs([job(1, "A-1b", jobAddress1="1 Third Street")])
        self.attempt(lambda: self.app.resync.run("1", None))
        self.push()  # where it met a refusal, the job is due and the ordinary push takes it up
        yield 0

    def mend(self) -> None:
        """What follows once both services behave: what was parked is tried again."""
        self.patience, self.tries = 5.0, TRIES
        with self.app.db.begin() as conn:
            push_queue.requeue(conn, now=clock(conn))
        self.sync(complete=True)
        self._finish_orders()
        self.prune()

    def _finish_orders(self) -> None:
        """Carry out what was ordered while the service failed, as the sweep has it done."""
        with self.app.db.read() as conn:
            open_ = runs.newest_few(conn, None, RunState.QUEUED, RunState.RUNNING, limit=20)
        for run in reversed(open_):
            if run.kind is RunKind.UNDO:
                self.attempt(partial(self.app.undo.run, run.run_id))
            elif run.kind is RunKind.PRUNE:
                self.attempt(partial(self.app.prune.run, run.run_id, None))


JOBS = [
    *(job(n, f"A-{n}") for n in range(1, 10)),
    job(10, "A-10", jobAddress1="", jobCity="", jobStateCd="", jobZip=""),
    job(11, "é" * 64, jobAddress1="13 O'Connell & Peña St"),
    job(12, "A-12", jobZip="02134", jobAddress2="Unit\t2"),
    job(13, "Cañon"),
]
CHANGES = [
    job(1, "A-1b"),
    job(2, "A-2", jobAddress1="2 New Street"),
    job(5, "A-5", **CLOSED),
    job(6, "A-6", **CLOSED),
    job(7, "A-7", jobAddress1="", jobCity="", jobStateCd="", jobZip=""),
    job(10, "A-10"),
    job(20, "A-20"),
]


@pytest.fixture
def live(sandbox: Sandbox, tmp_path: Path) -> Iterator[Callable[..., Life]]:
    """Begin a life on the sandbox."""
    offices: list[Office] = []

    def begin(**settings: str) -> Life:
        office = Office(sandbox, tmp_path / "var", **{**SETTINGS, **settings})
        sandbox.qbt.switches.update(WINDOW)
        offices.append(office)
        return Life(office)

    yield begin
    for office in offices:
        office.close()


def test_the_promise_holds_as_the_switches_stand(live: Callable[..., Life]) -> None:
    life = live()
    for closed in life.stages():
        life.promise(closed=closed)
    assert not [line for line in life.said if "parked" in line and "0 parked" not in line]


def test_a_job_whose_name_exists_below_a_customer_is_named(live: Callable[..., Life]) -> None:
    life = live()
    life.sync(*JOBS, complete=True)
    warnings = overview.read_status(life.app.db, life.app.budget, by_the_minute).warnings
    (named,) = [line for line in warnings if "below a customer" in line]
    assert named.endswith("A-9")


@pytest.mark.parametrize(("service", "name", "row"), CASES)
def test_the_promise_holds_or_one_line_says_why_not(
    live: Callable[..., Life], service: str, name: str, row: Row
) -> None:
    life = live(**row.settings)
    life.patience, life.tries = row.patience, row.tries
    given = {"qbt": row.qbt, "rm": row.rm}
    both = {"qbt": life.qbt.switches, "rm": life.rm.switches}
    given[service] = {**given[service], name: row.value}
    before = {s: {n: getattr(both[s], n) for n in values} for s, values in given.items()}
    for which, values in given.items():
        both[which].update(values)
    for closed in life.stages():
        if not row.says:
            life.promise(closed=closed)
    if not row.says:
        assert not overview.failures(life.app.db)
        return
    assert re.search(row.says, "\n".join(life.said)), life.said
    for which, values in before.items():
        both[which].update(values)
    if not row.settings:
        life.mend()
        life.promise(closed=0)


@pytest.mark.parametrize("service", ["qbt", "rm"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: "-".join(map(str, fault.values())))
def test_no_fault_costs_a_job(
    live: Callable[..., Life], service: str, fault: dict[str, Any]
) -> None:
    life = live()
    life.qbt.switches.update({"grant_grace": 60.0})  # else a lost renewal is a person's to mend
    when = {"times": 3} if service == "rm" else {"every": 4}
    life.office.sandbox.faults.set([{**fault, "service": service, **when}])
    for _ in life.stages():
        pass
    life.office.sandbox.faults.clear()
    life.mend()
    life.promise(closed=0)
