"""What a system that waits costs: ``cprqueue up`` with beat and Flower, its memory and CPU."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measured import Row
from benchmarks.stage import environment_at
from cprqueue.sandbox.credentials import environment
from cprqueue.sandbox.server import Sandbox

PROC = Path("/proc")
SETTLE_SECONDS = 20
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process of the system; ``pss_mb`` shares a page's size among those that share it."""

    pid: int
    name: str
    pss_mb: float
    private_mb: float
    cpu_seconds: float


def measure(seconds: float) -> tuple[list[Process], dict[str, float]]:
    """Start a system, let it wait for ``seconds``; return its processes and the CPU by program.

    The CPU is in seconds a minute. It has that of children which ended meanwhile.
    """
    with Sandbox(jobs=50) as sandbox, tempfile.TemporaryDirectory(prefix="cpr-bench-") as place:
        env = environment_at(Path(place), **environment(sandbox.url))
        with _up(env, Path(place)) as pid:
            time.sleep(SETTLE_SECONDS)
            before = processes(pid)
            time.sleep(seconds)
            after = processes(pid)
    old = {one.pid: one.cpu_seconds for one in before}
    used: dict[str, float] = {}
    for one in after:  # of the supervisor, what its ended children took before is in both
        spent = (one.cpu_seconds - old.get(one.pid, 0)) * 60 / seconds
        used[one.name] = used.get(one.name, 0) + spent
    return after, used


@contextmanager
def _up(env: dict[str, str], place: Path) -> Iterator[int]:
    command = [sys.executable, "-m", "cprqueue", "up", "--flower-port", "0"]
    with subprocess.Popen(
        command, env=env, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            if process.stdout is None or process.stdout.readline() != "ready\n":
                raise RuntimeError("up did not get ready")
            yield process.pid
        finally:
            process.terminate()


def processes(root: int) -> list[Process]:
    """Return the process and all its descendants, with what they use now."""
    parents = {int(p.name): _stat(p) for p in PROC.iterdir() if p.name.isdecimal()}
    family, new = {root}, {root}
    while new:
        new = {pid for pid, stat in parents.items() if stat and int(stat[1]) in new}
        family |= new
    return [_process(pid, parents[pid]) for pid in sorted(family) if parents.get(pid)]


def _process(pid: int, stat: list[str]) -> Process:
    rollup = (PROC / str(pid) / "smaps_rollup").read_text()
    kilobytes = {words[0]: int(words[1]) for words in map(str.split, rollup.splitlines()[1:])}
    private = kilobytes["Private_Dirty:"] + kilobytes["Private_Clean:"]
    return Process(
        pid=pid,
        name=_name(pid),
        pss_mb=kilobytes["Pss:"] / 1024,
        private_mb=private / 1024,
        cpu_seconds=sum(map(int, stat[11:15])) / TICKS,
    )


def _name(pid: int) -> str:
    words = (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    if "-Q" in words:
        return words[words.index("-Q") + 1]
    known = [name for name in ("beat", "flower", "up") if name in words]
    return known[0] if known else "broker" if "valkey" in words[0] else words[-2]


def _stat(path: Path) -> list[str]:
    """Return the fields of ``stat`` behind the name: state, parent, and so on."""
    try:
        return (path / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def rows(seconds: float) -> Iterator[Row]:
    """Return the sums."""
    found, used = measure(seconds)
    memory = (sum(one.pss_mb for one in found),)
    name = f"`cprqueue up`, waiting, {len(found)} processes"
    yield Row(part="idle", name=name, unit="MB of memory (PSS)", values=memory)
    yield Row(part="idle", name=name, unit="CPU s a minute", values=(sum(used.values()),))


def main() -> None:
    """Print a line for each process, and the sums."""
    found, used = measure(float(sys.argv[1]) if len(sys.argv) > 1 else 120)
    for one in found:
        print(f"{one.pid:7} {one.name:12} {one.pss_mb:6.1f} MB PSS {one.private_mb:6.1f} private")
    for name, seconds in sorted(used.items(), key=lambda item: -item[1]):
        print(f"{name:12} {seconds:5.2f} CPU s a minute")
    print(f"{len(found)} processes, {sum(one.pss_mb for one in found):.0f} MB PSS, ", end="")
    print(f"{sum(used.values()):.2f} CPU s a minute")


if __name__ == "__main__":
    main()
