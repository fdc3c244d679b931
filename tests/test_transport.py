"""One connection on a real socket: what may arrive, and what must not come of it."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from peer import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, TIMEOUT, Link, Peer, certified, frame, trusting
from websocket import WebSocketException

from basix_cti import ApiToken, ApiUser, Limits, Ticket
from basix_cti.auth import Auth
from basix_cti.endpoint import Endpoint, one_line, tls_context
from basix_cti.errors import (
    AuthError,
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    CTIError,
    HandshakeError,
    ProtocolError,
    TicketError,
    TLSError,
)
from basix_cti.opening import connect
from basix_cti.transport import Connection
from basix_cti.waiting import Aside, Interrupted, Waker, wait_for

TOKEN = "s3cret-token"
AUTH = ApiToken("test1.com", TOKEN)
QUERY = [("app_name", "screen")]


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as peer:
        yield peer


@pytest.fixture
def waker() -> Iterator[Waker]:
    waker = Waker()
    yield waker
    waker.close()


def dial(
    url: str,
    waker: Waker,
    *,
    auth: Auth = AUTH,
    query: list[tuple[str, str]] | None = None,
    context: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    timeout: float = TIMEOUT,
) -> Connection:
    endpoint = Endpoint.parse(url)
    aside = Aside("test-lookup", "the look-up")
    return connect(endpoint, query or QUERY, auth, context, limits or Limits(), timeout, waker, aside, aside)


def both(peer: Peer, waker: Waker, serve: Callable[[Link], object], limits: Limits | None = None) -> Connection:
    """A connection to the peer, which does ``serve`` with its side of it."""
    with ThreadPoolExecutor(1) as pool:
        served = pool.submit(lambda: serve(peer.accept()))
        connection = dial(peer.url, waker, limits=limits)
        served.result(TIMEOUT)
    return connection


def receive(connection: Connection, waker: Waker, count: int = 10**9) -> list[bytes]:
    """Messages as they come, until there are ``count`` or the connection is over."""
    messages: list[bytes] = []
    end = time.monotonic() + TIMEOUT
    while len(messages) < count and not connection.is_over():
        messages += connection.receive()
        connection.flush()
        if len(messages) < count and not connection.is_over():
            assert time.monotonic() < end, f"only {len(messages)} messages came"
            wait_for(waker, connection, False, end - time.monotonic())
            waker.drain()
    return messages


# --- handshake --------------------------------------------------------------------------------------------------


def test_current_login_is_in_the_header(peer: Peer, waker: Waker) -> None:
    links: list[Link] = []
    connection = both(peer, waker, lambda link: links.append(link.upgrade()))
    assert links[0].request == "GET /basix/api/ws_cti?app_name=screen HTTP/1.1"
    assert links[0].headers["authorization"] == "Basic dGVzdDEuY29tOnMzY3JldC10b2tlbg=="
    assert links[0].headers["host"] == f"127.0.0.1:{peer.port}"
    assert "origin" not in links[0].headers
    assert "sec-websocket-extensions" not in links[0].headers
    assert connection.tls is None
    assert connection.peer == f"127.0.0.1:{peer.port}"
    connection.abandon()


def test_first_generation_login_is_in_the_query(peer: Peer, waker: Waker) -> None:
    auth = ApiUser("test1.com", "me & you", "a=b/c")
    with ThreadPoolExecutor(1) as pool:
        served = pool.submit(lambda: peer.accept().upgrade())
        connection = dial(peer.url, waker, auth=auth, query=auth.query())
        link = served.result(TIMEOUT)
    assert link.request == (
        "GET /basix/api/ws_cti?domain=test1.com&api_user=me%20%26%20you&api_token=a%3Db%2Fc HTTP/1.1"
    )
    assert "authorization" not in link.headers
    connection.abandon()


def test_ticket_is_fetched_for_the_very_uri(peer: Peer, waker: Waker) -> None:
    asked: list[str] = []

    def fetch(uri: str) -> str:
        asked.append(uri)
        return "one-time"

    with ThreadPoolExecutor(1) as pool:
        served = pool.submit(lambda: peer.accept().upgrade())
        connection = dial(peer.url, waker, auth=Ticket(fetch))
        link = served.result(TIMEOUT)
    assert asked == ["/basix/api/ws_cti?app_name=screen"]
    assert link.request.split()[1] == asked[0]
    assert link.headers["authorization"] == "Basic d3NfdGlja2V0Om9uZS10aW1l"
    connection.abandon()


def test_what_comes_with_the_handshake_is_not_lost(peer: Peer, waker: Waker) -> None:
    def serve(link: Link) -> None:
        link.read_request()
        link.send(link.upgrade_answer() + frame(b"first") + frame(b"second")[:3])
        link.send(frame(b"second")[3:])

    connection = both(peer, waker, serve)
    assert receive(connection, waker, 2) == [b"first", b"second"]
    connection.abandon()


def test_a_cookie_of_the_server_is_not_kept(peer: Peer, waker: Waker) -> None:
    headers = []
    for _ in range(2):

        def serve(link: Link) -> None:
            link.upgrade("Set-Cookie: session=of-somebody-else; Domain=127.0.0.1; Path=/\r\n")
            headers.append(link.headers)

        both(peer, waker, serve).abandon()
    assert "cookie" not in headers[1]


@pytest.mark.parametrize(
    ("answer", "kind", "status"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno", AuthError, 401),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", AuthError, 403),
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 100_000, AuthError, 401),
        (b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.2/\r\n\r\n", HandshakeError, 302),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", HandshakeError, 200),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", HandshakeError, 404),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n", HandshakeError, None),
        (b"SSH-2.0-OpenSSH_9.6\r\n", HandshakeError, None),
        (b"HTTP/1.1 101 Switching\r\n" + b"X: y\r\n" * 20_000, HandshakeError, None),
        (b"", HandshakeError, None),
    ],
    ids=["401", "403", "401 with a long body", "302", "200", "404", "no accept", "not http", "long header", "nothing"],
)
def test_refused_handshake(
    peer: Peer, waker: Waker, answer: bytes, kind: type[HandshakeError], status: int | None
) -> None:
    def serve(link: Link) -> None:
        link.read_request()
        try:
            link.send(answer)
        except OSError:
            return
        link.close()

    with pytest.raises(HandshakeError) as caught:
        both(peer, waker, serve)
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert "\n" not in str(caught.value)


def test_refusal_tells_no_secret(peer: Peer, waker: Waker) -> None:
    """Not even where the server echoes it; nor does any exception that hangs on the one that is raised."""

    def serve(link: Link) -> None:
        link.read_request()
        body = link.headers["authorization"].encode() + TOKEN.encode()
        link.send(b"HTTP/1.1 500 " + body + b"\r\nX: " + body + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        link.close()

    with pytest.raises(HandshakeError) as caught:
        both(peer, waker, serve)
    error: BaseException | None = caught.value
    while error is not None:
        assert TOKEN not in repr(error) + str(error)
        assert not isinstance(error, WebSocketException)
        error = error.__context__


def test_nobody_listens(waker: Waker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectError, match=rf"127\.0\.0\.1:{port} cannot be reached \(Connection refused\)"):
        dial(f"ws://127.0.0.1:{port}", waker)


def test_unknown_name(waker: Waker) -> None:
    with pytest.raises(ConnectError, match=r"the name no-such-host\.invalid was not found"):
        dial("ws://no-such-host.invalid", waker)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 101 Sw"], ids=["silence", "half an answer"])
def test_a_silent_server_costs_no_more_than_the_timeout(peer: Peer, waker: Waker, said: bytes) -> None:
    with ThreadPoolExecutor(1) as pool:
        served = pool.submit(lambda: peer.accept().send(said))
        begun = time.monotonic()
        with pytest.raises(ConnectTimeout, match=r"within the 0\.3 s of connect_timeout"):
            dial(peer.url, waker, timeout=0.3)
        assert time.monotonic() - begun < 5
        served.result(TIMEOUT)


@pytest.mark.parametrize("blocking", [False, True], ids=["in the handshake", "in a ticket's fetch"])
def test_stop_interrupts_connecting(peer: Peer, waker: Waker, blocking: bool) -> None:
    reached = threading.Event()
    released = threading.Event()

    def fetch(uri: str) -> str:
        reached.set()
        released.wait(TIMEOUT)
        return "late"

    def serve() -> None:
        link = peer.accept()
        if not blocking:
            link.read_request()
            reached.set()

    auth = Ticket(fetch) if blocking else AUTH
    with ThreadPoolExecutor(2) as pool:
        served = pool.submit(serve)
        dialled = pool.submit(lambda: dial(peer.url, waker, auth=auth))
        assert reached.wait(TIMEOUT)
        waker.stop()
        assert isinstance(dialled.exception(TIMEOUT), Interrupted)
        served.result(TIMEOUT)
    released.set()


def test_a_hanging_call_costs_one_thread_not_one_an_attempt(waker: Waker) -> None:
    released = threading.Event()
    started = []

    def hang(uri: str) -> str:
        started.append(threading.current_thread())
        released.wait(TIMEOUT)
        return "late"

    with Peer() as peer:
        aside = Aside("test-lookup", "the look-up")
        for _ in range(3):
            with pytest.raises(ConnectTimeout):
                connect(Endpoint.parse(peer.url), QUERY, Ticket(hang), None, Limits(), 0.1, waker, aside, aside)
    assert len(started) == 1
    released.set()


@pytest.mark.parametrize("returned", ["", "two\nlines", None, 7], ids=["empty", "control", "none", "number"])
def test_no_ticket(peer: Peer, waker: Waker, returned: Any) -> None:
    with pytest.raises(TicketError, match="fetch returned no ticket"):
        dial(peer.url, waker, auth=Ticket(lambda uri: returned))


def test_a_failing_fetch_is_named_but_not_quoted(peer: Peer, waker: Waker) -> None:
    def fetch(uri: str) -> str:
        raise LookupError(f"quoting {TOKEN}")

    with pytest.raises(TicketError, match="LookupError") as caught:
        dial(peer.url, waker, auth=Ticket(fetch))
    assert TOKEN not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_status_line_in_two_parts(peer: Peer, waker: Waker) -> None:
    def serve(link: Link) -> None:
        link.read_request()
        link.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in (b"H", b"TTP/1.1 4", b"01 Unauthorized\r\n\r\n"):
            link.send(part)
        link.finish()

    with pytest.raises(AuthError, match="HTTP 401"):
        both(peer, waker, serve)


def test_what_follows_the_handshake_does_not_count_as_its_answer(peer: Peer, waker: Waker) -> None:
    def serve(link: Link) -> None:
        link.read_request()
        answer = link.upgrade_answer()
        link.send(answer[:10])
        link.send(answer[10:] + frame(bytes(200_000)))

    with ThreadPoolExecutor(1) as pool:
        served = pool.submit(lambda: serve(peer.accept()))
        connection = dial(peer.url, waker)
        assert receive(connection, waker, 1) == [bytes(200_000)]
        served.result(TIMEOUT)
    connection.abandon()


def test_an_address_that_this_machine_cannot_use(peer: Peer, waker: Waker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one is tried: a host may have an address of a family that the kernel lacks."""
    real = socket.getaddrinfo

    def with_a_strange_one(*args: Any, **options: Any) -> list[Any]:
        found = real(*args, **options)
        return [(9999, *found[0][1:]), *found]

    monkeypatch.setattr(socket, "getaddrinfo", with_a_strange_one)
    both(peer, waker, Link.upgrade).abandon()


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_fetch_that_exits(peer: Peer, waker: Waker, kind: type[BaseException]) -> None:
    def fetch(uri: str) -> str:
        raise kind("from fetch")

    with pytest.raises(TicketError, match=kind.__name__):
        dial(peer.url, waker, auth=Ticket(fetch))


# --- TLS --------------------------------------------------------------------------------------------------------


def test_tls(waker: Waker) -> None:
    with Peer(certified("127.0.0.1")) as peer, ThreadPoolExecutor(1) as pool:
        served = pool.submit(lambda: peer.accept().upgrade())
        connection = dial(peer.url, waker, context=trusting())
        link = served.result(TIMEOUT)
        assert connection.tls is not None
        assert connection.tls.startswith("TLS")
        big = bytes(range(256)) * 2000
        sending = pool.submit(link.send, frame(big) + frame(b"small"))
        assert receive(connection, waker, 2) == [big, b"small"]
        sending.result(TIMEOUT)
        connection.send_text("up")
        connection.flush()
        assert link.recv_frame() == (TEXT, b"up")
        connection.abandon()


@pytest.mark.parametrize(
    ("name", "trusted", "told"),
    [("127.0.0.1", False, "is not trusted"), ("pbx.example", True, "is not trusted")],
    ids=["untrusted authority", "wrong host name"],
)
def test_a_wrong_certificate_gets_no_login(waker: Waker, name: str, trusted: bool, told: str) -> None:
    def serve(peer: Peer) -> bytes:
        link = peer.accept_raw()
        with pytest.raises(OSError, match=r"alert|EOF|reset"):
            certified(name).wrap_socket(link.sock, server_side=True).recv(1)
        return b""

    with Peer(certified(name)) as peer, ThreadPoolExecutor(1) as pool:
        served = pool.submit(serve, peer)
        with pytest.raises(TLSError, match=told):
            dial(peer.url, waker, context=trusting() if trusted else tls_context())
        served.result(TIMEOUT)


def test_a_port_without_tls_gets_no_login(waker: Waker) -> None:
    def serve(peer: Peer) -> bytes:
        link = peer.accept_raw()
        seen = link.sock.recv(65536)
        link.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        link.wait_end()
        return seen

    with Peer() as peer, ThreadPoolExecutor(1) as pool:
        served = pool.submit(serve, peer)
        with pytest.raises(TLSError, match="does this port speak TLS"):
            dial(f"wss://127.0.0.1:{peer.port}", waker, context=tls_context())
        seen = served.result(TIMEOUT)
    assert seen[:1] == b"\x16", "a TLS hello, and nothing in the clear"


# --- frames -----------------------------------------------------------------------------------------------------

STREAM = (
    frame(b"one")
    + frame(b"", PING)
    + frame(b"tw", BINARY, fin=False)
    + frame(b"ping inside", PING)
    + frame(b"o", CONTINUATION)
    + frame(b"text is ignored", TEXT)
    + frame(b"", PONG)
    + frame(bytes(300))
    + frame(bytes(70_000))
    + frame(b"")
)
MESSAGES = [b"one", b"two", bytes(300), bytes(70_000), b""]


@pytest.mark.parametrize("size", [1, 2, 7, 4096, 10**6], ids=lambda size: f"{size} bytes at a time")
def test_any_splitting_gives_the_same_messages(peer: Peer, waker: Waker, size: int) -> None:
    links: list[Link] = []
    connection = both(peer, waker, lambda link: links.append(link.upgrade()))
    links[0].sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream = STREAM if size > 1 else STREAM.replace(frame(bytes(70_000)), b"")
    expected = [each for each in MESSAGES if size > 1 or len(each) < 70_000]

    def send() -> None:
        for start in range(0, len(stream), size):
            links[0].send(stream[start : start + size])

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send)
        assert receive(connection, waker, len(expected)) == expected
        sending.result(TIMEOUT)
    assert connection.partial_since is None
    connection.flush()
    assert [links[0].recv_frame() for _ in range(2)] == [(PONG, b""), (PONG, b"ping inside")]
    connection.abandon()


@pytest.mark.parametrize(
    ("bad", "code", "told"),
    [
        (frame(b"", BINARY, rsv=4), 1002, "rsv"),
        (frame(b"", 3), 1002, "opcode"),
        (frame(b"", CONTINUATION), 1002, "Illegal frame"),
        (frame(b"a", fin=False) + frame(b"b"), 1002, "Illegal frame"),
        (frame(b"\x03\xed", CLOSE), 1002, "1005"),
        (frame(b"x", CLOSE), 1002, "Invalid close frame"),
        (frame(bytes(126), PING), 1002, "control frame of 126 bytes"),
        (frame(b"", PING, fin=False), 1002, "a control frame in parts"),
        (b"\x82\x81\x00\x00\x00\x00x", 1002, "masked"),
        (frame(b"", claim=1 << 40), 1009, "a frame of 1099511627776 bytes, the limit is 1000"),
        (frame(bytes(1001)), 1009, "a frame of 1001 bytes"),
        (frame(bytes(600), fin=False) + frame(bytes(600), CONTINUATION, fin=False), 1009, "fragments of 1200 bytes"),
    ],
    ids=[
        "rsv",
        "opcode",
        "orphan",
        "interleaved",
        "close 1005",
        "short close",
        "long ping",
        "split ping",
        "masked",
        "1 TiB",
        "too big",
        "fragments",
    ],
)
def test_a_broken_frame_ends_the_connection(peer: Peer, waker: Waker, bad: bytes, code: int, told: str) -> None:
    links: list[Link] = []
    connection = both(peer, waker, lambda link: links.append(link.upgrade()), Limits(max_frame=1000))
    links[0].send(frame(b"good") + bad)
    assert receive(connection, waker) == [b"good"]
    assert isinstance(connection.lost, ProtocolError)
    assert connection.lost.code == code
    assert told.lower() in connection.lost.reason.lower()
    connection.flush()
    opcode, payload = links[0].recv_frame()
    assert opcode == CLOSE
    assert int.from_bytes(payload[:2], "big") == code
    connection.abandon()


def test_a_message_of_exactly_the_limit(peer: Peer, waker: Waker) -> None:
    links: list[Link] = []
    connection = both(peer, waker, lambda link: links.append(link.upgrade()), Limits(max_frame=1000))
    links[0].send(frame(bytes(1000)) + frame(bytes(400), fin=False) + frame(bytes(600), CONTINUATION))
    assert receive(connection, waker, 2) == [bytes(1000), bytes(1000)]
    connection.abandon()


@pytest.mark.parametrize(
    ("payload", "code", "reason"),
    [(b"\x03\xe9bye", 1001, "bye"), (b"\x0f\xa1", 4001, ""), (b"", None, ""), (b"\x03\xe8a\nb\xff", 1000, "a b\ufffd")],
    ids=["1001", "4001", "no code", "reason with control characters"],
)
def test_close_frame(peer: Peer, waker: Waker, payload: bytes, code: int | None, reason: str) -> None:
    links: list[Link] = []
    connection = both(peer, waker, lambda link: links.append(link.upgrade()))
    links[0].send(frame(b"last words") + frame(payload, CLOSE))
    assert receive(connection, waker) == [b"last words"]
    assert isinstance(connection.lost, ConnectionClosed)
    assert connection.lost.code == code
    assert connection.lost.reason == (reason or str(connection.lost))
    connection.flush()
    assert links[0].recv_frame()[0] == CLOSE
    connection.abandon()


def test_end_without_close_frame(peer: Peer, waker: Waker) -> None:
    def serve(link: Link) -> None:
        link.upgrade().send(frame(b"x") + frame(b"half")[:-1])
        link.close()

    connection = both(peer, waker, serve)
    assert receive(connection, waker) == [b"x"]
    assert str(connection.lost) == "the connection ended without a close frame"
    connection.abandon()


def test_reset(peer: Peer, waker: Waker) -> None:
    links: list[Link] = []
    connection = both(peer, waker, lambda link: links.append(link.upgrade()))
    links[0].reset()
    assert receive(connection, waker) == []
    assert str(connection.lost) == "the connection broke (Connection reset by peer)"
    connection.abandon()


def test_partial_since(peer: Peer, waker: Waker) -> None:
    links: list[Link] = []
    connection = both(peer, waker, lambda link: links.append(link.upgrade()))
    whole = frame(b"split")
    links[0].send(whole[:4])
    while connection.partial_since is None:
        wait_for(waker, connection, False, TIMEOUT)
        waker.drain()
        assert connection.receive() == []
    links[0].send(whole[4:])
    assert receive(connection, waker, 1) == [b"split"]
    assert connection.partial_since is None
    connection.abandon()


@pytest.mark.parametrize(
    "piece",
    [frame(b"", PING), frame(b"", TEXT), frame(b"", CONTINUATION, fin=False), frame(b"x", CONTINUATION, fin=False)],
    ids=["pings", "texts", "empty fragments", "short fragments"],
)
def test_a_flood_of_small_frames_comes_in_turns(peer: Peer, waker: Waker, piece: bytes) -> None:
    """However many have arrived, reading ends soon, so that the thread can look at other things."""
    links: list[Link] = []
    connection = both(peer, waker, lambda link: links.append(link.upgrade()))
    with ThreadPoolExecutor(1) as pool:
        in_parts = piece[0] & 0x0F == CONTINUATION
        flood = frame(b"", BINARY, fin=False) + piece * 20_000 if in_parts else piece * 20_000
        last = frame(b"", CONTINUATION) if in_parts else frame(b"last")
        sending = pool.submit(links[0].send, flood + last)
        sending.result(TIMEOUT)
        turns = 0
        told: list[bytes] = []
        while not told:
            if not connection.has_more:  # what was sent need not have arrived at once
                wait_for(waker, connection, False, TIMEOUT)
            told = connection.receive()
            assert not connection.is_over()
            turns += 1
        assert turns >= 10
        assert told == [b"x" * 20_000 if piece.endswith(b"x") else b"" if in_parts else b"last"]
        connection.abandon()


def test_unsent_since(peer: Peer, waker: Waker) -> None:
    links: list[Link] = []
    connection = both(peer, waker, lambda link: links.append(link.upgrade()))
    while connection.unsent_since is None:
        connection.send_text("x" * 100_000)
        connection.flush()
    assert connection.wants_write
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(links[0].wait_end)
        while connection.wants_write:
            wait_for(waker, connection, True, TIMEOUT)
            waker.drain()
            connection.flush()
        assert connection.unsent_since is None
        connection.abandon()
        reading.result(TIMEOUT)


def test_waker_ends_a_wait() -> None:
    waker = Waker()
    waker.wake()
    waker.wait(TIMEOUT)
    waker.stop()
    waker.wait(TIMEOUT)
    waker.close()
    waker.wake()


def test_one_line() -> None:
    assert one_line("a\r\n\tb\x00c\u2028d", 5) == "a b c"


def test_every_error_is_a_cti_error() -> None:
    assert not issubclass(Interrupted, CTIError)
