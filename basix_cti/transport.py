"""One open WebSocket connection: reading and writing without blocking, limits, and how it ended.

The WebSocket itself (handshake, control frames, fragments, masks, close) is websocket-client's; only the frames that
nearly all messages come in are cut out here (see :mod:`basix_cti.frames`). What websocket-client gets as its socket is
a :class:`Stream`: a buffer that is filled in large chunks, and that bounds what a handshake may take in time and bytes.
Everything here is called from one thread, the I/O thread, because a TLS socket does not bear two. How a connection is
opened is in :mod:`basix_cti.opening`.
"""

from __future__ import annotations

import logging
import socket
import ssl
import struct
import time
from collections.abc import Callable

import websocket

from .endpoint import one_line
from .errors import ConnectionClosed, ConnectionLost, HandshakeError, ProtocolError
from .frames import cut_frames
from .limits import Limits
from .waiting import Deadline, Waker, await_socket

__all__ = ["Connection", "Stream", "cause_of"]

logger = logging.getLogger(__name__)

_CHUNK = 64 * 1024
# Where so much waits that a read is filled, a larger one saves turns.
_LARGE_CHUNK = 256 * 1024
# However much arrives, the I/O thread looks up from reading after so many pieces.
_CHUNKS_A_TURN = 64
_PIECES_A_TURN = 2000
_MAX_HANDSHAKE = 64 * 1024
_STATUS_LINE = 200
_MAX_UNSENT = 4 * 1024 * 1024

_PROTOCOL_ERROR = 1002
_TOO_BIG = 1009


# --- the stream that websocket-client reads and writes ----------------------------------------------------------


class _NoBytes(Exception):
    """The buffer is empty: the frame goes on when more has arrived."""


class Stream:
    """A non-blocking socket with a buffer each way, in the shape that websocket-client expects of a socket.

    Until :meth:`upgraded` is called it waits for bytes, under the deadline and a bound on their number; from then on it
    only hands out what :meth:`fill` has brought.
    """

    def __init__(self, sock: socket.socket, waker: Waker, deadline: Deadline) -> None:
        self.sock = sock
        self.last_received = time.monotonic()
        self.head = bytearray()
        self._waker = waker
        self._deadline: Deadline | None = deadline
        self._received = 0
        self._pieces = 0
        self._chunk = b""
        self._pos = 0
        self._was_full = False
        self.unsent = bytearray()

    def upgraded(self) -> None:
        """The handshake is over."""
        self._deadline = None

    def gettimeout(self) -> float:
        """0: websocket-client must not wait by itself."""
        return 0.0

    def settimeout(self, timeout: float | None) -> None:
        """Ignored; deadlines are kept here."""

    def fileno(self) -> int:
        return self.sock.fileno()

    def shutdown(self, how: int) -> None:
        self.sock.shutdown(how)

    @property
    def _closed(self) -> bool:
        return self.sock.fileno() < 0

    def close(self) -> None:
        self.sock.close()

    def recv(self, size: int) -> bytes:
        """At most ``size`` bytes, at least one."""
        if self._deadline is not None:
            return self._recv_waiting(size, self._deadline)
        self._pieces += 1
        if self._pos >= len(self._chunk) or self._pieces > _PIECES_A_TURN:
            raise _NoBytes
        return self._take(size)

    def _take(self, size: int) -> bytes:
        data = self._chunk[self._pos : self._pos + size]
        self._pos += len(data)
        return data

    def cut_frames(self, limit: int, payloads: list[bytes]) -> None:
        """Take the whole binary frames that come next."""
        self._pos = cut_frames(self._chunk, self._pos, limit, payloads)

    def new_turn(self) -> None:
        """Hand out bytes again after a turn that was cut short."""
        self._pieces = 0

    def send(self, data: bytes | str) -> int:
        """Take all of it; :meth:`flush` brings it onto the wire."""
        raw = data.encode() if isinstance(data, str) else data
        self.unsent += raw
        return len(raw)

    def fill(self) -> bool:
        """Read what is there, once; False if there is nothing.

        Raises:
            EOFError: the peer has ended the stream.
            OSError: the connection broke.
        """
        size = _LARGE_CHUNK if self._was_full else _CHUNK
        self._was_full = False
        try:
            data = self.sock.recv(size)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        if not data:
            raise EOFError
        self.last_received = time.monotonic()
        self._was_full = len(data) == size
        self._chunk = data if self._pos >= len(self._chunk) else self._chunk[self._pos :] + data
        self._pos = 0
        return True

    def drop(self) -> None:
        """Forget what was read and not handed out."""
        self._chunk = b""
        self._pos = 0

    def flush(self) -> bool:
        """Send what the socket takes; True if at least one byte went out, or nothing is left.

        Raises:
            OSError: the connection broke.
        """
        sent = 0
        try:
            while self.unsent:
                with memoryview(self.unsent)[:_CHUNK] as view:
                    count = self.sock.send(view)
                del self.unsent[:count]
                sent += count
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        return bool(sent) or not self.unsent

    def buffered(self) -> bool:
        """True if bytes have been read, and not been handed out yet."""
        return self._pos < len(self._chunk)

    def pending(self) -> bool:
        """True if there are bytes that no select need announce: in the buffer, inside TLS, or where more came last."""
        return self.buffered() or self._was_full or (isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0)

    def _recv_waiting(self, size: int, deadline: Deadline) -> bytes:
        while self.unsent:
            self.flush()
            if self.unsent:
                await_socket(self.sock, self._waker, deadline, "the handshake was not read", write=True)
        while not self.buffered() and not self.fill():
            await_socket(self.sock, self._waker, deadline, "the handshake was not answered", write=False)
        data = self._take(size)
        self._received += len(data)
        if len(self.head) < _STATUS_LINE:
            self.head += data
        if self._received > _MAX_HANDSHAKE:
            raise HandshakeError(f"the answer to the handshake exceeds {_MAX_HANDSHAKE} bytes; is this a Basix PBX?")
        return data


class _FrameTooBig(Exception):
    """A frame or message exceeds max_frame."""


class _BoundedFrames(websocket.frame_buffer):
    """Cuts frames out of the stream, and checks a frame's length before its first byte is taken."""

    def __init__(self, recv: Callable[[int], bytes], limit: int) -> None:
        super().__init__(recv, True)
        self._limit = limit
        self._part = bytearray()

    def recv_strict(self, bufsize: int) -> bytes:
        while (lacking := bufsize - len(self._part)) > 0:
            self._part += self.recv(min(lacking, _CHUNK))
        whole = bytes(self._part)
        self._part.clear()
        return whole

    def recv_length(self) -> None:
        super().recv_length()
        assert self.header is not None
        assert self.length is not None
        fin, opcode, masked = self.header[0], self.header[4], self.header[5]
        if masked:
            raise websocket.WebSocketProtocolException("the frame is masked")
        if opcode >= 8 and (self.length > 125 or not fin):
            problem = f"control frame of {self.length} bytes" if fin else "a control frame in parts"
            raise websocket.WebSocketProtocolException(problem)
        if self.length > self._limit:
            raise _FrameTooBig(f"a frame of {self.length} bytes, the limit is {self._limit}")

    def partial(self) -> bool:
        """True in the middle of a frame."""
        return self.header is not None or bool(self._part)


class _BoundedMessage(websocket.continuous_frame):
    """Joins fragments, and bounds what they make together."""

    def __init__(self, limit: int) -> None:
        super().__init__(False, True)
        self._limit = limit
        self._size = 0

    def add(self, frame: websocket.ABNF) -> None:
        self._size = len(frame.data) + (self._size if self.cont_data else 0)
        if self._size > self._limit:
            raise _FrameTooBig(f"fragments of {self._size} bytes, the limit is {self._limit}")
        first = self.cont_data is None
        super().add(frame)
        if first and not frame.fin and self.cont_data is not None:
            # Grows in place, where bytes would be copied for each fragment.
            self.cont_data[1] = bytearray(self.cont_data[1])

    def partial(self) -> bool:
        """True between the fragments of a message."""
        return bool(self.cont_data)


# --- the connection ---------------------------------------------------------------------------------------------


class Connection:
    """A WebSocket connection that is up. Called from the I/O thread alone.

    Attributes:
        lost: why it is over; None while it is up.
        peer: the address of the other end, ``host:port``.
        tls: the TLS version; None in the clear.
        date: the ``Date`` header in the answer to the handshake, None where there was none.
        partial_since: since when a message is incomplete, by the monotonic clock in seconds; None when none is.
        unsent_since: since when the peer has taken no byte of what waits to be sent; None when nothing waits.
    """

    def __init__(self, stream: Stream, ws: websocket.WebSocket, limits: Limits) -> None:
        self._stream = stream
        self._ws = ws
        self._frames = ws.frame_buffer = _BoundedFrames(stream.recv, limits.max_frame)
        self._message = ws.cont_frame = _BoundedMessage(limits.max_frame)
        self._max_frame = limits.max_frame
        self._text_frames = 0
        self.lost: ConnectionLost | None = None
        self.partial_since: float | None = None
        self.unsent_since: float | None = None
        sock = stream.sock
        self.tls = sock.version() if isinstance(sock, ssl.SSLSocket) else None
        self.peer = _address(sock)
        self.date: str | None = (ws.headers or {}).get("date")

    def is_over(self) -> bool:
        """True once :attr:`lost` tells why."""
        return self.lost is not None

    def fileno(self) -> int:
        """What to wait on."""
        return self._stream.fileno()

    @property
    def last_received(self) -> float:
        """When the last byte arrived, by the monotonic clock in seconds."""
        return self._stream.last_received

    @property
    def wants_write(self) -> bool:
        """True if something waits to be sent."""
        return bool(self._stream.unsent)

    @property
    def unsent(self) -> int:
        """How many bytes wait to be sent."""
        return len(self._stream.unsent)

    @property
    def has_more(self) -> bool:
        """True if there is something to read that waiting on the socket would not show."""
        return self._stream.pending()

    def receive(self) -> list[bytes]:
        """The messages that have arrived whole, in order, but not too many at once (see :attr:`has_more`).

        :attr:`lost` is set when the connection ended behind them.
        """
        messages: list[bytes] = []
        self._stream.new_turn()
        try:
            self._parse(messages)  # what the latest turn, or the handshake, has left
            for _ in range(_CHUNKS_A_TURN):
                if messages or self.lost is not None or self._stream.buffered() or not self._stream.fill():
                    break
                self._parse(messages)
        except EOFError:
            self.lost = ConnectionLost("the connection ended without a close frame")
        except OSError as error:
            self.lost = ConnectionLost(f"the connection broke ({cause_of(error)})")
        except _FrameTooBig as error:
            self._fail(_TOO_BIG, str(error))
        except websocket.WebSocketException as error:
            self._fail(_PROTOCOL_ERROR, str(error))
        if not self._is_partial():
            self.partial_since = None
        elif self.partial_since is None:
            self.partial_since = time.monotonic()
        return messages

    def _is_partial(self) -> bool:
        return self._frames.partial() or self._message.partial()

    def _parse(self, messages: list[bytes]) -> None:
        while self.lost is None:
            if not self._is_partial():
                self._stream.cut_frames(self._max_frame, messages)
                self.partial_since = None
            if not self._stream.buffered():
                return
            try:
                opcode, frame = self._ws.recv_data_frame(True)
            except _NoBytes:
                return
            if opcode == websocket.ABNF.OPCODE_BINARY:
                messages.append(bytes(frame.data))
            elif opcode == websocket.ABNF.OPCODE_TEXT:
                self._ignore_text(len(frame.data))
            elif opcode == websocket.ABNF.OPCODE_CLOSE:
                self._closed(frame.data)
            if len(self._stream.unsent) > _MAX_UNSENT:
                self._fail(_PROTOCOL_ERROR, "pings come faster than their answers are taken")

    def _ignore_text(self, size: int) -> None:
        self._text_frames += 1
        level = logging.WARNING if self._text_frames == 1 else logging.DEBUG
        logger.log(level, "text frame of %d bytes ignored, number %d on this connection", size, self._text_frames)

    def _closed(self, data: bytes) -> None:
        code: int | None = struct.unpack("!H", data[:2])[0] if len(data) >= 2 else None
        reason = one_line(bytes(data[2:]).decode("utf-8", "replace"))
        told = "without a code" if code is None else f"with code {code}"
        because = f": {reason}" if reason else ""
        self.lost = ConnectionClosed(f"the PBX closed the connection {told}{because}", code, reason)

    def _fail(self, code: int, problem: str) -> None:
        self.fail(ProtocolError(f"connection given up, code {code}: {one_line(problem)}", code, one_line(problem)))

    def fail(self, lost: ConnectionLost) -> None:
        """End the connection from this side, with a close frame if ``lost`` has a code."""
        self.lost = lost
        if lost.code is not None:
            self.close(lost.code)

    def send_text(self, text: str) -> None:
        """Put one text message into the outgoing buffer."""
        self._ws.send(text)

    def ping(self) -> None:
        """Put a ping into the outgoing buffer."""
        self._ws.ping()

    def close(self, code: int) -> None:
        """Put a close frame into the outgoing buffer; the peer answers by ending the connection."""
        self._ws.send_close(code)

    def flush(self) -> None:
        """Send what the peer takes."""
        try:
            moved = self._stream.flush()
        except OSError as error:
            # What has arrived before the break can still be read, and may tell more.
            self._stream.unsent.clear()
            self.unsent_since = None
            if self.lost is None and not isinstance(error, ConnectionError):
                self.lost = ConnectionLost(f"the connection broke ({cause_of(error)})")
            return
        if not self._stream.unsent:
            self.unsent_since = None
        elif moved or self.unsent_since is None:
            self.unsent_since = time.monotonic()

    def ended_by_peer(self) -> bool:
        """Read and drop what still comes; True once the peer has ended the connection, too."""
        try:
            while self._stream.fill():
                self._stream.drop()
        except (EOFError, OSError):
            return True
        return False

    def abandon(self) -> None:
        """Give the socket back, without a word to the peer."""
        self._stream.close()


def cause_of(error: OSError) -> str:
    """What an error of the operating system says, in one line."""
    return one_line(error.strerror or str(error) or type(error).__name__)


def _address(sock: socket.socket) -> str | None:
    try:
        host, port = sock.getpeername()[:2]
    except OSError:
        return None
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
