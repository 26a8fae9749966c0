"""A real headless Chromium, its pages at any width and in both colour schemes, and axe on them."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.real_processes import no_process_left_behind, wait_until

OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--no-proxy-server", "--hide-scrollbars",
)  # fmt: skip
HEIGHT = 800
DESK, PHONE = 1280, 390
SCHEMES = ("light", "dark")
PATIENCE_SECONDS = 60.0
PAGE_SECONDS = 30
QUICK_PNG = {"format": "png", "optimizeForSpeed": True}
SERIOUS = ("serious", "critical")
AXE = (files("selenium_axe_python") / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
RUN_AXE = """
const [rules, done] = arguments;
const options = {resultTypes: ["violations"]};
if (rules) options.runOnly = {type: "rule", values: rules};
axe.run(document, options).then((found) => done(found.violations), (e) => done(String(e)));
"""


def program(name: str) -> str:
    """Return where a program is; skip the test where it is not, but fail where it has to be."""
    found = shutil.which(name)
    if found is None and os.environ.get("CI") == "true" and os.geteuid() == 0:
        pytest.fail(f"{name} is missing: .ci/run installs it")
    if found is None:
        pytest.skip(f"needs {name}: apt-get install chromium chromium-driver")
    return found


class Browser:
    """One window, on a board at ``url``."""

    def __init__(self, driver: Chrome, url: str) -> None:
        self.driver, self.url = driver, url

    # --- what somebody does ---

    def open(self, path: str) -> None:
        """Go to a page."""
        self.driver.get(self.url + path)

    def click(self, label: str, *, within: str = "//main") -> None:
        """Press the one button, or follow the one link, of this label; wait for the next page."""
        texts = f"starts-with(normalize-space(.), '{label}')"
        [found] = self.all(f"{within}//*[self::button or self::a or self::summary][{texts}]")
        before = self.all("/html")[0]
        found.click()
        wait_until(lambda: _is_gone(before), timeout_seconds=PATIENCE_SECONDS)

    def type(self, field: str, text: str) -> WebElement:
        """Write into the field that a label belongs to."""
        [label] = self.all(f"//label[starts-with(normalize-space(.), '{field}')]")
        found = self.driver.find_element(By.ID, label.get_attribute("for") or "")
        found.clear()
        found.send_keys(text)
        return found

    def first_stop(self) -> str:
        """Press Tab on a page that was just opened; return what has the focus then."""
        ActionChains(self.driver).send_keys(Keys.TAB).perform()
        return str(self.driver.switch_to.active_element.text)

    # --- what somebody sees ---

    def all(self, xpath: str) -> list[WebElement]:
        """Return the elements, in the order of the page."""
        return self.driver.find_elements(By.XPATH, xpath)

    def text(self, xpath: str = "//main") -> str:
        """Return what is seen of the first such element, in one line."""
        return " ".join(self.all(xpath)[0].text.split())

    def labels(self) -> set[str]:
        """Return the labels of all buttons."""
        return {button.text for button in self.all("//button")}

    def wait_for(self, words: str, *, again: str = "") -> None:
        """Return once the page has these words; ``again``: load this path until it has."""

        def is_there() -> bool:
            if again:
                self.open(again)
            try:
                return words in self.text()
            except (StaleElementReferenceException, IndexError):
                return False  # it is between two pages

        try:
            wait_until(is_there, timeout_seconds=PATIENCE_SECONDS)
        except AssertionError:
            pytest.fail(f"waited in vain for {words!r}: {self.driver.page_source}")

    def complaints(self) -> list[str]:
        """Return what the console has had since the last time, whatever its level."""
        found: Any = self.driver.execute("getLog", {"type": "browser"})["value"]
        return [f"{each['level']}: {each['message']}" for each in found]

    # --- how the page looks ---

    def look(self, width: int, scheme: str) -> None:
        """Make the window this wide, for somebody who prefers these colours."""
        size = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        wanted = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wanted.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def picture(self, path: Path) -> None:
        """Write what the window shows now as PNG."""
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", QUICK_PNG)
        path.write_bytes(base64.b64decode(shot["data"]))

    def too_wide(self) -> int:
        """Return by how many pixels the page is wider than its window."""
        script = "return document.documentElement.scrollWidth - window.innerWidth"
        return int(self.driver.execute_script(script))

    def barriers(self, *rules: str) -> list[str]:
        """Return what axe finds that is serious or critical, a line each.

        ``rules``: these alone.
        """
        if not self.driver.execute_script("return 'axe' in window"):
            self.driver.execute_script(AXE)
        found: Any = self.driver.execute_async_script(RUN_AXE, list(rules) or None)
        assert isinstance(found, list), found
        return [
            f"{each['id']}: {each['help']}: {node['html'][:200]} {node['failureSummary']}"
            for each in found
            if each["impact"] in SERIOUS
            for node in each["nodes"]
        ]


def _is_gone(element: WebElement) -> bool:
    try:
        element.is_enabled()
    except StaleElementReferenceException:
        return True
    except WebDriverException as error:  # said so while the next page comes
        return "does not belong to the document" in str(error)
    return False


Open = Callable[[str], Browser]


@contextmanager
def chromium(directory: Path) -> Iterator[Open]:
    """Start Chromium for the block, with all that it keeps below ``directory``.

    Gives what opens a board in it.
    """
    home = directory / "chromium"
    home.mkdir()
    options = ChromeOptions()
    options.binary_location = program("chromium")
    for each in (*OPTIONS, f"--user-data-dir={home / 'profile'}"):
        options.add_argument(each)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    env = {**os.environ, "HOME": str(home), "TMPDIR": str(home)}
    service = Service(program("chromedriver"), env=env)
    with no_process_left_behind(home):
        driver = Chrome(options=options, service=service)
        try:
            driver.set_page_load_timeout(PAGE_SECONDS)
            driver.set_script_timeout(PAGE_SECONDS)
            yield lambda url: Browser(driver, url.rstrip("/"))
        finally:
            driver.quit()
