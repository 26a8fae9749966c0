"""The office's day at the board, in a real browser, with real workers.

On the way each page is looked at on a desk and on a phone, in light and in dark: axe must find
nothing serious, nothing may be wider than the window, and the console stays empty. What the pages
look like is written as PNG into the directory that CPR_TEST_PICTURES names, where it names one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cprqueue.sandbox import dataset
from cprqueue.sandbox.server import Sandbox
from tests.board_day import Day
from tests.browser import DESK, chromium
from tests.own_servers import free_port
from tests.real_processes import wait_until
from tests.running import PATIENT, System
from tests.web.conftest import USERS

pytestmark = pytest.mark.slow  # processes enough for one run of all tests

JOBS = dataset.make_jobs(26)
OPEN = [job for job in JOBS if dataset.is_active(job)]
CLOSED = next(job for job in JOBS if job["jobProgress"] == dataset.CLOSED)
MOVED, HELD, FINISHED = OPEN[0], OPEN[1:5], OPEN[5:7]
BRAKES = {
    "PUSH_MIN_LIMIT": "2",
    "PUSH_MAX_FRACTION": "0.01",
    "PRUNE_MIN_LIMIT": "1",
    "PRUNE_MAX_FRACTION": "0.01",
    "PRUNE_QUIET_DAYS": "0",
}
NEW_STREET = "700 Harbour View Rd"
STEPS = ("found in RestorationManager", "rule", "recorded", "compared", "done")


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    directory = tmp_path_factory.mktemp("story")
    pictures = Path(os.environ.get("CPR_TEST_PICTURES") or directory / "pictures")
    pictures.mkdir(parents=True, exist_ok=True)
    with chromium(directory) as open_at, Sandbox(jobs=JOBS) as sandbox:
        port = str(free_port())
        home = directory / "office"
        home.mkdir()
        system = System(home, sandbox, CPR_WEB_USERS=USERS, CPR_WEB_PORT=port, **BRAKES)
        with system.up("--no-beat", "--no-flower"):
            assert system.sync()["code"] == 0
            browser = open_at(f"http://127.0.0.1:{port}")
            browser.look(DESK, "light")
            yield Day(browser, system, pictures)


def test_the_offices_day(day: Day) -> None:
    all_is_well(day)
    where_a_job_is_and_why(day)
    a_new_address_is_synced_at_once(day)
    day.nothing_to_complain()
    much_happens_and_waits(day)
    a_viewer_sees_all_and_no_button(day)
    a_held_push_is_approved(day)
    a_prune_is_approved_and_undone(day)
    the_other_pages(day)
    day.nothing_to_complain()
    an_address_that_leads_nowhere(day)
    day.log_out()
    day.nothing_to_complain()


def test_axe_finds_a_field_without_a_label_and_words_that_are_too_pale(day: Day) -> None:
    browser = day.browser
    browser.open("/login")
    assert browser.barriers() == []
    browser.driver.execute_script(
        "document.querySelector('label').remove();"
        "document.querySelector('h1').style.setProperty('color', '#aaa')"
    )
    found = {line.partition(":")[0] for line in browser.barriers()}
    assert found == {"label", "color-contrast"}


def all_is_well(day: Day) -> None:
    browser = day.browser
    browser.open("/")
    assert browser.text("//h1") == "Log in"
    day.look("login")
    day.log_in("ann")
    browser.wait_for("All is well", again="/")
    assert f"{len(OPEN)} jobs in QuickBooks Time, last fetch" in browser.text()
    day.look("now")
    the_numbers_are_live(day)
    browser.open("/")
    assert browser.first_stop() == "Skip to the content"


def the_numbers_are_live(day: Day) -> None:
    browser, tile = day.browser, "//*[@data-number='jobs-active']"
    browser.driver.execute_script(
        "document.querySelector('[data-number=jobs-active]').textContent = '?';"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    wait_until(lambda: browser.text(tile) == str(len(OPEN)), **PATIENT)


def where_a_job_is_and_why(day: Day) -> None:
    browser, number = day.browser, MOVED["jobJobId"]
    browser.click("Jobs", within="//nav")
    day.look("jobs")
    browser.type("Search", MOVED["jobAddress1"].upper())
    browser.click("Search")
    assert len(browser.all("//tbody/tr")) == 1
    browser.click(number)
    assert browser.text("//h1") == f"{number} in step"
    browser.open(f"/jobs?q={CLOSED['jobId']}")
    assert dataset.CLOSED in browser.text("//tbody/tr")
    browser.click(CLOSED["jobJobId"])
    assert browser.text("//h1") == f"{CLOSED['jobJobId']} inactive"
    assert dataset.CLOSED in browser.text("//dt[.='Rule']/following-sibling::dd")
    day.look("job-inactive")


def a_new_address_is_synced_at_once(day: Day) -> None:
    browser, job_id = day.browser, MOVED["jobId"]
    day.put(MOVED | {"jobAddress1": NEW_STREET})
    browser.open(f"/jobs/{job_id}")
    browser.click("Sync now")
    browser.wait_for("✓ done:")
    done = [item.text for item in browser.all("//ol[@class='steps']/li")]
    assert [text.strip("✓ \n").partition(":")[0] for text in done] == list(STEPS)
    assert "differs in addr1" in browser.text()
    assert day.street(MOVED) == NEW_STREET
    assert "ordered by ann" in browser.text("//ol[@class='history']")
    day.look("job")


def much_happens_and_waits(day: Day) -> None:
    browser = day.browser
    twin = dataset.make_jobs(200)[-1] | {"jobJobId": MOVED["jobJobId"], "jobProgress": "Job Sold"}
    day.put(twin)
    day.fetch()
    browser.wait_for("came first", again="/jobs?state=parked")
    day.put(*(job | {"jobAddress1": f"{job['jobId']} Quay St"} for job in HELD))
    day.put(*(job | {"jobProgress": dataset.CLOSED} for job in FINISHED))
    day.fetch()
    browser.wait_for(f"{len(HELD)} jobs held", again="/plans")
    assert day.system.run("prune", "run").returncode == 1
    browser.wait_for("All works; 1 parked job and 2 held plans wait for you", again="/")
    assert f"A held push of {len(HELD)} jobs" in browser.text()
    day.look("now-waits")


def a_viewer_sees_all_and_no_button(day: Day) -> None:
    browser = day.browser
    day.log_out()
    day.log_in("bo")
    pages = [link.get_attribute("href") for link in browser.all("//nav//a | //main//h3/a")]
    for page in [*pages, f"{browser.url}/jobs/{MOVED['jobId']}"]:
        browser.open(str(page).removeprefix(browser.url))
        assert browser.labels() <= {"Log out", "Search"}, page
    assert len(pages) >= 8
    day.log_out()
    day.log_in("ann")


def a_held_push_is_approved(day: Day) -> None:
    browser = day.browser
    browser.click("Plans", within="//nav")
    day.look("plans")
    browser.click(f"{len(HELD)} jobs held")
    rows = {row.text for row in browser.all("//tbody")}
    for job in HELD:
        [row] = [row for row in rows if job["jobJobId"] in row]
        assert re.search(f"addr1.*{job['jobAddress1']}.*{job['jobId']} Quay St", row, re.DOTALL)
    assert {day.street(job) for job in HELD} == {job["jobAddress1"] for job in HELD}
    day.look("plan-push")
    path = browser.driver.current_url.removeprefix(browser.url)
    browser.click(HELD[0]["jobJobId"])
    assert "≠ differs" in browser.text("//tr[@class='changed']")
    day.look("job-held")
    browser.open(path)
    browser.click("Approve")
    assert f"Approved: {len(HELD)} jobs due now." in browser.text("//p[@role='status']")
    wait_until(lambda: all("Quay" in day.street(job) for job in HELD), **PATIENT)
    browser.wait_for("in step", again=f"/jobs/{HELD[0]['jobId']}")
    assert "approved" in browser.text("//ol[@class='history']")


def a_prune_is_approved_and_undone(day: Day) -> None:
    browser, names = day.browser, {job["jobJobId"] for job in FINISHED}
    browser.open("/plans")
    browser.click(f"{len(FINISHED)} jobcodes held by the prune")
    path = browser.driver.current_url.removeprefix(browser.url)
    assert all(name in browser.text() for name in names)
    day.look("plan-prune")
    browser.click("Approve")
    wait_until(lambda: day.archived() == names, **PATIENT)
    browser.wait_for("Undo", again=path)
    browser.click("Undo")
    path = browser.driver.current_url.removeprefix(browser.url)
    wait_until(lambda: day.archived() == set(), **PATIENT)
    browser.wait_for(f"Brought back: {len(FINISHED)}", again=path)
    day.look("undo")


def the_other_pages(day: Day) -> None:
    browser = day.browser
    browser.click("Check", within="//nav")
    browser.click("Check now")
    assert "Checked by ann" in browser.text()
    assert "This installation does its work." in browser.text()  # beat has time to show itself
    day.look("check")
    browser.click("To mend", within="//nav")
    assert f"{MOVED['jobJobId']}" in browser.text()
    day.look("mend")
    browser.click("Runs", within="//nav")
    day.look("runs")
    browser.click("1", within="//tbody")
    day.look("run")


def an_address_that_leads_nowhere(day: Day) -> None:
    day.browser.open("/nowhere")
    assert "404" in day.browser.text()
    day.nothing_to_complain("404")
    day.look("error")
