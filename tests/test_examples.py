"""The programs of examples/ as they stand there, each with a real PBX, CRM, mail server, lamp or database beside it."""

from __future__ import annotations

import asyncio
import csv
import json
import queue
import re
import signal
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from programs import TIMEOUT, Program, environment_of

from basix_cti.simulator import Simulator

EXAMPLES = Path(__file__).parent.parent / "examples"
MOST_LINES = 60


@pytest.fixture
def pbx() -> Iterator[Simulator]:
    with Simulator(domain="test1.com") as pbx:
        yield pbx


class HttpPeer:
    """A web server of somebody else, such as a CRM or a lamp: it takes JSON."""

    def __init__(self) -> None:
        self.requests: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.status = 204
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.headers["Content-Type"] == "application/json"
                self.do_PUT()

            def do_PUT(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = outer.status
                outer.requests.put((self.command, body))  # ahead of the answer: behind it the next request may come
                self.send_response(status)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing on stderr."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def next(self, method: str = "POST") -> Any:
        """What was sent next."""
        command, body = self.requests.get(timeout=TIMEOUT)
        assert command == method
        return body


@pytest.fixture
def http_peer() -> Iterator[HttpPeer]:
    peer = HttpPeer()
    thread = threading.Thread(target=peer.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield peer
    peer.server.shutdown()
    thread.join()
    peer.server.server_close()


class Postbox:
    """Where a mail server puts what it gets."""

    def __init__(self) -> None:
        self.mails: queue.Queue[EmailMessage] = queue.Queue()
        self.port = 0

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert envelope.content is not None
        content = envelope.content.encode() if isinstance(envelope.content, str) else envelope.content
        mail = message_from_bytes(content, _class=EmailMessage, policy=policy.default)
        assert envelope.rcpt_tos == [mail["To"]]
        self.mails.put(mail)
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


def start(name: str, pbx: Simulator, folder: Path, **variables: str) -> Program:
    """The example, connected."""
    program = Program([sys.executable, str(EXAMPLES / name)], folder, {**environment_of(pbx), **variables})
    try:
        pbx.wait_connections(1, TIMEOUT)
    except BaseException:
        program.__exit__(AssertionError, AssertionError(), None)
        raise
    return program


def interrupt(program: Program, *, quiet: bool = True) -> None:
    """Ctrl-C ends it, as it ends any Python program: nothing else was wrong until then."""
    assert program.end(signal.SIGINT) == -signal.SIGINT
    program.wait("^KeyboardInterrupt$")
    if quiet:
        assert not program.matches("Error|WARNING|raised")


def test_screen(pbx: Simulator, tmp_path: Path) -> None:
    with start("screen.py", pbx, tmp_path) as program:
        program.wait(r"^0 channels are up$")
        pbx.call("0312341234", to="user1").answer().hangup()
        program.wait("^0312341234: ended, NORMAL_CLEARING$")
        assert program.lines[1] == f"0312341234: calls {pbx.users[0].did}"
        assert program.matches(r"^0312341234: answered after \d+\.\d+ s$")
        interrupt(program)


def test_own_websocket(pbx: Simulator, tmp_path: Path) -> None:
    with start("own_websocket.py", pbx, tmp_path) as program:
        program.wait("^0 channels are up$")
        call = pbx.call("0312341234", to="user1").answer()
        program.wait(f"^{call.uuid} CHANNEL_BRIDGE$")
        pbx.close(1001)
        program.wait("^2 channels are up$")  # it has connected again
        call.hangup()
        program.wait(f"^{call.uuid} ended$")
        interrupt(program)


def test_parking_board(pbx: Simulator, tmp_path: Path) -> None:
    with start("parking_board.py", pbx, tmp_path) as program:
        call = pbx.call("0312341234", to="user1").answer().park(901)
        program.wait(r"^parked: 901: 0312341234 \(by user1\)$")
        call.unpark(by="user2")
        program.wait("^parked: nobody$", 2)
        interrupt(program)


def test_screen_pop_tells_the_crm(pbx: Simulator, http_peer: HttpPeer, tmp_path: Path) -> None:
    customer = pbx.customers[0]
    with start("screen_pop.py", pbx, tmp_path, CRM_URL=http_peer.url) as program:
        pbx.call("user2", to="user3").answer().hangup()  # inside: no customer
        call = pbx.call(customer.number, to="user1").answer().hangup()
        told = [http_peer.next() for _ in range(3)]
        assert [body["event"] for body in told] == ["ringing", "answered", "ended"]
        assert [body["outcome"] for body in told] == [None, None, "answered"]
        assert [body["answered_by"] for body in told] == [None, "user1", "user1"]
        for body in told:
            assert (body["call"], body["number"], body["target"]) == (call.uuid, customer.number, "user1")
            assert (body["name"], body["customer"]) == (customer.name, customer.id)
        program.wait(f"^ended {customer.name}$")
        interrupt(program)


def test_screen_pop_outlives_its_crm(pbx: Simulator, http_peer: HttpPeer, tmp_path: Path) -> None:
    with start("screen_pop.py", pbx, tmp_path, CRM_URL=http_peer.url) as program:
        http_peer.status = 500
        call = pbx.call("0312341234", to="user1")
        program.wait(f"was not told of {call.uuid}: HTTP Error 500")
        http_peer.status = 204
        call.answer()
        program.wait("^answered 0312341234$")
        interrupt(program, quiet=False)


def test_missed_calls_are_mailed(pbx: Simulator, postbox: Postbox, tmp_path: Path) -> None:
    mail_server = {
        "SMTP_SERVER": f"127.0.0.1:{postbox.port}",
        "MAIL_FROM": "pbx@test1.com",
        "MAIL_TO": "desk@test1.com",
    }
    with start("missed_calls.py", pbx, tmp_path, **mail_server) as program:
        pbx.call("user2", to="user3").abandon()  # inside, ...
        pbx.call("0312341234", to="user1").answer().hangup()  # ... answered, ...
        pbx.dial("user1", "0312341234").abandon()  # ... outgoing: of these, nothing is told
        pbx.call("0398765432", to="group1").abandon()
        mail = postbox.mails.get(timeout=TIMEOUT)
        assert (mail["From"], mail["To"]) == ("pbx@test1.com", "desk@test1.com")
        assert mail["Subject"] == "Missed call: 0398765432 for group1"
        call_back, rang = mail.get_content().splitlines()
        assert call_back == "Call back: 0398765432"
        assert re.fullmatch(r"It rang at 20\d\d-.+ for \d+ s\.", rang)
        program.wait("^Missed call: 0398765432 for group1$")
        interrupt(program)
    assert postbox.mails.empty()


def test_missed_calls_go_to_a_webhook(pbx: Simulator, http_peer: HttpPeer, tmp_path: Path) -> None:
    with start("missed_calls.py", pbx, tmp_path, WEBHOOK_URL=http_peer.url) as program:
        http_peer.status = 503
        pbx.call("0398765432", to="user1").busy()
        program.wait("not sent: Missed call: 0398765432 for user1: HTTP Error 503")
        http_peer.next()
        http_peer.status = 200
        pbx.call("0312341234", to="user1").no_answer()
        text = http_peer.next()["text"]
        assert text.startswith("Missed call: 0312341234 for user1\nCall back: 0312341234\nIt rang at ")
        program.wait("^Missed call: 0312341234 for user1$")
        interrupt(program, quiet=False)


def test_call_log(pbx: Simulator, tmp_path: Path) -> None:
    customer = pbx.customers[0]
    for _ in range(2):  # it goes on with the files that are there
        with start("log_calls.py", pbx, tmp_path, CALL_LOG="log") as program:
            answered = pbx.call(customer.number, to="user1").answer().hangup()
            missed = pbx.call("0312341234", to="group1").abandon()
            program.wait("^0312341234 None group1 None abandoned$")
            interrupt(program)
    with closing(sqlite3.connect(tmp_path / "log.sqlite")) as connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute("SELECT * FROM calls")]
    assert len(rows) == 4
    talk, ring = rows[2:]
    assert (talk["id"], talk["caller"], talk["customer"]) == (answered.uuid, customer.number, customer.name)
    assert (talk["direction"], talk["target"], talk["answered_by"]) == ("inbound", "user1", "user1")
    assert talk["outcome"] == "answered"
    assert talk["waited"] >= 0
    assert talk["talked"] >= 0
    assert datetime.fromisoformat(talk["began"]).utcoffset() is not None
    assert (ring["id"], ring["outcome"], ring["answered_by"]) == (missed.uuid, "abandoned", None)
    with (tmp_path / "log.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows] == table


def test_desk_lamp(pbx: Simulator, http_peer: HttpPeer, tmp_path: Path) -> None:
    variables = {"LAMP_URL": http_peer.url, "BASIX_CTI_USER_EXTENSION": pbx.users[0].main_extension}
    with start("desk_lamp.py", pbx, tmp_path, **variables) as program:
        assert http_peer.next("PUT") == {"color": "green"}
        pbx.call("0398765432", to="user2").answer()  # somebody else's
        call = pbx.call("0312341234", to="user1")
        assert http_peer.next("PUT") == {"color": "yellow"}
        call.answer()
        assert http_peer.next("PUT") == {"color": "red"}
        call.hangup()
        assert http_peer.next("PUT") == {"color": "green"}
        pbx.update_user("user1", do_not_disturb_status=1)
        assert http_peer.next("PUT") == {"color": "purple"}
        interrupt(program)
    assert http_peer.next("PUT") == {"color": "off"}
    assert http_peer.requests.empty()


def test_every_example_is_short_and_tested() -> None:
    source = Path(__file__).read_text("utf-8")
    # What starts the example sites is no example; the tests of the sites run it.
    examples = sorted({*EXAMPLES.glob("*.py")} - {EXAMPLES / "demo_site.py"})
    assert examples
    for example in examples:
        assert len(example.read_text("utf-8").splitlines()) < MOST_LINES, example.name
        assert f'start("{example.name}", pbx' in source, f"no test starts {example.name}"
