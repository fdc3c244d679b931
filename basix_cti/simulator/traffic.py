"""Believable traffic: many calls at once, each a small story, played by a schedule that follows from a seed."""

from __future__ import annotations

import heapq
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

from ..errors import CommandError
from .calls import Call
from .model import Group, User

if TYPE_CHECKING:
    from .simulator import Simulator

__all__ = ["Traffic"]

_log = logging.getLogger(__name__)

_DEBT = 1.0
_BACKLOG = 1024 * 1024
_PATIENCE = 5.0
_NAP = 0.002

Story: TypeAlias = Iterator[float]
"""Does one thing between two yields, and yields the seconds until the next."""


class Traffic:
    """Plays calls on a simulator.

    Seconds and calls per minute are those of the schedule; ``speed`` of them pass in one real second. The same seed on
    a simulator of the same seed tells the same story; with a fixed clock in the simulator too, the same bytes.

    Args:
        sim: where the calls take place. It need not be started.
        seed: what the story follows from; None takes the simulator's.
        calls_per_minute: how many new calls begin in a minute of the schedule, on average.
        speed: how much faster than real time the schedule is played by :meth:`start`. Any rate is possible, up to
            what the machine can make and the clients can take: rather than fill their queues it falls behind.

    Raises:
        ValueError: ``calls_per_minute`` or ``speed`` is not positive.
    """

    def __init__(
        self,
        sim: Simulator,
        *,
        seed: int | str | None = None,
        calls_per_minute: float = 6.0,
        speed: float = 1.0,
    ) -> None:
        if not calls_per_minute > 0 or not speed > 0:
            raise ValueError("calls_per_minute and speed must be positive")
        self._sim = sim
        self._pbx = sim._pbx
        self._board = sim._board
        self._speed = speed
        self._gap = 60.0 / calls_per_minute
        self._random = random.Random(f"traffic of {sim.seed if seed is None else seed}")
        self._now = 0.0
        self._actions = 0
        self._order = 0
        self._agenda: list[tuple[float, int, Story]] = []
        self._plan(self._random.expovariate(1 / self._gap), self._arrivals())
        self._stories: tuple[tuple[int, Callable[[], Story]], ...] = (
            (30, self._to_user),
            (18, self._to_group),
            (14, self._outgoing),
            (8, self._internal),
            (8, self._parked),
            (7, self._transferred),
            (3, self._consulted),
            (5, self._to_voicemail),
            (4, self._refused),
            (5, self._abandoned),
            (5, self._through_menu),
            (2, self._unanswered),
            (1, self._to_conference),
            (2, self._away),
            (1, self._reads_voicemail),
        )
        self._patient = True
        self._playing = threading.Lock()
        self._life = threading.Lock()
        self._thread: threading.Thread | None = None
        self._end = threading.Event()

    def __repr__(self) -> str:
        return f"<Traffic {self._actions} actions, {'running' if self.running else 'not running'}>"

    @property
    def actions(self) -> int:
        """How many actions have been played."""
        return self._actions

    @property
    def next_second(self) -> float:
        """The second of the schedule in which the next action is due."""
        return self._agenda[0][0]

    @property
    def running(self) -> bool:
        """Whether the thread plays."""
        return self._thread is not None

    def start(self) -> Traffic:
        """Play in a thread of its own, from where it was left. Does nothing when it plays already."""
        with self._life:
            if self._thread is None:
                self._end.clear()
                self._thread = threading.Thread(target=self._run, name="basix-cti-traffic", daemon=True)
                self._thread.start()
        return self

    def stop(self) -> None:
        """Stop playing and wait for the thread; the calls stay as they are. Does nothing when it is stopped."""
        with self._life:
            self._end.set()
            if self._thread is not None:
                self._thread.join()
                self._thread = None

    def step(self, count: int = 1) -> int:
        """Play the next actions at once, without waiting, in the calling thread; how many there were.

        Raises:
            RuntimeError: the thread plays.
        """
        if self.running:
            raise RuntimeError("the traffic plays in its thread: stop() it before you step()")
        for _ in range(count):
            self._play_next()
        return count

    def _run(self) -> None:
        start, origin = time.monotonic(), self._now
        while not self._end.is_set():
            due = start + (self._agenda[0][0] - origin) / self._speed
            late = time.monotonic() - due
            if late > _DEBT:
                start += late
            if late < 0 and self._end.wait(-late):
                return
            self._give_way()
            self._play_next()

    def _give_way(self) -> None:
        """Let clients catch up that cannot take what this machine can make, but not those that take nothing."""
        if self._sim._server.backlog <= _BACKLOG:
            self._patient = True
            return
        deadline = time.monotonic() + _PATIENCE
        while self._patient and self._sim._server.backlog > _BACKLOG and not self._end.wait(_NAP):
            self._patient = time.monotonic() < deadline

    def _play_next(self) -> None:
        with self._playing:
            self._now, _, story = heapq.heappop(self._agenda)
            self._actions += 1
            try:
                with self._pbx.lock:
                    seconds = next(story)
            except StopIteration:
                return
            except CommandError:
                # Somebody else hung up, parked or transferred the call in the meantime.
                return
            except Exception:
                _log.exception("a story of the traffic came to a bad end")
                return
            self._plan(seconds, story)

    def _plan(self, seconds: float, story: Story) -> None:
        self._order += 1
        heapq.heappush(self._agenda, (self._now + seconds, self._order, story))

    # --- stories ----------------------------------------------------------------------------------------------------

    def _arrivals(self) -> Story:
        weights = [weight for weight, _ in self._stories]
        while True:
            story = self._random.choices(self._stories, weights)[0][1]
            self._plan(0.0, story())
            yield self._random.expovariate(1 / self._gap)

    def _to_user(self) -> Story:
        call = self._from_outside(self._user())
        yield self._ringing()
        colleague = self._user().name if self._random.random() < 0.1 else None
        yield from self._talk_and_end(call.answer(colleague))

    def _to_group(self) -> Story:
        call = self._from_outside(self._group())
        yield self._ringing()
        yield from self._talk_and_end(self._answered_by_somebody(call))

    def _outgoing(self) -> Story:
        call = self._board.dial(self._user().name, self._outside_number())
        yield self._ringing()
        fate = self._random.random()
        if fate < 0.8:
            yield from self._talk_and_end(call.answer())
        elif fate < 0.87:
            call.busy()
        elif fate < 0.92:
            call.hangup("UNALLOCATED_NUMBER", "send_refuse")
        else:
            call.no_answer()

    def _internal(self) -> Story:
        caller = self._user()
        call = self._board.call(caller.name, self._user(caller).name)
        yield self._ringing()
        yield from self._talk_and_end(call.answer())

    def _parked(self) -> Story:
        call = self._from_outside(self._user())
        yield self._ringing()
        call.answer()
        yield self._talking()
        if self._random.random() < 0.15:
            call.park(timeout=20.0)
            yield 50.0  # nobody comes for it: it rings back at the parker, and then ends
        else:
            call.park()
            yield self._random.uniform(10, 60)
        if self._random.random() < 0.2:
            call.abandon()
            return
        by = None if self._random.random() < 0.4 else self._user().name
        yield from self._talk_and_end(call.unpark(by))

    def _transferred(self) -> Story:
        call = self._from_outside(self._user())
        yield self._ringing()
        call.answer()
        yield self._talking()
        fate = self._random.random()
        call.transfer(self._user().name if fate < 0.6 else self._group().name if fate < 0.9 else self._outside_number())
        yield self._ringing()
        yield from self._talk_and_end(self._answered_by_somebody(call))

    def _consulted(self) -> Story:
        user = self._user()
        call = self._from_outside(user)
        yield self._ringing()
        call.answer()
        yield self._talking()
        consultation = self._board.call(user.name, self._user(user).name)
        yield self._ringing()
        consultation.answer()
        yield self._random.uniform(3, 20)
        yield from self._talk_and_end(call.put_through(consultation))

    def _to_conference(self) -> Story:
        call = self._from_outside(self._group())
        yield self._ringing()
        call.conference()
        yield self._talking()
        call.hangup()

    def _to_voicemail(self) -> Story:
        call = self._from_outside(self._user() if self._random.random() < 0.7 else self._group())
        yield self._random.uniform(15, 25)
        call.voicemail(leave_message=False)
        yield self._random.uniform(5, 40)
        if self._random.random() < 0.8:
            call.leave_message()
            yield 1.0
        call.hangup()

    def _refused(self) -> Story:
        call = self._from_outside(self._user())
        yield self._random.uniform(0.2, 3)
        call.busy()

    def _abandoned(self) -> Story:
        call = self._from_outside(self._user() if self._random.random() < 0.5 else self._group())
        yield self._random.uniform(3, 40)
        call.abandon()

    def _through_menu(self) -> Story:
        call = self._from_outside(self._group()).xml_ivr()
        yield self._random.uniform(5, 30)
        call.transfer(self._group().name)
        yield self._ringing()
        yield from self._talk_and_end(self._answered_by_somebody(call))

    def _unanswered(self) -> Story:
        call = self._from_outside(self._group() if self._random.random() < 0.5 else self._user())
        while call.state == "ringing":
            yield 20.0
            call.no_answer()

    def _away(self) -> Story:
        user = self._user()
        self._sim.update_user(user.name, do_not_disturb_status=1)
        yield self._random.uniform(60, 600)
        self._sim.update_user(user.name, do_not_disturb_status=0)

    def _reads_voicemail(self) -> Story:
        users = [user for user in self._pbx.users.values() if user.mwi.new]
        if users:
            call = self._board.check_voicemail(self._random.choice(users).name)
            yield self._random.uniform(10, 60)
            call.hangup()

    # --- what stories are made of -----------------------------------------------------------------------------------

    def _talk_and_end(self, call: Call) -> Story:
        if call.state != "bridged":
            return
        yield self._talking()
        call.hangup(disposition="recv_bye" if self._random.random() < 0.6 else "send_bye")

    def _answered_by_somebody(self, call: Call) -> Call:
        """Any of the stations that ring; where none does, the caller gives up."""
        legs = call.legs[1:]
        if not legs:
            return call.abandon()
        user_id = self._pbx.channels[self._random.choice(legs)].user_id
        return call.answer() if user_id is None else call.answer(self._pbx.users[user_id].name)

    def _from_outside(self, target: User | Group) -> Call:
        return self._board.call(self._outside_number(), target.name)

    def _outside_number(self) -> str:
        customers = self._board.customers
        if self._random.random() < 0.25:
            return self._random.choice(customers.strangers)
        return self._random.choice(customers.all).number

    def _user(self, other_than: User | None = None) -> User:
        users = [user for user in self._pbx.users.values() if user is not other_than]
        free = [user for user in users if not user.do_not_disturb_status and not self._board.busy(user)]
        if not users:
            raise CommandError("the simulated PBX has too few users for a call")
        return self._random.choice(free or users)

    def _group(self) -> User | Group:
        groups = list(self._pbx.groups.values())
        return self._random.choice(groups) if groups else self._user()

    def _ringing(self) -> float:
        return self._random.uniform(1, 12)

    def _talking(self) -> float:
        return min(5 + self._random.expovariate(1 / 80), 900)
