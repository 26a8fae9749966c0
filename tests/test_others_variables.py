"""Every variable that a library reads is taken out of our programs' environment, or known."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

from cprqueue import config
from cprqueue.settings.others import is_taken_out
from tests.running import ROOT, clean_environment

LIBRARIES = (
    "celery kombu billiard amqp vine flower tornado redis requests urllib3 sqlalchemy alembic"
)
ELSEWHERE = re.compile(
    r"/(contrib|testing|tests?|fixups|bin|wsgi|asgi|auth|SLMQ|gcpubsub|SQS|etcd|editor|_?win32)\b"
)
READS = re.compile(r"""(?:environ(?:\.get\(|\.setdefault\(|\[)|getenv\()\s*["'](\w+)["']""")
KNOWN = {
    "CURL_CA_BUNDLE": "ours: config.NETWORK",
    "REQUESTS_CA_BUNDLE": "ours: config.NETWORK",
    "ITERM_PROFILE": "how a terminal shows pictures",
    "TERM": "what the terminal can do",
    "PATH": "where programs are",
    "PWD": "where Flower's paths begin; all of ours are absolute",
    "celery_dummy_proxy": "set by Celery itself",
    "PUBSUB_EMULATOR_HOST": "another broker",
    "NUMBER_OF_PROCESSORS": "Windows",
    "ASYNC_TEST_TIMEOUT": "Tornado's own tests",
}


def test_every_variable_that_a_library_reads_is_taken_out_or_known() -> None:
    read: dict[str, str] = {}
    for library in LIBRARIES.split():
        for path in (Path(sysconfig.get_path("purelib")) / library).rglob("*.py"):
            if not ELSEWHERE.search(str(path.with_suffix(""))):
                names = READS.findall(path.read_text(encoding="utf-8", errors="replace"))
                read |= dict.fromkeys(names, path.name)
    assert {"CELERY_LOADER", "NETRC", "KOMBU_LOG_DEBUG"} <= set(read)
    assert {n: where for n, where in read.items() if not is_taken_out(n) and n not in KNOWN} == {}


def test_a_celery_program_reads_none_of_them(tmp_path: Path) -> None:
    hostile = {
        "C_FORCE_ROOT": "1",
        "CELERY_LOADER": "nowhere.Loader",
        "CELERY_CONFIG_MODULE": "nowhere",
        "KOMBU_LOG_DEBUG": " ",
        "PICKLE_PROTOCOL": "99",
        "NETRC": str(tmp_path / "netrc"),
        "CPR_VAR_DIR": str(tmp_path),
    }
    code = "import os; from cprqueue.celery import app; print(app.loader); print(dict(os.environ))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment(**hostile),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "AppLoader" in done.stdout
    assert not [
        name
        for name in hostile
        if f"'{name}'" in done.stdout and name[:4] != "CPR_" and name != "NETRC"
    ]
    assert f"'NETRC': {os.devnull!r}" in done.stdout


def test_programs_find_python_where_it_is_told_to_be() -> None:
    given = {"PYTHONPATH": "/a", "PYTHONINSPECT": "1", "PYTHONWARNINGS": "error", "TZ": "UTC"}
    assert config.for_programs(given) == {"PYTHONPATH": "/a", "TZ": "UTC"}
