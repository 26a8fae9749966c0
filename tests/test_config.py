"""Each setting is read, checked, and told apart from the others when it is wrong."""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from cprqueue import config, failpoints
from cprqueue.errors import SettingsError
from cprqueue.settings import values

TOGETHER = {
    "QBT_CLIENT_ID": "id",
    "QBT_CLIENT_SECRET": "s",
    "QBT_REFRESH_TOKEN": "r",
    "QBT_BASE_URL": "http://127.0.0.1/api/v1",  # production has a rate limit of its own
}


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("RM_BASE_URL", "https://a.example/x/", "rm_base_url", "https://a.example/x"),
        ("RM_BASE_URL", "http://127.0.0.1:8080/rm", "rm_base_url", "http://127.0.0.1:8080/rm"),
        ("RM_BASE_URL", "http://localhost:1", "rm_base_url", "http://localhost:1"),
        ("RM_BASE_URL", "http://[::1]:8080", "rm_base_url", "http://[::1]:8080"),
        ("RM_USERNAME", " me ", "rm_username", "me"),
        ("RM_PASSWORD", "it's \\ här", "rm_password", "it's \\ här"),
        ("RM_API_SECRET", "guid", "rm_api_secret", "guid"),
        ("RM_SITE_IDS", "8; 33;", "rm_site_ids", (8, 33)),
        ("RM_ACTIVE_STATUSES", "Active;Open", "rm_active_statuses", ("Active", "Open")),
        ("RM_INACTIVE_PROGRESS", "Lost", "rm_inactive_progress", ("Lost",)),
        ("RM_EXCLUDED_JOB_NUMBERS", "A, B;C", "rm_excluded_job_numbers", ("A, B", "C")),
        ("DATABASE_URL", "sqlite:////x.db", "database_url", "sqlite:////x.db"),
        ("CELERY_BROKER_URL", "redis://h/0", "broker_url", "redis://h/0"),
        ("CELERY_BROKER_URL", "redis://h/0", "broker_is_embedded", False),
        ("CPR_VAR_DIR", "/x/y", "var_dir", Path("/x/y")),
        ("QBT_BASE_URL", "https://b.example/api/v1", "qbt_base_url", "https://b.example/api/v1"),
        ("QBT_ACCESS_TOKEN", "S.1__abc", "qbt_access_token", "S.1__abc"),
        ("QBT_CLIENT_ID", "id", "qbt_client_id", "id"),
        ("QBT_CLIENT_SECRET", "s", "qbt_client_secret", "s"),
        ("QBT_REFRESH_TOKEN", "r", "qbt_refresh_token", "r"),
        ("QBT_RATE_LIMIT", "20", "qbt_rate_limit", 20),
        ("QBT_RATE_WINDOW", "2.5", "qbt_rate_window", timedelta(seconds=2.5)),
        ("QBT_MAX_ATTEMPTS", "3", "qbt_max_attempts", 3),
        ("QBT_RETRY_BASE_SECONDS", "0.1", "qbt_retry_base", timedelta(seconds=0.1)),
        ("CPR_LEASE_SECONDS", "80", "lease", timedelta(seconds=80)),
        (
            "ALERT_URLS",
            "mailtos://a:b@c.example?x=1;",
            "alert_urls",
            ("mailtos://a:b@c.example?x=1",),
        ),
        ("PRUNE_MAX_FRACTION", "0.5", "prune_max_fraction", 0.5),
        ("PRUNE_MIN_LIMIT", "0", "prune_min_limit", 0),
        ("PRUNE_MAX_LIMIT", "99", "prune_max_limit", 99),
        ("PRUNE_QUIET_DAYS", "0", "prune_quiet_days", 0),
        ("ALERT_URLS", "json://a;json://b", "alert_urls", ("json://a", "json://b")),
        ("CPR_TIMEZONE", "America/Denver", "timezone", "America/Denver"),
        ("CPR_LOG_FORMAT", "json", "log_format", "json"),
    ],
)
def test_each_variable_is_read(name: str, text: str, field: str, value: Any) -> None:
    assert getattr(config.load({**TOGETHER, name: text}), field) == value


@pytest.mark.parametrize(
    ("name", "texts", "cure"),
    [
        ("RM_BASE_URL", ["example.net", "ftp://x", "https://", "https:///x"], "must look like"),
        ("RM_BASE_URL", ["https://u:hush@h", "https://h/?a=hush", "https://h#x"], "must hold"),
        ("RM_BASE_URL", ["https://h:99999", "https://h:abc", "https://h:0"], "1 to 65535"),
        ("RM_BASE_URL", ["https://[::1", "https://[nonsense]"], "cannot be"),
        ("RM_BASE_URL", ["http://example.net", "http://127.0.0.1.example.net"], "use https://"),
        ("QBT_BASE_URL", ["http://192.168.1.1/api/v1", "http://0.0.0.0"], "use https://"),
        ("RM_API_SECRET", ["a hush", "hüsh"], "copy it again"),
        ("QBT_ACCESS_TOKEN", ["a hush", "hüsh"], "copy it again"),
        (
            "RM_SITE_IDS",
            ["8,33", "eight", "8;x", ";", "8_3", "-8", "٨"],
            "write whole numbers like",
        ),
        ("DATABASE_URL", ["hush", "c:\\hush.db"], "must look like"),
        ("CELERY_BROKER_URL", ["hush:6379"], "must look like"),
        ("QBT_RATE_LIMIT", ["0", "1", "-5", "x", "2.5", "²", "--5", "9" * 30], "2 or more"),
        ("QBT_RATE_WINDOW", ["0", "-1", "x", "nan", "inf", "1e9"], "above 0"),
        ("QBT_MAX_ATTEMPTS", ["0", "x"], "1 or more"),
        ("QBT_RETRY_BASE_SECONDS", ["0", "x"], "above 0"),
        ("CPR_LEASE_SECONDS", ["0", "x"], "above 0"),
        (
            "ALERT_HEARTBEAT_URL",
            ["hush", "ftp://h/hush", "https:///hush", "https://h/a hush"],
            "https",
        ),
        ("CPR_DIGEST", ["7", "24:00", "07:60", "7am"], "like 07:00"),
        ("ALERT_URLS", ["hush", "json://a;hush", "//hush", "my hush://x", "json://"], "scheme://"),
        ("RM_ACTIVE_STATUSES", [";", " ; ;", "-", "Active;!"], "at least one"),
        ("RM_ACTIVE_STATUSES", ["Active,Open"], "separate several with ;"),
        ("DATABASE_URL", ["sqlite://", "sqlite:///:memory:", "sqlite+pysqlite://"], "name a file"),
        ("CELERY_BROKER_URL", ["redis://:hush/1@h:6379/0", "amqp://u:hush?@h//"], "write / as %2F"),
        ("CELERY_BROKER_URL", ["redis://:hush#1@h/0", "redis://u:12/hush@h"], "write / as %2F"),
        ("CELERY_BROKER_URL", ["redis://:hush@h/zero", "rediss://h/x"], "end it with /0"),
        ("PRUNE_MAX_FRACTION", ["20", "-0.1", "x", "nan", "20%"], "between 0 and 1"),
        ("PRUNE_MIN_LIMIT", ["-1", "x"], "0 or more"),
        ("PRUNE_MAX_LIMIT", ["-1", "x"], "0 or more"),
        ("PRUNE_QUIET_DAYS", ["-1", "x", "7.5", "367"], "from 0 to 366"),
        (
            "PRUNE_MAX_LIMIT",
            ["9"],
            "and PRUNE_MIN_LIMIT is 10 (its default): set PRUNE_MIN_LIMIT to 9 or less",
        ),
        ("PRUNE_MIN_LIMIT", ["51"], "PRUNE_MAX_LIMIT is 50 (its default): set"),
        ("CPR_TIMEZONE", ["Denver", "../x", "/etc/passwd", "America"], "America/Denver"),
        ("CPR_LOG_FORMAT", ["xml", "JSON"], "write text or json"),
    ],
)
def test_each_wrong_value_is_one_line_with_the_name_and_the_cure(
    name: str, texts: list[str], cure: str
) -> None:
    for text in texts:
        with pytest.raises(SettingsError) as raised:
            config.load({name.rstrip(":"): text})
        [problem] = raised.value.problems
        assert problem.startswith(f"{name} "), problem
        assert cure in problem, problem
        assert "\n" not in problem
        assert "hush" not in problem


def test_all_problems_are_told_at_once() -> None:
    wrong = {"RM_SITE_IDS": "x", "QBT_RATE_LIMIT": "x", "CPR_TIMEZONE": "x", "CPR_LOG_FORMAT": "x"}
    with pytest.raises(SettingsError) as raised:
        config.load(wrong)
    assert {problem.split()[0] for problem in raised.value.problems} == set(wrong)


def test_the_defaults_are_those_of_the_documentation() -> None:
    found = config.load(dict.fromkeys(("RM_SITE_IDS", "QBT_RATE_LIMIT", "DATABASE_URL"), "  "))
    assert found.qbt_base_url == "https://rest.tsheets.com/api/v1"
    assert (found.qbt_rate_limit, found.qbt_rate_window) == (300, timedelta(minutes=5))
    assert (found.prune_max_fraction, found.prune_min_limit, found.prune_max_limit) == (0.2, 10, 50)
    assert found.database_url == f"sqlite:///{Path('var/cprqueue.db').absolute()}"
    assert found.broker_is_embedded
    assert found.rm_active_statuses == ("Active",)


def test_no_secret_is_in_the_repr() -> None:
    names = {
        "RM_PASSWORD": "hush1",
        "RM_API_SECRET": "hush2",
        "DATABASE_URL": "postgresql://u:hush3@h/d",
        "CELERY_BROKER_URL": "redis://:hush4@h",
        "QBT_ACCESS_TOKEN": "hush5",
        "QBT_CLIENT_ID": "id",
        "QBT_CLIENT_SECRET": "hush6",
        "QBT_REFRESH_TOKEN": "hush7",
        "ALERT_URLS": "mailto://u:hush8@h.example",
        "ALERT_HEARTBEAT_URL": "https://h.example/hush9",
    }
    assert "hush" not in repr(config.load(names))


def test_missing_credentials_are_named_when_they_are_needed() -> None:
    with pytest.raises(SettingsError) as raised:
        config.load({"RM_USERNAME": "me"}).require_services()
    assert [problem.split()[0] for problem in raised.value.problems] == [
        "RM_BASE_URL",
        "RM_PASSWORD",
        "RM_API_SECRET",
        "QBT_ACCESS_TOKEN",
    ]
    given = {
        f"RM_{name}": "https://h" for name in ("BASE_URL", "USERNAME", "PASSWORD", "API_SECRET")
    }
    complete = config.load({**given, "QBT_ACCESS_TOKEN": "t"})
    assert complete.require_services() is complete


def test_the_environment_wins_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("RM_USERNAME=file\nRM_PASSWORD='a b'\nQBT_CLIENT_ID=\n")
    monkeypatch.setenv("RM_USERNAME", "environment")
    monkeypatch.delenv("RM_PASSWORD", raising=False)
    monkeypatch.chdir(tmp_path)
    found = config.load()
    assert (found.rm_username, found.rm_password) == ("environment", "a b")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost.example", False),
        ("10.0.0.1", False),
        ("0.0.0.0", False),  # noqa: S104  (asked about, not bound to)
        ("::", False),
    ],
)
def test_loopback_is_this_machine_alone(host: str, loopback: bool) -> None:
    assert values.is_loopback(host) is loopback


def test_of_several_alert_urls_the_one_that_is_wrong_is_told_by_its_place() -> None:
    with pytest.raises(SettingsError, match="number 2 "):
        config.load({"ALERT_URLS": "json://a;hush;json://c"})


def test_every_point_at_which_a_test_may_kill_a_process_is_known() -> None:
    product_dir = Path(failpoints.__file__).parent
    used = {
        name
        for path in [*product_dir.rglob("*.py"), *(product_dir.parent / "workers").glob("*.py")]
        for name in re.findall(r'failpoints\.point\(f?"([^"]+)"\)', path.read_text())
    }
    kinds = ("create_jobcode", "change_jobcode", "create_location", "change_location")
    requests = product(("POST", "PUT"), ("jobcodes", "locations", "jobcode_assignments"))
    known = {
        name.format(kind=kind, method=method, endpoint=endpoint)
        for name, kind, (method, endpoint) in product(used, kinds, list(requests))
    }
    assert known == failpoints.POINTS
