"""Debian's Chromium without a window, led by Selenium."""

from __future__ import annotations

import os
import shutil

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

__all__ = ["MISSING", "start_chromium"]

_CHROMIUM, _DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

MISSING = None if _CHROMIUM and _DRIVER else "there is no Chromium; on Debian: apt-get install chromium chromium-driver"
"""Why it cannot be started; None where it can."""


def start_chromium() -> webdriver.Chrome:
    """Start one, whose log can be read; the caller quits it."""
    options = webdriver.ChromeOptions()
    options.binary_location = _CHROMIUM or ""
    for argument in (
        "--headless=new",
        "--disable-dev-shm-usage",
        "--no-proxy-server",
        "--disable-gpu",
        "--hide-scrollbars",
    ):
        options.add_argument(argument)
    if os.getuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(_DRIVER))
