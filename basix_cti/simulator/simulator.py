"""The simulator as a script uses it."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, TypeVar

from .. import bert
from ..errors import CommandError
from ..etf import Term
from . import commands, population
from .access import Access
from .book import Played
from .calls import Call, Switchboard
from .model import Channel, Domain, Group, GroupMember, Pbx, Terminal, User
from .server import Raw, Server
from .traffic import Traffic
from .wire import CurrentWire, Vocabulary

__all__ = ["Simulator"]

_log = logging.getLogger(__name__)
_KEPT_COMMANDS = 100_000
_CUT_OFF = bytes([131, 109, 0, 0, 0, 10]) + b"cut"  # a binary of 10 bytes, of which 3 are there

ItemT = TypeVar("ItemT", Domain, User, Group, GroupMember, Terminal)


def _wall_clock() -> int:
    return time.time_ns() // 1000


class Simulator:
    """A Basix PBX on loopback: the WebSocket ``ws_cti`` in both generations, and the HTTP method ``gen_ws_ticket``.

    ::

        with Simulator() as sim:
            # connect a client to sim.url with sim.domain and sim.token, then:
            call = sim.call("0312341234", to="user1")
            call.answer().park()
            call.unpark(by="user2").hangup()

    Calls can be made whether it is started or not, and live on while it is stopped. Every method may be called from
    any thread, and has queued its messages for every connection when it returns; only what is said to wait does.

    Args:
        port: the TCP port on 127.0.0.1; 0 picks a free one at the first start and keeps it.
        domain: the PBX's name, and the user name of HTTP Basic logins.
        api_user: the user of the first generation's login.
        token: the API token of all logins. It is in no log and no ``repr``.
        users: how many users there are: ``user1`` with extension 201, and so on.
        groups: how many groups there are: ``group1`` with extension 301, and so on; every third one hunts.
        seed: whatever is random follows from it, uuids too, but for tickets.
        names: how element and event names are written: ``string`` (a list of characters), ``atom`` or ``binary``.
        latin1_atoms: atoms as releases up to OTP 25 write them (tag 100); otherwise UTF-8 atoms.
        wrapper: first generation: the one-element container around each message, None for none.
        waiting_element: one element ``channel_waiting``; otherwise ``queued_channel`` and ``parked_channel``.
        fields: for an element (or a first generation message), the fields that are sent, in order; one that the
            simulator does not know is sent as undefined. Elements that are not named have all their fields.
        ticket_seconds: how long a one-time ticket is good for, by ``clock``.
        connection_limit: connections that one user may have with one ``app_name``.
        max_queue: bytes that may wait for a client that does not read; past that it is dropped.
        ssl_context: a server's context, for wss; None serves ws.
        clock: gives microseconds since the epoch; None is the wall clock. With a clock of your own that does not run
            by itself, call :meth:`run_due` after you have moved it.

    Raises:
        ValueError: an argument is none of the choices, or not positive where it must be.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        domain: str = "example",
        api_user: str = "api",
        token: str = "simulated-token",
        users: int = 12,
        groups: int = 3,
        seed: int | str = 0,
        names: Literal["string", "atom", "binary"] = "string",
        latin1_atoms: bool = True,
        wrapper: Literal["tuple", "list"] | None = None,
        waiting_element: bool = True,
        fields: Mapping[str, Sequence[str]] | None = None,
        ticket_seconds: float = 10.0,
        connection_limit: int = 2,
        max_queue: int = 64 * 1024 * 1024,
        ssl_context: ssl.SSLContext | None = None,
        clock: Callable[[], int] | None = None,
    ) -> None:
        if users < 0 or groups < 0 or connection_limit < 1 or max_queue < 1:
            raise ValueError("users and groups must not be negative; connection_limit and max_queue must be positive")
        self.domain = domain
        self.api_user = api_user
        self.token = token
        self.seed = seed
        self._pbx = Pbx(population.new_domain(domain), seed=seed, clock=clock or _wall_clock)
        population.populate(self._pbx, users=users, groups=groups, seed=seed)
        self._board = Switchboard(self._pbx, population.Customers(seed))
        self._vocabulary = Vocabulary(names, latin1_atoms, wrapper, waiting_element, fields or {})
        self._server = Server(
            self._pbx,
            Access(self._pbx, domain=domain, api_user=api_user, token=token, ticket_seconds=ticket_seconds),
            self._vocabulary,
            port=port,
            ssl_context=ssl_context,
            connection_limit=connection_limit,
            max_queue=max_queue,
            on_text=self._command,
        )
        self._traffic: list[Traffic] = []
        self._commands: deque[dict[str, Any]] = deque(maxlen=_KEPT_COMMANDS)
        self._unread: deque[dict[str, Any]] = deque(maxlen=_KEPT_COMMANDS)
        self._commanded = threading.Condition()

    def __repr__(self) -> str:
        where = self.url if self.running else "stopped"
        return f"<Simulator {where}, {self.connections} connections, {len(self.calls)} calls>"

    # --- the server -------------------------------------------------------------------------------------------------

    def start(self) -> Simulator:
        """Listen, in a thread of its own; does nothing when it does already. Returns the simulator.

        Raises:
            OSError: the port cannot be had.
        """
        self._server.start()
        return self

    def stop(self) -> None:
        """End what :meth:`play` began, close every connection (1001) and the port, and wait for the threads.

        Does nothing when it is stopped. Takes at most about 3 seconds, for clients that do not answer the close.
        Not to be called by an action of the simulator's own threads.
        """
        for traffic in self._traffic:
            traffic.stop()
        self._server.stop()

    def __enter__(self) -> Simulator:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether clients can connect."""
        return self._server.running

    @property
    def port(self) -> int:
        """The TCP port; 0 before the first start, if a free one is to be picked."""
        return self._server.port

    @property
    def server(self) -> str:
        """``127.0.0.1:PORT``."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """``ws://127.0.0.1:PORT``, or ``wss://…``; the path is ``/basix/api/ws_cti``."""
        return f"{'wss' if self._server.secure else 'ws'}://{self.server}"

    @property
    def connections(self) -> int:
        """How many WebSockets are open. One that is dropped, closed or replaced from this side counts no more."""
        return self._server.connections

    def wait_connections(self, count: int, timeout: float = 10.0) -> None:
        """Wait until exactly ``count`` WebSockets are open.

        Raises:
            TimeoutError: that was not so within ``timeout`` seconds.
        """
        if not self._server.wait_connections(count, timeout):
            raise TimeoutError(f"{self.connections} connections after {timeout} seconds, not {count}")

    def refuse(self, status: int | None, times: int | None = None) -> None:
        """Answer the next WebSocket handshakes with an HTTP status.

        Args:
            status: the status; None accepts connections again.
            times: how many handshakes; None until told otherwise.

        Raises:
            ValueError: the status is not in 300 to 599, or times is not positive.
        """
        if (status is not None and not 300 <= status <= 599) or (times is not None and times < 1):
            raise ValueError("status must be 300 to 599 or None, and times positive or None")
        self._server.refuse(status, times)

    def drop(self, *, reset: bool = False) -> int:
        """Abort every TCP connection, without a close frame; waits until that is done. How many there were.

        Args:
            reset: with a TCP RST, where otherwise a FIN would do.
        """
        return self._server.drop(reset=reset)

    def close(self, code: int = 1000, reason: str = "") -> int:
        """Close every WebSocket with a code and reason (RFC 6455, section 7.4), behind what is queued for it.

        Does not wait for the clients' answer. How many there were.
        """
        return self._server.close(code, reason)

    def limit(self, connections: int | None = 0) -> None:
        """From now on, let one user have so many connections with one ``app_name``; open ones stay.

        A further one is told ``connection_limit_reached`` and is closed, unless it is forced. The first generation has
        no such limit.

        Args:
            connections: how many; 0 for none; None for the ``connection_limit`` of the beginning.

        Raises:
            ValueError: the number is negative.
        """
        if connections is not None and connections < 0:
            raise ValueError("connections must not be negative")
        self._server.limit(connections)

    def replace(self) -> int:
        """Tell every connection of the current generation ``connection_replaced``, and close it, as if others had
        forced their way in.

        Does not wait for the clients' answer. How many there were.
        """
        return self._server.replace()

    def bad_frame(self, times: int = 1) -> int:
        """Send every connection a message whose term ends too early; to how many.

        Args:
            times: how many such messages, one behind the other.
        """
        return min(self.send_frame(_CUT_OFF) for _ in range(max(1, times)))

    def send_term(self, term: Term) -> int:
        """Send every connection one message that holds this term; to how many.

        Raises:
            EncodeError: the value has no BERT term.
        """
        return self.send_frame(bert.encode(term, latin1_atoms=self._vocabulary.latin1_atoms))

    def send_frame(self, data: bytes | str) -> int:
        """Send every connection one WebSocket message, binary or text; to how many."""
        return self._server.send(lambda wire: data)

    def send_raw(self, data: bytes) -> int:
        """Send every connection bytes outside any WebSocket frame, as a broken peer would; to how many."""
        return self._server.send(lambda wire: Raw(data))

    def system_msg(self, message: Term) -> int:
        """Send every connection of the current generation a ``system_msg``; to how many.

        Args:
            message: a ``str`` is written like the names of elements (see ``names``), any other term as it is.
        """
        return self._server.send(lambda wire: wire.system_msg(message) if isinstance(wire, CurrentWire) else None)

    def msg(self, text: str) -> int:
        """Send every connection of the current generation a ``msg``, as from a user or an admin; to how many."""
        return self._server.send(lambda wire: wire.msg(text) if isinstance(wire, CurrentWire) else None)

    def run_due(self) -> int:
        """Do what is due by the clock, such as the end of a parking timeout; how many things that were.

        The server does so by itself while it runs; this is for a clock that does not.
        """
        with self._pbx.lock:
            return self._pbx.timers.run_due()

    # --- commands ---------------------------------------------------------------------------------------------------

    @property
    def commands(self) -> list[dict[str, Any]]:
        """The JSON objects that clients sent, oldest first, of whatever form; the last 100,000."""
        with self._commanded:
            return list(self._commands)

    def wait_command(self, timeout: float = 10.0) -> dict[str, Any]:
        """The oldest JSON object from a client that this method has not given yet; waits for one. It has been obeyed.

        Raises:
            TimeoutError: none came within ``timeout`` seconds.
        """
        with self._commanded:
            if not self._commanded.wait_for(lambda: self._unread, timeout):
                raise TimeoutError(f"no command within {timeout} seconds")
            return self._unread.popleft()

    def _command(self, text: str) -> None:
        try:
            command = commands.parse(text)
        except CommandError as error:
            _log.warning("ignored a command: %s", error)
            return
        try:
            commands.obey(self._board, command)
        except CommandError as error:
            _log.warning("ignored a command: %s", error)
        with self._commanded:
            self._commands.append(command)
            self._unread.append(command)
            self._commanded.notify_all()

    # --- calls ------------------------------------------------------------------------------------------------------

    def call(
        self,
        caller: str,
        to: str,
        *,
        calling_name: str | None = None,
        called_number: str | None = None,
        end_user: str | None = None,
        tags: Sequence[str] = (),
    ) -> Call:
        """A call comes in and rings. Its caller's leg is ``inbound``; each station that rings has an ``outbound`` one.

        Args:
            caller: a user's name, label, extension, public number or email; anything else is a telephone number
                outside.
            to: the same of the user or group that is called. A ring group rings at each member that is logged in and
                can be disturbed, a hunt group at the first. A user may also call outside, as with :meth:`dial`.
            calling_name: the caller's name; None is the user's label, or the number.
            called_number: the number that was dialled; None is the public number, or the extension for a user's call.
            end_user: the text of that field for a caller outside; None looks the number up among :attr:`customers`.
            tags: the parts of that field.

        Raises:
            CommandError: a caller outside, and no user or group is called ``to``.
        """
        return self._board.call(
            caller, to, calling_name=calling_name, called_number=called_number, end_user=end_user, tags=tags
        )

    def dial(
        self,
        user: str,
        number: str,
        *,
        end_user: str | None = None,
        tags: Sequence[str] = (),
        origination: Sequence[str] = (),
    ) -> Call:
        """A user calls a number outside, and it rings there.

        Args:
            user: name, label, extension, public number or email.
            number: the telephone number.
            end_user: the text of that field on the outer leg; None looks the number up among :attr:`customers`.
            tags: the parts of that field on the user's leg.
            origination: the parts of that field on the user's leg, for a call made through the API.

        Raises:
            CommandError: there is no such user.
        """
        return self._board.dial(user, number, end_user=end_user, tags=tags, origination=origination)

    def media_plug(self, user: str) -> Call:
        """A user's station opens a channel to listen in with; its ``uuid`` is the one the eavesdrop command takes.

        Raises:
            CommandError: there is no such user.
        """
        return self._board.media_plug(user)

    def check_voicemail(self, user: str) -> Call:
        """A user listens to the messages in the mailbox: the new ones become saved ones.

        Raises:
            CommandError: there is no such user.
        """
        return self._board.check_voicemail(user)

    @property
    def calls(self) -> list[Call]:
        """The calls that have not ended, oldest first."""
        return self._board.calls()

    @property
    def book(self) -> list[Played]:
        """The calls that have ended, as the simulator meant them, in the order of their ends; the latest 100,000."""
        with self._pbx.lock:
            return self._board.book.calls()

    def hang_up_all(self) -> int:
        """End every call from the side of the PBX; how many there were."""
        return self._board.hang_up_all()

    def play(self, *, seed: int | str | None = None, calls_per_minute: float = 6.0, speed: float = 1.0) -> Traffic:
        """Start :class:`Traffic` with these arguments; :meth:`stop` ends it.

        Raises:
            ValueError: as for :class:`Traffic`.
        """
        traffic = Traffic(self, seed=seed, calls_per_minute=calls_per_minute, speed=speed)
        self._traffic.append(traffic)
        return traffic.start()

    # --- the PBX's objects ------------------------------------------------------------------------------------------

    @property
    def users(self) -> list[User]:
        """The users there are."""
        with self._pbx.lock:
            return list(self._pbx.users.values())

    @property
    def groups(self) -> list[Group]:
        """The groups there are."""
        with self._pbx.lock:
            return list(self._pbx.groups.values())

    @property
    def members(self) -> list[GroupMember]:
        """Who belongs to which group."""
        with self._pbx.lock:
            return list(self._pbx.members.values())

    @property
    def terminals(self) -> list[Terminal]:
        """The telephones there are."""
        with self._pbx.lock:
            return list(self._pbx.terminals.values())

    @property
    def channels(self) -> list[Channel]:
        """The channels that are up, oldest first."""
        with self._pbx.lock:
            return list(self._pbx.channels.values())

    @property
    def customers(self) -> list[population.Customer]:
        """The customers whose telephone numbers are known; some share one."""
        return list(self._board.customers.all)

    def update_user(self, user: str, **fields: Any) -> User:
        """Give fields of a user new values, by the names of :class:`~basix_cti.simulator.model.User`.

        Raises:
            CommandError: there is no such user or field, or the field is the id.
        """
        with self._pbx.lock:
            return self._update(self._pbx.users, self._board.user(user).id, fields)

    def update_group(self, group: str, **fields: Any) -> Group:
        """Give fields of a group new values, by the names of :class:`~basix_cti.simulator.model.Group`.

        Raises:
            CommandError: there is no such group or field, or the field is the id.
        """
        with self._pbx.lock:
            return self._update(self._pbx.groups, self._group(group).id, fields)

    def update_member(self, user: str, group: str, **fields: Any) -> GroupMember:
        """Give fields of a membership new values, such as ``login_status``.

        Raises:
            CommandError: there is no such membership or field, or the field is the id.
        """
        with self._pbx.lock:
            return self._update(self._pbx.members, self._member(user, group).id, fields)

    def update_terminal(self, name: str, **fields: Any) -> Terminal:
        """Give fields of a terminal new values, such as ``registered``.

        Raises:
            CommandError: there is no such terminal or field, or the field is the id.
        """
        with self._pbx.lock:
            for terminal in self._pbx.terminals.values():
                if terminal.name == name:
                    return self._update(self._pbx.terminals, terminal.id, fields)
        raise CommandError(f"no terminal of the simulated PBX is called {name!r}")

    def update_domain(self, **fields: Any) -> None:
        """Give fields of the domain object new values: ``name``, ``label``, ``language``.

        Raises:
            CommandError: there is no such field, or the field is the id.
        """
        with self._pbx.lock:
            for domain_id in self._pbx.domains:
                self._update(self._pbx.domains, domain_id, fields)

    def add_user(self, name: str, *, extension: str, label: str = "", email: str = "") -> User:
        """A new user, with a terminal of the same name.

        Raises:
            CommandError: the name or extension is taken.
        """
        with self._pbx.lock:
            self._check_free(name, extension)
            pbx = self._pbx
            user = population.new_user(self._next_id(), name, extension, label or name, email=email)
            pbx.add(pbx.users, user.id, user)
            terminal_id = max(pbx.terminals, default=0) + 1
            pbx.add(pbx.terminals, terminal_id, Terminal(terminal_id, name, user.id))
            return user

    def remove_user(self, user: str) -> None:
        """Take out a user, with memberships and terminals.

        Raises:
            CommandError: there is no such user, or the user is on a call.
        """
        with self._pbx.lock:
            pbx, found = self._pbx, self._board.user(user)
            if self._board.busy(found):
                raise CommandError(f"{found.name} is on a call: hang up first")
            for member in [one for one in pbx.members.values() if one.user_id == found.id]:
                pbx.remove(pbx.members, member.id)
            for terminal in [one for one in pbx.terminals.values() if one.assoc_user_id == found.id]:
                pbx.remove(pbx.terminals, terminal.id)
            pbx.remove(pbx.users, found.id)

    def add_group(self, name: str, *, extension: str, label: str = "", hunt: bool = False) -> Group:
        """A new group without members; ``hunt`` for one whose stations ring one after the other.

        Raises:
            CommandError: the name or extension is taken.
        """
        with self._pbx.lock:
            self._check_free(name, extension)
            group = population.new_group(self._next_id(), name, extension, label or name, hunt=hunt)
            return self._pbx.add(self._pbx.groups, group.id, group)

    def remove_group(self, group: str) -> None:
        """Take out a group, with its memberships.

        Raises:
            CommandError: there is no such group.
        """
        with self._pbx.lock:
            pbx, found = self._pbx, self._group(group)
            for member in [one for one in pbx.members.values() if one.group_id == found.id]:
                pbx.remove(pbx.members, member.id)
            pbx.remove(pbx.groups, found.id)

    def add_member(self, user: str, group: str, *, priority: int = 0) -> GroupMember:
        """Make a user a member of a group, logged in; a hunt group rings lower priorities first.

        Raises:
            CommandError: there is no such user or group, or the membership exists.
        """
        with self._pbx.lock:
            pbx, user_id, group_id = self._pbx, self._board.user(user).id, self._group(group).id
            if group_id in pbx.groups_of(user_id):
                raise CommandError(f"{user!r} is a member of {group!r} already")
            member = GroupMember(max(pbx.members, default=110000000) + 1, group_id, user_id, priority)
            return pbx.add(pbx.members, member.id, member)

    def remove_member(self, user: str, group: str) -> None:
        """End a membership.

        Raises:
            CommandError: there is no such membership.
        """
        with self._pbx.lock:
            self._pbx.remove(self._pbx.members, self._member(user, group).id)

    def _update(self, table: dict[int, ItemT], key: int, fields: dict[str, Any]) -> ItemT:
        unknown = set(fields) - set(table[key]._fields) | ({"id"} & set(fields))
        if unknown:
            raise CommandError(f"no field {', '.join(sorted(unknown))} that could be changed")
        return self._pbx.update(table, key, **fields)

    def _group(self, who: str) -> Group:
        group = self._pbx.find(who)
        if not isinstance(group, Group):
            raise CommandError(f"no group of the simulated PBX is called {who!r}")
        return group

    def _member(self, user: str, group: str) -> GroupMember:
        user_id, group_id = self._board.user(user).id, self._group(group).id
        for member in self._pbx.members.values():
            if (member.user_id, member.group_id) == (user_id, group_id):
                return member
        raise CommandError(f"{user!r} is no member of {group!r}")

    def _check_free(self, *names: str) -> None:
        for name in names:
            if not name or self._pbx.find(name) is not None:
                raise CommandError(f"{name!r} is empty, or taken by another user or group")

    def _next_id(self) -> int:
        return max((10000000, *self._pbx.users, *self._pbx.groups)) + 1
