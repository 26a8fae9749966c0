"""What the documents say is what the code does."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from cprqueue import cli, config
from cprqueue.celery import QUEUES
from cprqueue.sandbox import credentials

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
DOTENV = (ROOT / ".env.example").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
CONTAINERS = (ROOT / "docs" / "containers.md").read_text(encoding="utf-8")
OUTSIDE = {"REQUESTS_CA_BUNDLE", "HTTPS_PROXY", "NO_PROXY"}  # read by every HTTP client
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
NEEDED = {"RM_BASE_URL", "RM_USERNAME", "RM_PASSWORD", "RM_API_SECRET", "QBT_ACCESS_TOKEN"}


def settings_of(text: str) -> dict[str, str]:
    """Return every setting of a .env file, commented out or not."""
    return dict(re.findall(r"^#?([A-Z][A-Z_]+)=(.*)$", text, re.MULTILINE))


def readme_table(heading: str) -> list[list[str]]:
    """Return the rows of the first table under a heading, without its two head lines."""
    part = README.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in part.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def commands() -> dict[str, Any]:
    """Return every command, hidden ones too, those in groups as "group name"."""
    found: dict[str, Any] = {}
    top: Any = get_command(cli.app)
    for name in list(top.commands):
        top.load(name)
        command = top.commands[name]
        inner = getattr(command, "commands", None)
        found |= {f"{name} {k}": v for k, v in (inner or {}).items()}
        if not inner or command.invoke_without_command:
            found[name] = command
    return found


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git work tree")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_readme_and_env_example_name_exactly_the_variables_that_are_read() -> None:
    named = {row[0].strip("`") for row in readme_table("Settings")}
    assert set(config.NETWORK) >= OUTSIDE
    assert named == set(config.SETTINGS) | OUTSIDE
    assert set(settings_of(DOTENV)) == set(config.SETTINGS) | OUTSIDE | {"COMPOSE_PROFILES"}


def test_every_default_in_env_example_is_the_default() -> None:
    values = {name: text for name, text in settings_of(DOTENV).items() if name not in NEEDED}
    assert config.load(values) == config.load({})
    assert set(re.findall(r"^([A-Z_]+)=$", DOTENV, re.MULTILINE)) == NEEDED


def test_every_default_in_the_readme_is_the_default() -> None:
    shown = {row[0].strip("`"): row[1] for row in readme_table("Settings")}
    values = {name: text.strip("`") for name, text in shown.items() if text.startswith("`")}
    assert config.load(values) == config.load({})
    assert {name for name, text in shown.items() if text == "needed"} == NEEDED


def test_the_readme_lists_every_command_with_an_example_that_it_accepts() -> None:
    rows = {row[0].strip("`"): row[2].strip("`") for row in readme_table("Commands")}
    known = commands()
    assert set(rows) == set(known)
    for name, example in rows.items():
        words = example.removeprefix("cprqueue ").replace('"Main St"', "Main-St")
        assert words.startswith(name), example
        arguments = words.removeprefix(name).split()
        known[name].make_context(name, arguments)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_in_a_document_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    groups = {name.split()[0] for name in commands()}
    used = set(re.findall(r"`cprqueue ([a-z][a-z-]*)", text))
    used |= set(re.findall(r"^(?:[^\n`]*-m )?cprqueue ([a-z-]+)(?= |$)", text, re.MULTILINE))
    unknown = used - groups
    assert unknown <= {"keeps"}, unknown


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_and_file_in_a_document_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert target.startswith("https://") or (path.parent / target).exists(), target
    for name in re.findall(r'(?:src|srcset)="([^"]+)"', text):
        assert (path.parent / name).exists(), name
    for name in re.findall(r"`((?:cprqueue|docker|workers|docs)/[\w/.-]+)`", text):
        assert (ROOT / name).exists(), name


def test_every_target_of_the_makefile_is_explained() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)[0].split()
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.findall(r"make ([\w-]+) ", shown.stdout) == phony
    assert {"help", "demo", "test", "check", "up", "clean"} <= set(phony)
    for document in DOCUMENTS:
        used = re.findall(
            r"(?:^|`)make ([a-z-]+)", document.read_text(encoding="utf-8"), re.MULTILINE
        )
        assert set(used) <= set(phony), document.name


def test_an_old_or_missing_python_is_one_line_with_the_cure(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\ncase "$1" in --version) echo Python 3.9.2;; *) exit 1;; esac\n')
    old.chmod(0o755)
    (tmp_path / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    for python in (str(old), "no-such-python"):
        done = subprocess.run(
            ["make", "demo", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode != 0
        told = [line for line in done.stderr.splitlines() if not line.startswith("make")]
        assert len(told) == 1, done.stderr
        assert "install Python 3.11 or newer" in told[0]


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze: the unit is not verified")
    unit = tmp_path / "cprqueue.service"
    text = (ROOT / "docs" / unit.name).read_text(encoding="utf-8")
    unit.write_text(text.replace("/opt/cprqueue/bin/cprqueue", "/bin/true"), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_git_keeps_the_timetable_and_ignores_what_beat_writes() -> None:
    def ignored(name: str) -> bool:
        command = ["git", "check-ignore", "--quiet", "--no-index", name]
        done = subprocess.run(command, cwd=ROOT, check=False)
        if done.returncode > 1:
            pytest.skip("not a git work tree")
        return done.returncode == 0

    assert not ignored("celerybeat-schedule.py")
    assert ignored("celerybeat-schedule.db")
    assert ignored(".env")
    assert not ignored(".env.example")


def test_no_file_names_a_package_registry_or_a_place_on_somebodys_machine() -> None:
    # Put together here, so that this file does not name them either.
    forbidden = [
        "/".join(("", "work", "main")),
        "/".join(("", "work", "shared")),
        "/".join(("", "home", "")),
        "/".join(("", "root", "")),
        *(".".join(host) for host in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"))),
        ".".join(("deb", "debian", "org")),
        ".".join(("packages", "microsoft", "com")),
    ]
    for path in tracked_files():
        text = path.read_text(encoding="utf-8", errors="replace")
        assert [word for word in forbidden if word in text] == [], path


def services_of(profile: str) -> dict[str, Any]:
    return {name: s for name, s in COMPOSE["services"].items() if profile in s["profiles"]}


def test_compose_runs_a_worker_for_each_queue_and_exactly_one_beat() -> None:
    ours = services_of("cprqueue")
    commands_of = {name: service["command"] for name, service in ours.items()}
    queues = [words[words.index("-Q") + 1] for words in commands_of.values() if "-Q" in words]
    assert sorted(queues) == sorted(QUEUES)
    assert sum("beat" in words for words in commands_of.values()) == 1
    assert set(commands_of) == {*QUEUES, "migrate", "beat", "flower"}
    profiles = {profile for s in COMPOSE["services"].values() for profile in s["profiles"]}
    told = set(re.findall(r"^\| `([a-z]+)` \|", CONTAINERS, re.MULTILINE))
    assert profiles == told | {"sandbox"}
    assert set(settings_of(DOTENV)["COMPOSE_PROFILES"].split(",")) <= profiles


def test_compose_starts_again_whatever_ends_and_gives_it_time() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["stop_grace_period"], name
        assert service["logging"]["options"]["max-size"], name
        if service["profiles"] == ["sandbox"]:
            assert name == "sandbox" or service["healthcheck"]["test"], name
            continue
        ends = name in ("migrate", "sqlserver-database")
        assert service["restart"] == ("no" if ends else "always"), name
        assert ends or service["healthcheck"]["test"], name
    for name, service in services_of("cprqueue").items():
        assert service["environment"]["CPR_VAR_DIR"] == "/var/lib/cprqueue"
        if name != "migrate":
            waits = service["depends_on"]
            assert waits["migrate"]["condition"] == "service_completed_successfully", name
            for other in ("broker", "rabbitmq"):
                assert waits[other] == {"condition": "service_healthy", "required": False}, name


def test_compose_gives_no_program_more_rights_than_it_needs() -> None:
    for name, service in COMPOSE["services"].items():
        if not name.startswith("sqlserver"):
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
            assert service.get("read_only") or name == "rabbitmq", name
        exact = re.search(r":\d+(\.\d+)+$|-CU\d+-", service["image"])
        assert exact or service["build"] == ".", name


def test_compose_takes_every_secret_from_a_file() -> None:
    declared = {name: where["file"] for name, where in COMPOSE["secrets"].items()}
    assert declared == {name: f"./secrets/{name}" for name in declared}
    made = (ROOT / "docker" / "secrets.sh").read_text(encoding="utf-8")
    assert [name for name in declared if name not in made] == []
    used = {name for s in COMPOSE["services"].values() for name in s.get("secrets", [])}
    assert used == set(declared)
    for name, service in services_of("cprqueue").items():
        named = {word for word in service["environment"] if word.endswith("_FILE")}
        assert named == set(config.FILES), name
        assert used - set(service["secrets"]) <= {
            "broker_password",
            "database_password",
            "flower_basic_auth",
        }


def test_the_sandbox_of_compose_has_the_sandboxs_own_credentials() -> None:
    right = credentials.environment("http://127.0.0.1:8030")
    for service in services_of("sandbox").values():
        given = service["environment"]
        assert all(right.get(name, value) == value for name, value in given.items())


def test_compose_shows_flower_on_loopback_alone_and_the_broker_to_nobody() -> None:
    ports = {name: service.get("ports", []) for name, service in COMPOSE["services"].items()}
    assert [name for name, open_ports in ports.items() if open_ports] == [
        "flower",
        "web",
        "sandbox",
    ]
    assert all(port.startswith("127.0.0.1:") for one in ports.values() for port in one)
    command = COMPOSE["services"]["flower"]["command"][-1]
    assert "--read-only=True" in command
    assert "FLOWER_BASIC_AUTH" in command


def test_the_broker_of_compose_forgets_nothing() -> None:
    text = (ROOT / "docker" / "valkey.conf").read_text(encoding="utf-8")
    assert "appendonly yes" in text
    assert "maxmemory-policy noeviction" in text


def test_the_pythons_that_are_allowed_are_those_that_are_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [(low, below)] = re.findall(r"^>=3\.(\d+),<3\.(\d+)$", project["requires-python"])
    allowed = [f"3.{minor}" for minor in range(int(low), int(below))]
    # .ci/run looks for each of these.
    named = [c.rpartition(" ")[2] for c in project["classifiers"] if ":: Python :: 3." in c]
    assert named == allowed
    [image] = re.findall(r"^FROM python:(3\.\d+)\.\d+-", DOCKERFILE, re.MULTILINE)
    assert image in allowed


def test_the_image_holds_no_settings_and_does_not_run_as_root() -> None:
    lines = DOCKERFILE.splitlines()
    assert "USER cprqueue" in lines
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert kept[0] == "*"
    assert all(".env" not in line for line in kept)
