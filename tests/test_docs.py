"""What README, the documentation and examples/ show runs as it stands there."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from basix_cti.simulator import Simulator

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
PAGES = [ROOT / "README.rst", *sorted((ROOT / "docs").glob("*.rst"))]
LIMIT = 30.0


def blocks(page: Path) -> list[str]:
    """The Python code blocks of a page."""
    found = re.findall(r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)", page.read_text("utf-8"), re.MULTILINE)
    return [textwrap.dedent(code) for code in found]


SCRIPTS = [
    pytest.param(code, id=f"{page.name}-{number}") for page in PAGES for number, code in enumerate(blocks(page), 1)
]


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(domain="test1.com") as simulator:
        traffic = simulator.play(seed=1, calls_per_minute=30, speed=40)
        yield simulator
        traffic.stop()


@pytest.fixture
def environment(simulator: Simulator) -> dict[str, str]:
    return {
        **os.environ,
        "BASIX_CTI_SERVER": simulator.url,
        "BASIX_CTI_DOMAIN": simulator.domain,
        "BASIX_CTI_TOKEN": simulator.token,
        "PYTHONUNBUFFERED": "1",
    }


def run(script: Path, environment: dict[str, str], enough: Callable[[list[str]], bool]) -> list[str]:
    """The lines that a script prints until it ends by itself, or until it is interrupted because they are enough."""
    lines: list[str] = []
    interrupted = False
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if not interrupted and enough(lines):
                interrupted = True
                process.send_signal(signal.SIGINT)
        told = process.stderr.read()
        status = process.wait(LIMIT)
    # One that was about to end by itself is ended by the signal without a word.
    assert status == 0 or (interrupted and status == -signal.SIGINT), f"status {status}: {told}"
    assert "Error" not in told, told
    return lines


def matches(pattern: str) -> Callable[[list[str]], bool]:
    """Enough is a line that matches."""
    return lambda lines: re.fullmatch(pattern, lines[-1]) is not None


@pytest.mark.parametrize("code", SCRIPTS)
def test_page(code: str, environment: dict[str, str], tmp_path: Path) -> None:
    if (tests := len(re.findall(r"^ *def test_", code, re.MULTILINE))) > 0:
        run_tests(code, tests, tmp_path)
        return
    script = tmp_path / "script.py"
    script.write_text(code, "utf-8")
    run(script, environment, enough=lambda lines: len(lines) == 12)


def run_tests(code: str, at_least: int, directory: Path) -> None:
    """A block with tests is for pytest, which must see so many of them pass."""
    (directory / "test_page.py").write_text(code, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_page.py"],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        cwd=directory,
    )
    passed = re.search(r"^(\d+) passed in", done.stdout, re.MULTILINE)
    assert done.returncode == 0, done.stdout
    assert passed is not None
    assert int(passed[1]) >= at_least


def test_readme_shows_a_handler(environment: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(blocks(ROOT / "README.rst")[0], "utf-8")
    lines = run(script, environment, enough=matches(r"0\d+ calling None"))
    assert lines[0].endswith("channels are up")


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("screen.py", r".+: calls \d+"),
        ("parking_board.py", r"parked: .*\d: [0-9*]+ \(by user\d+\)"),
        ("own_websocket.py", r"[0-9a-f-]{36} NEW_CHANNEL"),
        ("screen_pop.py", r"0\d+ \(.+, .+\) answered by .+, waited \d+ s"),
        ("screen_pop.py", r"0\d+ \(no customer\) rings, waited \d+ s"),
    ],
)
def test_example(name: str, pattern: str, environment: dict[str, str]) -> None:
    lines = run(ROOT / "examples" / name, environment, enough=matches(pattern))
    assert any(re.fullmatch(pattern, line) for line in lines), lines


class Postbox:
    """Where a mail server puts what it gets."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.port = 0

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert envelope.content is not None
        content = envelope.content.encode() if isinstance(envelope.content, str) else envelope.content
        mail = message_from_bytes(content, _class=EmailMessage, policy=policy.default)
        assert envelope.rcpt_tos == [mail["To"]]
        self.mails.append(mail)
        return "250 OK"


@pytest.fixture
def postbox() -> Iterator[Postbox]:
    """A mail server on a free port."""
    postbox, loop = Postbox(), asyncio.new_event_loop()
    server = loop.run_until_complete(
        loop.create_server(lambda: SMTP(postbox, hostname="localhost", loop=loop), "127.0.0.1", 0)
    )
    postbox.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield postbox
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    server.close()
    if rest := asyncio.all_tasks(loop):
        for task in rest:
            task.cancel()
        loop.run_until_complete(asyncio.wait(rest))
    loop.close()


def test_missed_calls_are_mailed(postbox: Postbox, environment: dict[str, str]) -> None:
    environment |= {
        "SMTP_SERVER": f"127.0.0.1:{postbox.port}",
        "MAIL_FROM": "pbx@test1.com",
        "MAIL_TO": "front@test1.com",
    }
    lines = run(ROOT / "examples" / "missed_calls.py", environment, enough=lambda lines: len(lines) == 2)
    assert [mail["Subject"] for mail in postbox.mails[: len(lines)]] == lines
    for mail in postbox.mails:
        assert (mail["From"], mail["To"]) == ("pbx@test1.com", "front@test1.com")
        assert re.fullmatch(r"Missed call: .+ for (user|group)\d+", mail["Subject"])
        call_back, rang = mail.get_content().splitlines()
        assert re.fullmatch(r"Call back: 0\d+", call_back)
        assert re.fullmatch(r"It rang at 20\d\d-.+ for \d+ s\.", rang)


def test_every_example_is_tested() -> None:
    assert EXAMPLES == ["missed_calls.py", "own_websocket.py", "parking_board.py", "screen.py", "screen_pop.py"]


def test_there_is_code_to_run() -> None:
    assert len(SCRIPTS) >= 20
