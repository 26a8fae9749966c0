"""The supervisor, with real processes: order, restarts, output, and that nothing outlives it."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cprqueue.runtime import supervised
from cprqueue.runtime.supervisor import Event, Program, Supervisor, loop, restart_delay
from tests.real_processes import killed_at_the_end, marked, no_process_left_behind, wait_until
from tests.running import ROOT

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"


class DemoSystem:
    """A supervisor running in a thread, and all its events."""

    def __init__(self, *programs: Program) -> None:
        self.events: list[Event] = []
        self.supervisor = Supervisor(programs, on_event=self.events.append, rng=random.Random(1))
        self.exit_codes: list[int] = []
        self.thread = threading.Thread(
            target=lambda: self.exit_codes.append(self.supervisor.run()), daemon=True
        )
        self.thread.start()

    def of(self, kind: str, program: str | None = None) -> list[Event]:
        return [e for e in self.events if e.kind == kind and program in (None, e.program)]

    def wait_for(self, kind: str, program: str | None = None, *, times: int = 1) -> Event:
        wait_until(lambda: len(self.of(kind, program)) >= times)
        return self.of(kind, program)[times - 1]

    def order(self, *kinds: str) -> list[tuple[str, str]]:
        return [(event.kind, event.program) for event in self.events if event.kind in kinds]

    def end(self) -> int:
        self.supervisor.stop()
        self.thread.join(20)
        return self.exit_codes[0]


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    with no_process_left_behind(tmp_path):
        yield tmp_path


def python(mark: Path, code: str, **changes: object) -> Program:
    program = Program(
        name="one", argv=(sys.executable, "-c", code), env={"MARK": str(mark)}, stop_seconds=10
    )
    return dataclasses.replace(program, **changes)  # type: ignore[arg-type]


def waiting(name: str, mark: Path, **changes: object) -> Program:
    code = f"import time; print({name!r}, 'is up'); time.sleep(600)"
    return python(mark, code, **{"name": name, "ready_line": "is up", **changes})


def test_the_first_program_is_ready_before_the_others_start_and_ends_after_them(
    mark: Path,
) -> None:
    system = DemoSystem(waiting("a", mark), waiting("broker", mark, first=True), waiting("b", mark))
    system.wait_for("all_ready")
    assert system.end() == 0
    starts = system.order("started", "ready")
    assert starts[:2] == [("started", "broker"), ("ready", "broker")]
    assert starts[2:4] == [("started", "a"), ("started", "b")]
    assert [name for _, name in system.order("stopped")][2] == "broker"
    assert {event.detail for event in system.of("stopped")} == {"signal SIGTERM"}


def test_without_a_ready_line_a_program_is_ready_once_started(mark: Path) -> None:
    system = DemoSystem(
        python(mark, "import time; time.sleep(600)", first=True), waiting("other", mark)
    )
    system.wait_for("all_ready")
    assert system.end() == 0


def test_what_dies_is_restarted_and_the_event_says_why(mark: Path) -> None:
    system = DemoSystem(waiting("worker", mark))
    pid = system.wait_for("ready", "worker").pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    died = system.wait_for("died", "worker")
    assert (died.pid, died.detail) == (pid, "signal SIGKILL")
    delay = system.wait_for("restarting", "worker").delay_seconds
    assert delay is not None
    assert delay <= 0.5
    assert system.wait_for("ready", "worker", times=2).pid != pid
    assert system.end() == 0
    assert len(system.of("all_ready")) == 1


def test_a_program_that_does_not_exist_is_reported_and_tried_again(mark: Path) -> None:
    system = DemoSystem(Program(name="typo", argv=("/no/such/program",), env={"MARK": str(mark)}))
    assert system.wait_for("died", times=2).detail == "exit code 127"
    assert (
        system.of("output")[0].detail == "cannot start /no/such/program: No such file or directory"
    )
    assert system.end() == 0


def test_stop_before_the_first_program_is_ready_ends_at_once(mark: Path) -> None:
    system = DemoSystem(waiting("never", mark, first=True, ready_line="?"), waiting("b", mark))
    system.wait_for("output", "never")
    assert system.end() == 0
    assert not system.of("started", "b")


def test_a_program_that_ignores_sigterm_is_killed_with_its_descendants(mark: Path) -> None:
    code = f"""{STUBBORN} import subprocess, sys
subprocess.Popen([sys.executable, "-c", {STUBBORN + "time.sleep(600)"!r}])
print("is up"); time.sleep(600)"""
    system = DemoSystem(python(mark, code, ready_line="is up", stop_seconds=0.3))
    system.wait_for("all_ready")
    wait_until(lambda: len(marked(mark)) == 2)
    assert system.end() == 1
    assert system.of("stopped")[0].detail == "signal SIGKILL"
    assert marked(mark) == []


def test_descendants_of_a_dead_program_are_gone_before_it_is_restarted(mark: Path) -> None:
    code = """import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid)"""
    system = DemoSystem(python(mark, code))
    orphan = system.wait_for("output").detail
    system.wait_for("restarting")
    assert int(orphan) not in marked(mark)
    assert system.end() == 0


def test_the_last_words_of_a_program_come_before_its_death_and_none_is_lost(mark: Path) -> None:
    log = mark / "one.log"
    code = "for n in range(20_000): print('line', n)\nprint('no newline', end='')"
    system = DemoSystem(python(mark, code, log_path=log))
    system.wait_for("died")
    death = next(n for n, event in enumerate(system.events) if event.kind == "died")
    lines = [event.detail for event in system.events[:death] if event.kind == "output"]
    assert lines == [*(f"line {n}" for n in range(20_000)), "no newline"]
    assert system.end() == 0
    assert log.read_text().startswith("line 0\nline 1\n")


def test_a_slow_reader_of_events_never_blocks_a_program(mark: Path) -> None:
    go_on, done = threading.Event(), mark / "done"

    def slow(_event: Event) -> None:
        go_on.wait(20)

    code = f"print('x' * 2_000_000); open({str(done)!r}, 'w'); import time; time.sleep(600)"
    supervisor = Supervisor([python(mark, code)], on_event=slow)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    wait_until(done.exists, timeout_seconds=10)
    supervisor.stop()
    go_on.set()
    thread.join(20)
    assert not thread.is_alive()


def test_what_nobody_reads_in_time_is_counted_and_the_ready_line_still_found(
    mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_BACKLOG_LINES", 10)
    events: list[Event] = []
    go_on, done = threading.Event(), mark / "done"

    def slow(event: Event) -> None:
        go_on.wait(20)
        events.append(event)

    code = f"[print(n) for n in range(1000)]; print('is up'); open({str(done)!r}, 'w')"
    supervisor = Supervisor([python(mark, code, ready_line="is up")], on_event=slow)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    wait_until(done.exists, timeout_seconds=10)
    wait_until(lambda: not marked(mark))
    go_on.set()
    wait_until(lambda: any(event.kind == "died" for event in events))
    supervisor.stop()
    thread.join(20)
    assert any(event.kind == "ready" for event in events)
    assert any("lines left out" in event.detail for event in events)


def test_a_second_process_is_refused_while_the_first_holds_the_lock(mark: Path) -> None:
    lock = mark / "lock"
    system = DemoSystem(waiting("holder", mark, lock_path=lock))
    pid = system.wait_for("ready").pid
    second = subprocess.run(
        [sys.executable, supervised.__file__, str(os.getpid()), str(lock), "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == supervised.EXIT_LOCKED
    assert second.stderr == f"another process (pid {pid}) is using {mark}; stop it first\n"
    assert system.end() == 0
    descriptor = supervised.take_lock(lock, patience_seconds=0)
    assert descriptor is not None
    os.close(descriptor)


def test_if_on_event_raises_everything_is_killed_and_run_raises_the_same(mark: Path) -> None:
    def broken(event: Event) -> None:
        if event.kind == "all_ready":
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        Supervisor([waiting("a", mark), waiting("b", mark)], on_event=broken).run()
    assert marked(mark) == []


# The supervisor as a process of its own.


def start_alone(mark: Path, *, child: str, stop_seconds: float = 20) -> subprocess.Popen[str]:
    code = f"""
    import os, sys
    from cprqueue.runtime.supervisor import Program, Supervisor
    program = Program(name="one", argv=(sys.executable, "-c", {child!r}), env=dict(os.environ),
                      ready_line="is up", stop_seconds={stop_seconds})
    show = lambda event: print(event.kind, event.pid, event.detail, flush=True)
    sys.exit(Supervisor([program], on_event=show).run())
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "MARK": str(mark)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    for line in process.stdout:
        if line.startswith("all_ready"):
            return process
    raise AssertionError("never ready")


WITH_CHILD = f"""{STUBBORN} import os
if os.fork() == 0:
    import ctypes; ctypes.CDLL(None).prctl(1, 9)  # what a Celery pool child does
    print("is up", flush=True)
time.sleep(600)"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent")
def test_no_program_outlives_a_supervisor_that_is_killed_with_sigkill(mark: Path) -> None:
    alone = start_alone(mark, child=WITH_CHILD)
    with killed_at_the_end(alone):
        wait_until(lambda: len(marked(mark)) == 3)
        alone.kill()
    wait_until(lambda: not marked(mark), timeout_seconds=5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_everything_cleanly(mark: Path, number: signal.Signals) -> None:
    alone = start_alone(mark, child="import time; print('is up'); time.sleep(600)")
    with killed_at_the_end(alone):
        alone.send_signal(number)
        assert alone.wait(20) == 0
        assert alone.stdout
        assert "stopped" in alone.stdout.read()


def test_a_second_signal_does_not_wait_for_a_program_that_lingers(mark: Path) -> None:
    child = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: print('not yet'));"
    alone = start_alone(
        mark, child=child + "print('is up')\nwhile True: time.sleep(9)", stop_seconds=600
    )
    with killed_at_the_end(alone):
        alone.terminate()
        assert alone.stdout
        wait_until(lambda: alone.stdout and "not yet" in alone.stdout.readline())
        alone.terminate()
        assert alone.wait(20) == 1


class Ceiling(random.Random):
    """Always the longest delay."""

    def uniform(self, a: float, b: float) -> float:
        return b


@pytest.mark.parametrize(
    ("failures", "uptime_seconds", "longest"),
    [
        (0, 0, 0.5),
        (1, 0, 1),
        (4, 0, 8),
        (6, 0, 30),  # the cap
        (100_000, 59, 30),
        (100_000, 60, 0.5),  # it ran long enough to be trusted again
    ],
)
def test_delays_double_up_to_a_cap_and_are_forgotten_after_a_minute(
    failures: int, uptime_seconds: float, longest: float
) -> None:
    assert restart_delay(failures, uptime_seconds, Ceiling()) == longest


def test_delays_are_spread_over_the_whole_range() -> None:
    rng = random.Random(7)
    delays = [restart_delay(10, 0, rng) for _ in range(200)]
    assert min(delays) < 3
    assert max(delays) > 27
