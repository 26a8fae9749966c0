"""Mistakes in ``.env`` and in the environment: one line each, with the cure, and exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cprqueue import config
from cprqueue.errors import SettingsError
from cprqueue.settings import dotenv_file, small_file
from tests.real_processes import marked
from tests.running import System, clean_environment, command

COMMANDS = ("status", "check", "history", "failures", "migrate", "sync", "up")


def problems(environ: dict[str, str]) -> list[str]:
    """Return what is said about these variables."""
    with pytest.raises(SettingsError) as raised:
        config.load(environ)
    return list(raised.value.problems)


def read(directory: Path, text: str | bytes) -> dict[str, str]:
    """Write ``.env`` and read it."""
    raw = text if isinstance(text, bytes) else text.encode()
    (directory / ".env").write_bytes(raw)
    return dotenv_file.read(directory / ".env")


def refused(directory: Path, text: str | bytes) -> list[str]:
    """Return what is said about this ``.env``."""
    with pytest.raises(SettingsError) as raised:
        read(directory, text)
    for problem in raised.value.problems:
        assert "hush" not in problem
        assert "\n" not in problem
    return list(raised.value.problems)


# --- names --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("RM_SITEIDS", "RM_SITE_IDS"),
        ("RM_SITE_ID", "RM_SITE_IDS"),
        ("rm_site_ids", "RM_SITE_IDS"),
        ("RMSITE_IDS", "RM_SITE_IDS"),
        ("RN_SITE_IDS", "RM_SITE_IDS"),
        ("\u200bRM_SITE_IDS", "RM_SITE_IDS"),
        ("RM_PASSWORT", "RM_PASSWORD"),
        ("RM_PASSWORD_FILES", "RM_PASSWORD_FILE"),
        ("QBT_TOKEN", "QBT_ACCESS_TOKEN"),
        ("PRUNE_MAX_FRACTIONS", "PRUNE_MAX_FRACTION"),
        ("ALERT_URL", "ALERT_URLS"),
        ("CPR_VARDIR", "CPR_VAR_DIR"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("CELERY_BROKER", "CELERY_BROKER_URL"),
        ("CELERY_BROKER_READ_URL", "CELERY_BROKER_URL"),
    ],
)
def test_a_mistyped_name_is_refused_and_the_right_one_named(name: str, near: str) -> None:
    assert problems({name: "8"}) == [f"{name} is no setting of cprqueue: did you mean {near}?"]


@pytest.mark.parametrize(
    "name", ["PUSH_TO_TALK", "CPR_X", "RM_", "ALERT_MANAGER", "CPR_FAILPOINTS"]
)
def test_a_name_that_only_begins_like_ours_is_refused_in_the_file(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(f"{name}=hush\n")
    with pytest.raises(SettingsError) as raised:
        config.environment(tmp_path)
    [problem] = raised.value.problems
    assert problem.startswith(f"{name} is no setting of cprqueue: ")
    assert "hush" not in problem


@pytest.mark.parametrize("name", ["ALERT_MANAGER_SERVICE_HOST", "RM_SYNC_SERVICE_HOST", "CPR_HOME"])
def test_what_the_environment_has_for_other_programs_is_left_alone(name: str) -> None:
    config.load({name: "x"})


def test_what_belongs_to_others_or_is_blank_is_left_alone() -> None:
    others = ["PATH", "TEST_DATABASE_URL", "DATABASE_HOST", "CELERY_LOG_LEVEL", "USERNAME", "TZ"]
    others += ["DATABASE_URL_DEV", "DATABASE_URL_RO", "CELERY_BROKER_URL_OLD"]
    config.load({**dict.fromkeys(others, "x"), "RM_SITEIDS": " ", "CPR_TEST_POSTGRES_URL": "x"})


def test_a_name_without_its_beginning_is_refused_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USERNAME", "of the desktop")
    (tmp_path / ".env").write_text("SITE_IDS=8\n")
    with pytest.raises(SettingsError, match="did you mean RM_SITE_IDS"):
        config.environment(tmp_path)


# --- the file -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('RM_USERNAME=me\nRM_PASSWORD="hush\n', 2, "see to the quotes of RM_PASSWORD"),
        ("\n\n# x\n\nRM_PASSWORD='hush\nQBT_CLIENT_ID=id\n", 5, "quote that is not closed"),
        ('A="hush\nB="x"\n', 1, "quote that is not closed"),
        ('RM_PASSWORD="hush\nRM_SITE_IDS=8\nX=y"\n', 1, "quote that is not closed"),
        ('A="b" hush\n', 1, "text behind it"),
        ("RM_USERNAME=me\n\nRM_SITE_IDS 8\n", 3, "write NAME=value"),
        ("RM_SITE_IDS: 8\n", 1, "write NAME=value"),
        ("RM_SITE_IDS\n", 1, "write NAME=value"),
        ("RM SITE_IDS=8\n", 1, "write NAME=value"),
        ("set RM_SITE_IDS=8\n", 1, "write NAME=value"),
        ("$env:RM_SITE_IDS=8\n", 1, "write NAME=value"),
        ("RM-SITE-IDS=8\n", 1, "write NAME=value"),
        ("=8\n", 1, "write NAME=value"),
        ("hush\n", 1, "write NAME=value"),
        ('RM_PASSWORD="C:\\new hush"\n', 1, "between single quotes"),
        ("RM_SITE_IDS=8\r\nA=b\r\nRM_SITE_IDS=9\r\n", 3, "a second time"),
        (b"A=b\n# M\xfcller\n", 2, "is no UTF-8: save the file as UTF-8"),
        ("RM_SITE_IDS=8\n".encode("utf-16"), 1, "is UTF-16: save the file as UTF-8"),
        ("RM_SITE_IDS=8\n".encode("utf-16-le"), 1, "is UTF-16: save the file as UTF-8"),
        (b"A=b\nRM_SITE_IDS=8\0\n", 2, "holds zero bytes: the file is damaged: write it anew"),
        (bytes(64), 1, "holds zero bytes"),
    ],
)
def test_a_line_that_is_no_setting_is_named(
    tmp_path: Path, text: str | bytes, line: int, said: str
) -> None:
    [problem] = refused(tmp_path, text)
    assert problem.startswith(f".env line {line} ")
    assert said in problem


def test_every_wrong_line_is_told(tmp_path: Path) -> None:
    found = refused(tmp_path, "one\nA=b\ntwo\n# three\n\nfour\n")
    assert [problem.split()[2] for problem in found] == ["1", "3", "6"]


def test_what_notepad_and_shells_write_is_read(tmp_path: Path) -> None:
    text = "\ufeff# x\r\nexport A=b # c\r\nB='d #e'\r\nC=\"it's\"\r\nD=x#y\r\n\r\nA=b"
    assert read(tmp_path, text) == {"A": "b", "B": "d #e", "C": "it's", "D": "x#y"}


@given(st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="'\"`\\")))
def test_a_value_is_taken_as_it_stands(
    tmp_path_factory: pytest.TempPathFactory, value: str
) -> None:
    directory = tmp_path_factory.getbasetemp()
    for text in (value, f"ab${{x}}cd$HOME{value}%20"):
        assert read(directory, f"A='{text}'\n") == {"A": text}
        if not text.startswith("#"):
            assert read(directory, f"A={text}\n") == {"A": text}


def test_a_file_that_may_not_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    with pytest.raises(SettingsError, match=r"\.env cannot be read \(Is a directory\): give"):
        dotenv_file.read(tmp_path / ".env")


@pytest.mark.parametrize(
    ("points_to", "said"),
    [
        ("/dev/zero", "it is larger than 1024 kB"),
        ("/nowhere/.env", "No such file or directory"),
        (".env", "Too many levels of symbolic links"),
    ],
)
def test_a_link_to_what_is_no_file_is_one_line(tmp_path: Path, points_to: str, said: str) -> None:
    (tmp_path / ".env").symlink_to(points_to)
    with pytest.raises(SettingsError, match=f"cannot be read \\({said}\\): give"):
        dotenv_file.read(tmp_path / ".env")


def test_a_pipe_is_read_and_one_that_nobody_fills_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / ".env"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as writing:
        writing.submit(pipe.write_text, f"RM_SITE_IDS=8\n# {'x' * 100_000}\n")
        assert dotenv_file.read(pipe) == {"RM_SITE_IDS": "8"}
    monkeypatch.setattr(small_file, "PATIENCE_SECONDS", 0.05)
    with pytest.raises(SettingsError, match="nothing comes out of it in"):
        dotenv_file.read(pipe)
    [problem] = problems({"RM_PASSWORD_FILE": str(pipe)})
    assert "nothing comes out of it" in problem


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_file_of_another_user_is_one_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("RM_SITE_IDS=8\n")
    (tmp_path / ".env").chmod(0o600)
    commands = ", ".join(f"cprqueue.cli.{name}" for name in ("demo", "check", "backup", "failing"))
    loaded = f"cprqueue.bootstrap, {commands}"  # what that user may not read later on
    code = f"import os, {loaded}; from cprqueue import cli; os.setuid(65534); cli.main()"
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)
    done = run_python(code, tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path / '.env'} cannot be read (Permission denied)")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "text"),
    [
        *((command, b'RM_PASSWORD="hush\n') for command in COMMANDS),
        ("status", b"# M\xfcller\n"),
        ("up", b"# M\xfcller\n"),
        ("check", b"RM_SITEIDS=8\n"),
        ("up", b"RM_SITEIDS=8\n"),
    ],
)
def test_every_command_ends_with_that_line_and_exit_2(
    small_system: System, tmp_path: Path, command: str, text: bytes
) -> None:
    (tmp_path / ".env").write_bytes(text)
    done = subprocess.run(
        [sys.executable, "-m", "cprqueue", command],
        env=small_system.env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "hush" not in done.stdout + done.stderr
    assert not small_system.var.exists()
    assert marked(small_system.directory) == []


def test_celery_ends_with_that_line_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text('RM_PASSWORD="hush\n')
    code = "import cprqueue.celery"
    done = run_python(code, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        ".env line 1 has a quote that is not closed, or text behind it: "
        "see to the quotes of RM_PASSWORD\n"
    )


def run_python(code: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run some lines of Python to their end, with these settings alone."""
    root = str(Path(__file__).parent.parent)
    return subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment(PYTHONPATH=root, **env),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# --- secrets from files -------------------------------------------------------------------


WEB_USER = f"ann:scrypt.15.8.3.{'A' * 22}.{'A' * 43}:viewer"


def test_every_secret_may_come_from_a_file(tmp_path: Path) -> None:
    for number, name in enumerate(config.FILES):
        text = "json://localhost" if "URL" in name else f"s{number}"
        others = {
            "CELERY_BROKER_URL_FILE": "redis://h/0",
            "ALERT_HEARTBEAT_URL_FILE": "https://h/x",
            "CPR_WEB_USERS_FILE": WEB_USER,
        }
        text = others.get(name, text)
        (tmp_path / name).write_text(f"{text}\n")
    files = {name: str(tmp_path / name) for name in config.FILES}
    found = config.load({**files, "QBT_CLIENT_ID": "id"})
    assert found.rm_password == "s0"
    assert found.broker_url == "redis://h/0"
    assert {*config.FILES} >= {f"{n}_FILE" for n in ("RM_PASSWORD", "DATABASE_URL", "ALERT_URLS")}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b" \n", "it is empty"),
        (b"\xff\xfeh\0", "no UTF-8"),
        (b"two\nlines", "one line"),
        (b"x" * 70_000, "it is larger than 64 kB"),
    ],
)
def test_a_secret_file_that_is_no_secret_is_one_line(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    [problem] = problems({"RM_PASSWORD_FILE": str(path)})
    assert problem.startswith("RM_PASSWORD ")
    assert said in problem
    assert "two" not in problem


def test_a_secret_is_set_once() -> None:
    assert problems({"RM_PASSWORD": "hush", "RM_PASSWORD_FILE": "/x"}) == [
        "RM_PASSWORD and RM_PASSWORD_FILE are both set: leave one of them empty"
    ]


# --- contradictions -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        (
            {"QBT_CLIENT_ID": "id"},
            "QBT_CLIENT_ID is set, QBT_CLIENT_SECRET and QBT_REFRESH_TOKEN not: set all three, or",
        ),
        (
            {"QBT_CLIENT_ID": "id", "QBT_CLIENT_SECRET": "s"},
            "QBT_CLIENT_ID is set, QBT_REFRESH_TOKEN not",
        ),
        ({"QBT_REFRESH_TOKEN": "hush"}, "QBT_REFRESH_TOKEN is set, QBT_CLIENT_ID and QBT_CL"),
        (
            {"PRUNE_MIN_LIMIT": "80"},
            "is 80 and PRUNE_MAX_LIMIT is 50 (its default): set PRUNE_MIN_LIMIT to 50 or less, or",
        ),
        (
            {"PRUNE_MAX_LIMIT": "5"},
            "PRUNE_MAX_LIMIT is 5 and PRUNE_MIN_LIMIT is 10 (its default): set",
        ),
        ({"CPR_LEASE_SECONDS": "1"}, "CPR_LEASE_SECONDS is 1: write 80 or more, because one"),
        ({"ALERT_URLS": "mailto://x"}, "ALERT_URLS number 1 is not understood by Apprise"),
        ({"ALERT_URLS": "json://a;hush://b"}, "ALERT_URLS number 2 is not understood"),
        ({"QBT_RATE_LIMIT": "3000"}, "allow 3000 calls in 300 s: QuickBooks Time refuses more"),
        ({"QBT_RATE_WINDOW": "60"}, "allow 300 calls in 60 s"),
        (
            {"QBT_RATE_LIMIT": "400", "QBT_RATE_WINDOW": "4000"},
            "allow 400 calls in 4000 s",  # all of them may come in the same 300 s
        ),
        ({"RM_BASE_URL": "https://h/x", "QBT_BASE_URL": "https://h/x/"}, "are the same"),
        ({"DATABASE_URL": "sqlite:////nowhere/at/x.db"}, "in /nowhere/at: there is no such"),
        ({"DATABASE_URL": "sqlite:///nowhere/x.db"}, "/nowhere: there is no such directory: make"),
    ],
)
def test_settings_that_contradict_each_other_are_one_line(
    environ: dict[str, str], said: str
) -> None:
    [problem] = problems(environ)
    assert said in problem
    assert "hush" not in problem


@pytest.mark.parametrize(
    "environ",
    [
        {"PRUNE_MIN_LIMIT": "80", "PRUNE_MAX_LIMIT": "80"},
        {"QBT_RATE_LIMIT": "60", "QBT_RATE_WINDOW": "60"},
        {"QBT_RATE_LIMIT": "3000", "QBT_BASE_URL": "http://127.0.0.1:8/api/v1"},
        {"CPR_LEASE_SECONDS": "80"},
        {"DATABASE_URL": "sqlite:///x.db"},
        {"DATABASE_URL": "sqlite:////nowhere/var/x.db", "CPR_VAR_DIR": "/nowhere/var"},
        {"RM_BASE_URL": "http://127.0.0.1:8", "QBT_BASE_URL": "http://127.0.0.1:8/api/v1"},
    ],
)
def test_settings_that_agree_are_taken(environ: dict[str, str]) -> None:
    config.load(environ)


# --- one reader for each variable ---------------------------------------------------------


def test_celery_reads_a_blank_broker_as_we_do(tmp_path: Path) -> None:
    code = "from cprqueue.celery import app, settings; print(app.conf.broker_url, end=''); "
    code += "print(app.conf.broker_read_url == app.conf.broker_url, app.conf.result_backend)"
    done = run_python(code, tmp_path, CELERY_BROKER_URL=" ", CELERY_RESULT_BACKEND="redis://h")
    assert done.stdout.startswith("redis+socket://"), done.stderr
    assert done.stdout.rstrip().endswith("True None")


def test_programs_get_an_environment_that_we_build() -> None:
    given = {
        "CELERY_BROKER_URL": " ",
        "CELERY_BROKER_URL_FILE": "/run/secrets/broker",
        "CELERY_LOADER": "x",
        "REMAP_SIGTERM": "SIGQUIT",
        "RM_SITE_IDS": " 8 ",
        "PATH": "/bin",
    }
    assert config.for_programs(given) == {
        "CELERY_BROKER_URL": "",
        "CELERY_BROKER_URL_FILE": "/run/secrets/broker",
        "RM_SITE_IDS": "8",
        "PATH": "/bin",
    }


def test_a_home_directory_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config.load({"CPR_VAR_DIR": "~/cpr"}).var_dir == tmp_path / "cpr"
    [problem] = problems({"CPR_VAR_DIR": "~nobody-of-this-name/x"})
    assert problem.startswith("CPR_VAR_DIR is")
    assert os.environ["HOME"] == str(tmp_path)


@pytest.mark.parametrize("name", ["CPR_VAR_DIR", "RM_PASSWORD", "DATABASE_URL"])
def test_bytes_that_are_no_text_are_one_line_that_does_not_show_them(name: str) -> None:
    with pytest.raises(SettingsError) as raised:
        config.load({name: "sqlite:////B\udcfcro"})
    said = f"{name} holds bytes that are no text in utf-8: choose another value or place"
    assert str(raised.value) == said


def test_below_a_directory_whose_name_is_no_text_every_command_is_one_line(tmp_path: Path) -> None:
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/B\xfcro"))
    place.mkdir()
    done = command(["status"], clean_environment(), place)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: CPR_VAR_DIR holds bytes that are no text")
    assert done.stderr.count("\n") == 1
