"""``Wallboard``: the HTTP server of the page, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import urlencode

try:
    from aiohttp import web
    from aiohttp.http_exceptions import HttpProcessingError
    from aiohttp.typedefs import Handler, Middleware
except ImportError:
    raise ImportError(
        "the wallboard needs the library aiohttp, which is not installed: pip install 'basix_cti[web]'"
    ) from None

from ..board import Board, Row
from ..health import Answer, Probes
from ..version import __version__
from .access import Access
from .feed import Feed

if TYPE_CHECKING:
    from ..metrics import Watched

__all__ = ["LANGUAGES", "Wallboard"]

logger = logging.getLogger(__name__)
_http_logger = logging.getLogger(f"{__name__}.http")  # what aiohttp logs of requests

LANGUAGES = ("en", "ja")
"""The languages of the page; the first is for those who ask for none of them."""

_THEMES = ("light", "dark")
_STATIC = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Server": "basix_cti",
}
_TEXT = "text/plain; charset=utf-8"
_YEAR = 365 * 24 * 3600
_MAX_VIEWERS = 500
_UNREAD = 60.0  # seconds that a browser may take nothing of what is sent
_STANDSTILL = 30.0
_START_TIMEOUT = 10.0
_END_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    content_type: str
    etag: str


class Wallboard:
    """Serves the page in a thread of its own, from :meth:`start` to :meth:`stop`; or as a context manager.

    Nothing runs in the client's threads but the board itself. The client may be started before or after it.

    Args:
        client: a :class:`~basix_cti.CTIClient`, or what has its interface.
        board: the client's handler, or what that passes its events on to. Nobody else asks it for its changes.
        host: the address to listen on; the usual one is seen by this machine alone.
        port: 0 for a free one.
        access: who may look; None for programs of this machine alone.
        unmask: True to show telephone numbers. Without it, the last two digits are.
        amber, red: after how many seconds a call that waits gets these colours.
        interval: seconds between two updates of the pages.
        ended: called when the server ends, in its thread; None for nothing.

    Raises:
        ValueError: a number is out of range, or the address needs a token.
    """

    def __init__(
        self,
        client: Watched,
        board: Board,
        host: str = "127.0.0.1",
        port: int = 8780,
        *,
        access: Access | None = None,
        unmask: bool = False,
        amber: float = 20.0,
        red: float = 60.0,
        interval: float = 0.5,
        ended: Callable[[], None] | None = None,
    ) -> None:
        if not 0 < amber <= red:
            raise ValueError("amber and red must be positive numbers of seconds, and amber not the greater one")
        if not 0 <= port <= 65535:
            raise ValueError(f"port must be from 0 to 65535, not {port}")
        if not 0.05 <= interval <= 10:
            raise ValueError("interval must be between 0.05 and 10 seconds")
        self._host = host
        self._port = port
        self._access = access or Access(host)
        self._probes = Probes(client)
        settings: Row = {"amber": amber, "red": red, "version": __version__}
        self._feed = Feed(board, client, interval=interval, unmask=unmask, settings=settings)
        self._files = {path.name: _read(path) for path in _STATIC.iterdir() if path.suffix in _TYPES}
        self._index = (_STATIC / "index.html").read_text("utf-8")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._over: asyncio.Event | None = None
        self._failure: BaseException | None = None
        self._ended = ended
        self._thread: threading.Thread | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """Where the page is, such as ``http://127.0.0.1:8780/``; empty before :meth:`start`."""
        return self._url

    @property
    def viewers(self) -> int:
        """How many pages are open."""
        return self._feed.viewers

    @property
    def failure(self) -> BaseException | None:
        """Why it ended by itself; None while it runs, and after :meth:`stop`."""
        return self._failure

    def start(self) -> None:
        """Listen; returns when it does.

        Raises:
            OSError: the address cannot be listened on.
            RuntimeError: it was started before.
        """
        if self._thread is not None:
            raise RuntimeError("a Wallboard is started once; make another one")
        self._thread = threading.Thread(target=self._run, name="basix-cti-wallboard", daemon=True)
        self._thread.start()
        self._ready.wait(_START_TIMEOUT)
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        if not self._ready.is_set():
            raise RuntimeError(f"the wallboard did not start within {_START_TIMEOUT:g} s")

    def stop(self) -> None:
        """End all connections and listen no more; returns when the thread has ended. May be called more than once."""
        loop, over, thread = self._loop, self._over, self._thread
        if thread is None or loop is None or over is None:
            return
        if thread.is_alive():
            with contextlib.suppress(RuntimeError):  # it has just ended by itself
                loop.call_soon_threadsafe(over.set)
            thread.join(_END_TIMEOUT)

    def __enter__(self) -> Wallboard:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # In its thread

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
            if self._ready.is_set():
                logger.exception("the wallboard has ended; please report this as a bug of basix_cti")
        finally:
            self._ready.set()
            if self._ended is not None:
                self._ended()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        _http_logger.addFilter(_without_requests)
        runner = web.AppRunner(
            self._application(),
            access_log=None,
            logger=_http_logger,
            shutdown_timeout=1.0,
            handler_cancellation=True,
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._host, self._port)
            await site.start()
            self._url = _url(runner.addresses[0])
            self._ready.set()
            logger.info("the wallboard is at %s", self._url)
            feeding = asyncio.create_task(self._feed.run())
            ending = asyncio.create_task(self._over.wait())
            await asyncio.wait({feeding, ending}, return_when=asyncio.FIRST_COMPLETED)
            await self._feed.close()
            ending.cancel()
            await feeding
        finally:
            await runner.cleanup()

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[self._guarded()], client_max_size=1024)
        application.router.add_get("/", self._page)
        application.router.add_get("/events", self._events, allow_head=False)
        application.router.add_get("/static/{name}", self._static)
        for path in ("/healthz", "/readyz", "/metrics"):
            application.router.add_get(path, self._probe)
        return application

    def _guarded(self) -> Middleware:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            response: web.StreamResponse
            try:
                response = self._refusal(request) or await handler(request)
            except web.HTTPException as error:
                response = web.Response(status=error.status, text=f"{error.reason}\n")
            if not response.prepared:
                response.headers.update(_HEADERS)
            return response

        return guard

    def _refusal(self, request: web.Request) -> web.Response | None:
        """What to send to somebody who may not look; None for others."""
        access = self._access
        if not access.knows_host(request.headers.get("Host")):
            return web.Response(
                status=403,
                text="this wallboard is for this machine alone; if a proxy leads to it, give its name with "
                "--allow-host\n",
            )
        if request.path in ("/healthz", "/readyz") or access.admits(request.query, request.headers, request.cookies):
            return None
        if "token" in request.query or "Authorization" in request.headers:
            logger.warning("a wrong token was given by %s", request.remote)
        headers = {"WWW-Authenticate": 'Bearer realm="wallboard"', "Cache-Control": "no-store"}
        text = "this wallboard needs its token: open it once as /?token=...\n"
        return web.Response(status=401, text=text, headers=headers)

    async def _page(self, request: web.Request) -> web.StreamResponse:
        if not self._access.open and "token" in request.query:
            return self._remembered(request)
        language = request.cookies.get("language", "")
        if language not in LANGUAGES:
            language = _preferred(request.headers.get("Accept-Language", ""))
        theme = request.cookies.get("theme", "")
        theme = theme if theme in _THEMES else "auto"
        text = self._index.replace('lang="en" data-theme="auto"', f'lang="{language}" data-theme="{theme}"')
        return web.Response(
            body=text.encode(),
            headers={
                "Content-Type": _TYPES[".html"],
                "Content-Language": language,
                "Vary": "Accept-Language, Cookie",
                "Cache-Control": "no-store",
            },
        )

    def _remembered(self, request: web.Request) -> web.Response:
        """Have the browser keep a cookie, and take the token out of the address, where it could be read."""
        kept = urlencode([(name, value) for name, value in request.query.items() if name != "token"])
        where = f"./?{kept}" if kept else "./"
        response = web.Response(status=303, headers={"Location": where, "Cache-Control": "no-store"})
        secure = request.secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"
        response.set_cookie(
            self._access.cookie_name,
            self._access.cookie,
            max_age=_YEAR,
            path="",  # that of the page, which a proxy may have put anywhere
            httponly=True,
            samesite="Strict",
            secure=secure,
        )
        return response

    async def _static(self, request: web.Request) -> web.StreamResponse:
        file = self._files.get(request.match_info["name"])
        if file is None:
            return web.Response(status=404, text="Not Found\n")
        headers = {"Content-Type": file.content_type, "ETag": file.etag, "Cache-Control": "no-cache"}
        if request.headers.get("If-None-Match") == file.etag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=file.content, headers=headers)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if self._feed.viewers >= _MAX_VIEWERS:
            return web.Response(status=503, text="too many pages are open\n", headers={"Retry-After": "10"})
        response = web.StreamResponse(
            headers={
                **_HEADERS,
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
            }
        )
        await response.prepare(request)
        if request.transport is not None:
            sock = request.transport.get_extra_info("socket")
            if sock is not None:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await response.write(b"retry: 2000\n\n")
        try:
            async with contextlib.aclosing(self._feed.follow()) as messages:
                async for message in messages:
                    await asyncio.wait_for(response.write(message), _UNREAD)
        except asyncio.TimeoutError:
            logger.info("the page at %s has read nothing for %g s", request.remote, _UNREAD)
            if request.transport is not None:
                request.transport.abort()
        except ConnectionError:
            pass
        return response

    async def _probe(self, request: web.Request) -> web.StreamResponse:
        answer = await asyncio.to_thread(self._probes.answer, request.path, request.headers.get("Accept", ""))
        assert answer is not None
        if request.path == "/healthz" and answer.status == 200:
            still = time.monotonic() - self._feed.turned_at
            if still > _STANDSTILL:
                answer = Answer(503, _TEXT, f"no update was made for {still:.0f} s\n".encode())
        body = answer.body
        if not self._access.admits(request.query, request.headers, request.cookies):
            body = b"ok\n" if answer.status == 200 else b"not ok; the token shows why\n"
        return web.Response(
            status=answer.status,
            body=body,
            headers={"Content-Type": answer.content_type, "Cache-Control": "no-store"},
        )


def _without_requests(record: logging.LogRecord) -> bool:
    """Have what is no HTTP logged without its text, in which there may be a token."""
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, HttpProcessingError):
        return True
    sender = record.args[0] if isinstance(record.args, tuple) and record.args else "somebody"
    logger.info("a request from %s was none of HTTP", sender)
    return False


def _read(path: Path) -> _File:
    content = path.read_bytes()
    return _File(content, _TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def _url(address: tuple[str, int]) -> str:
    host, port = address[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _preferred(header: str) -> str:
    """The language of the page for an ``Accept-Language``."""
    wanted: list[tuple[float, int, str]] = []
    for place, part in enumerate(header.split(",")[:20]):
        tag, _, parameter = part.strip().partition(";")
        weight = parameter.strip().removeprefix("q=")
        try:
            wanted.append((-(float(weight) if weight else 1.0), place, tag.strip().lower().partition("-")[0]))
        except ValueError:
            continue
    return next((tag for weight, _, tag in sorted(wanted) if tag in LANGUAGES and weight < 0), LANGUAGES[0])
