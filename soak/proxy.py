"""A TCP proxy on loopback that does to connections what networks do. Called from its event loop alone."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter
from collections.abc import Callable

__all__ = ["Proxy"]

_CHUNK = 64 * 1024
_LINGER_ZERO = struct.pack("ii", 1, 0)
_SPLIT_BYTES = 20_000
_PIECES = (1, 2, 7, 50, 400)


class _Link:
    """One connection through the proxy: the client's side and the server's."""

    def __init__(self, rng: random.Random, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._rng = rng
        self._writers = (client, server)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._to_split = 0
        self._cut: Callable[[], None] | None = None

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one direction until an end of it."""
        while data := await reader.read(_CHUNK):
            await self._flowing.wait()
            if writer.transport.is_closing():
                return
            if self._cut is not None:
                # The end comes anywhere, most often inside a frame.
                writer.write(data[: self._rng.randrange(len(data))])
                self._cut()
                return
            while self._to_split > 0 and data:
                piece, data = _parted(data, self._rng.choice(_PIECES))
                self._to_split -= len(piece)
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            writer.write(data)
            await writer.drain()

    def close(self) -> None:
        """End both sides with a FIN."""
        for writer in self._writers:
            writer.close()
        self._flowing.set()

    def reset(self) -> None:
        """End both sides with a RST."""
        for writer in self._writers:
            raw = writer.get_extra_info("socket")
            if raw is not None and raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            writer.transport.abort()
        self._flowing.set()

    def cut_soon(self, *, reset: bool) -> None:
        """End both sides in the midst of the next data."""
        self._cut = self.reset if reset else self.close

    def split(self) -> None:
        """Carry the next bytes in small pieces."""
        self._to_split = _SPLIT_BYTES

    def halt(self) -> None:
        """Carry nothing, and say nothing of it."""
        self._flowing.clear()

    def go_on(self) -> None:
        self._flowing.set()


def _parted(data: bytes, size: int) -> tuple[bytes, bytes]:
    return data[:size], data[size:]


class Proxy:
    """Listens on a free port of 127.0.0.1, and passes on to another one.

    Args:
        port: where it passes on to.
        seed: which faults come when.

    Attributes:
        port: where it listens.
        faults: how often each fault was done.
    """

    def __init__(self, port: int, seed: int) -> None:
        self.port = 0
        self.faults: Counter[str] = Counter()
        self._target = port
        self._rng = random.Random(f"faults of {seed}")
        self._links: set[_Link] = set()
        self._visits: set[asyncio.Task[None]] = set()
        self._refusals = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._visit, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = asyncio.create_task(self._accept(reader, writer))
        self._visits.add(visit)
        visit.add_done_callback(self._visits.discard)

    async def _accept(self, client_reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        if self._refusals > 0:
            self._refusals -= 1
            client.close()
            return
        try:
            server_reader, server = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            client.close()
            return
        link = _Link(self._rng, client, server)
        self._links.add(link)
        pumps = [
            asyncio.create_task(link.pump(client_reader, server)),
            asyncio.create_task(link.pump(server_reader, client)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        link.close()
        _, late = await asyncio.wait(pumps, timeout=1.0)
        for pump in late:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        self._links.discard(link)

    async def trouble(self, mean: float, patience: float) -> None:
        """Do faults at random, one after the other, until cancelled; then all that stands still has been ended.

        Args:
            mean: seconds between two faults, on average.
            patience: after how many seconds the client gives a silent connection up.
        """
        faults = {
            "cut": lambda link: link.cut_soon(reset=False),
            "reset": lambda link: link.cut_soon(reset=True),
            "split": lambda link: link.split(),
            "stall": lambda link: link.halt(),
            "silence": lambda link: link.halt(),
            "refusal": lambda link: link.close(),
        }
        try:
            while True:
                await asyncio.sleep(self._rng.expovariate(1 / mean))
                links = list(self._links)
                if not links:
                    continue
                fault = self._rng.choice(list(faults))
                self.faults[fault] += 1
                if fault == "refusal":
                    self._refusals = self._rng.randint(1, 3)
                for link in links:
                    faults[fault](link)
                if fault == "stall":
                    await asyncio.sleep(self._rng.uniform(0.05, patience / 2))
                    for link in links:
                        link.go_on()
                elif fault == "silence":
                    await asyncio.sleep(patience * 1.2)
                    for link in links:
                        link.reset()
        finally:
            self._refusals = 0
            for link in self._links:
                link.reset()

    async def stop(self) -> None:
        """End all connections, and listen no more."""
        if self._server is not None:
            self._server.close()
        for link in self._links:
            link.reset()
        if self._visits:
            await asyncio.wait(self._visits)
