"""A short soak, and that it can fail: what its ledger and its comparison find."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from basix_cti import CTIHandler, MessageParser
from basix_cti.simulator import Simulator
from basix_cti.simulator.views import View
from soak.ledger import Ledger
from soak.pbx import COMPARED, comparable

ROOT = Path(__file__).parent.parent


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(io.StringIO())


def soaked(*options: str) -> tuple[int, str]:
    """The exit status and the report of a run of a few seconds, at a rate that any machine can keep up."""
    command = [sys.executable, "-m", "soak", "--minutes", "0.05", "--rate", "100", *options]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, timeout=50, check=False)
    return done.returncode, done.stdout.decode()


def test_short_run() -> None:
    status, report = soaked("--faults-every", "0.3")
    assert status == 0, report
    assert report.endswith("all equal, one end for each channel, nothing leaked\n")


def test_breach_is_told_by_the_exit_status() -> None:
    status, report = soaked("--faults-every", "1e6")
    assert status == 1, report
    assert "WRONG: no connection was lost: there was nothing to withstand\n1 violations\n" in report


def told(ledger: Ledger, story: str) -> Ledger:
    for word in story.split():
        (ledger.begun if word[0] == "+" else ledger.ended)(word[1:])
    return ledger


@pytest.mark.parametrize(
    ("story", "up", "count"),
    [("", set(), 0), ("+a +a -a +b", {"b"}, 2), ("-a", set(), 0)],
    ids=["nothing", "one of each", "an end without a beginning"],
)
def test_what_is_right(ledger: Ledger, story: str, up: set[str], count: int) -> None:
    assert told(ledger, story).violations(up) == (count, [])


@pytest.mark.parametrize(
    ("story", "up", "wrong"),
    [
        ("+a", set(), "a was told to end 0 times, not 1"),
        ("+a -a -a", set(), "a was told to end 2 times, not 1"),
        ("+a -a", {"a"}, "a was told to end 1 times, not 0"),
        ("+a -a +a", set(), "a was told to be up after its end"),
    ],
    ids=["no end", "two ends", "ended and up", "back again"],
)
def test_what_is_wrong(ledger: Ledger, story: str, up: set[str], wrong: str) -> None:
    assert told(ledger, story).violations(up)[1] == [wrong]


def test_comparison() -> None:
    class Quiet(CTIHandler):
        pass

    sim = Simulator()
    parser = MessageParser(Quiet())
    parser.connection_made()
    frames: list[bytes] = []
    sim._pbx.listen(lambda change: frames.extend(sim._server.current.messages(change)))
    call = sim.call("0312341234", to="user1")
    sim.update_user("user1", label="new")
    assert comparable(sim, "channel") != comparable(parser.state, "channel")
    for frame in [*_opening(sim), *frames]:
        parser.handle_message(frame)
    for element in COMPARED:
        assert comparable(sim, element) == comparable(parser.state, element) != {}
    call.answer()
    assert comparable(sim, "channel") != comparable(parser.state, "channel")


def _opening(sim: Simulator) -> list[bytes]:
    return sim._server.current.opening(View(sim._pbx, None))
