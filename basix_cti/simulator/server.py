"""The server: HTTP and WebSocket on loopback, in a thread of its own with an event loop of its own.

Changes of the PBX come in on whatever thread makes them, with the PBX's lock held; they are encoded there, put into
the queue of each connection that sees them, and sent by the server's thread. A new connection's first messages and
its place among those that are told of changes are one step under that lock: nothing is missed, nothing comes twice.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import NamedTuple, TypeAlias

from aiohttp import WSMsgType, web

from .access import PATH, TICKET_PATH, Access, Login, Refused
from .model import Change, Pbx
from .views import View
from .wire import CurrentWire, FirstWire, Vocabulary, Wire

__all__ = ["Outgoing", "Raw", "Server"]

_log = logging.getLogger(__name__)

_HOST = "127.0.0.1"
_CLOSE_SECONDS = 1.0
_MAX_COMMAND = 1024 * 1024
_TURN = 50
_TICK = 0.005
_LINGER_ZERO = struct.pack("ii", 1, 0)


class Raw(bytes):
    """Bytes for the TCP connection, without a WebSocket frame around them."""


Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

Outgoing: TypeAlias = bytes | str | Raw
"""A binary message, a text message, or raw bytes."""


class _Close(NamedTuple):
    code: int
    reason: str


class _Connection:
    """One client's WebSocket, and what is to be sent on it.

    Args:
        login: how it logged in.
        wire: the vocabulary it is told changes in.
        view: the part of the PBX that it sees.
        opening: its first messages.
        websocket: the WebSocket, opened.
        transport: the TCP or TLS connection below it.
        max_queue: bytes that may wait for a client that does not read, the opening not counted.
    """

    def __init__(
        self,
        login: Login,
        wire: Wire,
        view: View,
        opening: list[bytes],
        websocket: web.WebSocketResponse,
        transport: asyncio.Transport,
        max_queue: int,
    ) -> None:
        self.login = login
        self.wire = wire
        self.view = view
        self.closing = False
        self._websocket = websocket
        self._transport = transport
        self._max_queue = max_queue
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Outgoing | _Close] = deque(opening)
        # Each of the two is written by one side only, the holder of the PBX's lock and the server's thread.
        self._bytes_put = 0
        self._bytes_sent = -sum(map(len, opening))
        self._woken = True
        self._wake = asyncio.Event()
        self._wake.set()

    @property
    def backlog(self) -> int:
        """How many bytes wait for the client, the opening not counted."""
        return self._bytes_put - self._bytes_sent

    def put(self, item: Outgoing) -> bool:
        """Queue something, with the PBX's lock held. False: it was refused, the client has not read for too long."""
        self._bytes_put += len(item)
        if self.backlog > self._max_queue:
            return False
        self._append(item)
        return True

    def close(self, code: int, reason: str) -> None:
        """Close behind what is queued, with the PBX's lock held."""
        self.closing = True
        self._append(_Close(code, reason))

    def abort_soon(self) -> None:
        """End the TCP connection at once, from any thread."""
        self._loop.call_soon_threadsafe(self.abort)

    def abort(self, *, reset: bool = False) -> None:
        """End the TCP connection at once, in the server's thread; ``reset`` with a RST where a FIN would do."""
        if reset and not self._transport.is_closing():
            raw = self._transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self._transport.abort()

    async def send_all(self) -> None:
        """Send what is queued, in order, until a close was sent or the connection is gone."""
        queue = self._queue
        count = 0
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                self._woken = False
                while queue:
                    item = queue.popleft()
                    count += 1
                    if count % _TURN == 0:
                        # Sending gives way to others only where the client reads too slowly.
                        await asyncio.sleep(0)
                    if isinstance(item, _Close):
                        await self._websocket.close(code=item.code, message=item.reason.encode())
                        return
                    if isinstance(item, Raw):
                        self._transport.write(item)
                    elif isinstance(item, str):
                        await self._websocket.send_str(item)
                    else:
                        await self._websocket.send_bytes(item)
                    self._bytes_sent += len(item)
        except ConnectionError:
            return  # whoever reads from the connection notices too, and ends it

    def _append(self, item: Outgoing | _Close) -> None:
        self._queue.append(item)
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._wake.set)


class Server:
    """Serves one PBX to any number of clients.

    Args:
        pbx: what is served.
        access: who may connect.
        vocabulary: how the releases of the PBX differ.
        port: the TCP port, 0 for a free one, which is kept over ``stop`` and ``start``.
        ssl_context: for wss; None serves ws.
        connection_limit: connections that one user may have with one ``app_name``.
        max_queue: bytes that may wait for a client that does not read before it is dropped.
        on_text: called in the server's thread with each text frame of a connection of the current generation.
    """

    def __init__(
        self,
        pbx: Pbx,
        access: Access,
        vocabulary: Vocabulary,
        *,
        port: int,
        ssl_context: ssl.SSLContext | None,
        connection_limit: int,
        max_queue: int,
        on_text: Callable[[str], None],
    ) -> None:
        self.port = port
        self.secure = ssl_context is not None
        self.current = CurrentWire(pbx, vocabulary)
        self._first = FirstWire(pbx, vocabulary)
        self._pbx = pbx
        self._access = access
        self._ssl_context = ssl_context
        self._limit = self._usual_limit = connection_limit
        self._max_queue = max_queue
        self._on_text = on_text
        self._refusal: tuple[int, int | None] | None = None
        self._life = threading.Lock()
        self._running: tuple[threading.Thread, asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._connections: list[_Connection] = []
        self._handlers: set[asyncio.Task[object]] = set()
        self._sockets: set[socket.socket] = set()
        self._changed = threading.Condition(pbx.lock)
        pbx.listen(self._tell)

    # --- for any thread but the server's own ------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether clients can connect."""
        return self._running is not None

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    @property
    def backlog(self) -> int:
        """How many bytes wait for the client that is furthest behind."""
        return max((connection.backlog for connection in tuple(self._connections)), default=0)

    def wait_connections(self, count: int, timeout: float) -> bool:
        """Wait until exactly ``count`` clients are connected; False if that was not so within ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._connections) == count, timeout)

    def start(self) -> None:
        """Listen. Does nothing when it does already.

        Raises:
            OSError: the port cannot be had.
        """
        with self._life:
            if self._running is not None:
                return
            ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
            thread = threading.Thread(
                target=lambda: asyncio.run(self._serve(ready)), name="basix-cti-simulator", daemon=True
            )
            thread.start()
            try:
                self._running = (thread, *ready.result())
            except Exception:
                thread.join()
                raise

    def stop(self) -> None:
        """Close every connection (1001) and the port, and wait for the thread. Does nothing when it is stopped."""
        with self._life:
            if self._running is None:
                return
            thread, loop, end = self._running
            loop.call_soon_threadsafe(end.set)
            thread.join()
            self._running = None

    def refuse(self, status: int | None, times: int | None) -> None:
        """Answer the next ``times`` handshakes (None: all) with an HTTP status; None for no status: serve again."""
        with self._pbx.lock:
            self._refusal = None if status is None else (status, times)

    def send(self, message: Callable[[Wire], Outgoing | None]) -> int:
        """Send each connection what ``message`` makes of its vocabulary, None for nothing; how many got something."""
        count = 0
        with self._pbx.lock:
            for connection in tuple(self._connections):
                item = message(connection.wire)
                if item is not None:
                    self._put(connection, item)
                    count += 1
        return count

    def close(self, code: int, reason: str) -> int:
        """Close every connection behind what is queued for it; how many there were."""
        with self._pbx.lock:
            connections = self._forget_all()
            for connection in connections:
                connection.close(code, reason)
            return len(connections)

    def limit(self, connections: int | None) -> None:
        """From now on, how many connections one user may have with one ``app_name``; None for as many as before."""
        with self._pbx.lock:
            self._limit = self._usual_limit if connections is None else connections

    def replace(self) -> int:
        """End every connection of the current generation as one that another has taken the place of; how many."""
        with self._pbx.lock:
            replaced = [connection for connection in self._connections if connection.login.generation == 2]
            for connection in replaced:
                self._replace(connection)
            return len(replaced)

    def drop(self, *, reset: bool) -> int:
        """Abort every TCP connection; how many there were."""
        with self._life:
            with self._pbx.lock:
                connections = self._forget_all()
            if connections and self._running is not None:
                done = threading.Event()

                def abort() -> None:
                    for connection in connections:
                        connection.abort(reset=reset)
                    done.set()

                self._running[1].call_soon_threadsafe(abort)
                done.wait()
            return len(connections)

    # --- with the PBX's lock held -----------------------------------------------------------------------------------

    def _tell(self, change: Change) -> None:
        shared: dict[Wire, list[bytes]] = {}
        for connection in tuple(self._connections):
            wire = connection.wire
            for seen in connection.view.changes(change):
                frames = shared.get(wire) if seen is change else None
                if frames is None:
                    frames = wire.messages(seen)
                    if seen is change:
                        shared[wire] = frames
                for frame in frames:
                    self._put(connection, frame)

    def _put(self, connection: _Connection, item: Outgoing) -> None:
        if not connection.put(item) and connection in self._connections:
            _log.warning("dropping a client that does not read: more than %d bytes wait for it", self._max_queue)
            self._forget(connection)
            connection.abort_soon()

    def _forget(self, connection: _Connection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
            self._changed.notify_all()

    def _replace(self, connection: _Connection) -> None:
        self._forget(connection)
        connection.put(self.current.system_msg("connection_replaced"))
        connection.close(1008, "connection_replaced")

    def _forget_all(self) -> list[_Connection]:
        connections, self._connections = self._connections, []
        self._changed.notify_all()
        return connections

    def _register(
        self, login: Login, websocket: web.WebSocketResponse, transport: asyncio.Transport
    ) -> _Connection | None:
        """The new connection, its first messages queued; None when the limit leaves no place for it."""
        if login.generation == 2:
            # The first generation has no app_name to count by.
            place = login.user_id, login.app_name
            rivals = [one for one in self._connections if (one.login.user_id, one.login.app_name) == place]
            rivals = [one for one in rivals if one.login.generation == 2]
            too_many = len(rivals) - self._limit + 1
            if too_many > 0 and not login.forced:
                return None
            for rival in rivals[: max(too_many, 0)]:
                self._replace(rival)
        wire = self.current if login.generation == 2 else self._first
        view = View(self._pbx, login.user_id)
        connection = _Connection(login, wire, view, wire.opening(view), websocket, transport, self._max_queue)
        self._connections.append(connection)
        self._changed.notify_all()
        return connection

    # --- in the server's thread -------------------------------------------------------------------------------------

    async def _serve(self, ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
        end = asyncio.Event()
        try:
            runner = await self._listen(end)
        except Exception as error:
            ready.set_exception(error)
            return
        keeper = asyncio.create_task(self._keep_time())
        ready.set_result((asyncio.get_running_loop(), end))
        try:
            await end.wait()
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            for site in tuple(runner.sites):
                await site.stop()
            with self._pbx.lock:
                connections = self._forget_all()
                for connection in connections:
                    connection.close(1001, "the PBX stops")
            if self._handlers:
                await asyncio.wait(self._handlers, timeout=2 * _CLOSE_SECONDS)
            for connection in connections:
                connection.abort()
        finally:
            await runner.cleanup()
            await self._cut_off()

    async def _listen(self, end: asyncio.Event) -> web.AppRunner:
        async def open_websocket(request: web.Request) -> web.StreamResponse:
            return await self._open(request, end)

        application = web.Application(middlewares=[self._watch])
        application.router.add_get(PATH, open_websocket, allow_head=False)
        application.router.add_post(TICKET_PATH, self._give_ticket)
        # Without an access log: the URLs of the first generation hold the token.
        runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=_CLOSE_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, _HOST, self.port, ssl_context=self._ssl_context).start()
        except BaseException:
            await runner.cleanup()
            raise
        self.port = runner.addresses[0][1]
        return runner

    @web.middleware
    async def _watch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Know what is going on, so that it can be ended."""
        task = asyncio.current_task()
        assert task is not None
        self._sockets = {one for one in self._sockets if one.fileno() != -1}
        if request.transport is not None:
            self._sockets.add(request.transport.get_extra_info("socket"))
        self._handlers.add(task)
        try:
            return await handler(request)
        except ConnectionResetError:
            _log.debug("a client left before it was answered")
            return web.Response()  # which goes nowhere
        finally:
            self._handlers.discard(task)

    async def _cut_off(self) -> None:
        """A client need not answer the end of TLS, for which the event loop would wait half a minute."""
        deadline = time.monotonic() + _CLOSE_SECONDS
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        while any(one.fileno() != -1 for one in self._sockets) and time.monotonic() < deadline:
            await asyncio.sleep(_TICK)
        self._sockets.clear()

    async def _keep_time(self) -> None:
        """Does what the PBX has planned, when it is due."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        timers = self._pbx.timers

        def wake() -> None:
            loop.call_soon_threadsafe(changed.set)

        with self._pbx.lock:
            timers.on_change = wake
        try:
            while True:
                changed.clear()
                with self._pbx.lock:
                    try:
                        timers.run_due()
                    except Exception:
                        _log.exception("what was due on the simulated PBX failed")
                    seconds = timers.seconds_to_next()
                try:
                    await asyncio.wait_for(changed.wait(), seconds)
                except asyncio.TimeoutError:
                    continue
        finally:
            with self._pbx.lock:
                timers.on_change = lambda: None

    async def _give_ticket(self, request: web.Request) -> web.Response:
        try:
            answer = self._access.ticket(request.headers.get("Authorization"), await request.read())
        except Refused as refused:
            return _error(refused)
        return web.json_response(answer)

    async def _open(self, request: web.Request, end: asyncio.Event) -> web.StreamResponse:
        try:
            with self._pbx.lock:
                self._check_refusal()
                login = self._access.login(request.raw_path, request.headers.get("Authorization"))
        except Refused as refused:
            return _error(refused)
        websocket = web.WebSocketResponse(compress=False, timeout=_CLOSE_SECONDS, max_msg_size=_MAX_COMMAND)
        transport = request.transport
        if transport is None or end.is_set():
            return _error(Refused(503, "the PBX stops"))
        if not websocket.can_prepare(request).ok:
            return _error(Refused(400, "this is no WebSocket handshake"))
        # Before the handshake is answered: whoever has seen the answer is told of every change from then on.
        with self._pbx.lock:
            connection = self._register(login, websocket, transport)
        if connection is None:
            await websocket.prepare(request)
            await websocket.send_bytes(self.current.system_msg("connection_limit_reached"))
            await websocket.close(code=1008, message=b"connection_limit_reached")
            return websocket
        try:
            await websocket.prepare(request)
            await self._converse(connection, websocket)
        finally:
            with self._pbx.lock:
                self._forget(connection)
        return websocket

    async def _converse(self, connection: _Connection, websocket: web.WebSocketResponse) -> None:
        sender = asyncio.create_task(connection.send_all())
        try:
            async for message in websocket:
                if message.type is WSMsgType.TEXT and connection.login.generation == 2:
                    self._on_text(message.data)
                elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    _log.warning("ignored a message: only the current generation takes commands, as text")
        finally:
            if connection.closing:
                await asyncio.wait({sender}, timeout=_CLOSE_SECONDS)
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    def _check_refusal(self) -> None:
        if self._refusal is None:
            return
        status, times = self._refusal
        if times is not None:
            self._refusal = (status, times - 1) if times > 1 else None
        raise Refused(status, "refused by the script")


def _error(refused: Refused) -> web.Response:
    headers = {"WWW-Authenticate": 'Basic realm="Basix"'} if refused.status == 401 else None
    return web.Response(status=refused.status, text=refused.text, headers=headers)
