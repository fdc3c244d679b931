"""One contender, in a process of its own: ``python benchmarks/contender.py NAME ARGUMENT…`` prints its figure as JSON.

Those that receive take a URL and how many events will come, and print events a second from the first callback to the
last. Those that decode take a file of frames, and print microseconds an event.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from framefile import frames_in

from basix_cti import ApiToken, Channel, CTIClient, CTIHandler, Element, MessageParser, bert, compiled


class Count:
    """Counts events, and takes the time from the first to the last."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.count = count
        self.first = 0.0
        self.last = 0.0
        self.done = threading.Event()

    def one(self) -> None:
        """One event has come."""
        if self.left == self.count:
            self.first = time.perf_counter()
        self.left -= 1
        if not self.left:
            self.last = time.perf_counter()
            self.done.set()

    def rate(self) -> float:
        """Events a second."""
        return (self.count - 1) / (self.last - self.first)


class Quiet(CTIHandler):
    """No hooks."""


class Counter(CTIHandler):
    """Counts channel events as a user's hook would get them."""

    def __init__(self, count: Count) -> None:
        self.one = count.one

    def on_chan_info(self, channel: Channel) -> None:
        self.one()


class Late(CTIHandler):
    """How long after their sending events reach the hook, in microseconds."""

    def __init__(self, count: Count) -> None:
        self.count = count
        self.delays: list[int] = []

    def on_info_event(self, element: str, item: Element, event: str) -> None:
        assert isinstance(item, Channel)
        assert item.offer_timestamp is not None
        self.delays.append(time.monotonic_ns() // 1000 - item.offer_timestamp)
        self.count.one()


def client_of(url: str, handler: CTIHandler, track_calls: bool = True) -> CTIClient:
    """A client whose queue takes everything: what is measured is speed, not how an overflow is made good."""
    auth = ApiToken("bench", "token")
    return CTIClient(
        url,
        handler,
        auth=auth,
        app_name="bench",
        max_queued_events=10**9,
        max_queued_bytes=10**12,
        track_calls=track_calls,
    )


def wait(count: Count, busy: bool) -> None:
    """Until all has come; meanwhile the main thread sleeps, or computes without end as a web worker may."""
    if not busy:
        count.done.wait()
    number = 0
    while not count.done.is_set():
        for _ in range(1000):
            number = (number * 31 + 7) % 1000003


def ours(url: str, count: str, busy: str = "", track_calls: bool = True) -> float:
    """The whole library, from the socket to a hook."""
    counted = Count(int(count))
    with client_of(url, Counter(counted), track_calls):
        wait(counted, bool(busy))
    return counted.rate()


def ours_without_calls(url: str, count: str, busy: str = "") -> float:
    """As :func:`ours`, with ``track_calls=False``."""
    return ours(url, count, busy, False)


def latency(url: str, count: str) -> list[float]:
    """Median and 99th percentile of the delay from the server's send to the hook, in microseconds."""
    counted = Count(int(count))
    handler = Late(counted)
    with client_of(url, handler):
        counted.done.wait()
    delays = sorted(handler.delays)
    return [delays[len(delays) // 2], delays[len(delays) * 99 // 100]]


def stock(url: str, count: str, busy: str = "", decode: Callable[[bytes], object] | None = None) -> float:
    """websocket-client's WebSocketApp, without decoding or with another library's."""
    import websocket

    counted = Count(int(count) + 2)

    def on_message(app: Any, frame: bytes) -> None:
        if decode is not None:
            decode(frame)
        counted.one()

    app = websocket.WebSocketApp(url, on_message=on_message)
    thread = threading.Thread(target=app.run_forever, daemon=True)
    thread.start()
    wait(counted, bool(busy))
    app.close()
    return counted.rate()


def peer(name: str) -> Any:
    """Another library, of which the type checker need not know."""
    return importlib.import_module(name)


def stock_erlang_py(url: str, count: str, busy: str = "") -> float:
    """WebSocketApp with erlang_py."""
    return stock(url, count, busy, peer("erlang").binary_to_term)


def latency_of_stock(url: str, count: str) -> list[float]:
    """As :func:`latency`; decodes with our decoder, since only with some decoder can it see the time of sending."""
    delays: list[int] = []

    def decode(frame: bytes) -> None:
        term = bert.decode(frame)
        if len(term) == 4:
            delays.append(time.monotonic_ns() // 1000 - term[2][6])

    stock(url, count, "", decode)
    delays.sort()
    return [delays[len(delays) // 2], delays[len(delays) * 99 // 100]]


def _each(path: str, decode: Callable[[bytes], object]) -> float:
    frames = frames_in(path)[2:]
    for frame in frames[:1000]:
        decode(frame)
    start = time.perf_counter()
    for frame in frames:
        decode(frame)
    return (time.perf_counter() - start) / len(frames) * 1e6


def decode_ours(path: str) -> float:
    """Our decoder alone."""
    return _each(path, bert.decode)


def decode_erlang_py(path: str) -> float:
    """PyPI's erlang_py."""
    return _each(path, peer("erlang").binary_to_term)


def decode_erlastic(path: str) -> float:
    """PyPI's erlastic."""
    return _each(path, peer("erlastic").decode)


def decode_bert(path: str) -> float:
    """PyPI's bert."""
    return _each(path, peer("bert").BERTDecoder().decode)


def elements(path: str) -> float:
    """Decoding and elements, without state and hooks."""
    from basix_cti.protocol import Protocol

    protocol = Protocol()
    for frame in frames_in(path)[:2]:
        protocol.receive(frame, 0.0)
    return _each(path, lambda frame: protocol.receive(frame, 0.0))


def login(path: str) -> float:
    """A full state: decoding, elements and the picture, in milliseconds."""
    frames = frames_in(path)
    parser = MessageParser(Quiet())
    gc.collect()
    start = time.perf_counter()
    for frame in frames:
        parser.handle_message(frame)
    return (time.perf_counter() - start) * 1e3


def memory(path: str) -> float:
    """What the picture of a full state takes, in MB."""
    frames = frames_in(path)
    tracemalloc.start()
    parser = MessageParser(Quiet())
    for frame in frames:
        parser.handle_message(frame)
    gc.collect()
    assert parser.state.users
    return tracemalloc.get_traced_memory()[0] / 1e6


def growth(path: str) -> list[float]:
    """Microseconds an event for 1, 10 and 100 times as many."""
    frames = frames_in(path)
    figures = []
    for times in (1, 10, 100):
        parser = MessageParser(Quiet())
        events = frames[2:1002]
        for frame in frames[:2]:
            parser.handle_message(frame)
        start = time.perf_counter()
        for _ in range(times):
            for frame in events:
                parser.handle_message(frame)
        figures.append((time.perf_counter() - start) / (times * len(events)) * 1e6)
    return figures


CONTENDERS: dict[str, Callable[..., float | list[float]]] = {
    each.__name__: each
    for each in (
        ours,
        ours_without_calls,
        stock,
        stock_erlang_py,
        latency,
        latency_of_stock,
        decode_ours,
        decode_erlang_py,
        decode_erlastic,
        decode_bert,
        elements,
        login,
        memory,
        growth,
    )
}

sys.stdout.write(json.dumps({"figure": CONTENDERS[sys.argv[1]](*sys.argv[2:]), "compiled": compiled}) + "\n")
