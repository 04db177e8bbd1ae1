"""A Chromium without a window, and the driver of the same version: found where installed, never downloaded."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = ("--no-sandbox", "--headless=new", "--disable-gpu", "--disable-background-networking", "--no-first-run")
OPTIONS += ("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage")  # containers have 64 MB of it
INSTALL = """on Debian: sudo apt-get install chromium chromium-driver
elsewhere: put Chrome or Chromium, and the chromedriver of the same version, on the PATH"""


MIDDLE = """const e = document.querySelectorAll(arguments[0])[arguments[1]];
e.scrollIntoView({block: 'center', behavior: 'instant'});
const box = e.getBoundingClientRect(); return [box.left + box.width / 2, box.top + box.height / 2]"""


class NoBrowser(RuntimeError):
    """There is no browser and driver that fit; the text says what to install."""


def find() -> tuple[str, str]:
    """Paths of a browser and of the driver on the PATH, whose first number of the version is the same."""
    browsers = [path for path in map(shutil.which, BROWSERS) if path]
    driver = shutil.which("chromedriver")
    if not driver or not browsers:
        missing = "driver (chromedriver)" if browsers else f"browser ({', '.join(BROWSERS)})"
        raise NoBrowser(f"this needs a {missing}, and none is on the PATH\n{INSTALL}")
    versions = {path: _version(path) for path in [driver, *browsers]}
    fitting = [path for path in browsers if versions[path] == versions[driver]]
    if not fitting:
        raise NoBrowser(f"browser and driver are of different versions: {versions}\n{INSTALL}")
    return fitting[0], driver


def _version(program: str) -> str:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60).stdout
    number = re.search(r"(\d+)\.", said)
    return number.group(1) if number else "unknown"


class Browser:
    """One browser for all tests; `show` opens a page as a screen of that width would."""

    def __init__(self) -> None:
        browser, driver = find()
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        for option in OPTIONS:
            options.add_argument(option)
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))

    def show(
        self, page: Path | str, width: int, *, dark: bool = False, printed: bool = False, touch: bool = False
    ) -> None:
        """Open a file, or an address, on a screen of that width; `touch` is one without mouse."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        media = {"media": "print" if printed else "screen", "features": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 700}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        self.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": touch})
        self.driver.get_log("browser")  # what earlier pages left
        self.driver.get(page.as_uri() if isinstance(page, Path) else page)

    def ask(self, script: str, *given: object) -> object:
        """What a script on the page returns; it finds what it is given in `arguments`."""
        return self.driver.execute_script(script, *given)

    def press(self, *keys: str) -> None:
        """Keys one after the other, wherever the focus is."""
        for key in keys:
            ActionChains(self.driver).send_keys(getattr(Keys, key, key)).perform()

    def touch(self, selector: str, number: int = 0) -> None:
        """A finger on the middle of an element, once it has come into view."""
        x, y = self.ask(MIDDLE, selector, number)
        self.driver.execute_cdp_cmd(
            "Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]}
        )
        self.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def wait(self, script: str, *given: object, seconds: float = 20) -> object:
        """What a script returns, once that is true."""
        return WebDriverWait(self.driver, seconds, 0.03).until(lambda _: self.ask(script, *given), script)

    def console(self) -> list[str]:
        """What the browser complained of since `show`."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


def _started():
    try:
        one = Browser()
    except NoBrowser as error:
        pytest.exit(str(error), returncode=1)
    yield one
    one.driver.quit()


@pytest.fixture(scope="module")
def browser():
    """A browser for the tests of a file; without one they stop, and say what to install."""
    yield from _started()


@pytest.fixture
def other_browser():
    """Another one, which shares nothing with the first."""
    yield from _started()
