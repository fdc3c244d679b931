"""A PBX that does on purpose what it should not: a WebSocket server whose every byte a test decides."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import select
import socket
import ssl
import struct
import threading
from types import TracebackType

import trustme

from basix_cti import bert
from basix_cti.endpoint import tls_context
from basix_cti.etf import Atom

TIMEOUT = 40.0
BINARY, TEXT, CONTINUATION, CLOSE, PING, PONG = 2, 1, 0, 8, 9, 10


def frame(payload: bytes, opcode: int = BINARY, *, fin: bool = True, rsv: int = 0, claim: int | None = None) -> bytes:
    """One unmasked WebSocket frame; ``claim`` lies about its length."""
    size = len(payload) if claim is None else claim
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if size < 126:
        return head + bytes([size]) + payload
    if size < 65536:
        return head + b"\x7e" + struct.pack("!H", size) + payload
    return head + b"\x7f" + struct.pack("!Q", size) + payload


def message(term: object) -> bytes:
    """One frame that holds a term."""
    return frame(bert.encode(term))


SPEC = (Atom("field_spec"), Atom("channel"), [Atom("uuid"), Atom("last_event")])
NOTHING = (Atom("initial_info"), Atom("channel"), (Atom("bert"), Atom("nil")))


def full_state(*uuids: str) -> bytes:
    """The message that lists these channels as all that there are."""
    return message((Atom("initial_info"), Atom("channel"), [(uuid, "NEW_CHANNEL") for uuid in uuids]))


def change(uuid: str, last_event: str = "NEW_CHANNEL", event: str = "added") -> bytes:
    """The message that tells one event of a channel."""
    return message((Atom("info_event"), Atom("channel"), (uuid, last_event), Atom(event)))


@functools.cache
def authority() -> trustme.CA:
    """The authority of this test run, which no machine trusts by itself."""
    return trustme.CA()


def certified(*names: str) -> ssl.SSLContext:
    """The settings of a server with a certificate of :func:`authority` for these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert(*names).configure_cert(context)
    return context


def trusting() -> ssl.SSLContext:
    """The settings of a client that trusts :func:`authority`."""
    context = tls_context()
    authority().configure_trust(context)
    return context


class Link:
    """One accepted connection, from the server's side."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.request = ""
        self.headers: dict[str, str] = {}
        self._buffer = bytearray()

    def read_request(self) -> None:
        """Read the client's handshake."""
        while b"\r\n\r\n" not in self._buffer:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError("the client left before its request was whole")
            self._buffer += data
        head = self.read(self._buffer.index(b"\r\n\r\n") + 4)[:-4]
        self.request, *lines = head.decode("latin-1").split("\r\n")
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def upgrade_answer(self, extra: str = "") -> bytes:
        """The answer that accepts the handshake."""
        key = self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode(), usedforsecurity=False).digest()).decode()
        return (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n{extra}\r\n"
        ).encode()

    def upgrade(self, extra: str = "") -> Link:
        """Read the client's handshake and accept it."""
        self.read_request()
        self.send(self.upgrade_answer(extra))
        return self

    def send(self, data: bytes) -> None:
        """Bytes onto the wire, as they are."""
        self.sock.sendall(data)

    def dribble(self, data: bytes, every: float, ended: threading.Event) -> int:
        """One byte at a time, ``every`` so many seconds, until ``ended``, or the client has left; how many went out."""
        count = 0
        with contextlib.suppress(OSError):
            while count < len(data) and not ended.wait(every):
                self.send(data[count : count + 1])
                count += 1
        return count

    def flood(self, data: bytes, ended: threading.Event) -> int:
        """The same over and over until ``ended``, or the client has left; how often it went out."""
        count = 0
        with contextlib.suppress(OSError):
            while not ended.is_set():
                self.send(data)
                count += 1
        return count

    def recv_frame(self) -> tuple[int, bytes]:
        """The next frame of the client, unmasked: opcode and payload. EOFError at the end of the stream."""
        head = self.read(2)
        size = head[1] & 0x7F
        if size == 126:
            size = struct.unpack("!H", self.read(2))[0]
        elif size == 127:
            size = struct.unpack("!Q", self.read(8))[0]
        assert head[1] & 0x80, "a client masks its frames"
        mask = self.read(4)
        data = self.read(size)
        key = (mask * (size // 4 + 1))[:size]
        return head[0] & 0x0F, (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")

    def wait_end(self) -> None:
        """Read until the client ends the connection, properly or not."""
        with contextlib.suppress(OSError):
            while self.sock.recv(65536):
                pass

    def finish(self) -> None:
        """End with a FIN, and read what the client still sends: bytes left unread would turn it into a reset."""
        with contextlib.suppress(OSError):  # the client's reset was faster
            self.sock.shutdown(socket.SHUT_WR)
        self.wait_end()
        self.close()

    def reset(self) -> None:
        """End with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """End with a FIN, without a close frame."""
        self.sock.close()

    def read(self, size: int) -> bytes:
        """Exactly so many bytes of the client. EOFError at the end of the stream."""
        while len(self._buffer) < size:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            self._buffer += data
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data


class Peer:
    """Listens on a free port of 127.0.0.1; a test accepts and steers each connection itself.

    Args:
        context: how it speaks TLS; None for a peer that does not.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        # Else the kernel's buffers grow with what comes, on some machines beyond all that a client has to send, and a
        # peer that stops reading is one that takes everything.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        self._listener.settimeout(TIMEOUT)
        self._links: list[Link] = []
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'ws' if context is None else 'wss'}://127.0.0.1:{self.port}"

    def accept(self) -> Link:
        """The next connection, TLS done, request not read."""
        sock, _ = self._listener.accept()
        sock.settimeout(TIMEOUT)
        if self._context is not None:
            sock = self._context.wrap_socket(sock, server_side=True)
        link = Link(sock)
        self._links.append(link)
        return link

    def accept_raw(self) -> Link:
        """The next connection, nothing done."""
        sock, _ = self._listener.accept()
        sock.settimeout(TIMEOUT)
        link = Link(sock)
        self._links.append(link)
        return link

    def is_visited(self) -> bool:
        """True if a connection waits to be accepted, and goes on waiting; does not wait itself."""
        return bool(select.select([self._listener], [], [], 0)[0])

    def has_visitor(self) -> bool:
        """True if a connection waits to be accepted; does not wait."""
        self._listener.settimeout(0)
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return False
        finally:
            self._listener.settimeout(TIMEOUT)
        self._links.append(Link(sock))
        return True

    def close(self) -> None:
        """End all connections and stop listening."""
        for link in self._links:
            link.close()
        self._listener.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
