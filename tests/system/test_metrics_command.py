"""``cprqueue metrics``: as text, as a file, over HTTP, and read by a real Prometheus."""

from __future__ import annotations

import json
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests
import yaml

from tests import log_scan
from tests.office import Office, job
from tests.prometheus import needs_promtool, prometheus
from tests.real_processes import killed_at_the_end, wait_until
from tests.running import ROOT, System, errors

RULES = ROOT / "docs" / "prometheus-rules.yml"
DASHBOARD = ROOT / "docs" / "grafana-dashboard.json"
TOO_LONG = "X" * 65


@contextmanager
def served(system: System, **env: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Serve metrics on a free port for the block; give the URL and the process."""
    process = log_scan.Watched(
        [sys.executable, "-m", "cprqueue", "metrics", "--port", "0"],
        env={**system.env, **env},
        cwd=system.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with killed_at_the_end(process):
        assert process.stderr is not None
        said = process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/metrics", said)
        assert found, said + process.stderr.read()
        yield found[0], process


def test_the_file_is_whole_readable_and_replaced(system: System, office: Office) -> None:
    office.put(job(1, "A-1"))
    printed = system.run("metrics")
    assert (printed.returncode, printed.stderr) == (0, "")
    path = system.directory / "cprqueue.prom"
    path.write_text("old")
    done = system.run("metrics", "--output", str(path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    moving = re.compile(r"(?m)^cprqueue_oldest_due.*$")
    assert moving.sub("", path.read_text()) == moving.sub("", printed.stdout)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert not [p for p in system.directory.iterdir() if "cprqueue.prom." in p.name]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--output", "missing/cprqueue.prom"), "cannot be made"),
        (("--output", "x", "--port", "1"), "choose --output or --port"),
    ],
)
def test_what_cannot_be_is_one_line(
    system: System, office: Office, words: tuple[str, ...], said: str
) -> None:
    done = system.run("metrics", *words)
    assert done.returncode == 2
    (line,) = errors(done.stderr)
    assert said in line


def test_a_port_that_is_taken_is_one_line(system: System, office: Office) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = system.run("metrics", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    (line,) = errors(done.stderr)
    assert "choose another --port" in line


def test_the_server_keeps_no_connection_and_outlives_its_database(
    system: System, office: Office
) -> None:
    database = system.var / "cprqueue.db"
    with served(system) as (url, process), socket.socket() as silent:
        silent.connect(("127.0.0.1", int(url.split(":")[2].split("/")[0])))
        silent.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow:")  # and never the end
        answer = requests.get(url, timeout=10)
        assert answer.ok
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert answer.headers["Connection"] == "close"
        assert requests.get(url.removesuffix("metrics"), timeout=10).status_code == 404
        opened = subprocess.run(
            ["ls", "-l", f"/proc/{process.pid}/fd"], capture_output=True, text=True, check=True
        )
        assert database.name not in opened.stdout
        database.rename(system.directory / "aside")
        failed = requests.get(url, timeout=10)
        assert failed.status_code == 503
        assert str(database) not in failed.text
        (system.directory / "aside").rename(database)
        assert requests.get(url, timeout=10).ok
        silent.settimeout(15)
        assert silent.recv(100) == b""  # it is hung up on
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "")
    assert err.count("scrape failed") == len(err.splitlines()) == 1, err


def expressions() -> list[str]:
    """Return what the dashboard asks, with Grafana's variables filled in."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    found = [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(found) > 15
    filled = [e.replace("$instance", ".*").replace("$__rate_interval", "1m") for e in found]
    assert not [e for e in filled if "$" in e]
    return filled


@needs_promtool
def test_promtool_accepts_the_rules_and_they_fire_when_they_should() -> None:
    tests = ROOT / "tests" / "system" / "data" / "prometheus-rules-test.yml"
    for words in (("check", "rules", RULES), ("test", "rules", tests)):
        done = subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"][0]["rules"]
    assert f"value: {len(rules)}}}" in tests.read_text(encoding="utf-8"), "each fires in the test"


@needs_promtool
def test_a_real_prometheus_reads_it_and_every_query_has_an_answer(
    system: System, office: Office
) -> None:
    office.put(job(1, "A-1"), job(3, TOO_LONG))
    with served(system) as (url, _):
        target = url.removeprefix("http://").removesuffix("/metrics")
        with prometheus(system.directory, target, RULES) as server:
            missing = expressions()

            def all_answered() -> bool:
                missing[:] = [expr for expr in missing if not server.query(expr)]
                return not missing

            wait_until(all_answered, timeout_seconds=60)
            wait_until(lambda: "CprqueueJobsParked" in str(server.get("alerts")))
            (group,) = server.get("rules")["groups"]
            assert {rule["health"] for rule in group["rules"]} == {"ok"}
            asked = " ".join(rule["query"] for rule in group["rules"])
            missing = re.findall(r"cprqueue_\w+(?:\{[^}]*\})?|\bup\{[^}]*\}", asked)
            assert len(missing) > 12
            wait_until(all_answered, timeout_seconds=60)
