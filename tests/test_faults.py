"""What a connection must survive: one test, or a few, for each fault of the list in docs/security.rst, in its order.

All of them go through ``CTIClient`` and real sockets; those marked ``both`` run over TLS as well.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import datetime
import importlib
import inspect
import ipaddress
import itertools
import json
import logging
import os
import random
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, cast
from urllib.parse import quote

import pytest
import trustme
from clients import AUTH, client_at, client_of
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from peer import (
    CLOSE,
    CONTINUATION,
    NOTHING,
    PING,
    PONG,
    SPEC,
    TEXT,
    Link,
    Peer,
    authority,
    certified,
    change,
    frame,
    full_state,
    message,
    trusting,
)
from recorder import TIMEOUT, Recorder
from relay import Relay
from waiting import eventually, soon

import basix_cti
from basix_cti import ApiToken, ApiUser, CTIClient, CTIHandler, Limits, Session, Tap, Ticket, TicketService, etf
from basix_cti.errors import (
    AuthError,
    ConnectError,
    ConnectionClosed,
    ConnectionLimitReached,
    ConnectionLost,
    ConnectionReplaced,
    ConnectTimeout,
    CTIError,
    DecodeError,
    HandshakeError,
    NotConnected,
    PingTimeout,
    ProtocolError,
    SendTimeout,
    Stopped,
    TLSError,
)
from basix_cti.etf import Atom
from basix_cti.events import Connected, Disconnected, InfoEvent, UnknownMessage
from basix_cti.protocol import Protocol
from basix_cti.simulator import Simulator

both = pytest.mark.parametrize("peer", ["ws", "wss"], indirect=True)


@pytest.fixture
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    """In the clear, but where a test asks for ``wss``."""
    tls = getattr(request, "param", "ws") == "wss"
    with Peer(certified("127.0.0.1") if tls else None) as peer:
        yield peer


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


class Incident:
    """A client that knows two calls, on a connection to which something is about to happen.

    Attributes:
        link: the peer's side of the present connection.
        tickets: the one-time tickets that were fetched.
    """

    def __init__(self, peer: Peer, recorder: Recorder | None = None, **options: Any) -> None:
        self.tickets: list[str] = []
        self.recorder = recorder or Recorder()
        self.client = client_at(peer, self.recorder, Ticket(self._fetch), **options)
        self._peer = peer

    def _fetch(self, uri: str) -> str:
        self.tickets.append(f"ticket-{len(self.tickets) + 1}")
        return self.tickets[-1]

    def _serve(self, *uuids: str) -> Link:
        link = self._peer.accept().upgrade()
        login = base64.b64encode(f"ws_ticket:{self.tickets[-1]}".encode()).decode()
        assert link.headers["authorization"] == f"Basic {login}"
        link.send(message(SPEC) + full_state(*uuids))
        return link

    def __enter__(self) -> Incident:
        self.client.start()
        self.link = self._serve("staying", "ending")
        self.recorder.wait_for("on_initial_chan_info")
        return self

    def recovered(self) -> ConnectionLost:
        """Why the connection was lost, once all is well again.

        That is: the loss was told once, a new login was made with a ticket of its own, and of the call that ended
        meanwhile, unheard, the end was told, once.
        """
        recorder = self.recorder
        (reason,) = recorder.wait_for("on_disconnect")
        assert isinstance(reason, ConnectionLost)
        self.link = self._serve("staying")
        recorder.wait_for("on_initial_chan_info", 2)
        lifecycle = [name for name, _ in recorder.calls if name in ("on_connect", "on_disconnect")]
        assert lifecycle == ["on_connect", "on_disconnect", "on_connect"]
        assert [session.number for session in recorder.of("on_connect")] == [1, 2]
        synthetic = [event for event in recorder.events if isinstance(event, InfoEvent) and event.synthetic]
        assert [(event.event, event.item.key) for event in synthetic] == [("removed", "ending")]
        assert [channel.uuid for channel in recorder.of("on_chan_info") if channel.is_hung_up] == ["ending"]
        assert set(self.client.state.channels) == {"staying"}
        assert self.tickets == ["ticket-1", "ticket-2"]
        assert not [error for error in recorder.of("on_error") if not isinstance(error, DecodeError)]
        return reason

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._peer.close()  # so that the client need not wait for an answer to its goodbye
        self.client.stop()


# --- 1 to 7: the connection breaks, or seems to ----------------------------------------------------------------------


@both
def test_01_the_stream_ends_without_a_close_frame(peer: Peer) -> None:
    with Incident(peer) as incident:
        incident.link.close()
        assert str(incident.recovered()) == "the connection ended without a close frame"


def test_01_tls_ends_properly_and_no_more() -> None:
    """With TLS's own goodbye, but without that of WebSocket."""
    with Peer(certified("127.0.0.1")) as peer, Incident(peer) as incident:
        assert isinstance(incident.link.sock, ssl.SSLSocket)
        with ThreadPoolExecutor(1) as pool, contextlib.suppress(OSError):
            pool.submit(incident.link.sock.unwrap).result(TIMEOUT)
        incident.link.close()
        assert str(incident.recovered()) == "the connection ended without a close frame"


def test_02_reset(peer: Peer) -> None:
    with Incident(peer) as incident:
        incident.link.reset()
        assert "reset" in str(incident.recovered())


@pytest.mark.parametrize(
    ("payload", "code", "told"),
    [(b"\x03\xe9going down", 1001, "going down"), (b"\x0f\xa1over", 4001, "over"), (b"", None, "without a code")],
    ids=["1001", "4001", "none"],
)
def test_03_close_frame(peer: Peer, payload: bytes, code: int | None, told: str) -> None:
    """What came before is told, and what comes behind is not, though it is read together with it."""
    good = change("staying", event="updated")
    with Incident(peer) as incident:
        incident.link.send(good + frame(payload, CLOSE) + good)
        reason = incident.recovered()
        assert [each.uuid for each in incident.recorder.of("on_chan_info")] == ["staying", "ending"]
    assert isinstance(reason, ConnectionClosed)
    assert reason.code == code
    assert told in reason.reason
    assert told in str(reason)


# Takes some milliseconds to decode, and so few bytes that hundreds of them are read at once.
BURDEN = frame(etf.encode((Atom("msg"), [300] * 40_000), compressed=True))


def test_03_however_much_came_before_the_end_is_told(peer: Peer) -> None:
    """The close frame is seen long before what stands before it has been decoded."""
    count = 100
    with Incident(peer, max_queued_bytes=1 << 40) as incident:
        incident.link.send(BURDEN * count + frame(b"\x03\xe9", CLOSE))
        assert incident.recovered().code == 1001
        assert len(incident.recorder.of("on_msg")) == count


@pytest.mark.parametrize(
    "bad",
    [
        frame(b"\x03\xed", CLOSE),
        frame(b"x", CLOSE),
        frame(b"", rsv=4),
        frame(b"", rsv=2),
        frame(b"", 3),
        frame(b"", 11),
        frame(b"", CONTINUATION),
        frame(b"a", fin=False) + frame(b"b"),
        frame(b"a", fin=False) + frame(b"", PING) + change("staying"),
        frame(b"", PING, fin=False),
        frame(bytes(126), PING),
        frame(b"", PONG, fin=False),
        frame(bytes(126), PONG),
        frame(b"\x03\xe8", CLOSE, fin=False),
        frame(b"a", fin=False) + frame(b"b", TEXT),
        frame(b"\x83", fin=False) + frame(b"\x6a", CONTINUATION) + frame(b"c", CONTINUATION),
        b"\x82\x81\x00\x00\x00\x00x",
        b"\x82\xfe\x00\x01\x00\x00\x00\x00x",
        b"\x82\xff\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00x",
    ],
    ids=[
        "close 1005",
        "half a close code",
        "rsv 1",
        "rsv 2",
        "opcode 3",
        "opcode 11",
        "orphan continuation",
        "a message inside another",
        "a message inside another, behind a ping",
        "a ping in parts",
        "a ping of 126 bytes",
        "a pong in parts",
        "a pong of 126 bytes",
        "a close in parts",
        "a text inside a message",
        "a continuation too many",
        "masked",
        "masked, two bytes of length",
        "masked, eight bytes of length",
    ],
)
def test_04_the_rules_of_websocket_are_broken(peer: Peer, bad: bytes) -> None:
    """What came before is told, and what comes behind is not, though it is read together with it."""
    good = change("staying", event="updated")
    with Incident(peer) as incident:
        incident.link.send(good * 2 + bad + good)
        refused(incident.link, 1002)
        reason = incident.recovered()
        assert [each.uuid for each in incident.recorder.of("on_chan_info")] == ["staying", "staying", "ending"]
        assert incident.recorder.of("on_error") == [], "nothing else was taken for a message"
    assert isinstance(reason, ProtocolError)
    assert reason.code == 1002


def with_long_length(whole: bytes, size: int) -> bytes:
    """The same short frame, its length in 2 or 8 bytes, though one would do."""
    return whole[:1] + (b"\x7e" if size == 2 else b"\x7f") + whole[1:2].rjust(size, b"\0") + whole[2:]


@pytest.mark.parametrize("size", [1, 3, 10**6], ids=lambda size: f"{size} bytes at a time")
def test_04_what_the_rules_do_not_forbid(peer: Peer, recorder: Recorder, size: int) -> None:
    """Fragments, control frames between them, lengths written longer than need be; however the bytes arrive."""
    first, second, third, fourth = (message((Atom("msg"), name)) for name in ("one", "two", "three", "four"))
    payload = first[2:]
    stream = (
        frame(payload[:5], fin=False)
        + frame(b"inside", PING)
        + frame(b"", CONTINUATION, fin=False)
        + frame(b"", PONG)
        + frame(payload[5:], CONTINUATION)
        + with_long_length(second, 2)
        + frame(b"ignored", TEXT, fin=False)
        + with_long_length(frame(b"inside a text", PING), 2)
        + frame(b"ignored", CONTINUATION)
        + with_long_length(third, 8)
        + fourth
        + frame(b"behind", PING)
    )
    with client_at(peer, recorder):
        link = peer.accept().upgrade()
        link.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(stream), size):
            link.send(stream[start : start + size])
        for payload in (b"inside", b"inside a text", b"behind"):
            assert link.recv_frame() == (PONG, payload)
        assert recorder.wait_for("on_msg", 4) == ["one", "two", "three", "four"]
        assert recorder.of("on_error") == recorder.of("on_disconnect") == []


def test_05_half_open(peer: Peer) -> None:
    """The peer is there no more, and no FIN has told it: nothing comes, not even an answer to a ping."""
    interval, patience = 0.3, 1.5

    def notice() -> float:
        with Peer() as silent, Incident(silent, ping_interval=interval, ping_timeout=patience) as incident:
            begun = time.monotonic()
            incident.recorder.wait_for("on_disconnect")
            taken = time.monotonic() - begun
            assert incident.link.recv_frame() == (PING, b"")
            assert isinstance(incident.recovered(), PingTimeout)
            return taken

    soon(interval + patience + 1, notice)


WHOLE = message((Atom("msg"), b"x" * 200))


@pytest.mark.parametrize("sent", [1, 3, 100, len(WHOLE) - 1], ids=lambda sent: f"after {sent} bytes")
def test_06_a_frame_that_never_ends(peer: Peer, sent: int) -> None:
    """Behind frames that did end, and that are told meanwhile."""
    with Incident(peer, frame_timeout=0.3) as incident:
        incident.link.send(WHOLE * 2 + WHOLE[:sent])
        incident.recorder.wait_for("on_msg", 2)
        reason = incident.recovered()
    assert isinstance(reason, ProtocolError)
    assert "not complete after 0.3 s" in str(reason)


@pytest.mark.parametrize("between", [b"", frame(b"", PING)], ids=["silence", "pings"])
def test_06_a_message_whose_last_fragment_never_comes(peer: Peer, between: bytes) -> None:
    ended = threading.Event()
    with Incident(peer, frame_timeout=0.3) as incident, ThreadPoolExecutor(1) as pool:
        incident.link.send(frame(b"\x83", fin=False))
        talking = pool.submit(incident.link.dribble, between * 1000, 0.01, ended)
        (reason,) = incident.recorder.wait_for("on_disconnect")
        ended.set()
        talking.result(TIMEOUT)
        assert incident.recovered() is reason
    assert "not complete after 0.3 s" in str(reason)


def test_06_a_byte_now_and_then_does_not_put_off_the_deadline(peer: Peer) -> None:
    ended = threading.Event()
    with Incident(peer, frame_timeout=0.3) as incident, ThreadPoolExecutor(1) as pool:
        dribbling = pool.submit(incident.link.dribble, frame(bytes(60_000)), 0.02, ended)
        (reason,) = incident.recorder.wait_for("on_disconnect")
        ended.set()
        assert dribbling.result(TIMEOUT) < 60_000
        assert incident.recovered() is reason
    assert "not complete after 0.3 s" in str(reason)


def test_06_each_frame_has_the_whole_time(peer: Peer) -> None:
    """A stream that is never between two frames when it pauses, and in which each of them ends soon, goes on."""
    patience = 4.0  # a busy machine may stand still for a while
    with Incident(peer, frame_timeout=patience) as incident:
        begun, count = time.monotonic(), 0
        incident.link.send(WHOLE[:50])
        while time.monotonic() < begun + patience + 0.5:
            incident.link.send(WHOLE[50:] + WHOLE + WHOLE[:50])
            count += 2
            incident.recorder.wait_for("on_msg", count)
        assert incident.recorder.of("on_disconnect") == []


def test_07_any_byte_is_a_sign_of_life(peer: Peer) -> None:
    """A peer too busy to answer pings, whose message comes byte by byte, one for each ping."""
    interval, patience = 0.25, 4.0
    with Incident(peer, ping_interval=interval, ping_timeout=patience) as incident:
        begun = time.monotonic()
        for byte in change("staying", "CHANNEL_ANSWER", "updated"):
            assert incident.link.recv_frame() == (PING, b"")
            incident.link.send(bytes([byte]))
            if time.monotonic() - begun > interval + patience + 0.5:
                break
        assert incident.client.connected
        assert incident.recorder.of("on_disconnect") == []


def laborious(count: int) -> bytes:
    """A bad frame that shows only after so many terms that it is one: there is something behind them."""
    nils = b"\x6c" + struct.pack("!I", count) + b"\x6a" * (count + 1)
    return frame(b"\x83P" + struct.pack("!I", len(nils) + 1) + zlib.compress(nils + b"\0"))


def test_07_and_so_is_one_that_waits_to_be_read(
    peer: Peer, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that is busy for long with what has arrived takes that neither for silence nor for a stall."""
    sent = threading.Event()
    begin = Protocol.new_connection

    def begin_when_all_is_sent(protocol: Protocol) -> None:
        assert sent.wait(TIMEOUT)
        begin(protocol)

    monkeypatch.setattr(Protocol, "new_connection", begin_when_all_is_sent)
    # More than is read at once, so that the rest waits, and a message is cut in two, while the first part is decoded.
    # A part takes a fifth of a second, and tells little; were there more, a loaded machine would not get done in time.
    piece = (laborious(30_000) * 4 + change("a")) * 6 + message((Atom("msg"), bytes(4096))) * 16
    with client_at(peer, recorder, ping_interval=0.03, ping_timeout=0.03, frame_timeout=0.03):
        link = peer.accept()
        link.read_request()
        link.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * len(piece))
        link.send(link.upgrade_answer() + message(SPEC) + piece * 2 + change("last"))
        sent.set()
        recorder.wait(lambda: "last" in [channel.uuid for channel in recorder.of("on_chan_info")], "last", 2 * TIMEOUT)
        assert len(recorder.of("on_connect")) == 1
        assert len(recorder.of("on_error")) == 2 * 24
        link.close()


@both
def test_any_byte_may_be_the_last(peer: Peer) -> None:
    """A peer that stops at each byte of its answer and its first messages in turn, over TLS at each seventh."""
    recorder = Recorder()
    ends = itertools.cycle([Link.close, Link.reset])
    messages = message(SPEC) + full_state("a", "b")
    with client_at(peer, recorder, reconnect_min=0.0001, reconnect_max=0.0002) as client:
        step, cut, whole = 7 if peer.url.startswith("wss") else 1, 0, 1
        while cut < whole:
            link = peer.accept()
            link.read_request()
            stream = link.upgrade_answer() + messages
            whole = len(stream)
            link.send(stream[:cut])
            next(ends)(link)
            cut += step
        peer.accept().upgrade().send(messages)
        recorder.wait(lambda: client.connected and set(client.state.channels) == {"a", "b"})
        assert client.wait_ready(TIMEOUT)
    lifecycle = [name for name, _ in recorder.calls if name in ("on_connect", "on_disconnect")]
    assert lifecycle == ["on_connect", "on_disconnect"] * (len(lifecycle) // 2)
    assert len(recorder.of("on_chan_info")) == 0, "both calls have been there all the time"
    assert all(isinstance(error, ConnectError) for error in recorder.of("on_error"))


# --- 8 to 13: connecting ---------------------------------------------------------------------------------------------


def silent(link: Link, ended: threading.Event) -> None:
    ended.wait(TIMEOUT)


def silent_after_the_request(link: Link, ended: threading.Event) -> None:
    link.read_request()
    ended.wait(TIMEOUT)


def slow_answer(link: Link, ended: threading.Event) -> None:
    link.read_request()
    link.dribble(link.upgrade_answer(), 0.05, ended)


def endless_header(link: Link, ended: threading.Event) -> None:
    link.read_request()
    link.dribble(b"HTTP/1.1 101 Switching Protocols\r\nX: " + b"x" * 60_000, 0.05, ended)


@both
@pytest.mark.parametrize("serve", [silent, silent_after_the_request, slow_answer, endless_header])
def test_08_a_handshake_without_end(peer: Peer, serve: Callable[[Link, threading.Event], None]) -> None:
    """One deadline for all of it: bytes that come now and then do not put it off."""
    recorder, ended = Recorder(), threading.Event()
    with client_at(peer, recorder, connect_timeout=1.0) as client, ThreadPoolExecutor(1) as pool:
        link = peer.accept()
        serving = pool.submit(serve, link, ended)
        (error,) = recorder.wait_for("on_error")
        ended.set()
        assert isinstance(error, ConnectTimeout)
        assert "within the 1 s of connect_timeout" in str(error)
        serving.result(TIMEOUT)
        comes_up(peer, recorder, client).close()


def comes_up(peer: Peer, recorder: Recorder, client: CTIClient) -> Link:
    """Accept visits until one of them is a connection; some may have been given up meanwhile.

    Who closes it saves stop() the wait for an answer to its goodbye.
    """
    while True:
        with contextlib.suppress(EOFError, ConnectionError, ssl.SSLError):
            link = peer.accept().upgrade()
            # What has been given up takes the answer, too; that the client comes again tells.
            eventually(lambda: recorder.of("on_connect") or peer.is_visited(), "a connection")
            if recorder.of("on_connect"):
                assert client.wait_connected(TIMEOUT)
                return link


def test_08_tls_one_byte_at_a_time() -> None:
    recorder, ended = Recorder(), threading.Event()
    server = certified("127.0.0.1")

    def serve(link: Link) -> int:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = server.wrap_bio(incoming, outgoing, server_side=True)
        incoming.write(link.sock.recv(65536))
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        return link.dribble(outgoing.read(), 0.05, ended)

    with Peer(server) as peer, ThreadPoolExecutor(1) as pool, client_at(peer, recorder, connect_timeout=1.0) as client:
        serving = pool.submit(serve, peer.accept_raw())
        (error,) = recorder.wait_for("on_error")
        ended.set()
        assert isinstance(error, ConnectTimeout)
        assert serving.result(TIMEOUT) > 5, "bytes did come"
        comes_up(peer, recorder, client).close()


ATTACKED = Path(__file__).with_name("attacked.py")
MIB = 1024 * 1024


class Attacked:
    """A client in a process of its own, of which is known what an attack cost it: see attacked.py."""

    def __init__(self, peer: Peer, **options: Any) -> None:
        command = [sys.executable, str(ATTACKED), peer.url, json.dumps(options)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def ready(self) -> None:
        """Wait until it has measured what it takes without an attack."""
        assert self._line() == {"ready": True}

    def cost(self) -> dict[str, Any]:
        """What it has been told, and what that took."""
        return self._line()

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        told: dict[str, Any] = json.loads(self._process.stdout.readline() or '"it ended"')
        return told

    def __enter__(self) -> Attacked:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._process.kill()
        with self._process:
            pass


Measured = Callable[[str, object], None]


def report(record_property: Measured, cost: dict[str, Any]) -> None:
    """Have the figures printed behind the tests' results."""
    figures = f"{cost['told']}: {cost['cpu']:.2f} s of CPU, peak RSS {cost['peak']:.1f} MB, {cost['grown']:+.1f} MB"
    print(figures)
    record_property("measured", figures)


@pytest.mark.parametrize(
    ("answer", "body", "told"),
    [
        (b"HTTP/1.1 101 Switching Protocols\r\nX: ", b"x" * 65536, "HandshakeError"),
        (b"HTTP/1.1 101 Switching Protocols\r\n", b"X: y\r\n" * 10_000, "HandshakeError"),
        (b"", b"x" * 65536, "HandshakeError"),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", b"x" * 65536, "HandshakeError"),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 99999999999\r\n\r\n", b"x" * 65536, "HandshakeError"),
    ],
    ids=["one long header", "many headers", "one long line", "a body without end", "a body of 100 GB"],
)
def test_09_an_answer_without_end(peer: Peer, answer: bytes, body: bytes, told: str, record_property: Measured) -> None:
    with Attacked(peer) as attacked:
        link = peer.accept()
        link.read_request()
        link.send(b"HTTP/1.1 404 Not Found\r\n\r\n")
        link.finish()
        attacked.ready()
        link = peer.accept()
        link.read_request()
        link.send(answer)
        with contextlib.suppress(OSError):
            for _ in range(32 * MIB // len(body)):
                link.send(body)
        link.close()
        cost = attacked.cost()
    report(record_property, cost)
    assert cost["told"] == told
    assert cost["grown"] < 20


@pytest.mark.parametrize("hangs", [False, True], ids=["fails", "hangs"])
def test_10_the_name_is_not_found_for_a_while(
    peer: Peer, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    """As long as the resolver fails, or does not come back, it is asked again; nobody has to help."""
    over, asked = threading.Event(), threading.Semaphore(0)
    real = socket.getaddrinfo

    def outage(*args: Any, **options: Any) -> Any:
        asked.release()
        if hangs:
            over.wait(TIMEOUT)
        if not over.is_set():
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return real(*args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", outage)
    with client_at(peer, recorder, connect_timeout=0.2 if hangs else 10.0) as client:
        for _ in range(1 if hangs else 5):
            assert asked.acquire(timeout=TIMEOUT)
        (error,) = recorder.wait_for("on_error")
        assert isinstance(error, ConnectTimeout if hangs else ConnectError)
        assert ("took too long" if hangs else "Temporary failure") in str(error)
        over.set()
        comes_up(peer, recorder, client).close()
        assert [str(each) for each in recorder.of("on_error")].count(str(error)) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_11_a_refused_login_is_told_once_and_tried_again_slowly(peer: Peer, recorder: Recorder, status: int) -> None:
    with client_at(peer, recorder, reconnect_min=0.001, reconnect_max=0.3) as client:
        visits = []
        for _ in range(3):
            link = peer.accept()
            visits.append(time.monotonic())
            link.read_request()
            link.send(b"HTTP/1.1 %d No\r\n\r\n" % status)
            link.finish()
        comes_up(peer, recorder, client).close()
        (error,) = recorder.of("on_error")
    assert isinstance(error, AuthError)
    assert error.status == status
    assert min(later - earlier for earlier, later in itertools.pairwise(visits)) > 0.25


def test_11_a_refused_login_can_end_the_client(peer: Peer, recorder: Recorder) -> None:
    client = client_at(peer, recorder, stop_on_auth_error=True)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(client.run_forever)
        link = peer.accept()
        link.read_request()
        link.send(b"HTTP/1.1 401 Unauthorized\r\n\r\n")
        link.finish()
        with pytest.raises(AuthError, match="refused the login"):
            running.result(TIMEOUT)
    assert isinstance(recorder.wait_for("on_error")[0], AuthError)
    assert not client.wait_connected(TIMEOUT)
    assert not peer.has_visitor()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_12_a_redirection_is_not_followed(peer: Peer, recorder: Recorder, status: int) -> None:
    with Peer() as other, client_at(peer, recorder) as client:
        link = peer.accept()
        link.read_request()
        link.send(f"HTTP/1.1 {status} Elsewhere\r\nLocation: {other.url}/basix/api/ws_cti\r\n\r\n".encode())
        link.finish()
        (error,) = recorder.wait_for("on_error")
        assert isinstance(error, HandshakeError)
        assert error.status == status
        assert "not followed" in str(error)
        comes_up(peer, recorder, client).close()
        assert not other.has_visitor()


@pytest.mark.parametrize("wrong", ["authority", "host name", "no TLS"])
def test_13_a_server_that_cannot_be_trusted_gets_no_login(recorder: Recorder, wrong: str) -> None:
    context = None if wrong == "no TLS" else certified("pbx.example" if wrong == "host name" else "127.0.0.1")
    options: dict[str, Any] = {} if wrong == "authority" else {"ssl_context": trusting()}
    with Peer() as peer:
        client = CTIClient(f"wss://127.0.0.1:{peer.port}", recorder, auth=AUTH, app_name="test", **options)
        with client:
            link = peer.accept()
            seen = b""
            if context is None:
                seen = link.sock.recv(65536)
                link.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                assert seen[:1] == b"\x16", "a TLS hello"
            else:
                with pytest.raises(ssl.SSLError):
                    seen = context.wrap_socket(link.sock, server_side=True).recv(65536)
            (error,) = recorder.wait_for("on_error")
    assert isinstance(error, TLSError)
    assert b"GET" not in seen
    assert recorder.of("on_connect") == []


def test_13_a_pinned_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an authority named, others are refused, though the system trusts them; without one they are not."""
    system, pinned = tmp_path / "system.pem", tmp_path / "pinned.pem"
    authority().cert_pem.write_to_path(str(system))
    trustme.CA().cert_pem.write_to_path(str(pinned))
    monkeypatch.setenv("SSL_CERT_FILE", str(system))
    for ca_file in (pinned, None):
        recorder = Recorder()
        with Peer(certified("127.0.0.1")) as peer:
            trusted = None if ca_file is None else str(ca_file)
            with CTIClient(peer.url, recorder, auth=AUTH, app_name="test", ca_file=trusted) as client:
                if ca_file is None:
                    comes_up(peer, recorder, client).close()
                else:
                    with pytest.raises(ssl.SSLError):
                        peer.accept()
                    assert isinstance(recorder.wait_for("on_error")[0], TLSError)


def self_signed(directory: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that nobody else has signed, and a server's settings with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pbx")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
    # As openssl makes it. By these two, OpenSSL tells certificates of one name apart.
    mine = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    signer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(mine)
    builder = builder.add_extension(mine, critical=False).add_extension(signer, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    pem, key_pem = directory / f"{certificate.serial_number}.pem", directory / f"{certificate.serial_number}.key"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key_pem)
    return pem, context


def test_13_a_pinned_certificate_that_nobody_else_has_signed(tmp_path: Path) -> None:
    """Of two in the file either is trusted; a third is not, though it is just as good."""
    made = [self_signed(tmp_path) for _ in range(3)]
    pinned = tmp_path / "pinned.pem"
    pinned.write_bytes(b"".join(pem.read_bytes() for pem, _ in made[:2]))
    for number, (_, context) in enumerate(made):
        recorder = Recorder()
        with (
            Peer(context) as peer,
            CTIClient(peer.url, recorder, auth=AUTH, app_name="test", ca_file=str(pinned)) as client,
        ):
            if number < 2:
                comes_up(peer, recorder, client).close()
            else:
                with pytest.raises(ssl.SSLError):
                    peer.accept()
                assert isinstance(recorder.wait_for("on_error")[0], TLSError)


# --- 14 to 19: what arrives is not what it should be ----------------------------------------------------------------


def refused(link: Link, code: int) -> None:
    """The client has ended the connection with this close code."""
    while (told := link.recv_frame())[0] != CLOSE:
        pass
    assert told[1] == code.to_bytes(2, "big")


FRAGMENT = frame(bytes(65536), CONTINUATION, fin=False)


@pytest.mark.parametrize(
    "pieces",
    [
        [frame(b"", claim=1 << 40)],
        [frame(b"", claim=1 << 40), bytes(65536), *[bytes(65536)] * 1000],
        [frame(b"", fin=False), *[FRAGMENT] * 1000],
        [frame(b"x" * 1000, fin=False), *[frame(b"x" * 1000, CONTINUATION, fin=False) * 60] * 1000],
    ],
    ids=["1 TiB claimed", "1 TiB claimed and sent", "fragments without end", "small fragments without end"],
)
def test_14_a_message_beyond_the_limit(peer: Peer, pieces: list[bytes], record_property: Measured) -> None:
    with Incident(peer) as incident:
        with contextlib.suppress(OSError):
            for piece in pieces:
                incident.link.send(piece)
        with contextlib.suppress(OSError, EOFError):
            refused(incident.link, 1009)
        reason = incident.recovered()
    assert isinstance(reason, ProtocolError)
    assert reason.code == 1009
    with Peer() as peer, Attacked(peer) as attacked:
        link = peer.accept().upgrade()
        link.send(message(SPEC) + full_state("a"))
        attacked.ready()
        with contextlib.suppress(OSError):
            for piece in pieces:
                link.send(piece)
        cost = attacked.cost()
    report(record_property, cost)
    assert cost["told"] == "ProtocolError"
    assert cost["grown"] < 64


def test_14_the_peer_is_told_why(peer: Peer) -> None:
    with Incident(peer, limits=Limits(max_frame=1000)) as incident:
        incident.link.send(frame(b"", claim=1001))
        assert incident.link.recv_frame() == (CLOSE, (1009).to_bytes(2, "big"))
        assert incident.recovered().code == 1009


@pytest.mark.parametrize(
    "bad",
    [
        frame(bytes(1001)),
        frame(bytes(1001), TEXT),
        b"\x82\x7f" + (1001).to_bytes(8, "big") + bytes(1001),
        frame(b"", claim=(1 << 64) - 1),
        frame(bytes(600), fin=False) + frame(b"", PING) + frame(bytes(401), CONTINUATION),
        frame(bytes(1000), fin=False) + frame(b"x", CONTINUATION),
    ],
    ids=["a frame", "a text", "length in eight bytes", "highest bit of the length", "two fragments", "one byte more"],
)
def test_14_a_byte_too_many_behind_good_frames(peer: Peer, bad: bytes) -> None:
    """A message of exactly the limit is taken, and what comes behind the first that is longer is not told."""
    spare = 1004 - len(message((Atom("msg"), b"x" * 500)))
    text = message((Atom("msg"), b"x" * (500 + spare)))
    assert len(text) == 4 + 1000
    with Incident(peer, limits=Limits(max_frame=1000)) as incident:
        incident.link.send(text * 2 + bad + text)
        refused(incident.link, 1009)
        reason = incident.recovered()
        assert len(incident.recorder.of("on_msg")) == 2
        assert incident.recorder.of("on_error") == [], "nothing else was taken for a message"
    assert isinstance(reason, ProtocolError)
    assert reason.code == 1009


def test_14_empty_fragments_without_end(peer: Peer) -> None:
    """They never exceed the limit, but the time that one message may take."""
    ended = threading.Event()
    with Incident(peer, frame_timeout=0.5) as incident, ThreadPoolExecutor(1) as pool:
        incident.link.send(frame(b"", fin=False))
        flooding = pool.submit(incident.link.flood, frame(b"", CONTINUATION, fin=False) * 1000, ended)
        (reason,) = incident.recorder.wait_for("on_disconnect")
        ended.set()
        flooding.result(TIMEOUT)
        assert incident.recovered() is reason
    assert "not complete after 0.5 s" in str(reason)


def test_15_text_frames(peer: Peer, recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    """They are counted, logged (as a warning once for each connection) and ignored."""
    caplog.set_level(logging.DEBUG, "basix_cti")
    with client_at(peer, recorder):
        link = peer.accept().upgrade()
        link.send(message(SPEC) + frame(b"hello", TEXT) + change("a") + frame(b"hello", TEXT) + frame(b"\xff", TEXT))
        link.send(frame(b"in ", TEXT, fin=False) + frame(b"parts", CONTINUATION) + change("b"))
        recorder.wait_for("on_chan_info", 2)
        assert recorder.of("on_error") == recorder.of("on_disconnect") == []
    told = [(each.levelname, each.getMessage()) for each in caplog.records if "text frame" in each.getMessage()]
    assert told == [
        ("WARNING", "text frame of 5 bytes ignored, number 1 on this connection"),
        ("DEBUG", "text frame of 5 bytes ignored, number 2 on this connection"),
        ("DEBUG", "text frame of 1 bytes ignored, number 3 on this connection"),
        ("DEBUG", "text frame of 8 bytes ignored, number 4 on this connection"),
    ]


def test_16_a_malformed_term(peer: Peer) -> None:
    """One is told and costs nothing else; ten in a row end the connection."""
    good = change("staying", event="updated")
    with Incident(peer) as incident:
        recorder, link = incident.recorder, incident.link
        link.send(frame(b"\x83\x79") + good)
        recorder.wait_for("on_chan_info", 1)
        (error,) = recorder.of("on_error")
        assert isinstance(error, DecodeError)
        assert (error.offset, error.tag) == (1, 121)
        link.send((frame(b"bad") * 9 + good) * 2)
        recorder.wait_for("on_chan_info", 3)
        assert recorder.of("on_disconnect") == []
        link.send(frame(b"bad") * 10 + good + frame(b"bad"))
        refused(link, 1007)
        reason = incident.recovered()
        assert isinstance(reason, ProtocolError)
        assert reason.code == 1007
        assert len(recorder.of("on_error")) == 1 + 18 + 10
        assert [each.uuid for each in recorder.of("on_chan_info")] == ["staying"] * 3 + ["ending"]


def test_16_nothing_is_kept_of_a_malformed_term(peer: Peer, recorder: Recorder) -> None:
    """An error can wait for long to be told, and many of them; by their tracebacks they would hold what was decoded."""
    with client_at(peer, recorder):
        link = peer.accept().upgrade()
        link.send(laborious(1000) + frame(b"\x83\x6c\x00\x00\x00\x02\x6a\x6e"))
        for error in recorder.wait_for("on_error", 2):
            assert isinstance(error, DecodeError)
            assert error.__traceback__ is None
            assert error.__context__ is None
        link.close()


ALPHABET = bytes(range(0x30, 0x7B))


def atoms(count: int) -> bytes:
    """So many different atoms, of six bytes each."""
    pairs = [bytes(pair) for pair in itertools.product(ALPHABET, repeat=2)]
    block = b"".join(b"\x77\x04\0\0" + pair for pair in pairs)
    blocks = (block.replace(b"\0\0", pair) for pair in pairs[: count // len(pairs) + 1])
    return b"".join(blocks)[: 6 * count]


def bomb(head: bytes, byte: bytes, mebibytes: int) -> bytes:
    """A compressed term, without its claimed size: a head, and then one byte over and over."""
    packer = zlib.compressobj()
    packed = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    # Behind such a flush nothing refers to what came before, so a piece that is made once can be repeated.
    piece = packer.compress(byte * MIB) + packer.flush(zlib.Z_FULL_FLUSH)
    # The checksum (RFC 1950, section 9) of so many equal bytes needs no look at each.
    count, value = mebibytes * MIB, byte[0]
    high, low = divmod(zlib.adler32(head), 1 << 16)
    high, low = high + count * low + value * count * (count + 1) // 2, low + value * count
    return packed + piece * mebibytes + b"\x03\x00" + struct.pack("!HH", high % 65521, low % 65521)


def zeros() -> bytes:
    """A binary of 1 GiB."""
    return bomb(b"\x6d" + struct.pack("!I", 1024 * MIB), b"\x00", 1024)


def nils(mebi: int) -> bytes:
    """A list of so many times 1,048,576 nils."""
    return bomb(b"\x6c" + struct.pack("!I", mebi * MIB), b"\x6a", mebi)


BOMBS: dict[str, Callable[[], bytes]] = {
    "1 MB inflates to 1 GB": lambda: b"\x83P" + struct.pack("!I", 1024 * MIB + 5) + zeros(),
    "1 MB inflates to 1 GB and claims 1,000 bytes": lambda: b"\x83P" + struct.pack("!I", 1000) + zeros(),
    "48 KB inflate to 50 million nils": lambda: b"\x83P" + struct.pack("!I", 50 * MIB + 5) + nils(50),
    "15 million nils, within the limit of size": lambda: b"\x83P" + struct.pack("!I", 15 * MIB + 5) + nils(15),
    "100,000 nested lists": lambda: b"\x83" + b"\x6c\x00\x00\x00\x01" * 100_000 + b"\x6a" * 100_001,
    "100,000 nested tuples": lambda: b"\x83" + b"\x68\x01" * 100_000 + b"\x6a",
    "an integer of 1 MB": lambda: b"\x83\x6f" + struct.pack("!I", MIB) + b"\x00" + b"\xff" * MIB,
    "a list of 4 G": lambda: b"\x83\x6c\xff\xff\xff\xff" + b"\x6a" * 1000,
    "a binary of 4 G": lambda: b"\x83\x6d\xff\xff\xff\xff" + bytes(1000),
    "a tuple of 4 G": lambda: b"\x83\x69\xff\xff\xff\xff" + b"\x6a" * 1000,
    "a map of 4 G": lambda: b"\x83\x74\xff\xff\xff\xff" + b"\x6a" * 1000,
    "an integer of 4 G": lambda: b"\x83\x6f\xff\xff\xff\xff\x00" + bytes(1000),
    "2 million atoms in six lists": lambda: (
        b"\x83\x6c\x00\x00\x00\x06" + (b"\x6c" + struct.pack("!I", 333_333) + atoms(333_333) + b"\x6a") * 6 + b"\x6a"
    ),
    "2 million atoms": lambda: b"\x83\x6c" + struct.pack("!I", 2_000_000) + atoms(2_000_000) + b"\x6a",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_17_a_term_that_is_a_bomb(kind: str, record_property: Measured) -> None:
    """Told as a DecodeError in under a second, and in little memory.

    Most cost next to nothing. Dearest is what shows only after a million terms, as many as are allowed, that it has
    more.
    """
    payload = frame(BOMBS[kind]())

    def seconds() -> float:
        with Peer() as peer, Attacked(peer) as attacked:
            link = peer.accept().upgrade()
            link.send(message(SPEC) + full_state("a"))
            attacked.ready()
            link.send(payload)
            cost = attacked.cost()
        report(record_property, cost)
        assert cost["told"] == "DecodeError"
        assert cost["grown"] < 150
        # Not by the interpreter's stack, which is much deeper, and not everywhere guarded.
        assert ("nested deeper than the limit of 128" in cost["text"]) is ("nested" in kind)
        return float(cost["cpu"])

    soon(1, seconds)


# The terms of which each beginning is a bad frame: between them, all ways in which a term's length is told.
TERMS = [
    b"\x83\x68\x03\x77\x0ainfo_event\x6b\x00\x07channel\x68\x02\x6d\x00\x00\x00\x01a\x64\x00\x03new",
    b"\x83\x74\x00\x00\x00\x01\x61\x01\x6c\x00\x00\x00\x02\x46" + struct.pack("!d", 1.5) + b"\x62\x00\x00\x00\x01\x6a",
    b"\x83\x63" + b"1.5".ljust(31, b"\0"),
    b"\x83\x6e\x08\x00" + bytes(range(1, 9)),
    b"\x83\x50\x00\x00\x00\x06" + zlib.compress(b"\x6d\x00\x00\x00\x01a"),
]
BAD_TERMS = [
    b"\x83\x6a\x6a",
    b"\x83\x77\x02\xc3\x28",
    b"\x83\x76\x00\x02\xff\xfe",
    b"\x83\x46" + struct.pack("!d", float("nan")),
    b"\x83\x46" + struct.pack("!d", float("inf")),
    b"\x83\x63" + b"nan".ljust(31, b"\0"),
    *(term[:end] for term in TERMS for end in range(len(term))),
    *(term + b"\x00" for term in TERMS),
]


def test_18_terms_that_are_not_whole_or_not_true(peer: Peer, recorder: Recorder) -> None:
    """Trailing bytes, atoms that are no UTF-8, numbers that are none, and terms cut off at each byte."""
    with client_at(peer, recorder):
        link = peer.accept().upgrade()
        link.send(message(SPEC) + b"".join(frame(term) for term in TERMS))
        link.send(b"".join(frame(bad) + change(str(number)) for number, bad in enumerate(BAD_TERMS)))
        recorder.wait_for("on_chan_info", len(BAD_TERMS))
        errors = recorder.of("on_error")
        assert len(errors) == len(BAD_TERMS)
        assert {type(error) for error in errors} == {DecodeError}
        assert recorder.of("on_disconnect") == []
    assert [channel.uuid for channel in recorder.of("on_chan_info")] == [str(n) for n in range(len(BAD_TERMS))]


def test_19_what_nobody_has_heard_of(peer: Peer, recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    """Logged once for each kind; the event still comes, with what can be known."""
    info, channel, added = Atom("info_event"), Atom("channel"), Atom("added")
    spec = (Atom("field_spec"), Atom("lamp"), [Atom("id"), Atom("colour")])
    with client_at(peer, recorder):
        link = peer.accept().upgrade()
        for _ in range(2):
            link.send(
                message((info, channel, ("early", "NEW_CHANNEL"), added))
                + message((Atom("news"), 1, 2))
                + message(b"no message at all")
                + message((info, channel))
                + message(spec)
                + message((info, Atom("lamp"), (7, b"red"), added))
            )
        link.send(message(SPEC))
        link.send(message((info, channel, ("longer", "CHANNEL_ANSWER", b"new"), added)))
        link.send(message((info, channel, ("shorter",), added)))
        link.send(message((info, channel, ("strange", "NEW_CHANNEL"), Atom("frobnicated"))))
        recorder.wait(lambda: "strange" in [channel.uuid for channel in recorder.of("on_chan_info")])
        assert recorder.of("on_error") == recorder.of("on_disconnect") == []
    warnings = [record.getMessage() for record in caplog.records if "told once" in record.getMessage()]
    assert [text.split(" (told once")[0].split("from the PBX: ")[1] for text in warnings] == [
        "'channel'",
        "'news'",
        "None",
        "'info_event: 1 parts instead of 3'",
    ]
    unknown = [event.term for event in recorder.events if isinstance(event, UnknownMessage)]
    assert unknown == [(Atom("news"), 1, 2), b"no message at all", (info, channel)] * 2
    lamps = [item for element, item, _ in recorder.of("on_info_event") if element == "lamp"]
    assert [lamp.extra for lamp in lamps] == [{"id": 7, "colour": "red"}] * 2
    early, _, longer, shorter, _ = recorder.of("on_chan_info")
    assert early.extra == {"field_1": "early", "field_2": "NEW_CHANNEL"}
    assert (longer.uuid, longer.last_event, longer.extra) == ("longer", "CHANNEL_ANSWER", {"field_3": "new"})
    assert (shorter.uuid, shorter.last_event) == ("shorter", None)


# --- 20 to 23: hooks that do what they should not --------------------------------------------------------------------


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit, KeyboardInterrupt])
def test_20_and_21_hooks_that_raise(peer: Peer, kind: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    """All of them do, on_error and on_disconnect too: each is logged, and nothing that follows is missing."""

    class Raising(Recorder):
        def told(self, name: str, args: tuple[Any, ...]) -> None:
            raise kind(f"from {name}")

    recorder = Raising()
    with client_at(peer, recorder):
        link = peer.accept().upgrade()
        link.send(message(SPEC) + change("a") + frame(b"bad") + change("b"))
        recorder.wait_for("on_chan_info", 2)
        link.close()
        recorder.wait_for("on_disconnect")
        peer.accept().upgrade().send(message(SPEC) + change("c"))
        recorder.wait_for("on_chan_info", 3)
        names = {thread.name for thread in threading.enumerate()}
        assert {"basix-cti-test-io", "basix-cti-test-dispatcher"} <= names
    assert [channel.uuid for channel in recorder.of("on_chan_info")] == ["a", "b", "c"]
    told = [str(error) for error in recorder.of("on_error")]
    assert [text for text in told if text == "from on_chan_info"] == ["from on_chan_info"] * 3
    assert "from on_disconnect" in told
    assert "from on_error" not in told, "else it would never end"
    for hook in ("on_connect", "on_chan_info", "on_error", "on_disconnect"):
        raised = [record.exc_info[1] for record in caplog.records if record.exc_info]
        assert f"from {hook}" in [str(error) for error in raised if type(error) is kind], "logged with its traceback"


class Blocked(Recorder):
    """Blocks in the hook for the channel ``block``, until released."""

    def __init__(self, hook: str = "on_chan_info") -> None:
        super().__init__()
        self.blocked, self.released = threading.Event(), threading.Event()
        self.gave_up = False
        self._hook = hook

    def told(self, name: str, args: tuple[Any, ...]) -> None:
        if name == self._hook and (name != "on_chan_info" or args[0].uuid == "block"):
            self.blocked.set()
            self.gave_up |= not self.released.wait(TIMEOUT)


def test_22_a_hook_that_sleeps(peer: Peer) -> None:
    """For three times the ping time-out: the pings of the peer are answered, and its answers are heard."""
    recorder, patience = Blocked(), 2.0  # a busy machine may stand still for a while
    with client_at(peer, recorder, ping_interval=0.1, ping_timeout=patience) as client:
        link = peer.accept().upgrade()
        link.send(message(SPEC) + change("block"))
        assert recorder.blocked.wait(TIMEOUT)
        end = time.monotonic() + 3 * patience
        while time.monotonic() < end:
            link.send(frame(b"", PONG) + frame(b"still there?", PING))
            seen = [link.recv_frame(), link.recv_frame()]
            assert sorted(seen) == [(PING, b""), (PONG, b"still there?")]
        assert client.connected
        assert not recorder.gave_up, "all that happened while the hook slept, not after it"
        recorder.released.set()
        assert recorder.of("on_disconnect") == []


def flood(link: Link, data: bytes) -> None:
    """Send it, and wait until the client has taken all of it in."""
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(link.send, data + frame(b"sync", PING))
        while link.recv_frame() != (PONG, b"sync"):
            pass
        sending.result(TIMEOUT)


def test_23_a_flood_before_a_blocked_hook(peer: Peer) -> None:
    """What is dropped is counted, then made good; no end of a channel is missing."""
    recorder = Blocked()
    with client_at(peer, recorder, max_queued_events=10) as client:
        link = peer.accept().upgrade()
        known = [f"known-{number}" for number in range(5)]
        link.send(message(SPEC) + message(NOTHING) + b"".join(change(uuid) for uuid in known))
        recorder.wait_for("on_chan_info", 5)
        link.send(change("block"))
        assert recorder.blocked.wait(TIMEOUT)
        messages = [change(f"brief-{number}") for number in range(100)]
        messages += [change(f"brief-{number}", "CHANNEL_HANGUP", "updated") for number in range(99)]
        messages += [change(uuid, "CHANNEL_HANGUP", "updated") for uuid in known]
        flood(link, b"".join(messages))
        assert client.queued_events == 10
        recorder.released.set()
        assert recorder.wait_for("on_overflow") == [204 - 10]
        recorder.wait(lambda: set(client.state.channels) == {"block", "brief-99"})
        link.send(change("after"))
        recorder.wait(lambda: "after" in client.state.channels)
    told = [(channel.uuid, channel.is_hung_up) for channel in recorder.of("on_chan_info")]
    assert [uuid for uuid, ended in told if ended and uuid in known] == known
    begun = {uuid for uuid, ended in told if not ended}
    ended = [uuid for uuid, ended in told if ended]
    assert len(ended) == len(set(ended))
    assert begun - set(ended) == {"block", "brief-99", "after"}
    assert len(recorder.of("on_overflow")) == 1


def test_23_a_flood_that_swallows_the_initial_state(peer: Peer) -> None:
    recorder = Blocked("on_connect")
    with client_at(peer, recorder, max_queued_events=1) as client:
        link = peer.accept().upgrade()
        assert recorder.blocked.wait(TIMEOUT)
        flood(link, message((Atom("msg"), b"fills the queue")) + message(SPEC) + full_state("a", "b"))
        recorder.released.set()
        assert [channel.uuid for channel in recorder.wait_for("on_initial_chan_info")[0]] == ["a", "b"]
        assert recorder.of("on_chan_info") == []
        assert set(client.state.channels) == {"a", "b"}
        assert client.wait_ready(TIMEOUT)


@pytest.mark.parametrize(
    ("size", "count", "waiting"), [(10, 12_000, 10_000), (MIB, 70, 63)], ids=["10,000 events", "64 MiB"]
)
def test_23_the_bounds_of_the_queue(peer: Peer, size: int, count: int, waiting: int) -> None:
    """As they are without any settings."""
    recorder = Blocked("on_connect")
    with client_at(peer, recorder) as client:
        link = peer.accept().upgrade()
        assert recorder.blocked.wait(TIMEOUT)
        text = message((Atom("msg"), b"x" * size))
        flood(link, text * count)
        assert client.queued_events == waiting
        recorder.released.set()
        assert recorder.wait_for("on_overflow") == [count - waiting]
        assert len(recorder.of("on_msg")) == waiting


# --- 24 and 25: sending ----------------------------------------------------------------------------------------------


def test_24_a_peer_that_stops_reading(peer: Peer) -> None:
    with Incident(peer, send_timeout=0.3) as incident:
        with contextlib.suppress(NotConnected):
            while True:
                incident.client.transfer("a", destination="x" * 1000)
        assert isinstance(incident.recovered(), SendTimeout)


def test_24_a_peer_that_asks_and_does_not_read_the_answers(peer: Peer) -> None:
    """Pings without end, so that their answers pile up."""
    ended = threading.Event()
    with Incident(peer, send_timeout=TIMEOUT) as incident, ThreadPoolExecutor(1) as pool:
        flooding = pool.submit(incident.link.flood, frame(bytes(125), PING) * 1000, ended)
        (reason,) = incident.recorder.wait_for("on_disconnect")
        ended.set()
        flooding.result(TIMEOUT)
        assert incident.recovered() is reason
    assert isinstance(reason, ProtocolError)
    assert "pings come faster than their answers are taken" in str(reason)


def test_24_commands_that_are_not_taken_are_bounded_in_number(peer: Peer) -> None:
    """A command too many is refused; those before it wait, and get through when the peer reads again."""
    with Incident(peer, send_timeout=600.0, ping_interval=600.0) as incident:
        given, refusal = 0, ""
        while not refusal and given < 50_000:
            try:
                incident.client.transfer("a", destination="x" * 1000)
                given += 1
            except NotConnected as error:
                refusal = str(error)
        assert "too many commands wait" in refusal
        assert given >= 10_000
        for _ in range(given):
            assert incident.link.recv_frame()[0] == TEXT
        incident.client.hangup("a")
        assert json.loads(incident.link.recv_frame()[1])["uuid"] == "a"
        assert incident.recorder.of("on_disconnect") == []


@pytest.mark.parametrize("reading", [True, False], ids=["sent", "not sent yet"])
def test_25_commands_that_wait_when_the_connection_is_lost(peer: Peer, reading: bool) -> None:
    """Each fails with the reason, once, whether it has been sent or not."""
    with Incident(peer) as incident, ThreadPoolExecutor(20) as pool:
        commands = [incident.client.hangup("a") for _ in range(10)]
        if reading:
            for _ in commands:
                assert incident.link.recv_frame()[0] == TEXT
        else:
            with contextlib.suppress(NotConnected):
                for _ in range(9_000):
                    commands.append(incident.client.transfer("a", destination="x" * 1000))
        waiting = [pool.submit(command.wait, TIMEOUT) for command in commands[:10] + commands[-10:]]
        incident.link.reset()
        reason = incident.recovered()
        assert {type(each.exception(TIMEOUT)) for each in waiting} == {type(reason)}
        for command in commands:
            for _ in range(2):
                with pytest.raises(ConnectionLost):
                    command.wait(0)


# --- 26 to 29: lives and their ends ----------------------------------------------------------------------------------


def full_backlog() -> tuple[socket.socket, list[socket.socket]]:
    """A listener whose queue is full, so that a further visit hangs while connecting; and the visitors."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    visitors = []
    for _ in range(3):
        visitor = socket.socket()
        visitor.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            visitor.connect(listener.getsockname())
        visitors.append(visitor)
    return listener, visitors


@pytest.mark.parametrize(
    "stage",
    ["name", "TCP", "TLS", "ticket", "handshake", "backoff", "half-open", "flood", "blocked send", "blocked hook"],
)
def test_26_stop_returns_soon(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes on, within 2 s; and no connection is made afterwards. (A blocked hook is waited for that long.)"""

    def stop() -> float:
        with contextlib.ExitStack() as stack:
            return stopped(stack, stage)

    soon(2.2 if stage == "blocked hook" else 2, stop)


def stopped(stack: contextlib.ExitStack, stage: str) -> float:
    """How long stop() takes at a stage of a client's life."""
    reached, released = threading.Event(), threading.Event()

    def hang(*args: Any, **options: Any) -> Any:
        reached.set()
        released.wait(TIMEOUT)
        raise socket.gaierror(socket.EAI_AGAIN, "late")

    peer = stack.enter_context(Peer(certified("127.0.0.1") if stage == "TLS" else None))
    recorder = Blocked("on_connect" if stage == "blocked hook" else "none")
    auth = Ticket(hang) if stage == "ticket" else AUTH
    client = client_at(peer, recorder, auth, reconnect_min=30.0, reconnect_max=60.0, send_timeout=60.0)
    if stage == "TCP":
        listener, visitors = full_backlog()
        for each in (listener, *visitors):
            stack.callback(each.close)
        client = CTIClient(f"ws://127.0.0.1:{listener.getsockname()[1]}", recorder, auth=AUTH, app_name="test")
    elif stage == "name":
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(socket, "getaddrinfo", hang)
    client.start()
    if stage == "TLS":
        peer.accept_raw().sock.recv(1)
    elif stage in ("name", "ticket"):
        assert reached.wait(TIMEOUT)
    elif stage == "handshake":
        peer.accept().read_request()
    elif stage == "backoff":
        link = peer.accept()
        link.read_request()
        link.finish()
        recorder.wait_for("on_error")
    elif stage != "TCP":
        link = peer.accept().upgrade()
        recorder.wait_for("on_connect")
        if stage == "flood":
            link.send(message(SPEC))
            pool = stack.enter_context(ThreadPoolExecutor(1))
            stack.callback(released.set)
            pool.submit(link.flood, BURDEN * 1000, released)
            recorder.wait_for("on_msg", 10)
        if stage == "blocked send":
            with contextlib.suppress(NotConnected):
                for _ in range(9_000):
                    client.transfer("a", destination="x" * 1000)
    begun = time.monotonic()
    client.stop()
    taken = time.monotonic() - begun
    released.set()
    recorder.released.set()
    if stage in ("half-open", "flood", "blocked send", "blocked hook"):
        assert isinstance(recorder.wait_for("on_disconnect")[0], Stopped)
    assert not client.connected
    if stage == "ticket":
        peer.accept()
    assert not peer.has_visitor()
    return taken


def test_26_stop_does_not_wait_for_all_that_has_arrived(peer: Peer, recorder: Recorder) -> None:
    """Not even for what is decoded together, which may be as dear as the limits allow."""
    with client_at(peer, recorder) as client:
        link = peer.accept().upgrade()
        link.send(message(SPEC) + (laborious(300_000) * 9 + change("a")) * 4)
        eventually(lambda: client.statistics.errors, "the first of them")
        client.stop()
        assert client.statistics.errors["DecodeError"] < 5


def test_27_stop_before_start_and_twice(peer: Peer, recorder: Recorder) -> None:
    before = threading.active_count()
    client = client_at(peer, recorder, reconnect_min=60.0, reconnect_max=60.0)
    client.stop()
    client.stop()
    assert threading.active_count() == before
    assert not peer.has_visitor()
    for life in (1, 2):
        client.start()
        client.start()
        link = peer.accept().upgrade()
        link.send(message(SPEC) + full_state("a"))
        assert client.wait_ready(TIMEOUT)
        recorder.wait_for("on_initial_chan_info", life)
        link.send(frame(b"", CLOSE))  # so that stop() need not wait for it; the client may see it before that
        client.stop()
        client.stop()
        assert not client.connected
        recorder.wait_for("on_disconnect", life)
    assert [session.number for session in recorder.of("on_connect")] == [1, 2]
    assert not peer.has_visitor()


def test_27_stop_inside_a_hook_and_start_after_it(peer: Peer) -> None:
    class Stops(Recorder):
        def told(self, name: str, args: tuple[Any, ...]) -> None:
            if name == "on_connect" and args[0].number < 3:
                client.stop()
                client.stop()
                client.start()

    recorder = Stops()
    client = client_at(peer, recorder)
    client.start()
    for number in (1, 2, 3):
        link = peer.accept().upgrade()
        if number < 3:
            assert link.recv_frame()[0] == CLOSE
            link.close()
    recorder.wait_for("on_connect", 3)
    client.stop()
    order = [name for name, _ in recorder.calls if name in ("on_connect", "on_disconnect")]
    assert order == ["on_connect", "on_disconnect"] * 3


def test_28_a_hundred_connections(peer: Peer, recorder: Recorder) -> None:
    """Threads and descriptors do not grow in number, and no event is told twice."""

    def held() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    counts = []
    with client_at(peer, recorder, reconnect_min=0.001, reconnect_max=0.002):
        for number in range(1, 101):
            link = peer.accept().upgrade()
            link.send(message(SPEC) + full_state("staying") + change(f"call-{number}"))
            link.send(change(f"call-{number}", "CHANNEL_HANGUP", "removed"))
            recorder.wait_for("on_chan_info", 2 * number)
            counts.append(held())
            next(iter((Link.close, Link.reset)[number % 2 :]))(link)
            recorder.wait_for("on_disconnect", number)
    # The look-up thread of an attempt may be about to end, and the descriptors of a listing are its own.
    assert max(counts[10:]) <= (min(counts[10:])[0] + 1, min(counts[10:])[1] + 1)
    told = [(each.uuid, each.is_hung_up) for each in recorder.of("on_chan_info")]
    assert told == [(f"call-{number}", ended) for number in range(1, 101) for ended in (False, True)]
    assert len(recorder.of("on_initial_chan_info")) == 100
    assert recorder.of("on_error") == []


def test_29_connections_that_die_young(peer: Peer, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound of the delay doubles from 2 to 60 s, and begins anew after a connection that held."""
    bounds: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        bounds.append((low, high))
        return 0.0

    monkeypatch.setattr(random, "uniform", uniform)
    stable = 2.0
    delays = {"reconnect_min": 1.0, "reconnect_max": 60.0, "stable_after": stable}
    with client_at(peer, recorder, AUTH, ping_interval=0.5, **delays):
        for _ in range(8):
            peer.accept().upgrade().close()
        link = peer.accept().upgrade()
        recorder.wait_for("on_connect", 9)  # only now is it sure that the client counts this connection's time
        end = time.monotonic() + stable
        while time.monotonic() < end:
            assert link.recv_frame() == (PING, b"")
            link.send(frame(b"", PONG))
        link.close()
        for _ in range(2):
            peer.accept().upgrade().close()
        recorder.wait_for("on_disconnect", 11)
        peer.accept()
    assert bounds[:8] == [(1.0, high) for high in (2, 4, 8, 16, 32, 60, 60, 60)]
    assert bounds[8:11] == [(1.0, 2.0), (1.0, 4.0), (1.0, 8.0)]


# --- 30 to 33: threads and processes. 31 and 32, forks and servers that fork, have a test file of their own ----------


@both
@pytest.mark.parametrize("number", range(int(os.environ.get("BASIX_CTI_ROUNDS", "1"))))
def test_30_eight_threads_send_a_thousand_commands_each(peer: Peer, recorder: Recorder, number: int) -> None:
    """All arrive, intact and in each thread's order, while events come the other way."""
    with client_at(peer, recorder) as client, ThreadPoolExecutor(9) as pool:
        link = peer.accept().upgrade()
        assert client.wait_connected(TIMEOUT)

        def receive() -> dict[str, list[int]]:
            link.send(message(SPEC))
            seen: dict[str, list[int]] = {}
            for count in range(8000):
                opcode, payload = link.recv_frame()
                assert opcode == TEXT
                command = json.loads(payload)
                thread, number, padding = command["uuid"].split("-")
                assert padding == "x" * (int(number) % 100)
                seen.setdefault(thread, []).append(int(number))
                if count % 80 == 0:
                    link.send(change(f"call-{count // 80}"))
            return seen

        received = pool.submit(receive)

        def send(thread: int) -> None:
            for number in range(1000):
                client.hangup(f"{thread}-{number}-{'x' * (number % 100)}")

        sent = [pool.submit(send, thread) for thread in range(8)]
        for each in sent:
            each.result(TIMEOUT)
        assert received.result(TIMEOUT) == {str(thread): list(range(1000)) for thread in range(8)}
        recorder.wait_for("on_chan_info", 100)
        assert recorder.of("on_disconnect") == recorder.of("on_error") == []
        link.close()
    assert [each.uuid for each in recorder.of("on_chan_info")] == [f"call-{count}" for count in range(100)]


def test_33_the_interpreter_exits_without_stop() -> None:
    """Soon, and without a word on stderr."""
    program = """
import sys
from basix_cti import ApiToken, CTIClient, CTIHandler
class Quiet(CTIHandler): pass
client = CTIClient(sys.argv[1], Quiet(), auth=ApiToken("d", "t"), app_name="exit")
client.start()
assert client.wait_connected(20)
print("leaving", flush=True)
"""

    def leave() -> float:
        command = [sys.executable, "-c", program]
        with (
            Peer() as peer,
            subprocess.Popen(
                [*command, peer.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as process,
        ):
            peer.accept().upgrade()
            assert process.stdout is not None
            assert process.stdout.readline() == "leaving\n"
            begun = time.monotonic()
            try:
                told = process.communicate(timeout=TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            assert (process.returncode, told) == (0, ("", ""))
            return time.monotonic() - begun

    soon(3, leave)


# --- 34 to 39: the clock, secrets, the limit, parameters, proxies ----------------------------------------------------


@pytest.mark.parametrize("jump", [3600.0, -3600.0], ids=["forwards", "backwards"])
def test_34_the_wall_clock_jumps_an_hour(
    peer: Peer, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    """Neither a connection nor a wait nor a command takes notice."""
    real = time.time

    def jumped() -> float:
        return real() + jump

    waiting = threading.Event()
    uniform = random.uniform

    def delay(low: float, high: float) -> float:
        waiting.set()
        return uniform(low, high)

    monkeypatch.setattr(random, "uniform", delay)
    with client_at(peer, recorder, reconnect_min=0.5, reconnect_max=0.6) as client:
        link = peer.accept().upgrade()
        link.send(message(SPEC) + change("a"))
        recorder.wait_for("on_chan_info")
        command = client.hangup("a")
        assert link.recv_frame()[0] == TEXT
        monkeypatch.setattr(time, "time", jumped)
        link.send(frame(b"half")[:2])
        flood(link, frame(b"half")[2:] + change("b"))
        recorder.wait_for("on_chan_info", 2)
        assert recorder.of("on_disconnect") == []
        silence = client.seconds_since_received
        assert silence is not None
        assert 0 <= silence < TIMEOUT
        link.send(change("a", "CHANNEL_HANGUP", "removed"))
        assert command.wait(TIMEOUT)
        monkeypatch.setattr(time, "time", real)
        link.close()
        assert waiting.wait(TIMEOUT)
        monkeypatch.setattr(time, "time", jumped)
        link = comes_up(peer, recorder, client)
        recorder.wait_for("on_connect", 2)
        assert len(recorder.of("on_disconnect")) == 1
        link.close()


TOKEN = "s3cret/t\u00f6ken+"
SECRETS = [
    "s3cret",  # however the rest of it may be written
    base64.b64encode(f"test1.com:{TOKEN}".encode()).decode(),
    base64.b64encode(TOKEN.encode()).decode()[:12],
    "one-time-ticket",
    base64.b64encode(b"ws_ticket:one-time-ticket").decode(),
    base64.b64encode(b"one-time-ticket").decode()[:12],
]
LOGINS = [ApiToken("test1.com", TOKEN), ApiUser("test1.com", "api", TOKEN), Ticket(lambda uri: "one-time-ticket")]
PACKAGE = Path(basix_cti.__file__).parent


def lines_that_log() -> set[tuple[str, str]]:
    """Logger and format of each call of a logger in the modules that a client is made of.

    Not of those that always say the same words, and no traceback behind them: the source shows that they tell nothing.
    """
    found = set()
    modules = (
        "base_client client base_thread dispatcher endpoint auth telling io_thread opening protocol proxy transport "
        "waiting"
    )
    for name in modules.split():
        for node in ast.walk(ast.parse((PACKAGE / f"{name}.py").read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not ast.unparse(node.func).startswith("logger."):
                continue
            fixed = all(isinstance(argument, ast.Constant) for argument in node.args) and not node.keywords
            if not fixed or ast.unparse(node.func) == "logger.exception":
                text = node.args[1 if ast.unparse(node.func) == "logger.log" else 0]
                logger = importlib.import_module(f"basix_cti.{name}").logger
                found.add((logger.name, ast.literal_eval(text)))
    return found


class Exposing(Blocked):
    """Raises in ``on_msg``."""

    def told(self, name: str, args: tuple[Any, ...]) -> None:
        super().told(name, args)
        if name == "on_msg":
            raise RuntimeError("from on_msg")


class FailingTap(Tap):
    """Raises at the first thing that it is told."""

    def connected(self, session: Session, at: float | None = None) -> None:
        raise RuntimeError("from a tap")


def exposed(*things: object) -> Iterator[str]:
    """All that can be seen of things: as text, and of errors also the variables that tools find in a traceback."""
    for thing in things:
        yield f"{thing!r} {thing!s}"
        if isinstance(thing, ConnectError):
            assert thing.__context__ is None
            assert thing.__traceback__ is None
        if isinstance(thing, BaseException):
            yield "".join(traceback.TracebackException.from_exception(thing, capture_locals=True).format())


@pytest.mark.parametrize("auth", LOGINS, ids=lambda auth: type(auth).__name__)
def test_35_no_secret_is_told(
    auth: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that a client can say at DEBUG is provoked, line by line, and searched; so is what it raises and shows."""
    caplog.set_level(logging.DEBUG)
    recorder = Exposing()
    shown: list[str] = []
    with Peer() as peer:
        client = client_at(peer, recorder, auth, max_queued_events=5, tap=FailingTap())
        shown += exposed(client, auth, client.last_error)
        client.start()
        echo = b""
        for status in (401, 401, 302, 500):  # each answered with the login in it
            link = peer.accept()
            link.read_request()
            echo = (link.request + str(link.headers)).encode()
            head = b"HTTP/1.1 %d " % status + echo + b"\r\nX-Echo: " + echo + b"\r\nLocation: " + echo
            link.send(head + b"\r\nContent-Length: %d\r\n\r\n" % len(echo) + echo)
            link.finish()
        link = peer.accept()
        link.read_request()
        link.send(echo)  # and no HTTP at all
        link.finish()
        link = peer.accept().upgrade()
        link.send(message(SPEC) + frame(b"hello", TEXT) + frame(b"bad") + message((Atom("news"), 1)))
        link.send(full_state("a") + change("block"))
        assert recorder.blocked.wait(TIMEOUT)
        flood(link, change("b") * 20)
        shown += exposed(client, client.hangup("a"), *recorder.of("on_connect"))
        link.send(frame(b"\x0f\xa1over", CLOSE))
        link = peer.accept().upgrade()
        recorder.released.set()
        recorder.wait_for("on_connect", 2)
        with monkeypatch.context() as patch:  # a bug in the I/O thread
            patch.setattr("basix_cti.transport.Connection.receive", None)
            link.send(change("c"))
            recorder.wait_for("on_disconnect", 2)
        link = peer.accept().upgrade()
        recorder.wait_for("on_connect", 3)
        with monkeypatch.context() as patch:  # and one in the dispatcher thread
            patch.setitem(client.state._tables, "channel", cast("Any", "no table"))
            known = len(recorder.of("on_error"))
            link.send(message(SPEC) + change("d"))
            recorder.wait_for("on_error", known + 1)
        link.send(message((Atom("msg"), b"hello again")))
        recorder.wait_for("on_msg")
        recorder.blocked.clear()
        recorder.released.clear()
        link.send(change("block"))
        assert recorder.blocked.wait(TIMEOUT)
        client.stop()
        recorder.released.set()
        with pytest.raises(NotConnected) as refusal:
            client.hangup("a")
        shown += exposed(client, client.last_error, repr(refusal.value))
        recorder.wait_for("on_disconnect", 3)
    errors = [*recorder.of("on_error"), *recorder.of("on_disconnect")]
    assert {AuthError, HandshakeError, DecodeError, ConnectionClosed, Stopped} <= {type(error) for error in errors}
    ours = [error for error in errors if isinstance(error, CTIError) or "from on_msg" not in str(error)]
    shown += exposed(*ours, recorder.events, recorder.calls)
    formatter = logging.Formatter("%(name)s %(levelname)s %(threadName)s %(message)s")
    shown += [formatter.format(record) for record in caplog.records]
    shown += capfd.readouterr()
    everything = "\n".join(shown)
    found = [secret for secret in SECRETS if secret in everything]
    assert "connecting to ws://" in everything
    unsaid = lines_that_log() - {(record.name, record.msg) for record in caplog.records}
    assert not unsaid, "the search is complete only if these lines are provoked, too"
    assert not found


def test_35_tracing_is_never_turned_on() -> None:
    """websocket-client's own traces print headers, the login among them."""
    for path in PACKAGE.rglob("*.py"):
        assert "enableTrace" not in path.read_text("utf-8"), path


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def test_36_the_connection_limit(simulator: Simulator, recorder: Recorder) -> None:
    """Told as such; the client comes back, slowly, when there is room."""
    with client_of(simulator, Recorder()) as one, client_of(simulator, Recorder()) as two:
        assert one.wait_connected(TIMEOUT)
        assert two.wait_connected(TIMEOUT)
        with client_of(simulator, recorder, reconnect_max=0.5) as three:
            assert recorder.wait_for("on_system_msg")[0] == "connection_limit_reached"
            lost = recorder.wait_for("on_disconnect")[0]
            assert isinstance(lost, ConnectionLimitReached)
            assert "close one of the others" in str(lost)
            assert one.connected
            assert two.connected
            _, again = recorder.wait_event(Connected, 2)[:2]
            assert again.received_at - recorder.wait_event(Disconnected)[0].received_at >= 0.5
            one.stop()
            assert three.wait_ready(TIMEOUT)


def test_37_replaced_by_another_client(simulator: Simulator, recorder: Recorder) -> None:
    """Told as such; the client does not come back by itself."""
    with client_of(simulator, recorder) as first:
        assert first.wait_connected(TIMEOUT)
        with client_of(simulator, Recorder()) as second:
            assert second.wait_connected(TIMEOUT)
            with client_of(simulator, Recorder(), forced=True) as third:
                lost = recorder.wait_for("on_disconnect")[0]
                assert isinstance(lost, ConnectionReplaced)
                assert recorder.of("on_system_msg") == ["connection_replaced"]
                assert first.wait_connected(TIMEOUT) is False, "it has ended"
                assert third.wait_connected(TIMEOUT)
                assert second.connected
            with pytest.raises(NotConnected):
                first.hangup("x")
            assert isinstance(first.last_error, ConnectionReplaced)
        first.start()
        recorder.wait_for("on_connect", 2)


def test_37_coming_back_if_asked_for(simulator: Simulator, recorder: Recorder) -> None:
    with client_of(simulator, recorder, return_when_replaced=True):
        recorder.wait_for("on_connect")
        simulator.system_msg(Atom("connection_replaced"))
        recorder.wait_for("on_connect", 2)


class Quiet(CTIHandler):
    """Overrides nothing."""


# In the clear, because loading the authorities that a system trusts takes longer than all the rest of a test.
RIG = "ws://rig"


def watching(selector: str) -> Callable[[str], object]:
    """Makes a client that watches the user of whom the selector has a value."""

    def make(text: str) -> object:
        options: dict[str, Any] = {selector: text}
        return CTIClient(RIG, Quiet(), auth=AUTH, app_name="x", **options)

    return make


USERS = ("user_id", "user_name", "user_label", "user_extension", "user_did", "user_email")
TEXTS: dict[str, Callable[[str], object]] = {
    "server": lambda text: CTIClient(text, Quiet(), auth=AUTH, app_name="x"),
    "app_name": lambda text: CTIClient(RIG, Quiet(), auth=AUTH, app_name=text),
    **{name: watching(name) for name in USERS},
    "proxy": lambda text: CTIClient(RIG, Quiet(), auth=AUTH, app_name="x", proxy=f"http://{text}"),
    "proxy's login": lambda text: CTIClient(RIG, Quiet(), auth=AUTH, app_name="x", proxy=f"http://me:{text}@rig"),
    "proxy's quoted login": lambda text: CTIClient(
        RIG, Quiet(), auth=AUTH, app_name="x", proxy=f"http://{quote(text, errors='surrogatepass')}:x@rig"
    ),
    "ApiToken's domain": lambda text: ApiToken(text, "token"),
    "ApiToken's token": lambda text: ApiToken("test1.com", text),
    "ApiUser's domain": lambda text: ApiUser(text, "api", "token"),
    "ApiUser's api_user": lambda text: ApiUser("test1.com", text, "token"),
    "ApiUser's api_token": lambda text: ApiUser("test1.com", "api", text),
    "TicketService's server": lambda text: TicketService(text, AUTH),
    "TicketService's proxy": lambda text: TicketService(RIG, AUTH, proxy=f"socks5://{text}"),
}


def test_38_no_text_parameter_is_left_out() -> None:
    texts = {name for name, each in inspect.signature(CTIClient).parameters.items() if "str" in str(each.annotation)}
    assert texts - {"ca_file"} <= TEXTS.keys()


@pytest.mark.parametrize("parameter", TEXTS)
def test_38_control_characters(parameter: str) -> None:
    """In whatever reaches the URL or a header; the error tells the parameter, not its value."""
    TEXTS[parameter]("fine")
    for code in (*range(0x20), *range(0x7F, 0xA0), 0xD800):
        for text in (f"fi{chr(code)}ne", f"{chr(code)}fine", f"fine{chr(code)}"):
            with pytest.raises(ValueError, match="must not contain control characters") as refusal:
                TEXTS[parameter](text)
            assert "fine" not in str(refusal.value)


def test_38_a_ticket_with_control_characters(peer: Peer, recorder: Recorder) -> None:
    """It is had only when connecting; nothing is sent then."""
    with client_at(peer, recorder, Ticket(lambda uri: "one\r\nX-Evil: 1")):
        (error,) = recorder.wait_for("on_error")
        assert "must not contain control characters" in str(error)
        assert peer.accept().sock.recv(1) == b""


PROXIES = ("http_proxy", "https_proxy", "all_proxy", "ws_proxy", "wss_proxy", "socks_proxy")


@both
def test_39_proxies_in_the_environment(peer: Peer, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent to them."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Peer() as other:
        for name in PROXIES:
            monkeypatch.setenv(name, f"http://127.0.0.1:{other.port}")
            monkeypatch.setenv(name.upper(), f"http://127.0.0.1:{other.port}")
        with client_at(peer, recorder) as client:
            comes_up(peer, recorder, client).close()
        with Simulator() as simulator:
            service = TicketService(simulator.url, ApiToken(simulator.domain, simulator.token))
            assert service("/basix/api/ws_cti?app_name=x")
        assert not other.has_visitor()


@both
@pytest.mark.parametrize("login", [False, True], ids=["without login", "with login"])
@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_39_an_explicit_proxy_decides(peer: Peer, recorder: Recorder, scheme: str, login: bool) -> None:
    """All goes through it, name look-ups as well."""
    with Relay(scheme, login=login) as relay:
        options: dict[str, Any] = {"proxy": relay.url}
        if peer.url.startswith("wss"):
            options["ssl_context"] = trusting()
        client = CTIClient(peer.url, recorder, auth=AUTH, app_name="test", **options)
        with client:
            link = comes_up(peer, recorder, client)
            link.send(message(SPEC) + change("a"))
            recorder.wait_for("on_chan_info")
            client.hangup("a")
            assert link.recv_frame()[0] == TEXT
            link.close()
        assert relay.asked[0] == ("127.0.0.1", peer.port)


def test_39_the_proxy_looks_up_the_name(peer: Peer, recorder: Recorder) -> None:
    for scheme in ("http", "socks5"):
        with Relay(scheme) as relay:
            server = f"ws://pbx.example:{peer.port}"
            with CTIClient(server, recorder, auth=AUTH, app_name="test", proxy=relay.url) as client:
                link = comes_up(peer, recorder, client)
                link.close()
            assert relay.asked[0] == ("pbx.example", peer.port)


def test_39_tickets_come_through_the_proxy_too() -> None:
    with Simulator(ssl_context=certified("127.0.0.1")) as simulator, Relay("socks5", login=True) as relay:
        login = ApiToken(simulator.domain, simulator.token)
        service = TicketService(simulator.url, login, verify=False, proxy=relay.url)
        assert service("/basix/api/ws_cti?app_name=x")
        assert len(relay.asked) == 1


def silent_proxy(link: Link) -> None:
    link.read_request()
    link.wait_end()


def dribbling_proxy(link: Link) -> None:
    link.read_request()
    link.dribble(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000, 0.05, threading.Event())


def endless_proxy(link: Link) -> None:
    link.read_request()
    link.flood(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000, threading.Event())


def refusing_proxy(link: Link) -> None:
    link.read_request()
    link.send(b"HTTP/1.1 407 " + link.headers["proxy-authorization"].encode() + b"\r\n\r\n")
    link.finish()


def leaving_proxy(link: Link) -> None:
    link.read_request()
    link.finish()


@pytest.mark.parametrize(
    ("serve", "told"),
    [
        (silent_proxy, "the proxy {} did not answer"),
        (dribbling_proxy, "the proxy {} did not answer"),
        (endless_proxy, "the answer of the proxy {} exceeds 16384 bytes"),
        (refusing_proxy, r"the proxy {} did not connect to 127.0.0.1:9 \(HTTP 407\)"),
        (leaving_proxy, "the proxy {} ended the connection"),
    ],
)
def test_39_a_proxy_that_does_not_help(
    peer: Peer, recorder: Recorder, serve: Callable[[Link], None], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The one deadline holds for it, too; neither login is told, and ours is not sent."""
    caplog.set_level(logging.DEBUG)
    address = f"127.0.0.1:{peer.port}"
    client = CTIClient(
        "ws://127.0.0.1:9",
        recorder,
        auth=AUTH,
        app_name="test",
        proxy=f"http://me:pr0xy-s3cret@{address}",
        connect_timeout=1.0,
    )
    with client, ThreadPoolExecutor(1) as pool:
        link = peer.accept()
        serving = pool.submit(serve, link)
        (error,) = recorder.wait_for("on_error")
        serving.result(TIMEOUT)
    assert isinstance(error, ConnectError)
    assert re.search(told.format(re.escape(address)), str(error))
    assert "authorization" not in link.headers
    secrets = ("pr0xy-s3cret", base64.b64encode(b"me:pr0xy-s3cret").decode())
    shown = "\n".join([caplog.text, *exposed(error, client, client._proxy)])
    assert not [secret for secret in secrets if secret in shown]
