"""Commands: their form, and what counts as their effect. The simulator as PBX is in test_client.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from basix_cti import Channel, ChannelWaiting, ParkedChannel, Picture, State, Target
from basix_cti.commands import Command, eavesdrop, hangup, park, transfer
from basix_cti.elements import Element
from basix_cti.errors import CommandError, ConnectionLost
from basix_cti.events import InfoEvent

UUID = "0a1b"
NO_TEXT: Any = None


def channel(**fields: Any) -> Channel:
    return Channel(**{"uuid": UUID, **fields})


def event(item: Element, what: str = "updated") -> InfoEvent:
    return InfoEvent(item.element, item, what)


def picture(*items: Channel) -> Picture:
    """A picture that holds these channels."""
    filled = Picture()
    for item in items:
        filled._put(event(item, "added"))
    return filled


PARKED = State(1, "park", {"slot": 901})
HUNG_UP = channel(last_event="CHANNEL_HANGUP")


@pytest.mark.parametrize(
    ("command", "sent"),
    [
        (hangup(UUID), {"cmd": "hangup", "uuid": UUID}),
        (park(UUID, 30), {"cmd": "park", "uuid": UUID, "timeout": 30}),
        (park(UUID, None), {"cmd": "park", "uuid": UUID}),
        (
            transfer(UUID, Picture(), user_id=7, user_name=None, destination=None),
            {"cmd": "transfer", "uuid": UUID, "user_id": 7},
        ),
        (
            transfer(UUID, Picture(), user_id="7", user_name="花子", destination="201"),
            {"cmd": "transfer", "uuid": UUID, "user_id": "7", "user_name": "花子", "destination": "201"},
        ),
        (
            eavesdrop(UUID, "ff", "start"),
            {"cmd": "eavesdrop", "uuid": UUID, "target_uuid": "ff", "subcommand": "start"},
        ),
    ],
    ids=["hangup", "park", "park without timeout", "transfer by id", "transfer by all", "eavesdrop"],
)
def test_json(command: Command, sent: dict[str, Any]) -> None:
    assert json.loads(command.text) == sent
    assert "\n" not in command.text


@pytest.mark.parametrize(
    "make",
    [
        lambda: hangup(""),
        lambda: hangup("a b"),
        lambda: hangup("a\n"),
        lambda: hangup("x" * 1025),
        lambda: hangup(NO_TEXT),
        lambda: park(UUID, 0),
        lambda: park(UUID, -1),
        lambda: park(UUID, float("nan")),
        lambda: park(UUID, True),
        lambda: park("", None),
        lambda: transfer(UUID, Picture(), user_id=None, user_name=None, destination=None),
        lambda: transfer(UUID, Picture(), user_id=True, user_name=None, destination=None),
        lambda: transfer(UUID, Picture(), user_id=None, user_name="", destination=None),
        lambda: transfer(UUID, Picture(), user_id=None, user_name=None, destination="1\r2"),
        lambda: eavesdrop(UUID, "", "start"),
        lambda: eavesdrop(UUID, "ff", ""),
    ],
)
def test_wrong_form(make: Callable[[], Command]) -> None:
    with pytest.raises(CommandError, match=r"must|say where to"):
        make()


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        (event(channel(last_event="CHANNEL_ANSWER")), None),
        (event(HUNG_UP), True),
        (event(channel(), "removed"), True),
        (event(Channel(uuid="other", last_event="CHANNEL_HANGUP")), None),
        (event(ChannelWaiting(uuid=UUID), "removed"), None),
    ],
    ids=["answer", "hangup", "removed", "another channel", "left the queue"],
)
def test_hangup_is_seen(told: InfoEvent, verdict: bool | None) -> None:
    check(hangup(UUID), told, verdict)


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        (event(channel(state=PARKED)), True),
        (event(ChannelWaiting(uuid=UUID, state=PARKED), "added"), True),
        (event(ChannelWaiting(uuid=UUID, state=State(1, "queued")), "added"), None),
        (event(ChannelWaiting(uuid=UUID, state=PARKED), "removed"), None),
        (event(ParkedChannel(uuid=UUID), "added"), True),
        (event(channel(state=State(1, "bridged"))), None),
        (event(HUNG_UP), False),
    ],
    ids=["channel", "waiting", "queued", "left", "parked channel", "bridged", "hung up"],
)
def test_park_is_seen(told: InfoEvent, verdict: bool | None) -> None:
    check(park(UUID, None), told, verdict)


BEFORE = channel(state=State(1, "bridged"), other_uuid="b", target=Target("user", 1))


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        (event(channel(state=State(2, "calling", {"user_id": 7}), other_uuid="b", target=BEFORE.target)), True),
        (event(channel(state=State(2, "bridged"), other_uuid="c", target=BEFORE.target)), True),
        (event(channel(state=State(1, "bridged"), other_uuid="b", target=Target("user", 7))), True),
        (event(channel(state=State(2, "bridged"), other_uuid="b", target=BEFORE.target, tags=("x",))), None),
        (event(channel(state=State(2, "ringing"), other_uuid=None, target=None)), None),
        (event(Channel(uuid="b", state=State(2, "calling"))), None),
        (event(HUNG_UP), False),
    ],
    ids=["calling", "another bridge", "another target", "same bridge", "nothing known", "other leg", "hung up"],
)
def test_transfer_is_seen(told: InfoEvent, verdict: bool | None) -> None:
    check(transfer(UUID, picture(BEFORE), user_id=7, user_name=None, destination=None), told, verdict)


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        (event(channel(state=State(1, "eavesdrop", {"uuid": "ff"}))), True),
        (event(channel(state=State(1, "eavesdrop", {"uuid": "00"}))), None),
        (event(channel(state=State(1, "bridged"))), None),
        (event(HUNG_UP), False),
    ],
    ids=["target", "another target", "another state", "hung up"],
)
def test_eavesdrop_is_seen(told: InfoEvent, verdict: bool | None) -> None:
    check(eavesdrop(UUID, "ff", "start"), told, verdict)


def check(command: Command, told: InfoEvent, verdict: bool | None) -> None:
    assert command._observe(told) is (verdict is not None)
    assert command.done is (verdict is not None)
    assert command.wait(0) is bool(verdict)


def test_a_channel_that_has_ended() -> None:
    ended = picture(channel())
    ended._put(event(HUNG_UP))
    for command, seen in ((hangup(UUID), True), (park(UUID, None), False), (hangup("unknown"), None)):
        command._settle(ended)
        assert command.done is (seen is not None)
        assert command.wait(0) is bool(seen)


def test_lost_connection() -> None:
    command = hangup(UUID)
    command._fail(ConnectionLost("broken", 1001, "why"))
    for _ in range(2):
        with pytest.raises(ConnectionLost, match=r"hangup of 0a1b: .* \(broken\)") as caught:
            command.wait()
        assert caught.value.code == 1001


def test_what_was_seen_stays_seen() -> None:
    command = hangup(UUID)
    command._finish(True)
    command._fail(ConnectionLost("broken"))
    command._finish(False)
    assert command.wait()


def test_nobody_looks_any_more() -> None:
    command = hangup(UUID)
    assert not command.wait(0)
    command._finish(False)
    assert command.done
    assert command.wait() is False


def test_repr() -> None:
    command = hangup(UUID)
    assert repr(command) == "<Command hangup 0a1b: waiting to be sent>"
    command.sent = True
    assert repr(command) == "<Command hangup 0a1b: sent>"
    command._finish(True)
    assert repr(command) == "<Command hangup 0a1b: done>"
