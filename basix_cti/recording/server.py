"""``ReplayServer``: a recording served as a PBX, on loopback. Needs the extra ``simulator``."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from types import TracebackType

if importlib.util.find_spec("aiohttp") is None:
    raise ImportError("serving a recording needs aiohttp: pip install basix-cti[simulator]")

from aiohttp import WSMsgType, web

from .format import BEGIN, CONNECTED, DISCONNECTED, RECEIVED, Path, Record
from .player import Pace, reason_of
from .reader import Recording

__all__ = ["ReplayServer"]

logger = logging.getLogger(__name__)

_HOST = "127.0.0.1"
_PATH = "/basix/api/ws_cti"
_TICKET_PATH = "/basix/api/gen_ws_ticket"
_GOING_AWAY = 1001
_SENDABLE = {*range(1000, 1004), *range(1007, 1012), *range(3000, 5000)}


class _Tape:
    """How far one client has come."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.records: Iterator[Record] = iter(recording)
        self.waiting: Record | None = None
        self.sessions = 0
        self.busy = False
        self.turned = False  # the present connection has been played to its end

    def next(self) -> Record | None:
        """The next record; None at the end."""
        record, self.waiting = self.waiting, None
        return next(self.records, None) if record is None else record


class ReplayServer:
    """Serves a recording to clients as if it were the PBX that was recorded.

    ::

        with ReplayServer("calls.ctirec", speed=10) as server:
            client = CTIClient(server.url, handler, auth=ApiToken("any", "any"), app_name="any")

    It listens on 127.0.0.1 alone, takes any login, gives out tickets, and ignores commands. Each client, told apart
    by its login and query, gets the connections of the recording one after another: the first when it connects, the
    next when it connects again after the server has ended the first as the recording has it. After the last one the
    connection stays up and silent. A client that breaks off in between begins anew.

    All its work is done in a daemon thread of its own, from :meth:`start` to :meth:`stop`.

    Args:
        recording: a recording, or the path of one.
        port: the TCP port; 0 for a free one.
        speed: 1 for the speed of life, 10 for ten times that; None for as fast as the client reads.
        progress: called in that thread with a client's recording before each record.

    Attributes:
        port: the TCP port; the real one once it is started.
        finished: set when a client has got the whole recording.
        trouble: what of it could not be read, in a line; None where all could, or before that.

    Raises:
        RecordingError: the file is no recording.
        ValueError: ``speed`` is not a positive number.
        OSError: it cannot be read.
    """

    def __init__(
        self,
        recording: Recording | Path,
        *,
        port: int = 0,
        speed: float | None = None,
        progress: Callable[[Recording], None] | None = None,
    ) -> None:
        Pace(speed)
        self._progress = progress
        self._path = Recording(recording.path if isinstance(recording, Recording) else recording).path
        self.trouble: str | None = None
        self.port = port
        self.finished = threading.Event()
        self._speed = speed
        self._tapes: dict[tuple[str, str], _Tape] = {}
        self._sockets: set[web.WebSocketResponse] = set()
        self._running: tuple[threading.Thread, asyncio.AbstractEventLoop, asyncio.Event] | None = None

    @property
    def url(self) -> str:
        """What clients connect to."""
        return f"ws://{_HOST}:{self.port}"

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: the port cannot be had.
        """
        ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(ready)), name="basix-cti-replay-server", daemon=True
        )
        thread.start()
        try:
            self._running = (thread, *ready.result())
        except BaseException:
            thread.join()
            raise

    def stop(self) -> None:
        """End every connection, and return when the thread has ended. May be called more than once."""
        running, self._running = self._running, None
        if running is not None:
            thread, loop, end = running
            loop.call_soon_threadsafe(end.set)
            thread.join()

    def __enter__(self) -> ReplayServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # In the thread

    async def _serve(self, ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
        end = asyncio.Event()
        application = web.Application()
        application.router.add_get(_PATH, self._connection)
        application.router.add_post(_TICKET_PATH, _ticket)
        runner = web.AppRunner(application, handle_signals=False, access_log=None, shutdown_timeout=1.0)
        try:
            await runner.setup()
            await web.TCPSite(runner, _HOST, self.port).start()
            self.port = runner.addresses[0][1]
        except Exception as error:
            await runner.cleanup()
            ready.set_exception(error)
            return
        ready.set_result((asyncio.get_running_loop(), end))
        try:
            await end.wait()
            for socket in tuple(self._sockets):
                await socket.close(code=_GOING_AWAY, message=b"the replay ends")
        finally:
            await runner.cleanup()

    async def _connection(self, request: web.Request) -> web.StreamResponse:
        who = request.headers.get("Authorization", ""), request.query_string
        socket = web.WebSocketResponse(compress=False, max_msg_size=1024 * 1024)
        try:
            await socket.prepare(request)
        except ConnectionResetError:
            logger.debug("a client left before it was answered")
            return web.Response()  # which goes nowhere
        self._sockets.add(socket)
        reader = asyncio.create_task(_read(socket))
        tape = self._tapes.get(who)
        if tape is None or tape.busy:  # a second one with the same login has a tape of its own
            tape = _Tape(Recording(self._path))
            self._tapes[who] = tape
        tape.busy = True
        player = asyncio.create_task(self._play(tape, socket, request.transport))
        try:
            await asyncio.wait([reader, player], return_when=asyncio.FIRST_COMPLETED)
            if not tape.turned and self._tapes.get(who) is tape:  # the client has gone
                del self._tapes[who]
        finally:
            tape.busy = False
            self._sockets.discard(socket)
            for task in (reader, player):
                task.cancel()
            await asyncio.gather(reader, player, return_exceptions=True)
        return socket

    async def _play(self, tape: _Tape, socket: web.WebSocketResponse, transport: asyncio.BaseTransport | None) -> None:
        """One connection of the recording; it returns when that has ended there."""
        pace = Pace(self._speed)
        begun = False
        tape.sessions += 1
        tape.turned = False
        logger.info("connection %d of the recording begins", tape.sessions)
        with contextlib.suppress(ConnectionError):
            while (record := tape.next()) is not None:
                if self._progress is not None:
                    self._progress(tape.recording)
                if record.kind in (BEGIN, CONNECTED) and begun:
                    tape.waiting = record
                    tape.turned = True
                    break
                begun = begun or record.kind in (CONNECTED, RECEIVED)
                if record.kind == RECEIVED:
                    await asyncio.sleep(pace.delay(record.at))
                    await socket.send_bytes(record.data)
                elif record.kind == CONNECTED:
                    pace.delay(record.at)
                elif record.kind == DISCONNECTED and begun:
                    await asyncio.sleep(pace.delay(record.at))
                    tape.waiting = self._following(tape)
                    if tape.waiting is None:
                        break
                    tape.turned = True
                    code = reason_of(record).code
                    if code in _SENDABLE and code is not None:
                        await socket.close(code=code, message=b"as recorded")
                    break
            if tape.waiting is None:
                logger.info("the recording has been played to its end")
                self.trouble = tape.recording.trouble
                self.finished.set()
                await asyncio.Event().wait()
            if transport is not None:
                transport.close()

    def _following(self, tape: _Tape) -> Record | None:
        """The first record of the next connection; None where there is none."""
        for record in tape.records:
            if record.kind in (CONNECTED, RECEIVED):
                return record
        return None


async def _read(socket: web.WebSocketResponse) -> None:
    """Take what the client sends, which answers its pings, until it is gone."""
    async for message in socket:
        if message.type == WSMsgType.TEXT:
            logger.info("a command was ignored")


async def _ticket(request: web.Request) -> web.Response:
    return web.json_response({"result_code": 0, "ticket": "replayed"})
