"""Programs that are forked: children of the supervisor, as those are that are started by exec."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.real_processes import killed_at_the_end, marked, no_process_left_behind, wait_until
from tests.running import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere programs are executed")
MODULE = "tests.runtime.forked_program"


class Supervising:
    """A supervisor in a process of its own, for it takes orphans; and what it says."""

    def __init__(self, mark: Path, *words: str, **env: str) -> None:
        self.mark, self.lines = mark, list[str]()
        code = f"""
        import os, signal, sys
        from pathlib import Path
        from cprqueue.runtime.supervisor import Program, Supervisor, starter
        starter.PATIENCE_SECONDS = float(os.environ.get("PATIENCE", "60"))
        if "NOT_OURS" in os.environ:  # a system that promises orphans, and gives them to another
            starter.fork_server.become_parent_of_orphans = lambda: True
        programs = [
            Program(name=word, argv=(sys.executable, "-m", "{MODULE}", word), forked=True,
                    env={{**os.environ, "OWN": word}}, ready_line="is up",
                    stop_signal=signal.SIGQUIT, lock_path=Path({str(mark)!r}, word))
            for word in sys.argv[1:]
        ]
        show = lambda event: print(event.kind, event.program, event.pid, event.detail, flush=True)
        sys.exit(Supervisor(programs, on_event=show).run())
        """
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), *words],
            env={**os.environ, "MARK": str(mark), **env},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            self.lines.extend(line.rstrip("\n") for line in iter(lines.readline, ""))

    def heard(self, *begin: str) -> list[list[str]]:
        """Return the words of the events that begin so."""
        found = [line.split() for line in list(self.lines)]
        return [words for words in found if tuple(words[: len(begin)]) == begin]

    def wait_for(self, *begin: str, times: int = 1) -> list[str]:
        wait_until(lambda: len(self.heard(*begin)) >= times)
        return self.heard(*begin)[times - 1]

    def server(self) -> int:
        """Return the process id of the fork server."""
        known = {pid: command_line(pid) for pid in marked(self.mark)}
        [found] = [pid for pid, words in known.items() if words[:2] == ["cprqueue", "fork-server"]]
        return found


def command_line(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    with no_process_left_behind(tmp_path):
        yield tmp_path


@contextmanager
def supervising(mark: Path, *words: str, **env: str) -> Iterator[Supervising]:
    system = Supervising(mark, *words, **env)
    with killed_at_the_end(system.process):
        yield system


def test_a_forked_program_is_the_supervisors_child_and_named_and_asked_to_end(mark: Path) -> None:
    with supervising(mark, "one", "two") as system:
        for name in ("one", "two"):
            pid = int(system.wait_for("ready", name)[2])
            said = system.wait_for("output", name)[3:]
            assert said[:3] == ["is", "up", name]
            assert said[4:] == [str(system.process.pid), name, "2"]
            assert command_line(pid) == [sys.executable, "-m", MODULE, name]
            assert os.getsid(pid) == pid
            assert (mark / name).read_text() == f"{pid}\n", "it holds its lock"
        [server] = {words[6] for words in system.heard("output")}
        wait_until(lambda: not Path("/proc", server).exists())  # nothing is to be started
        system.process.terminate()
        assert system.process.wait(20) == 0
        wait_until(lambda: len(system.heard("stopped")) == 2)
        assert {" ".join(words[3:]) for words in system.heard("stopped")} == {"exit code 7"}


def test_one_that_dies_is_started_again_also_by_another_server(mark: Path) -> None:
    with supervising(mark, "one", "3") as system:
        assert system.wait_for("died", "3")[3:] == ["exit", "code", "3"]
        pid = int(system.wait_for("ready", "one")[2])
        first = system.server()
        os.kill(first, signal.SIGKILL)
        system.wait_for("died", "3", times=len(system.heard("died", "3")) + 2)
        assert system.server() != first
        assert command_line(pid)[-1] == "one", "the death of the server harms no program"
        assert not system.heard("died", "one")
        os.kill(pid, signal.SIGKILL)
        assert system.wait_for("died", "one")[3:] == ["signal", "SIGKILL"]
        assert int(system.wait_for("ready", "one", times=2)[2]) != pid
        system.process.terminate()
        assert system.process.wait(20) == 0


def test_no_forked_program_outlives_a_supervisor_that_is_killed(mark: Path) -> None:
    with supervising(mark, "one", "two") as system:
        system.wait_for("all_ready")
        system.process.kill()
        system.process.wait()
        wait_until(lambda: not marked(mark), timeout_seconds=5)


def test_what_fails_while_it_is_preloaded_is_left_to_the_program(mark: Path) -> None:
    with supervising(mark, "one", NO_PRELOAD="1") as system:
        assert system.wait_for("output", "one")[6] == "0"
        system.process.terminate()
        assert system.process.wait(20) == 0


def test_where_a_server_may_make_no_process_programs_are_executed(mark: Path) -> None:
    """And nobody takes the number 0 for a process id: a signal to it would end `up` itself."""
    with supervising(mark, "one", NO_ROOM="1") as system:
        assert system.wait_for("output", "one")[6] == "0"
        system.process.terminate()
        assert system.process.wait(20) == 0
        assert system.heard("stopped", "one")


def test_where_its_programs_become_another_ones_children_programs_are_executed(mark: Path) -> None:
    with supervising(mark, "one", NOT_OURS="1") as system:
        assert system.wait_for("output", "one")[6] == "0"
        wait_until(lambda: len(marked(mark)) == 2)  # and those that were forked have ended
        system.process.terminate()
        assert system.process.wait(20) == 0


def test_a_server_that_hangs_is_waited_for_once(mark: Path) -> None:
    with supervising(mark, "one", "two", HANGS="1", PATIENCE="1") as system:
        for name in ("one", "two"):
            assert system.wait_for("output", name)[6] == "0"
        assert not [pid for pid in marked(mark) if "fork-server" in command_line(pid)]
        system.process.terminate()
        assert system.process.wait(20) == 0


def test_a_program_can_be_killed_from_the_moment_its_process_id_is_known(mark: Path) -> None:
    """With all of its group: it leads one before the supervisor has an answer."""
    code = f"""
        import os, sys
        from cprqueue.runtime.supervisor import Program, Starter, process
        program = Program(name="one", argv=(sys.executable, "-m", "{MODULE}", "one"), forked=True,
                          env={{**os.environ, "OWN": "one"}})
        starter = Starter()
        for _ in range(20):
            started = starter.start(program)
            assert os.getpgid(started.pid) == started.pid
            process.kill_group(started.pid)
            assert started.wait() == -9
        starter.close()
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "MARK": str(mark)},
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
