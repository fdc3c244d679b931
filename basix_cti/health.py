"""``/healthz``, ``/readyz`` and ``/metrics`` of a client, for those who watch over it.

:meth:`Probes.answer` gives status and body, and knows nothing of the server that asks it; :class:`ProbeServer` is a
small server of its own, for a program that has none. Both need the standard library alone, but for ``/metrics``, which
needs the extra ``prometheus``.

===============  ======================================================================================================
path             is 200 when
===============  ======================================================================================================
``/healthz``     the client's threads are alive and move, with a connection or without. 503 means: start it anew
``/readyz``      it is logged in, and the channels that the PBX told on this connection are known. 503 means: wait
``/metrics``     always; the metrics of :mod:`basix_cti.metrics`, and of the process. 501 without the extra
===============  ======================================================================================================

No name, number or secret is in what they tell: the text with a 503 says what is wrong, and where the PBX is.
"""

from __future__ import annotations

import logging
import socket
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import TYPE_CHECKING

from .errors import ForkedError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from .metrics import Watched

__all__ = ["Answer", "ProbeServer", "Probes", "listening_address"]

logger = logging.getLogger(__name__)

_TEXT = "text/plain; charset=utf-8"
_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send.

    Attributes:
        status: of HTTP.
        content_type: the header ``Content-Type``.
        body: the content.
    """

    status: int
    content_type: str
    body: bytes


class Probes:
    """The answers for one client. May be asked from any thread, also before the client is started.

    Args:
        client: a :class:`~basix_cti.CTIClient`, or what has its interface.
        registry: whose metrics ``/metrics`` tells. None for those of this client and of the process, and no others.
        patience: how many seconds a thread of the client may stand still where it should move.
    """

    def __init__(self, client: Watched, *, registry: CollectorRegistry | None = None, patience: float = 30.0) -> None:
        self._client = client
        self._registry = _registry_of(client) if registry is None else registry
        self._patience = patience

    def answer(self, path: str, accept: str = "") -> Answer | None:
        """What to send for a GET or HEAD of a path.

        Args:
            path: of the URL; a query behind ``?`` is ignored.
            accept: the request's header ``Accept``, by which the format of metrics is chosen.

        Returns:
            None if the path is none of the three.
        """
        path = path.partition("?")[0]
        try:
            if path == "/healthz":
                return _verdict(self._trouble())
            if path == "/readyz":
                return _verdict(self._not_ready())
        except ForkedError as error:
            return _verdict(str(error))
        return self._metrics(accept) if path == "/metrics" else None

    def _trouble(self) -> str | None:
        return self._client.trouble(self._patience)

    def _not_ready(self) -> str | None:
        client = self._client
        if client.wait_ready(0):
            return None
        if client.connected:
            return "connected, but the PBX has not told its channels yet"
        error = client.last_error
        return "no connection to the PBX" + (f"; the last error: {error}" if error is not None else "")

    def _metrics(self, accept: str) -> Answer:
        if self._registry is None:
            return Answer(501, _TEXT, b"metrics need an extra: pip install 'basix_cti[prometheus]'\n")
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        return Answer(200, content_type, encode(self._registry))


def _verdict(problem: str | None) -> Answer:
    return Answer(200, _TEXT, b"ok\n") if problem is None else Answer(503, _TEXT, f"{problem}\n".encode())


def _registry_of(client: Watched) -> CollectorRegistry | None:
    """A registry of this client and of the process; None without the extra."""
    try:
        from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
    except ImportError:
        return None
    from .metrics import register

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    register(client, registry=registry)
    return registry


def listening_address(text: str) -> tuple[str, int]:
    """The host and the port in ``HOST:PORT``, or ``[HOST]:PORT`` for IPv6.

    Raises:
        ValueError: it is not of this form.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{text!r} is not of the form HOST:PORT")
    return host.strip("[]"), int(port)


class ProbeServer:
    """Serves the probes over HTTP, in a thread of its own, from ``start()`` to ``stop()``; or as a context manager.

    Args:
        probes: what to answer.
        host: the address to listen on; ``127.0.0.1`` is seen by this machine alone.
        port: 0 for a free one.

    Raises:
        OSError: the address cannot be listened on.
    """

    def __init__(self, probes: Probes, host: str = "127.0.0.1", port: int = 0) -> None:
        handler = type("_Handler", (_Handler,), {"probes": probes})
        self._server = (_Server6 if ":" in host else _Server)((host, port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="basix-cti-probes", daemon=True)

    @property
    def url(self) -> str:
        """Where it listens, such as ``http://127.0.0.1:9464``."""
        host, port = self._server.server_address[:2]
        name = host if isinstance(host, str) else host.decode()
        return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Listen no more; returns when the thread has ended. May be called more than once."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> ProbeServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    def server_bind(self) -> None:
        """Without a look-up of the address's name, which nobody wants to know, and which may take long."""
        TCPServer.server_bind(self)

    def handle_error(self, request: object, client_address: object) -> None:
        """Log what kept a request from its answer; a peer that breaks off is no news."""
        error = sys.exc_info()[1]
        logger.log(
            logging.DEBUG if isinstance(error, OSError) else logging.ERROR, "no answer was given", exc_info=error
        )


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    probes: Probes
    timeout = _TIMEOUT  # for a peer that says nothing

    def do_GET(self) -> None:
        self._send(self.probes.answer(self.path, self.headers.get("Accept", "")))

    do_HEAD = do_GET

    def _send(self, answer: Answer | None) -> None:
        if answer is None:
            answer = Answer(404, _TEXT, b"there are /healthz, /readyz and /metrics\n")
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def version_string(self) -> str:
        return "basix_cti"

    def log_message(self, format: str, *args: object) -> None:
        logger.debug("%s: %s", self.address_string(), format % args)
