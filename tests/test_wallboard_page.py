"""The wallboard's page in a real browser: Debian's Chromium, without a window."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from chromium import MISSING, start_chromium
from recorder import TIMEOUT
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait
from wallboard_rig import COMMAND, Served, port_of, serving

from basix_cti import ApiUser
from basix_cti.simulator import Simulator
from basix_cti.wallboard import Access

WALL, DESK, TELEPHONE = (1920, 1080), (1280, 800), (320, 640)
EXPECTED = ("net::ERR_",)  # what the browser logs of a server that is not there is no fault of the page
T = TypeVar("T")


class Browser:
    """The browser, with what these tests look for."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def wait(self, reached: Callable[[], T], what: str) -> T:
        """Wait until it is so, and give what it is; elements that are replaced meanwhile are looked for again."""
        return WebDriverWait(
            self.driver, TIMEOUT, poll_frequency=0.05, ignored_exceptions=[StaleElementReferenceException]
        ).until(lambda _: reached(), f"{what} did not come; the page: {self.text('body')}")

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """All that can be read there."""
        return "\n".join(element.text for element in self.all(selector))

    def has(self, selector: str) -> bool:
        return bool(self.all(selector))

    def script(self, code: str, *arguments: Any) -> Any:
        return self.driver.execute_script(code, *arguments)

    def style(self, selector: str, name: str) -> str:
        """A computed style."""
        code = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
        return str(self.script(code, selector, name))

    def mark(self, selector: str) -> str:
        """What the style sheet puts before it."""
        code = "return getComputedStyle(document.querySelector(arguments[0]), '::before').content"
        return str(self.script(code, selector))

    def command(self, name: str, **parameters: Any) -> None:
        """One of the browser's own."""
        self.driver.execute_cdp_cmd(name, parameters)

    def log(self) -> list[str]:
        """What the browser complained of since the last time."""
        entries = self.driver.execute("getLog", {"type": "browser"})["value"]
        return [entry["message"] for entry in entries]

    def size(self, size: tuple[int, int], *, mobile: bool = False) -> None:
        width, height = size
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile
        )

    def languages(self, accepted: str) -> None:
        agent = self.script("return navigator.userAgent")
        self.command("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=accepted)

    def open(self, url: str) -> None:
        self.driver.get(url)
        self.wait(lambda: "Live" in self.text("#status") or "受信中" in self.text("#status"), "the first state")

    def call(self) -> str:
        """All that is shown of the only call."""
        self.wait(lambda: len(self.all("#calls li")) == 1, "a call")
        return self.text("#calls li")


@pytest.fixture(scope="module")
def started() -> Iterator[webdriver.Chrome]:
    if MISSING is not None:
        pytest.skip(MISSING)
    driver = start_chromium()
    yield driver
    driver.quit()


@pytest.fixture
def browser(started: webdriver.Chrome) -> Iterator[Browser]:
    """At the end of each test nothing may have been refused by the content security policy, or have failed."""
    browser = Browser(started)
    browser.size(DESK)
    browser.languages("en")
    browser.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
    yield browser
    complaints = browser.log()
    browser.driver.delete_all_cookies()
    started.get("about:blank")
    assert [each for each in complaints if not any(word in each for word in EXPECTED)] == []


@pytest.fixture
def pbx() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def login(pbx: Simulator) -> list[str]:
    """The arguments for a PBX, but for its token."""
    return [pbx.url, "--domain", pbx.domain, "--full-events"]


def seconds(shown: str) -> int:
    """A duration as the page shows it; with the mark of a long one."""
    match = re.fullmatch(r"(?:! )?(\d+):(\d\d)", shown)
    assert match is not None, shown
    return int(match[1]) * 60 + int(match[2])


def test_a_call_appears_ticks_turns_amber_and_red_and_disappears(browser: Browser, pbx: Simulator) -> None:
    with serving(pbx, amber=1, red=6) as wallboard:
        browser.open(wallboard.url)
        assert "No calls" in browser.text("#calls")
        assert browser.text("#figures .waiting .value") == "0"
        call = pbx.call("0312341234", to="user1")
        assert "ringing" in browser.call()
        assert "********34" in browser.call()
        assert browser.text("#figures .waiting .value") == "1"
        browser.wait(lambda: browser.has(".call.waits.amber"), "amber")
        assert browser.mark(".call .time") == '"! "', "for those to whom the colours look alike"
        browser.wait(lambda: browser.has(".call.waits.red") and browser.has(".figure.longest.red"), "red")
        assert browser.mark(".call .time") == browser.mark("#figures .longest .value") == '"!! "'
        assert seconds(browser.text(".call .time")) >= 6
        assert seconds(browser.text("#figures .longest .value")) >= 6
        now = seconds(browser.text(".call .time"))
        browser.wait(lambda: seconds(browser.text(".call .time")) > now, "a tick")
        call.answer()
        browser.wait(lambda: browser.has(".call.talking") and browser.has(".person.talking"), "the answer")
        assert not browser.has(".red")
        call.hangup()
        browser.wait(lambda: not browser.has(".call"), "the end")
        browser.wait(lambda: browser.text("#figures .answered .value") == "1", "the count")
        assert not browser.has("body.stale")


def test_people_and_groups_are_shown(browser: Browser, pbx: Simulator) -> None:
    with serving(pbx) as wallboard:
        browser.open(wallboard.url)
        browser.wait(lambda: len(browser.all("#people li")) == len(pbx.users), "people")
        assert len(browser.all("#groups li")) == len(pbx.groups)
        for group in pbx.groups:
            assert group.label in browser.text("#groups")
        assert browser.text("#figures .free .value") == str(len(browser.all(".person.free")))
        group = pbx.groups[0]
        pbx.call("0312341234", to=group.name)
        browser.wait(lambda: browser.has(".group.waits"), "a group with somebody who waits")
        assert "Waiting 1" in browser.text(".group.waits")
        browser.driver.get(f"{wallboard.url}?group={group.name}")
        browser.wait(lambda: len(browser.all("#groups li")) == 1, "the only group")
        assert group.label in browser.text("#groups li")
        pbx.call("0399999999", to="user1")
        browser.wait(lambda: browser.text("#figures .waiting .value") == "1", "what concerns the group")
        assert f"Groups: {group.name}" in browser.text("#scope")
        assert not browser.text("#alert")
        browser.driver.get(f"{wallboard.url}?group={group.name}&group=nowhere")
        browser.wait(lambda: browser.text("#alert") == "No group nowhere is known.", "what is not there")
        assert len(browser.all("#groups li")) == 1


def test_the_page_recovers_when_the_server_was_stopped_and_started(browser: Browser, pbx: Simulator) -> None:
    call = pbx.call("0312341234", to="user1")
    with Served(*login(pbx), token=pbx.token) as served:
        browser.open(served.url)
        assert "ringing" in browser.call()
        served.end()
        browser.wait(lambda: "No connection to the wallboard's server since" in browser.text("#alert"), "the loss")
        assert browser.has("body.stale")
        assert browser.text("#status") == ""
        stood = browser.text(".call .time")
        shown = browser.text("#clock")
        call.answer()
        begin = time.time()
        browser.wait(lambda: time.time() - begin > 1.2, "a while")
        assert (browser.text(".call .time"), browser.text("#clock")) == (stood, shown), "it must not tick as if live"
        with Served(*login(pbx), "--port", str(served.port), token=pbx.token):
            browser.wait(lambda: browser.text("#alert") == "" and not browser.has("body.stale"), "the server")
            assert "talking" in browser.call()
            now = seconds(browser.text(".call .time"))
            browser.wait(lambda: seconds(browser.text(".call .time")) > now, "a tick")


def test_a_server_that_hangs_is_seen(browser: Browser, pbx: Simulator) -> None:
    """Its connections stay open, and nothing comes through them."""
    pbx.call("0312341234", to="user1")
    with Served(*login(pbx), token=pbx.token) as served:
        browser.open(served.url)
        browser.call()
        served.process.send_signal(signal.SIGSTOP)
        browser.wait(lambda: "No connection to the wallboard's server since" in browser.text("#alert"), "the silence")
        assert browser.has("body.stale")
        served.process.send_signal(signal.SIGCONT)
        browser.wait(lambda: browser.text("#status") == "● Live" or browser.text("#status") == "Live", "its return")
        assert not browser.has("body.stale")


def test_a_lost_pbx_is_shown_and_nothing_ticks(browser: Browser, pbx: Simulator) -> None:
    with serving(pbx) as wallboard:
        browser.open(wallboard.url)
        call = pbx.call("0312341234", to="user1")
        browser.call()
        pbx.refuse(503)
        pbx.drop()
        browser.wait(lambda: "No connection to the PBX since" in browser.text("#problem"), "the loss")
        browser.wait(lambda: "HTTP 503" in browser.text("#reason"), "the reason")
        assert browser.has("body.stale")
        assert browser.text("#figures .waiting .value") == "\u2013"
        assert browser.text("#figures .answered .value") == "≥ 0"
        stood, clock = browser.text(".call .time"), browser.text("#clock")
        begin = time.time()
        browser.wait(lambda: time.time() - begin > 1.2, "a while")
        assert (browser.text(".call .time"), browser.text("#clock")) == (stood, clock)
        call.hangup()
        pbx.refuse(None)
        browser.wait(lambda: not browser.has("body.stale") and not browser.has(".call"), "the present state")
        assert "Gaps: 1" in browser.text("#gaps")
        assert "there may have been more" in browser.text("#counted")


def test_a_pbx_whose_clock_is_an_hour_off(browser: Browser) -> None:
    with Simulator(clock=lambda: round((time.time() - 3600) * 1_000_000)) as pbx, serving(pbx) as wallboard:
        browser.open(wallboard.url)
        pbx.call("0312341234", to="user1")
        browser.call()
        browser.wait(lambda: 0 < seconds(browser.text(".call .time")) < 30, "the age by our clock")


def test_a_pbx_of_the_first_generation(browser: Browser, pbx: Simulator) -> None:
    """It lists nobody: those are shown whom calls have named."""
    with serving(pbx, auth=ApiUser(pbx.domain, pbx.api_user, pbx.token)) as wallboard:
        browser.open(wallboard.url)
        assert not browser.all("#people")[0].is_displayed()
        pbx.call("0312341234", to="user1").answer()
        browser.wait(lambda: "talking" in browser.call(), "the answer")
        assert browser.text("#figures .free .value") == "\u2013", "nobody knows who else there is"
        browser.wait(lambda: len(browser.all("#people li.talking")) == 1, "who talks")
        assert browser.text("#people h2") == "People (as far as calls have named them)"


def test_japanese_for_those_whose_browser_is_japanese(browser: Browser, pbx: Simulator) -> None:
    with serving(pbx) as wallboard:
        browser.languages("ja-JP,ja;q=0.9")
        browser.open(wallboard.url)
        pbx.call("0312341234", to="user1")
        assert "呼出中" in browser.call()
        assert browser.text("#figures .waiting .name") == "待ち呼"
        assert browser.driver.title == "ウォールボード"
        assert "電話番号は一部を伏せて表示しています。" in browser.text("footer")
        shown = browser.text("header") + browser.text("#figures") + browser.text("h2") + browser.text("footer")
        assert re.findall(r"[A-Za-z]+", shown) == ["English"]
        browser.all("#language")[0].click()
        assert "ringing" in browser.call()
        assert browser.text("#figures .waiting .name") == "Waiting"
        browser.open(wallboard.url)
        assert browser.text("#figures .waiting .name") == "Waiting", "what was chosen is remembered"


def test_light_and_dark(browser: Browser, pbx: Simulator) -> None:
    def brightness() -> float:
        return sum(map(int, re.findall(r"\d+", browser.style("body", "backgroundColor"))[:3])) / 3

    with serving(pbx) as wallboard:
        browser.open(wallboard.url)
        assert brightness() > 200
        browser.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        assert brightness() < 50
        browser.all("#theme")[0].click()
        assert browser.text("#theme") == "Light"
        assert brightness() > 200
        browser.open(wallboard.url)
        assert brightness() > 200, "what was chosen is remembered"
        browser.all("#theme")[0].click()
        assert (browser.text("#theme"), brightness() < 50) == ("Dark", True)


def test_a_telephone_need_not_scroll_sideways(browser: Browser, pbx: Simulator) -> None:
    pbx.update_user("user1", label="W" * 60)
    with serving(pbx, unmask=True) as wallboard:
        browser.size(TELEPHONE, mobile=True)
        browser.open(wallboard.url)
        pbx.call("0312341234" * 3, to="user1").answer()
        browser.call()
        assert browser.script("return document.documentElement.scrollWidth") <= TELEPHONE[0]
        assert browser.script("return visualViewport.width") == TELEPHONE[0]
        tops = {element.rect["y"] for element in browser.all("section")}
        assert len(tops) == 5, "one below the other"


def test_it_can_be_read_from_five_metres(browser: Browser, pbx: Simulator) -> None:
    """On 55 inches, a pixel of 1080 is 0.63 mm: letters of 7.3 mm can just be told apart at 5 m, by good eyes."""

    def height(selector: str) -> float:
        return float(browser.style(selector, "fontSize").removesuffix("px")) * 0.7 * 0.63

    with serving(pbx) as wallboard:
        browser.size(WALL)
        browser.open(wallboard.url)
        pbx.call("0312341234", to="user1")
        browser.call()
        assert height("#figures .waiting .value") > 40
        assert height("#figures .answered .value") > 30
        for selector in (".call .who", ".call .time", ".group .waiting"):
            assert height(selector) > 11
        assert height(".person .title") > 10
        before = height(".call .who")
        browser.size((3840, 2160))
        browser.wait(lambda: height(".call .who") > 1.8 * before, "the same size on a finer screen")


def test_what_does_not_fit_on_the_wall_is_told(browser: Browser, pbx: Simulator) -> None:
    def below() -> str | None:
        return browser.all("#people h2")[0].get_attribute("data-below")

    with serving(pbx) as wallboard:
        browser.size(WALL)
        browser.open(wallboard.url)
        browser.wait(lambda: len(browser.all("#people li")) == len(pbx.users), "people")
        browser.wait(lambda: below() == "", "room for all")
        browser.size((1920, 400))
        browser.wait(lambda: re.fullmatch(r"\d+ more below", below() or ""), "that there are more")
        browser.script("scrollTo(0, document.body.scrollHeight)")
        browser.wait(lambda: below() == "", "the end")


def test_what_the_pbx_says_is_text(browser: Browser, pbx: Simulator) -> None:
    evil = '<img src=x onerror="document.title=1"><b>bold</b>'
    pbx.update_user("user1", label=evil)
    with serving(pbx) as wallboard:
        browser.open(wallboard.url)
        pbx.call("0312341234", to="user1")
        browser.wait(lambda: evil in browser.text("#people"), "the label")
        assert evil in browser.call()
        assert not browser.has("img")
        assert not browser.has("b")
        assert browser.driver.title == "Wallboard"


def test_the_policy_is_in_force(browser: Browser, pbx: Simulator) -> None:
    """What a fault of the page would let in is kept out by the browser; what it says of that is expected here."""
    with serving(pbx) as wallboard:
        browser.open(wallboard.url)
        browser.script(
            "const s = document.createElement('script'); s.textContent = 'document.title = \"hacked\"';"
            "document.body.append(s); const i = document.createElement('img'); i.src = 'http://127.0.0.1:9/x.png';"
            "document.body.append(i);"
        )
        complaints: list[str] = []

        def said(what: str) -> bool:
            complaints.extend(browser.log())
            return any(what in each for each in complaints)

        for what in ("inline script", "x.png"):
            browser.wait(partial(said, what), f"what the browser says of {what}")
        assert all("Content Security Policy" in each for each in complaints)
        assert browser.driver.title == "Wallboard"


def test_the_token_is_given_once(browser: Browser, pbx: Simulator) -> None:
    token = "correct-horse-battery"
    with serving(pbx, access=Access("127.0.0.1", token)) as wallboard:
        browser.open(f"{wallboard.url}?token={token}")
        assert browser.driver.current_url == wallboard.url
        assert token not in browser.driver.page_source
        assert browser.script("return document.cookie") == ""
        browser.open(wallboard.url)
        port = port_of(wallboard)
    with serving(pbx, port=port, access=Access("127.0.0.1", "another-token-altogether")):
        browser.wait(lambda: "asks for its token" in browser.text("#alert"), "the refusal")
    browser.log()  # of the refusals


def test_the_chart_shows_waits_and_gaps(browser: Browser, pbx: Simulator) -> None:
    with serving(pbx) as wallboard:
        browser.open(wallboard.url)
        pbx.call("0312341234", to="user1")
        pbx.call("0312341235", to="user2")
        browser.wait(
            lambda: "at most 2 calls waited" in (browser.all("#history svg")[0].get_attribute("aria-label") or ""),
            "both calls",
        )
        assert browser.has("#history .waiting .line")
        assert browser.has("#history .longest .line")
        assert len(browser.all("#history .waiting .gap")) == 1, "the time before the server was started"
        assert browser.text("#history .time").count(":") >= 5
        assert [each.text for each in browser.all("#history .name")] == ["Waiting", "Longest wait"]


def test_the_command_without_what_it_needs(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BASIX_CTI_")}

    def told(*arguments: str, **more: str) -> tuple[int, str]:
        done = subprocess.run(
            [
                *COMMAND,
                "127.0.0.1:1",
                "--domain",
                "d",
                "--full-events",
                *arguments,
            ],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            env={**environment, "BASIX_CTI_TOKEN": "t", "XDG_CONFIG_HOME": "/nowhere", **more},
        )
        with contextlib.suppress(IndexError):
            assert len(done.stderr.splitlines()) == 1, done.stderr
        return done.returncode, done.stderr

    status, error = told("--host", "0.0.0.0")
    assert status == 2
    assert "BASIX_CTI_WALLBOARD_TOKEN or --wallboard-token-file" in error
    assert told("--host", "0.0.0.0", BASIX_CTI_WALLBOARD_TOKEN="secret") == (
        2,
        "basix-cti: the wallboard's token must have 16 characters or more, all of them ASCII\n",
    )
    assert told("--amber", "9", "--red", "8")[0] == 2
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, error = told("--port", str(port))
    assert status == 1
    assert f"--host 127.0.0.1 --port {port} cannot be listened on: Address already in use; give another" in error
    status, error = told("--redis-url", "http://127.0.0.1:1")
    assert status == 2
    assert error.startswith("basix-cti: --redis-url: ")
    file = tmp_path / "token"
    file.write_text("", "utf-8")
    assert told("--wallboard-token-file", str(file))[0] == 2
