"""What a client orders: a JSON text becomes a step of a call. No I/O."""

from __future__ import annotations

import json
from typing import Any

from ..errors import CommandError
from .calls import Call, Switchboard
from .model import Group, User

__all__ = ["obey", "parse"]


def parse(text: str) -> dict[str, Any]:
    """The JSON object of a text frame.

    Raises:
        CommandError: it is none.
    """
    try:
        command = json.loads(text)
    except (ValueError, RecursionError):
        raise CommandError("not JSON") from None
    if not isinstance(command, dict):
        raise CommandError("not a JSON object")
    return command


def obey(board: Switchboard, command: dict[str, Any]) -> None:
    """Do what a command says.

    Raises:
        CommandError: it is unknown or malformed, or cannot be done now. Nothing was changed.
    """
    name = command.get("cmd")
    with board.pbx.lock:
        if name == "hangup":
            uuid = _text(command, "uuid")
            _call(board, uuid)._hangup_leg(uuid)
        elif name == "park":
            uuid = _text(command, "uuid")
            _call(board, uuid)._park_leg(uuid, _seconds(command))
        elif name == "transfer":
            uuid = _text(command, "uuid")
            _call(board, uuid)._transfer_leg(uuid, _destination(board, command))
        elif name == "eavesdrop":
            uuid = _text(command, "uuid")
            _call(board, uuid)._eavesdrop(_text(command, "target_uuid"), _text(command, "subcommand", "listen"))
        else:
            raise CommandError(f"unknown command {name!r}")


def _text(command: dict[str, Any], key: str, default: str | None = None) -> str:
    value = command.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or not value:
        raise CommandError(f"{command['cmd']}: {key} is missing or no text")
    return value


def _seconds(command: dict[str, Any]) -> float | None:
    value = command.get("timeout")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise CommandError("park: timeout is not a positive number of seconds")
    return float(value)


def _call(board: Switchboard, uuid: str) -> Call:
    call = board.find(uuid)
    if call is None:
        raise CommandError(f"no channel {uuid}")
    return call


def _destination(board: Switchboard, command: dict[str, Any]) -> User | Group | str:
    pbx = board.pbx
    user_id = command.get("user_id")
    if user_id is not None:
        user = next((user for user in pbx.users.values() if str(user.id) == str(user_id)), None)
        if user is None:
            raise CommandError("transfer: no user with this user_id")
        return user
    name = command.get("user_name")
    if name is not None:
        user = next((user for user in pbx.users.values() if user.name == name), None)
        if user is None:
            raise CommandError("transfer: no user with this user_name")
        return user
    destination = _text(command, "destination")
    return pbx.find(destination) or destination
