"""The dispatcher thread, which makes every call into user code, and the bounded queue before it.

May be compiled by mypyc.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from .errors import ConnectionLost
from .events import Connected, Disconnected, Event, Failed, InfoEvent, InitialInfo, Overflowed
from .forks import current_process, has_left
from .handler import CTIHandler
from .sink import Snapshot
from .state import Picture
from .statistics import Counters
from .telling import Telling, count_raised, deliver

__all__ = ["Dispatcher"]

logger = logging.getLogger(__name__)

_BATCH = 128
_inside = threading.local()


class _Overflow:
    """Messages that found no room, until the dispatcher has caught up."""

    __slots__ = ("count", "missed", "received_at")

    def __init__(self) -> None:
        self.count = 0
        self.missed: set[str] = set()
        self.received_at = 0.0


class Dispatcher:
    """Takes events from the I/O thread and calls the handler's hooks in a thread of its own, in order.

    It serves one life of a client, from start to stop; picture and calls go on from life to life.

    Two pictures are kept. ``newest`` is what has arrived; it belongs to the I/O thread. ``picture`` is what has been
    told; it belongs to the dispatcher thread. When the queue is full, messages are dropped, and as soon as it has been
    worked off, the difference between the two is told.

    Args:
        handler: whose hooks are called.
        telling: finds what is to be told, and keeps the picture of what has been; used in the dispatcher thread alone.
        former: the dispatcher of the life before, closed; its last hook comes before the first of this one. None for
            none.
        max_events: how many events may wait.
        max_bytes: how many bytes of messages may wait.
        told: called after the full state of an element was told, in the dispatcher thread.
        counters: where to count; they go on from life to life.
        name: what the thread's name starts with.
    """

    def __init__(
        self,
        handler: CTIHandler,
        telling: Telling,
        former: Dispatcher | None,
        *,
        max_events: int,
        max_bytes: int,
        told: Callable[[], None],
        counters: Counters,
        name: str,
    ) -> None:
        self.newest: Picture = Picture() if former is None else former.newest._copy()
        self._handler = handler
        self._telling = telling
        self._former = former
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._told = told
        self._counters = counters
        self._queue: deque[tuple[Event, int]] = deque()
        self._bytes = 0
        self._overflow: _Overflow | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._in_session = False
        # When the thread came to the hooks for an event, by the monotonic clock; it is read once for each event.
        self._moved = 0.0
        self._is_telling = False
        self._pid = current_process()
        self._worker = threading.Thread(target=self._run, name=f"{name}-dispatcher", daemon=True)

    @property
    def waiting(self) -> int:
        """How many events wait to be told."""
        return len(self._queue)

    @property
    def waiting_bytes(self) -> int:
        """How many bytes of messages that is."""
        return self._bytes

    @property
    def delay(self) -> float:
        """How long the oldest event has waited, in seconds; 0 where none waits."""
        try:
            return max(0.0, time.time() - self._queue[0][0].received_at)
        except IndexError:
            return 0.0

    def trouble(self, patience: float) -> str | None:
        """What keeps the thread from telling events; None for nothing.

        Args:
            patience: for how many seconds the hooks for one event may run.
        """
        if self._worker.ident is not None and not self._worker.is_alive():
            return f"the thread {self._worker.name} has ended"
        if self._is_telling and (ran := time.monotonic() - self._moved) > patience:
            return (
                f"a hook has been running for {ran:.0f} s in the thread {self._worker.name}; {self.waiting} events wait"
            )
        return None

    # From the I/O thread

    def offer(self, event: Event, size: int) -> None:
        """As :meth:`offer_all`, for one event."""
        self.offer_all([(event, size)])

    def offer_all(self, events: list[tuple[Event, int]]) -> None:
        """Take events from the wire, in order; ignored after :meth:`close`.

        Args:
            events: what to tell; with each the bytes that it may take in memory, or 0 for an event of the connection
                itself, which is never dropped.
        """
        with self._changed:
            if self._closed:
                return
            idle = not self._queue
            for event, size in events:
                self._take(event, size)
            if idle and self._queue:
                self._changed.notify()

    def _take(self, event: Event, size: int) -> None:
        """Take one event into the newest picture and, if there is room, into the queue. The lock is held."""
        if isinstance(event, InfoEvent):
            self.newest._put(event)
        elif isinstance(event, InitialInfo):
            self.newest._take_initial(event)
        elif isinstance(event, Connected):
            self.newest._new_connection(event.session.number)
        elif isinstance(event, Snapshot):
            self.newest = event.picture._copy()
        if not size:
            self._in_session = isinstance(event, Connected) or (
                self._in_session and not isinstance(event, Disconnected)
            )
        else:
            full = len(self._queue) >= self._max_events or self._bytes + size > self._max_bytes
            if full and self._overflow is None:
                logger.warning("hooks are too slow: %d events wait, further ones are dropped", len(self._queue))
                self._overflow = _Overflow()
                self._counters.overflows += 1
                self._changed.notify()
            if self._overflow is not None:
                self._overflow.count += 1
                self._counters.dropped_messages += 1
                self._overflow.received_at = event.received_at
                if isinstance(event, InitialInfo):
                    self._overflow.missed.add(event.element)
                return
        self._queue.append((event, size))
        self._bytes += size

    # From any thread

    def start(self) -> None:
        """Start the thread; it begins when that of the former life has ended."""
        self._worker.start()

    def close(self, reason: ConnectionLost) -> None:
        """Let the thread end after the hook that runs now; of what waits, only events of the connection are told.

        Args:
            reason: what ``on_disconnect`` gets, if the I/O thread has not told the end of its connection itself.
        """
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._overflow = None
            self._queue = deque(
                (event, size) for event, size in self._queue if not size and not isinstance(event, Snapshot)
            )
            self._bytes = 0
            if self._in_session:
                self._queue.append((Disconnected(reason, received_at=time.time()), 0))
            self._changed.notify()

    def join(self, timeout: float) -> bool:
        """Wait for the thread's end, at most ``timeout`` seconds; True if it has ended, or cannot be waited for."""
        if self._worker.ident is None or self.is_inside_hook():
            return True
        self._worker.join(timeout)
        return not self._worker.is_alive()

    def is_inside_hook(self) -> bool:
        """True in a thread that calls hooks of this client, of whatever life."""
        return getattr(_inside, "telling", None) is self._telling

    # In the dispatcher thread

    def _run(self) -> None:
        _inside.telling = self._telling
        count_raised(self._counters.hook_raised)
        if self._former is not None:
            self._former._end()
            self._former = None
        logger.debug("dispatcher thread started")
        while True:
            batch, missed = self._next()
            self._moved = began = time.monotonic()
            since_epoch = time.time() - began
            self._is_telling = True
            for event, size in batch:
                if not (size and self._closed):
                    self._counters.waited(self._moved + since_epoch - event.received_at)
                    self._tell(event)
            for event in missed:
                self._tell(event)
            self._is_telling = False
            if not batch and not missed:
                break
            self._counters.hook_seconds += time.monotonic() - began
        logger.debug("dispatcher thread ended")

    def _end(self) -> None:
        """Wait until this life's last hook has returned."""
        if self._worker.ident is not None:
            self._worker.join()

    def _next(self) -> tuple[list[tuple[Event, int]], list[Event]]:
        """The next events; or, when all are told, what makes good for those that were dropped. Nothing at the end."""
        batch: list[tuple[Event, int]] = []
        with self._changed:
            while not (self._queue or self._overflow or self._closed):
                self._changed.wait()
            while self._queue and len(batch) < _BATCH:
                batch.append(self._queue.popleft())
                self._bytes -= batch[-1][1]
            if batch or self._overflow is None:
                return batch, []
            overflow, self._overflow = self._overflow, None
            at = overflow.received_at
            missed = Snapshot(self.newest._copy(), overflow.missed, joining=False, received_at=at)
            return batch, [Overflowed(overflow.count, received_at=at), missed]

    def _tell(self, event: Event) -> None:
        """Call the hooks for an event from the queue; nothing that they raise, not even SystemExit, ends the thread."""
        droppable = isinstance(event, Snapshot)
        try:
            for each in self._telling.of(event):
                if droppable and self._closed:
                    break
                self._counters.told(each)
                deliver(self._handler, each, guard=BaseException)
                if has_left(self._pid):
                    logger.error("a process forked inside a hook ends with the hook: end it there, with os._exit()")
                    raise SystemExit  # ends this thread, the only one here; the parent's goes on
                if isinstance(each, InitialInfo):
                    self._told()
                self._moved = time.monotonic()
            if droppable:  # only now the picture says so, too
                self._told()
        except Exception as error:
            self._counters.bugs += 1
            logger.exception("an event could not be told; please report this as a bug of basix_cti")
            deliver(self._handler, Failed(error, received_at=time.time()), guard=BaseException)
            self._moved = time.monotonic()
