"""What each step of a call on the simulated PBX changes: without a server, sockets or threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_plus

import pytest

from basix_cti.errors import CommandError
from basix_cti.simulator import Call, Channel, Mailbox, Simulator, User
from basix_cti.simulator.model import Change, waiting_kind
from basix_cti.simulator.population import Customer, end_user_text


class Clock:
    def __init__(self) -> None:
        self.micros = 1_700_000_000_000_000

    def __call__(self) -> int:
        return self.micros


class Pbx:
    """A simulator that is not started, and a record of what it would tell."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.sim = Simulator(clock=self.clock)
        self.changes: list[Change] = []
        self.sim._pbx.listen(self.changes.append)

    def channel(self, uuid: str) -> Channel:
        return next(channel for channel in self.sim.channels if channel.uuid == uuid)

    def told(self) -> list[tuple[str, str]]:
        """What was told of channels since the last time: uuid and event; for an end, with how and why."""
        told = []
        for change in self.changes:
            if change.element == "channel" and isinstance(change.item, Channel) and change.event != "removed":
                text = change.item.last_event
                if change.item.last_event_data:
                    text = change.item.last_event_data
                told.append((change.item.uuid, text))
        self.changes.clear()
        return told

    def events(self, element: str) -> list[str]:
        found = [change.event for change in self.changes if change.element == element]
        self.changes.clear()
        return found

    def user(self, number: int) -> User:
        return self.sim.users[number - 1]

    def advance(self, seconds: float) -> None:
        self.clock.micros += round(seconds * 1_000_000)
        self.sim.run_due()


@pytest.fixture
def pbx() -> Pbx:
    return Pbx()


class TestAnswering:
    def test_a_ring_group_rings_at_all_members_and_the_losers_end(self, pbx: Pbx) -> None:
        pbx.sim.update_member("user1", "group1", login_status=0)
        pbx.sim.update_user("user4", do_not_disturb_status=1)
        group = pbx.sim.groups[0]
        members = [member.user_id for member in pbx.sim.members if member.group_id == group.id]
        assert {pbx.user(1).id, pbx.user(4).id} < set(members)
        call = pbx.sim.call("0312341234", to=group.label)
        party, *stations = call.legs
        assert [pbx.channel(leg).user_id for leg in stations] == [
            user_id for user_id in members if user_id not in (pbx.user(1).id, pbx.user(4).id)
        ]
        assert {pbx.channel(leg).group_id for leg in stations} == {group.id}
        pbx.told()
        winner = stations.pop()
        user = next(user for user in pbx.sim.users if user.id == pbx.channel(winner).user_id)
        call.answer(by=user.main_extension)
        assert call.legs == (party, winner)
        assert pbx.told() == [
            (winner, "CHANNEL_ANSWER"),
            (party, "CHANNEL_ANSWER"),
            (party, "CHANNEL_BRIDGE"),
            (winner, "CHANNEL_BRIDGE"),
            *[(loser, "send_cancel,LOSE_RACE") for loser in stations],
        ]

    def test_another_station_picks_the_call_up(self, pbx: Pbx) -> None:
        call = pbx.sim.call("0312341234", to="user1")
        ringing = call.legs[1]
        call.answer(by="user5")
        leg = pbx.channel(call.legs[1])
        assert (leg.user_id, leg.direction, leg.other_uuid) == (pbx.user(5).id, "inbound", call.uuid)
        assert pbx.told()[-1] == (ringing, "send_cancel,PICKED_OFF")

    def test_a_group_that_nobody_attends_queues_the_call(self, pbx: Pbx) -> None:
        pbx.sim.add_group("night", extension="399")
        call = pbx.sim.call("0312341234", to="night")
        assert call.legs == (call.uuid,)
        with pytest.raises(CommandError, match="rings at nobody's station"):
            call.answer()
        call.answer(by="user2")
        assert call.state == "bridged"

    def test_a_hunt_group_rings_one_after_the_other(self, pbx: Pbx) -> None:
        pbx.sim.add_group("hunters", extension="399", hunt=True)
        for name, priority in (("user3", 2), ("user2", 1), ("user1", 3)):
            pbx.sim.add_member(name, "hunters", priority=priority)
        call = pbx.sim.call("0312341234", to="hunters")
        rung = []
        while call.state == "ringing":
            (station,) = call.legs[1:]
            rung.append(pbx.channel(station).user_id)
            pbx.told()
            call.no_answer()
        assert rung == [pbx.user(number).id for number in (2, 3, 1)]
        assert pbx.told() == [(station, "send_cancel,NO_ANSWER"), (call.uuid, "send_refuse,NO_ANSWER")]

    def test_who_talks_to_whom(self, pbx: Pbx) -> None:
        call = pbx.sim.call("user2", to="user1").answer()
        caller, called = (pbx.channel(leg) for leg in call.legs)
        assert (caller.calling_name, caller.calling_number, caller.called_number) == (pbx.user(2).label, "202", "201")
        assert (caller.peer_location, called.peer_location) == ("internal", "internal")
        assert (caller.other_uuid, called.other_uuid) == (called.uuid, caller.uuid)
        assert (caller.user_id, called.user_id) == (pbx.user(2).id, pbx.user(1).id)
        assert caller.last_bridged_user_id is None
        assert caller.end_user is None
        outgoing = pbx.sim.call("user1", to="0455556666").answer()
        inner, outer = (pbx.channel(leg) for leg in outgoing.legs)
        assert (inner.direction, inner.peer_location, inner.target) == ("inbound", "internal", None)
        assert (outer.direction, outer.peer_location) == ("outbound", "external")
        assert (outer.calling_number, outer.called_number) == (pbx.user(1).did, "0455556666")
        assert outer.last_bridged_user_id == pbx.user(1).id


class TestEnds:
    @pytest.mark.parametrize(
        ("act", "station", "caller"),
        [
            (lambda call: call.busy(), "recv_refuse,USER_BUSY", "send_refuse,USER_BUSY"),
            (lambda call: call.no_answer(), "send_cancel,NO_ANSWER", "send_refuse,NO_ANSWER"),
            (lambda call: call.abandon(), "send_cancel,ORIGINATOR_CANCEL", "recv_cancel,ORIGINATOR_CANCEL"),
            (lambda call: call.hangup(), "send_cancel,ORIGINATOR_CANCEL", "recv_cancel,ORIGINATOR_CANCEL"),
            (lambda call: call.answer().hangup(), "send_bye,NORMAL_CLEARING", "recv_bye,NORMAL_CLEARING"),
            (
                lambda call: call.answer().hangup("ALLOTTED_TIMEOUT", "send_bye"),
                "recv_bye,ALLOTTED_TIMEOUT",
                "send_bye,ALLOTTED_TIMEOUT",
            ),
        ],
    )
    def test_how_legs_end(self, act: Callable[[Call], Call], station: str, caller: str, pbx: Pbx) -> None:
        call = pbx.sim.call("0312341234", to="user1")
        legs = call.legs
        assert act(call) is call
        assert pbx.told()[-2:] == [(legs[1], station), (legs[0], caller)]
        assert (call.state, call.legs, call.slot) == ("ended", (), None)
        assert not pbx.sim.channels
        assert not pbx.sim.calls

    def test_an_answered_caller_who_is_transferred_gets_a_bye(self, pbx: Pbx) -> None:
        call = pbx.sim.call("0312341234", to="user1").answer().transfer("user2").busy()
        assert pbx.told()[-1] == (call.uuid, "send_bye,USER_BUSY")

    def test_the_end_of_a_channel_is_told_and_then_it_is_gone(self, pbx: Pbx) -> None:
        call = pbx.sim.call("0312341234", to="group1")
        pbx.changes.clear()
        call.abandon()
        of_party = [change for change in pbx.changes if getattr(change.item, "uuid", "") == call.uuid]
        assert [(change.element, change.event) for change in of_party] == [
            ("channel", "updated"),
            ("waiting", "removed"),
            ("channel", "removed"),
        ]
        last = of_party[-1].item
        assert isinstance(last, Channel)
        assert last.hangup_timestamp == pbx.clock()

    def test_hang_up_all(self, pbx: Pbx) -> None:
        pbx.sim.call("0312341234", to="group1")
        pbx.sim.call("0312341234", to="user1").answer()
        pbx.sim.call("0312341234", to="user1").answer().park()
        pbx.sim.media_plug("user2")
        assert pbx.sim.hang_up_all() == 4
        assert pbx.sim.hang_up_all() == 0
        assert not pbx.sim.channels


class TestParking:
    def test_park_and_unpark(self, pbx: Pbx) -> None:
        call = pbx.sim.call("0312341234", to="user1").answer()
        station = call.legs[1]
        pbx.told()
        assert call.park().slot == 1
        assert pbx.told() == [(call.uuid, "CHANNEL_PARK"), (station, "send_bye,NORMAL_CLEARING")]
        assert waiting_kind(pbx.channel(call.uuid)) == "parked"
        call.unpark(by="user3")
        leg = pbx.channel(call.legs[1])
        assert (leg.user_id, leg.direction) == (pbx.user(3).id, "inbound")
        assert (call.state, call.slot) == ("bridged", None)

    def test_slots(self, pbx: Pbx) -> None:
        calls = [pbx.sim.call("0312341234", to="user1").answer() for _ in range(5)]
        assert [call.park().slot for call in calls[:3]] == [1, 2, 3]
        calls[1].hangup()
        assert calls[3].park().slot == 2
        with pytest.raises(CommandError, match="slot '3' is taken"):
            calls[4].park(slot="3")
        assert calls[4].state == "bridged"
        assert calls[4].park(slot="lobby").slot == "lobby"

    def test_who_parked(self, pbx: Pbx) -> None:
        def parker(call: Call) -> Any:
            state = pbx.channel(call.uuid).state
            assert state is not None
            return state.details[2:]

        assert parker(pbx.sim.call("0312341234", to="user1").answer().park()) == (pbx.user(1).id, "user1")
        assert parker(pbx.sim.call("0312341234", to="user1").answer().park(by="user2")) == (pbx.user(2).id, "user2")
        unknown = pbx.sim.call("0312341234", to="user1").park()
        assert parker(unknown) == (None, None)
        with pytest.raises(CommandError, match="by="):
            unknown.unpark()
        outgoing = pbx.sim.dial("user4", "0455556666").answer()
        outer = outgoing.legs[1]
        assert parker(outgoing.park()) == (pbx.user(4).id, "user4")
        assert outgoing.uuid == outer
        assert outgoing.unpark().legs[0] == outer

    def test_a_timeout_rings_back_at_the_parker_and_then_ends(self, pbx: Pbx) -> None:
        call = pbx.sim.call("0312341234", to="user1").answer().park(timeout=20)
        pbx.advance(19)
        assert call.state == "parked"
        pbx.advance(1)
        assert call.state == "ringing"
        assert pbx.channel(call.legs[1]).user_id == pbx.user(1).id
        station = call.legs[1]
        pbx.told()
        pbx.advance(20)
        assert pbx.told() == [(station, "send_cancel,ALLOTTED_TIMEOUT"), (call.uuid, "send_bye,ALLOTTED_TIMEOUT")]

    def test_a_timeout_without_a_parker_ends_the_call(self, pbx: Pbx) -> None:
        call = pbx.sim.call("0312341234", to="user1").park(timeout=20)
        pbx.advance(20)
        assert call.state == "ended"
        with pytest.raises(CommandError, match="timeout"):
            pbx.sim.call("0312341234", to="user1").park(timeout=0)

    def test_an_old_timeout_does_not_touch_a_new_parking(self, pbx: Pbx) -> None:
        call = pbx.sim.call("0312341234", to="user1").answer().park(timeout=20)
        call.unpark().park(timeout=60)
        pbx.advance(30)
        assert call.state == "parked"
        pbx.advance(30)
        assert call.state == "ringing"


class TestTransfer:
    def test_the_station_is_released_and_the_next_rings(self, pbx: Pbx) -> None:
        call = pbx.sim.call("0312341234", to="user1").answer()
        station = call.legs[1]
        pbx.told()
        call.transfer("user2")
        assert pbx.told() == [
            (station, "send_bye,BLIND_TRANSFER"),
            (call.uuid, "STATE_CHANGE"),
            (call.legs[1], "CHANNEL_ORIGINATE"),
        ]
        target = pbx.channel(call.uuid).target
        assert target is not None
        assert (target.type, target.name) == ("user", "user2")

    def test_of_an_outgoing_call_the_outer_leg_goes_on(self, pbx: Pbx) -> None:
        call = pbx.sim.dial("user1", "0455556666").answer()
        inner, outer = call.legs
        call.transfer("user2").answer()
        assert call.uuid == outer
        assert inner not in call.legs
        assert pbx.channel(outer).target is None
        station = pbx.channel(call.legs[1])
        assert station.calling_number == "0455556666"

    def test_from_queue_to_queue_and_into_a_slot(self, pbx: Pbx) -> None:
        call = pbx.sim.call("0312341234", to="group1")
        assert pbx.events("waiting") == ["added"]
        call.transfer("group2")
        assert pbx.events("waiting") == ["updated"]
        call.park()
        assert pbx.events("waiting") == ["updated", "removed", "added"]
        call.transfer("0455556666")
        assert pbx.events("waiting") == ["removed"]


class TestMailboxes:
    def test_counters(self, pbx: Pbx) -> None:
        for _ in range(2):
            pbx.sim.call("0312341234", to="user1").voicemail().hangup()
        assert pbx.user(1).mwi == Mailbox(2, 0)
        assert str(pbx.user(1).mwi) == "2/0"
        pbx.sim.check_voicemail("user1").hangup()
        assert str(pbx.user(1).mwi) == "0/2"
        assert str(pbx.user(2).mwi) == ""
        pbx.sim.call("0312341234", to="group2").voicemail(leave_message=False).leave_message()
        assert pbx.sim.groups[1].mwi.new == 1

    def test_mailboxes_of_nobody(self, pbx: Pbx) -> None:
        with pytest.raises(CommandError, match="mailbox"):
            pbx.sim.dial("user1", "0455556666").voicemail()
        with pytest.raises(CommandError, match="mailbox"):
            pbx.sim.check_voicemail("user1").leave_message()


class TestWrongOrder:
    STEPS: tuple[tuple[str, Callable[[Call], Call]], ...] = (
        ("answer", lambda call: call.answer()),
        ("be refused", lambda call: call.busy()),
        ("go unanswered", lambda call: call.no_answer()),
        ("be abandoned", lambda call: call.abandon()),
        ("be hung up", lambda call: call.hangup()),
        ("be parked", lambda call: call.park()),
        ("be unparked", lambda call: call.unpark()),
        ("be transferred", lambda call: call.transfer("user2")),
        ("go to voicemail", lambda call: call.voicemail()),
        ("leave a message", lambda call: call.leave_message()),
        ("go to ivr", lambda call: call.ivr()),
        ("go to xml_ivr", lambda call: call.xml_ivr()),
        ("go to conference", lambda call: call.conference()),
    )

    @pytest.mark.parametrize(("what", "step"), STEPS)
    def test_nothing_can_be_done_with_a_call_that_ended(
        self, what: str, step: Callable[[Call], Call], pbx: Pbx
    ) -> None:
        call = pbx.sim.call("0312341234", to="user1").hangup()
        pbx.changes.clear()
        with pytest.raises(CommandError) as caught:
            step(call)
        assert str(caught.value) == f"call {call.uuid} is ended: it cannot {what}"
        assert not pbx.changes

    @pytest.mark.parametrize(
        "step",
        [
            lambda call: call.answer(by="nobody"),
            lambda call: call.park(by="nobody"),
            lambda call: call.park(timeout=-1),
            lambda call: call.hangup(disposition="recv_goodbye"),
            lambda call: call.hangup(cause="NORMAL,CLEARING"),
            lambda call: call.hangup(cause=""),
            lambda call: call.unpark(),
            lambda call: call.leave_message(),
        ],
    )
    def test_a_step_that_fails_changes_nothing(self, step: Callable[[Call], Call], pbx: Pbx) -> None:
        call = pbx.sim.call("0312341234", to="user1")
        before = pbx.sim.channels
        with pytest.raises(CommandError):
            step(call)
        assert pbx.sim.channels == before
        assert call.state == "ringing"
        call.answer()

    def test_calls_that_cannot_be(self, pbx: Pbx) -> None:
        attempts: tuple[Callable[[], object], ...] = (
            lambda: pbx.sim.call("0312341234", to="nobody"),
            lambda: pbx.sim.dial("nobody", "0312341234"),
            lambda: pbx.sim.media_plug("group1"),
            lambda: pbx.sim.check_voicemail("nobody"),
        )
        for wrong in attempts:
            with pytest.raises(CommandError, match="simulated PBX"):
                wrong()
        assert not pbx.sim.channels

    def test_objects_that_cannot_be(self, pbx: Pbx) -> None:
        sim = pbx.sim
        sim.call("0312341234", to="user1")
        attempts: tuple[Callable[[], object], ...] = (
            lambda: sim.add_user("user1", extension="777"),
            lambda: sim.add_user("new", extension="201"),
            lambda: sim.add_group("", extension="777"),
            lambda: sim.add_member("user1", "group1"),
            lambda: sim.add_member("user1", "user2"),
            lambda: sim.remove_user("user1"),
            lambda: sim.remove_user("nobody"),
            lambda: sim.remove_group("nobody"),
            lambda: sim.remove_member("user2", "group1"),
            lambda: sim.update_user("user1", mood="good"),
            lambda: sim.update_user("user1", id=1),
            lambda: sim.update_terminal("nobody", registered=True),
            lambda: sim.update_domain(mood="good"),
        )
        for wrong in attempts:
            with pytest.raises(CommandError):
                wrong()
        assert {change.element for change in pbx.changes} == {"channel"}


class TestPopulation:
    def test_the_seed_decides(self) -> None:
        one, same, other = Simulator(seed=1), Simulator(seed=1), Simulator(seed=2)
        assert (one.users, one.groups, one.members, one.terminals, one.customers) == (
            *(same.users, same.groups, same.members, same.terminals, same.customers),
        )
        assert one.users != other.users
        assert one.call("0312341234", to="user1").legs == same.call("0312341234", to="user1").legs

    def test_people_can_be_called_by_any_of_their_names(self, pbx: Pbx) -> None:
        user, group = pbx.user(3), pbx.sim.groups[1]
        for name in (user.name, user.main_extension, user.label, user.did, user.email):
            assert pbx.channel(pbx.sim.call("0312341234", to=name).legs[1]).user_id == user.id
        for name in (group.name, group.main_extension, group.label, group.did):
            target = pbx.channel(pbx.sim.call("0312341234", to=name).uuid).target
            assert target is not None
            assert target.id == group.id

    def test_customers(self, pbx: Pbx) -> None:
        numbers = [customer.number for customer in pbx.sim.customers]
        shared = next(number for number in numbers if numbers.count(number) == 2)
        single = next(number for number in numbers if numbers.count(number) == 1)
        texts = {
            number: pbx.channel(pbx.sim.call(number, to="user1").uuid).end_user for number in (shared, single, "0")
        }
        assert texts["0"] == "****"
        assert str(texts[shared]).startswith("_MANY_:2|")
        customer = next(customer for customer in pbx.sim.customers if customer.number == single)
        assert [unquote_plus(part) for part in str(texts[single]).split("*")] == list(customer[:5])
        call = pbx.sim.call("0", to="user1", end_user="7*Own+Text**")
        assert pbx.channel(call.uuid).end_user == "7*Own+Text**"

    def test_texts_with_special_characters(self) -> None:
        customer = Customer("1", "a*b|c d:e", "é", "", "東京都", "0")
        text = end_user_text([customer, customer])
        assert text.count("*") == 8
        assert text.count("|") == 2
        assert end_user_text([]) == "****"


def test_texts_for_people_hold_no_numbers(pbx: Pbx) -> None:
    call = pbx.sim.call("0312341234", to="user1")
    assert repr(call) == f"<Call {call.uuid} ringing>"
    assert "0312341234" not in repr(pbx.sim)
