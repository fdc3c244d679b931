"""The wallboard without a browser: who may look, what is sent, and what that costs."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clients import client_of
from pages import ROOT
from programs import Program, answers, free_port, printed, verify_unit
from recorder import TIMEOUT
from redis_rig import RedisServer, needs_redis, relay
from waiting import eventually
from wallboard_rig import Served, port_of, serving

import basix_cti.wallboard
from basix_cti import CTIClient
from basix_cti.board import TABLES, Board, Row, masked
from basix_cti.cli import _parser
from basix_cti.simulator import Simulator
from basix_cti.wallboard import Access, Wallboard, is_loopback
from basix_cti.wallboard.feed import Feed
from basix_cti.wallboard.history import STEP, History

TOKEN = "correct horse battery staple"
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")  # folders that nginx wants
PAGE = ROOT / "docs" / "wallboard.rst"
STATIC = Path(basix_cti.wallboard.__file__).parent / "static"


@pytest.fixture
def pbx() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


class Reply:
    """What came for a request."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode()


def get(where: Wallboard | int, path: str = "/", method: str = "GET", **headers: str) -> Reply:
    """A request as it stands, to a wallboard or a port; a Host can be given."""
    port = where if isinstance(where, int) else port_of(where)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        return Reply(connection.getresponse())
    finally:
        connection.close()


class Page:
    """A page that is open: reads events, and keeps the rows as the real one does."""

    def __init__(self, where: Wallboard | int, path: str = "/events", **headers: str) -> None:
        port = where if isinstance(where, int) else port_of(where)
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        self.connection.request("GET", path, headers=headers)
        self.response = self.connection.getresponse()
        self.rows: dict[str, dict[str, Row]] = {}
        self.header: Row = {}
        self.settings: Row = {}
        self.history: dict[int, Any] = {}
        self.events: list[str] = []

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def read(self) -> bool:
        """Take one event in; False at the end of the stream."""
        name = ""
        while line := self.response.readline().decode():
            if line.startswith("event: "):
                name = line[7:].strip()
            elif line.startswith("data: "):
                self.take(name, json.loads(line[6:]))
            elif line == "\n" and name:
                return True
        return False

    def take(self, name: str, told: Row) -> None:
        self.events.append(name)
        self.header = told["header"]
        self.history.update((sample[0], sample) for sample in told["history"])
        if name == "snapshot":
            self.settings = told["settings"]
        for table in ("groups", "calls", "people"):
            if name == "snapshot":
                self.rows[table] = {json.dumps(row["id"]): row for row in told[table]}
            elif table in told:
                rows = self.rows[table]
                rows.update((json.dumps(row["id"]), row) for row in told[table]["changed"])
                for key in told[table]["removed"]:
                    del rows[json.dumps(key)]

    def read_until(self, reached: Any, what: str) -> None:
        eventually(lambda: reached() or (self.read() and reached()), what)

    @property
    def state(self) -> str | None:
        """Of the connection to the PBX; None before that was told."""
        return self.header["connection"]["state"] if self.header else None

    def calls(self) -> list[Row]:
        return list(self.rows.get("calls", {}).values())


def test_a_call_from_beginning_to_end(pbx: Simulator) -> None:
    with serving(pbx) as wallboard, Page(wallboard) as page:
        page.read_until(lambda: page.state == "live", "the first state")
        assert page.events[0] == "snapshot"
        assert len(page.rows["people"]) == len(pbx.users)
        assert page.response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert page.response.headers["X-Accel-Buffering"] == "no"
        call = pbx.call("0312341234", to="user1")
        page.read_until(lambda: [row["state"] for row in page.calls()] == ["ringing"], "a call")
        assert page.header["waiting"] == 1
        assert page.calls()[0]["number"] == "********34"
        call.answer()
        page.read_until(lambda: [row["state"] for row in page.calls()] == ["talking"], "its answer")
        call.hangup()
        page.read_until(lambda: not page.calls(), "its end")
        page.read_until(lambda: {row["state"] for row in page.rows["people"].values()} == {"free"}, "that all are free")
        assert page.header["counters"]["answered"] == 1
        assert page.events.count("snapshot") == 1
        with Page(wallboard) as late:
            late.read_until(lambda: late.header, "a snapshot")
            assert late.rows == page.rows
            assert late.header["counters"] == page.header["counters"]
            eventually(lambda: wallboard.viewers == 2, "both")
    eventually(lambda: wallboard.viewers == 0, "their end")


def test_a_page_that_was_told_changes_has_what_a_snapshot_has(pbx: Simulator) -> None:
    """Whatever happens, gaps of either side included; one page reads all the time, another one only now and then."""
    board = Board()
    with (
        Wallboard(client := client_of(pbx, board), board, port=0, interval=0.05) as wallboard,
        client,
        Page(wallboard) as page,
        Page(wallboard) as lazy,
    ):
        traffic = pbx.play(seed=7, calls_per_minute=400, speed=20)
        for gap in range(3):
            page.read_until(lambda gap=gap: page.events.count("changes") > 15 * (gap + 1), "changes")
            lazy.read()
            pbx.drop(reset=True)
        traffic.stop()
        pbx.hang_up_all()
        for number in range(5):
            pbx.call(f"031234123{number}", to=f"user{number + 1}")
        for each in (page, lazy):
            each.read_until(lambda each=each: each.state == "live" and len(each.calls()) == 5, "what is now")

        def expected() -> dict[str, dict[str, Row]]:
            """What the board has now, which may be more than it had when the last call came."""
            whole = masked(board.snapshot(0.0))
            return {table: {json.dumps(row["id"]): row for row in whole[table]} for table in TABLES}

        for each in (page, lazy):
            each.read_until(lambda each=each: each.rows == expected(), "the same rows as those of the board")
        assert page.events.count("snapshot") == 1


def test_numbers_are_shown_to_those_who_ask(pbx: Simulator) -> None:
    with serving(pbx, unmask=True) as wallboard, Page(wallboard) as page:
        page.read_until(lambda: page.state == "live", "the first state")
        assert page.settings["masked"] is False
        pbx.call("0312341234", to="user1")
        page.read_until(page.calls, "a call")
        assert page.calls()[0]["number"] == "0312341234"


def test_no_number_leaves_the_server_masked(pbx: Simulator) -> None:
    """All bytes of all events, names that hold numbers included."""
    pbx.update_user("user1", label="Support 0398765432")
    with serving(pbx) as wallboard, Page(wallboard) as page:
        read = b""
        call = pbx.call("0312341234", to="user1").answer()
        while b'"talking"' not in read:
            read += page.response.readline()
        call.hangup()
        assert b"0312341234" not in read
        assert b"0398765432" not in read
        assert b"Support ********32" in read


def test_a_lost_pbx_is_told(pbx: Simulator) -> None:
    with serving(pbx) as wallboard, Page(wallboard) as page:
        page.read_until(lambda: page.state == "live", "the first state")
        pbx.refuse(503)
        pbx.drop()
        page.read_until(lambda: page.state == "lost", "the loss")
        assert page.header["waiting"] is None
        page.read_until(lambda: "HTTP 503" in (page.header["connection"]["reason"] or ""), "the reason")
        pbx.refuse(None)
        page.read_until(lambda: page.state == "live", "the connection")
        assert page.header["gaps"] == 1
        assert page.header["counters"]["complete"] is False
        assert any(sample[1] is None for sample in page.history.values()), "a gap in the chart"


def test_a_stopped_server_lets_its_pages_go(pbx: Simulator) -> None:
    with serving(pbx) as wallboard, Page(wallboard) as page:
        page.read_until(lambda: page.header, "a snapshot")
        wallboard.stop()
        while page.read():
            pass
        wallboard.stop()
        assert wallboard.failure is None
        with pytest.raises(RuntimeError, match="started once"):
            wallboard.start()


def test_over_ipv6(pbx: Simulator) -> None:
    with serving(pbx, start=False, host="::1") as wallboard:
        assert wallboard.url.startswith("http://[::1]:")
        with urllib.request.urlopen(wallboard.url, timeout=TIMEOUT) as answer:
            assert answer.status == 200


def test_a_port_that_is_taken(pbx: Simulator) -> None:
    board = Board()
    with serving(pbx, start=False) as wallboard:
        other = Wallboard(client_of(pbx, board), board, port=port_of(wallboard))
        with pytest.raises(OSError, match="address already in use"):
            other.start()


@pytest.mark.parametrize(
    "options", [{"amber": 0}, {"amber": 5, "red": 4}, {"interval": 0.001}, {"port": 65536}, {"host": "0.0.0.0"}]
)
def test_wrong_arguments(pbx: Simulator, options: dict[str, Any]) -> None:
    board = Board()
    with pytest.raises(ValueError, match=r"amber|interval|port|token"):
        Wallboard(client_of(pbx, board), board, **options)


# Who may look


def test_headers_that_let_nothing_in(pbx: Simulator) -> None:
    with serving(pbx, start=False) as wallboard:
        for path in ("/", "/static/wallboard.js", "/static/none.js", "/nothing", "/healthz"):
            headers = get(wallboard, path).headers
            policy = dict(part.split(maxsplit=1) for part in headers["Content-Security-Policy"].split("; "))
            assert policy == {
                "default-src": "'none'",
                "script-src": "'self'",
                "style-src": "'self'",
                "connect-src": "'self'",
                "img-src": "'self'",
                "frame-ancestors": "'none'",
                "base-uri": "'none'",
                "form-action": "'none'",
            }
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers.get_all("Server") == ["basix_cti"]
        with Page(wallboard) as page:
            assert page.response.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_the_page_loads_nothing_from_outside_and_has_no_inline_code() -> None:
    for path in STATIC.iterdir():
        text = path.read_text("utf-8")
        addresses = set(re.findall(r"https?://[^\s\"']+|//[a-z][\w.]+\.[a-z]+/", text))
        assert addresses <= {"http://www.w3.org/2000/svg"}
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", text)
    page = (STATIC / "index.html").read_text("utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*src=)", page)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8780", 200),
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("[::1]:8780", 200),
        ("board.example.com", 200),
        ("evil.example.com", 403),
        ("127.0.0.1.evil.example.com", 403),
        ("localhost.evil.example.com:8780", 403),
        ("", 403),
    ],
)
def test_a_foreign_name_for_this_machine_is_refused(pbx: Simulator, host: str, status: int) -> None:
    """DNS rebinding: the page of a foreign site makes its own name lead to 127.0.0.1."""
    with serving(pbx, start=False, access=Access("127.0.0.1", hosts=["Board.example.com"])) as wallboard:
        for path in ("/", "/static/texts.js"):
            assert get(wallboard, path, Host=host).status == status
        with Page(wallboard, Host=host) as page:
            assert page.response.status == status


def test_without_the_token_nothing_is_shown(pbx: Simulator) -> None:
    with serving(pbx, access=Access("127.0.0.1", TOKEN)) as wallboard:
        wrong = [
            {},
            {"Authorization": "Bearer no"},
            {"Authorization": TOKEN},
            {"Cookie": f"basix_cti_wallboard={TOKEN}"},
        ]
        for headers in wrong:
            for path in ("/", "/events", "/metrics", "/static/wallboard.js", "/?token=no", "/nothing"):
                reply = get(wallboard, path, **headers)
                assert reply.status == 401
                assert reply.text == "this wallboard needs its token: open it once as /?token=...\n"
                assert reply.headers["WWW-Authenticate"].startswith("Bearer")
        right = {"Authorization": f"Bearer {TOKEN}"}
        for path in ("/", "/metrics", "/static/wallboard.js"):
            assert get(wallboard, path, **right).status == 200
        assert "basix_cti_connected" in get(wallboard, "/metrics", **right).text
        assert get(wallboard, "/", Host="any.example.com", **right).status == 200
        assert (get(wallboard, "/readyz").status, get(wallboard, "/readyz").text) == (200, "ok\n")


def test_a_token_in_the_address_becomes_a_cookie(pbx: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with serving(pbx, access=Access("127.0.0.1", TOKEN)) as wallboard:
        address = "/?token=correct+horse+battery+staple"
        reply = get(wallboard, address)
        assert (reply.status, reply.headers["Location"]) == (303, "./")
        more = get(wallboard, f"/?group=%E5%96%B6%E6%A5%AD&token={TOKEN.replace(' ', '+')}&group=a%0Ab")
        assert more.headers["Location"] == "./?group=%E5%96%B6%E6%A5%AD&group=a%0Ab"
        cookie = reply.headers["Set-Cookie"]
        assert {"HttpOnly", "SameSite=Strict"} <= set(cookie.split("; "))
        assert "Path" not in cookie  # so it is that of the page: behind a proxy, others live at other paths of the host
        assert "Secure" not in cookie
        assert TOKEN not in cookie
        assert "Secure" in get(wallboard, address, X_Forwarded_Proto="https").headers["Set-Cookie"]
        value = cookie.partition(";")[0]
        assert get(wallboard, "/", Cookie=value).status == 200
        with Page(wallboard, Cookie=value) as page:
            page.read_until(lambda: page.header, "a snapshot")
        assert get(wallboard, "/", Cookie=value[:-1]).status == 401
        assert get(wallboard, "/?token=wrong-but-long-enough").status == 401
        assert "a wrong token was given by 127.0.0.1" in caplog.text
    assert "horse" not in caplog.text
    assert "wrong-but" not in caplog.text


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /?token=correct horse&group=\N{BELL} HTTP/1.1",
        "GET /?token=correct-horse\x01 HTTP/1.1",
        "GET /?token=correct-horse HTTP/9.9",
        f"GET /?token=correct-horse{'x' * 9000} HTTP/1.1",
        "GET / HTTP/1.1\r\nAuthorization: Bearer correct-horse\x00",
    ],
    ids=["not quoted", "a control character", "no HTTP", "too long", "a bad header"],
)
def test_a_token_in_what_is_no_request_is_not_logged(
    pbx: Simulator, request_line: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with serving(pbx, start=False, access=Access("127.0.0.1", TOKEN)) as wallboard:
        with socket.create_connection(("127.0.0.1", port_of(wallboard)), timeout=TIMEOUT) as connection:
            connection.sendall(f"{request_line}\r\nHost: 127.0.0.1\r\n\r\n".encode())
            assert b" 400 Bad Request\r\n" in connection.makefile("rb").readline()
        assert get(wallboard, "/readyz").text == "not ok; the token shows why\n"
    assert "a request from 127.0.0.1 was none of HTTP" in caplog.text
    assert "horse" not in caplog.text
    assert "Traceback" not in caplog.text


def test_the_rest_of_the_address_stays_when_the_token_goes(pbx: Simulator) -> None:
    with serving(pbx, start=False, access=Access("127.0.0.1", TOKEN)) as wallboard:
        reply = get(wallboard, "/?group=%E5%96%B6%E6%A5%AD%E9%83%A8&token=correct+horse+battery+staple&group=a%26b%0D")
        assert (reply.status, reply.headers["Location"]) == (303, "./?group=%E5%96%B6%E6%A5%AD%E9%83%A8&group=a%26b%0D")


def test_probes_tell_more_to_those_with_the_token(pbx: Simulator) -> None:
    with serving(pbx, start=False, access=Access("127.0.0.1", TOKEN)) as wallboard:
        assert (get(wallboard, "/healthz").status, get(wallboard, "/healthz").text) == (
            503,
            "not ok; the token shows why\n",
        )
        assert get(wallboard, "/healthz", Authorization=f"bearer {TOKEN}").text == "the client is not running\n"


def test_the_cookie_of_another_token_is_none() -> None:
    one, other = Access("::1", TOKEN), Access("::1", TOKEN + "!")
    assert one.cookie != other.cookie
    assert one.cookie_name != other.cookie_name  # a browser keeps one of a name for all ports of a host
    assert not one.admits({}, {}, {one.cookie_name: other.cookie})
    assert not one.admits({}, {}, {other.cookie_name: one.cookie})
    assert one.admits({}, {}, {one.cookie_name: one.cookie, other.cookie_name: other.cookie})
    assert not one.admits({"token": "\udcff"}, {}, {})
    assert TOKEN not in repr(one)


@pytest.mark.parametrize(
    "token", ["", "short", "fifteen letters", "thäse are no ascii letters", "a line\nand another one"]
)
def test_tokens_that_are_none(token: str) -> None:
    with pytest.raises(ValueError, match="16 characters or more") as caught:
        Access("0.0.0.0", token)
    assert not token or token not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.1", False),
        ("localhost.example.com", False),
        ("", False),
    ],
)
def test_what_is_loopback(name: str, loopback: bool) -> None:
    assert is_loopback(name) is loopback


# The page


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("ja", "ja"),
        ("ja-JP,ja;q=0.9,en;q=0.8", "ja"),
        ("en-GB, ja;q=0.9", "en"),
        ("fr, ja;q=0.3", "ja"),
        ("en;q=0.2, ja;q=0.3", "ja"),
        ("fr", "en"),
        ("ja;q=0", "en"),
        ("ja;q=x, ;;;, =", "en"),
    ],
)
def test_the_language_is_that_of_the_browser(pbx: Simulator, header: str, language: str) -> None:
    with serving(pbx, start=False) as wallboard:
        reply = get(wallboard, Accept_Language=header)
        assert f'<html lang="{language}" data-theme="auto">' in reply.text
        assert reply.headers["Content-Language"] == language
        assert reply.headers["Cache-Control"] == "no-store"


def test_what_was_chosen_is_remembered(pbx: Simulator) -> None:
    with serving(pbx, start=False) as wallboard:
        chosen = get(wallboard, Accept_Language="en", Cookie="language=ja; theme=dark").text
        assert '<html lang="ja" data-theme="dark">' in chosen
        forged = get(wallboard, Cookie='language="><script>; theme=x').text
        assert '<html lang="en" data-theme="auto">' in forged


def test_files_are_asked_for_again_but_sent_once(pbx: Simulator) -> None:
    with serving(pbx, start=False) as wallboard:
        first = get(wallboard, "/static/chart.js")
        assert first.headers["Content-Type"].startswith("text/javascript")
        again = get(wallboard, "/static/chart.js", If_None_Match=first.headers["ETag"])
        assert (again.status, again.text) == (304, "")
        for path in ("/static/../server.py", "/static/%2e%2e/server.py", "/static/server.py", "/static/"):
            assert get(wallboard, path).status == 404
        assert get(wallboard, "/", "POST").status == 405


def test_both_languages_say_everything() -> None:
    text = (STATIC / "texts.js").read_text("utf-8")
    english, japanese = re.split(r"^  ja: ", text, flags=re.MULTILINE)
    names = [re.findall(r"^ {4}(\w+):", part, re.MULTILINE) for part in (english, japanese)]
    assert names[0] == names[1]
    assert len(names[0]) > 30
    inner = [re.findall(r"[{,\s](\w+|\"[\w ]+\"): \"", part) for part in (english, japanese)]
    assert sorted(inner[0]) == sorted(inner[1])


# Conflation


class Still(Board):
    """A board that changes when a test wants it to."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Row] = []
        self.header_now: Row = Board.header(self, 0.0)

    def changes(self, now: float) -> Row:
        rows, self.rows = self.rows, []
        nothing: Row = {"changed": [], "removed": []}
        return {
            "revision": 0,
            "header": {**self.header_now, "now": now},
            "calls": {"changed": rows, "removed": []},
            "groups": nothing,
            "people": nothing,
        }


@pytest.fixture
def client(pbx: Simulator) -> CTIClient:
    return client_of(pbx, Board())


def events_of(data: bytes) -> list[tuple[str, Row]]:
    found = re.findall(rb"event: (\w+)\ndata: (.*)\n\n", data)
    return [(name.decode(), json.loads(text)) for name, text in found]


def test_a_viewer_that_does_not_keep_up_gets_what_is_there_now(client: CTIClient) -> None:
    async def story() -> None:
        board = Still()
        feed = Feed(board, client, interval=60, unmask=False, settings={})

        def turn(number: int) -> None:
            board.rows = [{"id": number, "state": "ringing"}]
            feed._take(feed._look())

        turn(0)
        slow, quick = feed.follow(), feed.follow()
        ((name, first),) = events_of(await anext(slow))
        assert (name, first["settings"]["heartbeat"]) == ("snapshot", 60), "a page must not expect more than there is"
        await anext(quick)
        for number in range(1, 6):
            turn(number)
        told = events_of(await anext(quick))
        assert [name for name, _ in told] == ["changes"] * 5
        assert [row["id"] for _, each in told for row in each["calls"]["changed"]] == [1, 2, 3, 4, 5]
        for number in range(6, 1000):
            turn(number)
        assert len(feed._recent) == 20, "nothing more is kept, whoever is slow"
        ((name, told_slow),) = events_of(await anext(slow))
        assert name == "snapshot"
        assert [row["id"] for row in told_slow["calls"]] == list(range(1000))
        assert feed.viewers == 2
        await feed.close()
        for viewer in (slow, quick):
            with pytest.raises(StopAsyncIteration):
                await anext(viewer)
        assert feed.viewers == 0

    asyncio.run(story())


def test_nothing_is_sent_where_nothing_happens_but_a_sign_of_life(client: CTIClient) -> None:
    board = Still()
    feed = Feed(board, client, interval=0.5, unmask=False, settings={})
    for _ in range(10):
        feed._take(feed._look())
    assert 1 <= feed._revision <= 3, "the first turn, and where ten seconds of the chart end"
    before = feed._revision
    feed._told_at -= 10
    feed._take(feed._look())
    assert feed._revision == before + 1


def test_a_page_that_reads_nothing_is_let_go(pbx: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("basix_cti.wallboard.server._UNREAD", 2.0)
    for number in range(300):
        pbx.add_user(f"someone{number}", extension=str(5000 + number), label="x" * 200)
    with serving(pbx) as wallboard:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(TIMEOUT)
        with contextlib.closing(sock), Page(wallboard) as page:
            sock.connect(("127.0.0.1", port_of(wallboard)))
            sock.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            page.read_until(lambda: wallboard.viewers == 2, "both")
            ended = threading.Event()

            def churn() -> None:
                number = 0
                while not ended.wait(0.001):
                    number += 1
                    pbx.update_user("user1", label=f"{number}" + "y" * 100_000)

            thread = threading.Thread(target=churn)
            thread.start()
            try:
                page.read_until(lambda: wallboard.viewers == 1, "the end of the one that reads nothing")
            finally:
                ended.set()
                thread.join()
            page.read()
            assert page.state == "live"


# The chart


def header(now: float, waiting: int | None, longest: float | None = None, difference: float = 0.0) -> Row:
    since = None if longest is None else round((now - difference - longest) * 1_000_000)
    return {"now": now, "waiting": waiting, "longest_since": since, "clock_difference": difference}


def test_a_sample_holds_the_most_of_its_ten_seconds() -> None:
    history = History()
    assert history.take(header(1000.0, 0)) == [(1000, 0, 0)]
    assert history.take(header(1000.5, 0)) == []
    assert history.take(header(1003.0, 4, 12.5, difference=7.0)) == [(1000, 4, 12)]
    assert history.take(header(1004.0, 2, 3.0)) == []
    assert history.take(header(1010.0, 1, 9.0)) == [(1010, 1, 9)]
    assert history.samples(1011.0) == [(1000, 4, 12), (1010, 1, 9)]


def test_what_is_not_known_is_not_told() -> None:
    history = History()
    history.take(header(1000.0, 3, 5.0))
    assert history.take(header(1001.0, None)) == [(1000, None, None)]
    assert history.take(header(1009.0, 3, 5.0)) == [], "a part of the ten seconds is missing"
    assert history.take(header(1010.0, 2)) == [(1010, 2, None)], "a wait whose beginning was not told"
    assert history.take(header(1011.0, 2, 4.0)) == []
    assert history.take(header(1060.0, 0)) == [(1060, 0, 0)]
    assert [sample[0] for sample in history.samples(1061.0)] == [1000, 1010, 1060], "nobody looked in between"


def test_what_turns_out_to_be_unknown_is_told_anew() -> None:
    history = History()
    for now in (1000.0, 1010.0, 1020.0, 1030.0):
        history.take(header(now, 1, 5.0))
    lost = {**header(1035.0, None), "gap": [1012.0, None]}
    assert history.take(lost) == [(1010, None, None), (1020, None, None), (1030, None, None)]
    assert history.take({**lost, "now": 1036.0}) == []
    assert history.take({**header(1041.0, 2, 3.0), "gap": [1012.0, 1040.0]}) == [(1040, 2, 3)]
    assert history.samples(1042.0)[0] == (1000, 1, 5)


def test_an_hour_is_kept() -> None:
    history = History()
    for second in range(0, 5000, 5):
        history.take(header(float(second), 1, 1.0))
    kept = history.samples(4999.0)
    assert len(kept) == 3600 // STEP
    assert kept[0][0] == 4999 // STEP * STEP - 3600 + STEP


def test_a_clock_that_is_put_back() -> None:
    history = History()
    for now in (1000.0, 1010.0, 1020.0):
        history.take(header(now, 1, 1.0))
    assert history.take(header(1012.0, 2, 2.0)) == [(1010, 2, 2)]
    assert [sample[0] for sample in history.samples(1013.0)] == [1000, 1010]


# Behind a relay


@needs_redis
def test_a_wallboard_on_a_relay_stays_right_when_the_holder_is_killed(pbx: Simulator) -> None:
    with RedisServer() as redis, relay(pbx, redis) as holder:
        holder.wait("holder of ")
        with relay(pbx, redis) as standby, Served("--redis-url", redis.url) as served, Page(served.port) as page:
            page.read_until(lambda: page.state == "live", "the picture")
            stays, ends = pbx.call("0312341234", to="user1").answer(), pbx.call("0398765432", to="user2")
            page.read_until(lambda: len(page.calls()) == 2, "both calls")
            os.killpg(holder.process.pid, signal.SIGKILL)
            ends.hangup()
            late = pbx.call("0399999999", to="user3")
            standby.wait("holder of ")
            page.read_until(
                lambda: (
                    page.state == "live" and {row["number"] for row in page.calls()} == {"********34", "********99"}
                ),
                "what is now",
            )
            assert {row["state"] for row in page.calls()} == {"talking", "ringing"}
            assert len(page.rows["people"]) == len(pbx.users)
            for call in (stays, late):
                call.hangup()
            page.read_until(lambda: not page.calls(), "the end of all calls")


# The page in docs/ on it


def test_the_unit_is_one_for_systemd_and_starts_the_command(tmp_path: Path) -> None:
    """wallboard.rst: what it starts is taken by our own parser, too."""
    unit = printed(PAGE, "/etc/systemd/system/wallboard.service")
    verify_unit(unit, "wallboard.service", tmp_path)
    command = re.search(r"^ExecStart=\S+/basix-cti (.+)$", unit, re.MULTILINE)
    assert command is not None
    args = _parser().parse_args(command[1].split())
    assert (args.command, args.config, args.host) == ("wallboard", "/etc/basix-cti/config.ini", "127.0.0.1")


NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin")


@pytest.mark.skipif(NGINX is None, reason="no nginx: make nginx installs it")
def test_behind_nginx_as_printed(pbx: Simulator, tmp_path: Path) -> None:
    """wallboard.rst: events come through at once, under a path of the proxy's, for the host that is allowed."""
    assert NGINX is not None
    port, host = free_port(), "board.example.com"
    with serving(pbx, access=Access("127.0.0.1", hosts=[host])) as wallboard:
        location = printed(PAGE, "in a server of nginx")
        assert "http://127.0.0.1:8780/" in location
        location = location.replace("http://127.0.0.1:8780/", wallboard.url)
        temporary = "".join(f"{name}_temp_path {tmp_path}/{name}; " for name in TEMPORARY)
        user = "user root; " if os.getuid() == 0 else ""
        (tmp_path / "nginx.conf").write_text(
            f"daemon off; {user}pid {tmp_path}/pid; error_log stderr; events {{}}\n"
            f"http {{ access_log off; {temporary}\nserver {{ listen 127.0.0.1:{port};\n{location}}} }}\n",
            "utf-8",
        )
        command = [NGINX, "-p", str(tmp_path), "-e", "stderr", "-c", str(tmp_path / "nginx.conf")]
        with Program(command, tmp_path, os.environ) as nginx:
            eventually(lambda: answers(port), "nginx")
            page = get(port, "/wallboard/", Host=host)
            assert (page.status, page.text) == (200, get(wallboard).text)
            assert get(port, "/wallboard/static/wallboard.js", Host=host).status == 200
            assert get(port, "/wallboard/", Host="evil.example.com").status == 403
            with Page(port, "/wallboard/events", Host=host) as events:
                events.read_until(lambda: events.state == "live", "the first state")
                pbx.call("0312341234", to="user1")
                events.read_until(events.calls, "a call")
                assert time.time() - events.header["now"] < 10, "nothing was kept back"
            assert not nginx.matches("emerg|alert|crit")
