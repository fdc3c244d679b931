"""Commands to the PBX, and how their effect is seen in the events: the PBX sends no reply. No I/O, no clock.

Source: the wire document (docs/protocol), section "Commands".
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import TypeAlias

from .elements import Channel, ParkInfo
from .endpoint import checked
from .errors import CommandError, ConnectionLost, NotConnected
from .events import REMOVED, InfoEvent
from .forks import check, current_process, has_left
from .state import Picture

__all__ = ["Command", "eavesdrop", "hangup", "park", "transfer"]

#: What an event says of a command: True for its effect, False if there can be none any more, None for nothing.
Verdict: TypeAlias = "bool | None"
_Judge: TypeAlias = Callable[[InfoEvent], Verdict]

_MAX_TEXT = 1024


class Command:
    """A command that was given: the handle that ``client.hangup(uuid)`` and its siblings return.

    Attributes:
        name: ``hangup``, ``park``, ``transfer`` or ``eavesdrop``.
        uuid: the channel's that it was given for.
        text: the JSON that is sent.
        sent: True once it was handed to the connection; False while it waits for that.
    """

    __slots__ = ("_done", "_error", "_judge", "_observed", "_pid", "name", "sent", "text", "uuid")

    def __init__(self, name: str, uuid: str, parameters: dict[str, str | int | float], judge: _Judge) -> None:
        self.name = name
        self.uuid = uuid
        self.text = json.dumps({"cmd": name, "uuid": uuid, **parameters}, ensure_ascii=False)
        self.sent = False
        self._judge = judge
        self._done = threading.Event()
        self._observed = False
        self._pid = current_process()
        self._error: ConnectionLost | NotConnected | None = None

    @property
    def done(self) -> bool:
        """True once :meth:`wait` returns or raises at once.

        Raises:
            ForkedError: it was not done when this process was forked from the one that gave it.
        """
        if self._done.is_set():
            return True
        check(self._pid, f"the command {self.name} of {self.uuid}")
        return False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the command's effect has been seen in the events. May be called inside a hook.

        Seen is, for ``hangup``, the channel's end; for ``park``, the channel in a parking slot; for ``transfer``, the
        channel in a new state (other than ``ringing`` or ``bridged``), with another target, or bridged to another
        channel; for ``eavesdrop``, the listening channel in the state ``eavesdrop``. The events do not tell who caused
        them: if somebody else does the same at that moment, that is seen.

        Args:
            timeout: seconds; None for as long as the client watches for the effect (``command_timeout``).

        Returns:
            True if the effect was seen; False if it was not, or can no longer come because the channel has ended.

        Raises:
            ConnectionLost: the connection ended before; whether the command took effect is not known.
            NotConnected: it became known that it was not sent; only with a
                :class:`~basix_cti.relay.RelayClient`, where that takes a moment.
            ForkedError: it was not done when this process was forked from the one that gave it.
        """
        if not self.done and not self._done.wait(timeout):
            return False
        if isinstance(self._error, NotConnected):
            raise NotConnected(str(self._error))
        if self._error is not None:
            raise ConnectionLost(
                f"{self.name} of {self.uuid}: the connection ended before its effect was seen ({self._error})",
                self._error.code,
                self._error.reason,
            )
        return self._observed

    # Called by the library, from the I/O thread alone.

    def _observe(self, event: InfoEvent) -> bool:
        """Look at an event; True once the command is done."""
        verdict = self._judge(event)
        if verdict is not None:
            self._finish(verdict)
        return self._done.is_set()

    def _settle(self, picture: Picture) -> None:
        """Look at what is known already: a channel that has ended does not end again, nor does anything else."""
        if picture.has_ended(self.uuid):
            self._finish(self.name == "hangup")

    def _finish(self, observed: bool) -> None:
        """The effect was seen, or nobody looks for it any more."""
        if not self._done.is_set():
            self._observed = observed
            self._done.set()

    def _fail(self, error: ConnectionLost | NotConnected) -> None:
        """The connection has ended, or was not there."""
        if not self._done.is_set():
            self._error = error
            self._done.set()

    def __repr__(self) -> str:
        if self._done.is_set():
            state = "done"
        elif has_left(self._pid):
            state = "left behind by a fork"
        else:
            state = "sent" if self.sent else "waiting to be sent"
        return f"<Command {self.name} {self.uuid}: {state}>"


def hangup(uuid: str) -> Command:
    """End a channel.

    Raises:
        CommandError: ``uuid`` is not of the form of one.
    """
    _uuid(uuid)
    return Command("hangup", uuid, {}, lambda event: _ended(event, uuid) or None)


def park(uuid: str, timeout: float | None) -> Command:
    """Put a channel into a parking slot.

    Args:
        uuid: the channel's.
        timeout: seconds until the PBX takes it out again; None leaves that to the PBX.

    Raises:
        CommandError: a parameter is of the wrong form.
    """
    _uuid(uuid)
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0):
        raise CommandError("park: timeout must be a positive number of seconds, or None")

    def judge(event: InfoEvent) -> Verdict:
        if event.item.key == uuid and event.event != REMOVED and ParkInfo.of(event.item) is not None:
            return True
        return False if _ended(event, uuid) else None

    return Command("park", uuid, {} if timeout is None else {"timeout": timeout}, judge)


def transfer(
    uuid: str, picture: Picture, *, user_id: str | int | None, user_name: str | None, destination: str | None
) -> Command:
    """Send a channel elsewhere. At least one of the three parameters says where; the PBX gets those that are given.

    Raises:
        CommandError: none is given, or one is of the wrong form.
    """
    _uuid(uuid)
    parameters: dict[str, str | int | float] = {}
    if user_id is not None:
        if isinstance(user_id, bool) or not isinstance(user_id, str | int):
            raise CommandError("transfer: user_id must be a number or a text")
        parameters["user_id"] = _text("transfer: user_id", user_id) if isinstance(user_id, str) else user_id
    if user_name is not None:
        parameters["user_name"] = _text("transfer: user_name", user_name)
    if destination is not None:
        parameters["destination"] = _text("transfer: destination", destination)
    if not parameters:
        raise CommandError("transfer: say where to, by user_id, user_name or destination")
    known = picture.get("channel", uuid)
    before = known if isinstance(known, Channel) else Channel(uuid=uuid)

    def judge(event: InfoEvent) -> Verdict:
        if _ended(event, uuid):
            return False
        item = event.item
        if event.element != "channel" or item.key != uuid or not isinstance(item, Channel):
            return None
        routed = item.state is not None and item.state.name not in ("bridged", "ringing") and item.state != before.state
        bridged = item.other_uuid is not None and before.other_uuid not in (None, item.other_uuid)
        retargeted = item.target is not None and item.target != before.target
        return True if routed or bridged or retargeted else None

    return Command("transfer", uuid, parameters, judge)


def eavesdrop(uuid: str, target_uuid: str, subcommand: str) -> Command:
    """Listen in on a channel.

    Args:
        uuid: of the channel that listens (a "media plug").
        target_uuid: of the channel that is listened to.
        subcommand: what to do, as the PBX names it.

    Raises:
        CommandError: a parameter is of the wrong form.
    """
    _uuid(uuid)
    _uuid(target_uuid, "target_uuid")

    def judge(event: InfoEvent) -> Verdict:
        if _ended(event, uuid):
            return False
        item = event.item
        if item.key != uuid or not isinstance(item, Channel) or item.state is None or item.state.name != "eavesdrop":
            return None
        return True if item.state.data.get("uuid") == target_uuid else None

    parameters: dict[str, str | int | float] = {
        "target_uuid": target_uuid,
        "subcommand": _text("eavesdrop: subcommand", subcommand),
    }
    return Command("eavesdrop", uuid, parameters, judge)


def _ended(event: InfoEvent, uuid: str) -> bool:
    item = event.item
    if event.element != "channel" or item.key != uuid or not isinstance(item, Channel):
        return False
    return event.event == REMOVED or item.is_hung_up


def _uuid(value: str, name: str = "uuid") -> None:
    if " " in _text(name, value):
        raise CommandError(f"{name} must not contain spaces")


def _text(name: str, value: str) -> str:
    try:
        checked(name, value)
    except ValueError as error:
        raise CommandError(str(error)) from None
    if len(value) > _MAX_TEXT:
        raise CommandError(f"{name} must not be longer than {_MAX_TEXT} characters")
    return value
