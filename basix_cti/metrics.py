"""Metrics of clients for Prometheus (extra ``prometheus``)::

    from basix_cti import metrics

    metrics.register(client)

From then on they are in what your site tells Prometheus. Nothing is counted here: a scrape asks the client for its
``statistics``, ``state`` and ``calls``, so a client that is registered costs no more than one that is not.

In a process that was forked from the one that started the client nothing is told of it, because it is not there.
"""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

try:
    from prometheus_client import REGISTRY, CollectorRegistry
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError:
    raise ImportError(
        "metrics need the library prometheus_client, which is not installed: pip install 'basix_cti[prometheus]'"
    ) from None

from .calls import Call
from .errors import CTIError, ForkedError
from .state import Picture
from .statistics import LAG_BOUNDS, Statistics
from .version import __version__

__all__ = ["DESCRIPTIONS", "Description", "Watched", "register", "unregister"]

_MAX_ELEMENTS = 100


class Watched(Protocol):
    """What a client has to offer to be watched; a :class:`~basix_cti.CTIClient` does."""

    @property
    def connected(self) -> bool:
        """True while a connection is up."""

    @property
    def last_error(self) -> CTIError | None:
        """The latest failure to connect or end of a connection."""

    @property
    def statistics(self) -> Statistics:
        """What it counted."""

    @property
    def state(self) -> Picture:
        """The picture."""

    @property
    def calls(self) -> list[Call]:
        """The calls that are up."""

    @property
    def tracks_calls(self) -> bool:
        """False if calls are not known."""

    def wait_ready(self, timeout: float | None = ...) -> bool:
        """True if a connection is up and the channels are known."""

    def trouble(self, patience: float = ...) -> str | None:
        """What keeps its threads from their work."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """A client at the moment of a scrape."""

    client: Watched
    now: Statistics


_Values = Iterable[tuple[Sequence[str], float]]


@dataclass(frozen=True, slots=True)
class Description:
    """One metric.

    Attributes:
        name: as Prometheus has it, without ``_total``.
        kind: ``counter``, ``gauge`` or ``histogram``.
        help: what it tells, in one sentence.
        labels: their names, behind ``client``, which each has.
    """

    name: str
    kind: str
    help: str
    labels: tuple[str, ...]
    _values: Callable[[_Sample], _Values]

    def _family(self) -> CounterMetricFamily | GaugeMetricFamily:
        labels = ("client", *self.labels)
        family = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        return family(self.name, self.help, labels=labels)


def _one(value: Callable[[Statistics], float | None]) -> Callable[[_Sample], _Values]:
    """A number without further labels; None for none."""

    def values(sample: _Sample) -> _Values:
        number = value(sample.now)
        return [] if number is None else [((), float(number))]

    return values


def _by(counts: Callable[[Statistics], dict[str, int]]) -> Callable[[_Sample], _Values]:
    """A number for each value of one label."""
    return lambda sample: [((label,), float(count)) for label, count in counts(sample.now).items()]


def _objects(sample: _Sample) -> _Values:
    picture = sample.client.state
    return [((element,), float(len(picture.items(element)))) for element in picture.elements()[:_MAX_ELEMENTS]]


def _calls(sample: _Sample) -> _Values:
    if not sample.client.tracks_calls:
        return []
    states = Counter({"ringing": 0, "talking": 0, "parked": 0})  # so that these do not come and go
    states.update(call.state for call in sample.client.calls)
    return [((state,), float(count)) for state, count in states.items()]


DESCRIPTIONS = (
    Description(
        "basix_cti_version",
        "gauge",
        "1, with the version of the library.",
        ("version",),
        lambda sample: [((__version__,), 1.0)],
    ),
    Description(
        "basix_cti_connected", "gauge", "1 while a connection to the PBX is up.", (), _one(lambda now: now.connected)
    ),
    Description(
        "basix_cti_ready",
        "gauge",
        "1 while connected, and the PBX's channels are known.",
        (),
        _one(lambda now: now.ready),
    ),
    Description(
        "basix_cti_working",
        "gauge",
        "1 while the client's threads are alive and move, with a connection or without.",
        (),
        lambda sample: [((), float(sample.client.trouble() is None))],
    ),
    Description(
        "basix_cti_connected_at_seconds",
        "gauge",
        "When the present connection was made, in seconds since the epoch.",
        (),
        _one(lambda now: now.connected_at),
    ),
    Description(
        "basix_cti_silence_seconds",
        "gauge",
        "Age of the last byte received.",
        (),
        _one(lambda now: now.seconds_since_received),
    ),
    Description(
        "basix_cti_connections", "counter", "Connections that were made.", (), _one(lambda now: now.connections)
    ),
    Description(
        "basix_cti_reconnections",
        "counter",
        "Connections that were made after another one.",
        (),
        _one(lambda now: now.reconnections),
    ),
    Description(
        "basix_cti_disconnections",
        "counter",
        "Connections that ended, by the class of the reason.",
        ("reason",),
        _by(lambda now: now.disconnections),
    ),
    Description(
        "basix_cti_errors",
        "counter",
        "Failed attempts to connect, bad frames and hooks that raised, by the class of the error.",
        ("kind",),
        _by(lambda now: now.errors),
    ),
    Description("basix_cti_messages", "counter", "Messages that arrived.", (), _one(lambda now: now.messages)),
    Description("basix_cti_received_bytes", "counter", "Bytes of these.", (), _one(lambda now: now.received_bytes)),
    Description(
        "basix_cti_events",
        "counter",
        "Events that were told to the handler, by kind.",
        ("kind", "element", "event"),
        lambda sample: [(kind, float(count)) for kind, count in sample.now.events.items()],
    ),
    Description(
        "basix_cti_synthetic_events",
        "counter",
        "Events among them that were found by comparing pictures, behind a gap.",
        (),
        _one(lambda now: now.synthetic_events),
    ),
    Description(
        "basix_cti_gaps",
        "counter",
        "Gaps in what the PBX tells: by reconnection, or by an overflow of the queue.",
        ("cause",),
        _by(lambda now: {"reconnection": now.reconnections, "overflow": now.overflows}),
    ),
    Description(
        "basix_cti_dropped_messages",
        "counter",
        "Messages that found no room in the queue.",
        (),
        _one(lambda now: now.dropped_messages),
    ),
    Description(
        "basix_cti_queued_events", "gauge", "Events that wait to be told.", (), _one(lambda now: now.queued_events)
    ),
    Description(
        "basix_cti_queued_events_limit", "gauge", "How many may wait.", (), _one(lambda now: now.max_queued_events)
    ),
    Description("basix_cti_queued_bytes", "gauge", "Bytes of what waits.", (), _one(lambda now: now.queued_bytes)),
    Description(
        "basix_cti_queued_bytes_limit", "gauge", "How many bytes may wait.", (), _one(lambda now: now.max_queued_bytes)
    ),
    Description(
        "basix_cti_queue_delay_seconds",
        "gauge",
        "How long the oldest event in the queue has waited.",
        (),
        _one(lambda now: now.queue_delay),
    ),
    Description(
        "basix_cti_lag_seconds", "histogram", "From the arrival of a message to its hooks.", (), lambda sample: ()
    ),
    Description(
        "basix_cti_hook_seconds",
        "counter",
        "Time for which the dispatcher thread was at work, hooks included.",
        (),
        _one(lambda now: now.hook_seconds),
    ),
    Description("basix_cti_objects", "gauge", "Objects in the picture, by element.", ("element",), _objects),
    Description("basix_cti_calls", "gauge", "Calls that are up, by state.", ("state",), _calls),
)
"""All metrics, in the order in which they are told."""


class _Clients(Collector):
    """The clients of one registry: there a name of a metric can belong to one collector alone."""

    def __init__(self) -> None:
        self.by_name: dict[str, Watched] = {}

    def describe(self) -> Iterator[Metric]:
        for description in DESCRIPTIONS:
            if description.kind == "histogram":
                yield HistogramMetricFamily(description.name, description.help)
            else:
                yield description._family()

    def collect(self) -> Iterator[Metric]:
        samples = {}
        for name, client in list(self.by_name.items()):
            try:
                samples[name] = _Sample(client, client.statistics)
            except ForkedError:
                continue
        for description in DESCRIPTIONS:
            if description.kind == "histogram":
                yield self._lag(description, samples)
                continue
            family = description._family()
            for name, sample in samples.items():
                for labels, value in description._values(sample):
                    family.add_metric([name, *labels], value)
            yield family

    def _lag(self, description: Description, samples: dict[str, _Sample]) -> HistogramMetricFamily:
        family = HistogramMetricFamily(description.name, description.help, labels=["client"])
        for name, sample in samples.items():
            lag = sample.now.lag
            bounds = [*map(str, LAG_BOUNDS), "+Inf"]
            buckets = list(zip(bounds, map(float, accumulate(lag.counts)), strict=True))
            family.add_metric([name], buckets, lag.seconds)
        return family


_lock = threading.Lock()
_collectors: weakref.WeakKeyDictionary[CollectorRegistry, _Clients] = weakref.WeakKeyDictionary()


def register(client: Watched, name: str = "default", *, registry: CollectorRegistry = REGISTRY) -> None:
    """Have a client measured, until :func:`unregister`. May be called from any thread, before ``start()`` or after it.

    Args:
        client: a :class:`~basix_cti.CTIClient`, or what has its interface.
        name: what its label ``client`` says; tells several clients of one process apart.
        registry: where to register; if not given, prometheus_client's own, which its exporters use.

    Raises:
        ValueError: there is another client of that name.
    """
    with _lock:
        collector = _collectors.get(registry)
        if collector is None:
            collector = _Clients()
            registry.register(collector)
            _collectors[registry] = collector
        if collector.by_name.get(name, client) is not client:
            raise ValueError(f"another client is registered as {name!r}; give this one a name of its own")
        collector.by_name[name] = client


def unregister(client: Watched, *, registry: CollectorRegistry = REGISTRY) -> None:
    """Have a client measured no more; does nothing for one that is not."""
    with _lock:
        collector = _collectors.get(registry)
        if collector is None:
            return
        for name in [name for name, each in collector.by_name.items() if each is client]:
            del collector.by_name[name]
        if not collector.by_name:
            registry.unregister(collector)
            del _collectors[registry]
