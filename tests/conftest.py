"""Fixtures for all tests: no test leaks a thread, and skipping can be switched off."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import basix_cti

pytest_plugins = ["pytester", "redis_rig"]

# For fuzz/ and soak/. At the end, so that what is tested may be installed elsewhere.
sys.path.append(str(Path(__file__).parent.parent))

# Machines are noisy: an example that takes long is no bug, and the tests' own time-out bounds them all.
settings.register_profile("basix_cti", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("basix_cti")

_SETTLE = 20.0


def pytest_configure() -> None:
    """Make sure that what is said to be tested is tested: the compiled modules, or the others."""
    assert basix_cti.compiled is (os.environ.get("BASIX_CTI_EXPECT_COMPILED") == "1"), basix_cti.__file__


# A shell's background job ignores Ctrl-C, and so would the programs that the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_leaked_threads() -> Iterator[None]:
    """Fail a test that leaves a thread behind."""
    before = set(threading.enumerate())
    yield
    leaked = [thread for thread in threading.enumerate() if thread not in before]
    for thread in leaked:
        thread.join(_SETTLE)
    names = sorted(thread.name for thread in leaked if thread.is_alive())
    assert not names, f"threads left behind: {names}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With BASIX_CTI_NO_SKIP=1, as in CI, a test that would be skipped fails."""
    report = yield
    if report.skipped and os.environ.get("BASIX_CTI_NO_SKIP") == "1" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipping is switched off: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have measured: each ``record_property("measured", ...)``."""
    reports = [report for report in terminalreporter.getreports("passed") if report.when == "call"]
    figures = [
        (report.nodeid, text) for report in reports for name, text in report.user_properties if name == "measured"
    ]
    if figures:
        terminalreporter.section("measured")
    for nodeid, text in figures:
        terminalreporter.write_line(f"{nodeid.partition('::')[2]}: {text}")
