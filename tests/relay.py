"""A proxy on loopback: HTTP CONNECT or SOCKS 5, with or without a login."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import socket
import struct
import threading
from types import TracebackType

from peer import TIMEOUT, Link

LOGIN = ("some one", "pr0xy:s3cret")


class Relay:
    """Relays connections, each in a thread of its own.

    Args:
        scheme: ``http`` or ``socks5``.
        login: True to want :data:`LOGIN`.

    Attributes:
        asked: where each connection was to go, as (host, port).
    """

    def __init__(self, scheme: str, *, login: bool = False) -> None:
        self.asked: list[tuple[str, int]] = []
        self._scheme = scheme
        self._login = login
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._socks = [self._listener]
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"{scheme}://{'some%20one:pr0xy%3As3cret@' if login else ''}{self.address}"
        self._threads = [threading.Thread(target=self._run, name="relay")]

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._socks.append(sock)
                thread = threading.Thread(target=self._serve, args=(sock,), name="relay")
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(TIMEOUT)
        with sock, contextlib.suppress(OSError, EOFError):
            self._relay(sock)

    def _relay(self, sock: socket.socket) -> None:
        link = Link(sock)
        target = self._connect(link) if self._scheme == "http" else self._socks5(link)
        if target is None:
            return
        self.asked.append(target)
        with socket.create_connection(("127.0.0.1", target[1])) as other:
            self._socks.append(other)
            if self._scheme == "http":
                link.send(b"HTTP/1.1 200 Connection established\r\nProxy-Agent: relay\r\n\r\n")
            else:  # bound to a name, the longest kind of answer
                link.send(b"\x05\x00\x00\x03\x04here" + struct.pack("!H", 4711))
            back = threading.Thread(target=_pump, args=(other, sock), name="relay-back")
            back.start()
            _pump(sock, other)
            back.join()

    def _connect(self, link: Link) -> tuple[str, int] | None:
        link.read_request()
        method, address, _ = link.request.split()
        login = "Basic " + base64.b64encode(":".join(LOGIN).encode()).decode()
        if self._login and link.headers.get("proxy-authorization") != login:
            link.send(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            return None
        assert method == "CONNECT"
        host, _, port = address.rpartition(":")
        return host, int(port)

    def _socks5(self, link: Link) -> tuple[str, int] | None:
        methods = link.read(link.read(2)[1])
        wanted = 2 if self._login else 0
        if wanted not in methods:
            link.send(b"\x05\xff")
            return None
        link.send(bytes([5, wanted]))
        if self._login:
            user = link.read(link.read(2)[1])
            password = link.read(link.read(1)[0])
            right = (user.decode(), password.decode()) == LOGIN
            link.send(b"\x01\x00" if right else b"\x01\x01")
            if not right:
                return None
        kind = link.read(4)[3]
        host = link.read(link.read(1)[0]).decode() if kind == 3 else str(ipaddress.ip_address(link.read(4)))
        return host, struct.unpack("!H", link.read(2))[0]

    def __enter__(self) -> Relay:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sock in self._socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(TIMEOUT)
        for sock in self._socks:
            sock.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
