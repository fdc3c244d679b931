"""Calls from channels: what people do at a simulated PBX, in both generations, and over gaps."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace

import pytest
from call_rig import Generation, Rig, both, who

from basix_cti.simulator.calls import Call as SimCall
from basix_cti.simulator.wire import CurrentWire


@both
def test_a_call_can_be_copied_and_pickled(wire: Generation) -> None:
    rig = Rig(wire)
    rig.incoming().answer().transfer("user2")
    (call,) = rig.parser.calls
    copies = [pickle.loads(pickle.dumps(call, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    for again in (*copies, copy.copy(call), copy.deepcopy(call), replace(call)):
        assert again == call
        assert repr(again) == repr(call)
        assert again.to_dict() == call.to_dict()


class TestScenarios:
    @both
    def test_an_incoming_call(self, wire: Generation) -> None:
        rig = Rig(wire)
        customer = rig.sim.customers[0]
        call = rig.sim.call(customer.number, to="user1")
        (known,) = rig.parser.calls
        assert (known.state, known.direction, known.ended, known.outcome) == ("ringing", "inbound", False, None)
        assert (known.id, known.caller.number) == (call.uuid, customer.number)
        rig.wait(7)
        assert known.wait_time(rig.now / 1e6) == 7
        call.answer()
        rig.wait(20)
        (talking,) = rig.parser.calls
        assert (talking.state, talking.wait_duration, talking.talk_duration) == ("talking", 7, None)
        assert talking.talk_time(rig.now / 1e6) == 20
        assert known.state == "ringing"  # what a hook got does not change
        call.hangup()
        ended = rig.last
        assert rig.heard.kinds() == ["ringing", "answered", "ended"]
        assert ended.target is not None
        assert (ended.target.type, ended.target.name) == ("user", "user1")
        assert who(ended.answered_by) == rig.sim.users[0].id
        assert (ended.outcome, ended.state) == ("answered", "ended")
        assert (ended.wait_duration, ended.talk_duration, ended.park_duration, ended.duration) == (7, 20, 0, 27)
        assert (ended.uncertain, ended.partial, ended.joined, ended.transfers) == (False, False, None, ())
        if wire is CurrentWire:
            assert ended.customer is not None
            assert (ended.customer.name, str(ended.caller)) == (customer.name, customer.name)
            assert str(ended.answered_by) == rig.label("user1")
            assert (ended.hangup_disposition, ended.hangup_cause) == ("recv_bye", "NORMAL_CLEARING")
        rig.check_empty()

    @pytest.mark.parametrize(
        ("act", "outcome"),
        [
            (lambda call: call.busy(), "busy"),
            (lambda call: call.no_answer(), "missed"),
            (lambda call: call.abandon(), "abandoned"),
            (lambda call: call.hangup("UNALLOCATED_NUMBER", "send_refuse"), "failed"),
            (lambda call: call.voicemail().hangup(), "voicemail"),
            (lambda call: call.conference().hangup(), "answered"),
            (lambda call: call.ivr().hangup(), "abandoned"),
            (lambda call: call.ivr().hangup(disposition="send_bye"), "missed"),
        ],
    )
    @both
    def test_outcomes(self, act: Callable[[SimCall], SimCall], outcome: str, wire: Generation) -> None:
        rig = Rig(wire)
        act(rig.incoming())
        told = outcome if wire is CurrentWire or outcome in ("voicemail", "answered") else "missed"
        assert rig.last.outcome == told
        assert rig.heard.kinds() == ["ringing", *(["answered"] if outcome == "answered" else []), "ended"]
        rig.check_empty()

    @both
    def test_a_ring_group_of_five(self, wire: Generation) -> None:
        rig = Rig(wire)
        for number in range(1, 6):
            rig.sim.add_user(f"agent{number}", extension=f"61{number}")
        rig.sim.add_group("five", extension="650")
        for number in range(1, 6):
            rig.sim.add_member(f"agent{number}", "five")
        call = rig.incoming("five")
        assert len(call.legs) == 6
        rig.wait(4)
        call.answer("agent3")
        rig.wait(60)
        call.hangup()
        ended = rig.last
        assert rig.heard.kinds() == ["ringing", "answered", "ended"]
        assert (ended.outcome, ended.wait_duration, ended.talk_duration) == ("answered", 4, 60)
        assert ended.answered_by is not None
        assert ended.answered_by.user_id == rig.sim._board.user("agent3").id
        assert ended.target is not None
        assert (ended.target.type, ended.target.name) == ("group", "five")
        assert len(ended.legs) == 6
        if wire is CurrentWire:
            losers = [leg for leg in ended.legs if leg.channel.hangup_cause == "LOSE_RACE"]
            assert len(losers) == 4
        rig.check_empty()

    def test_one_of_the_losers_of_a_race(self) -> None:
        rig = Rig(user="user2")
        rig.sim.add_group("both", extension="650")
        rig.sim.add_member("user1", "both")
        rig.sim.add_member("user2", "both")
        call = rig.incoming("both")
        rig.wait(3)
        call.answer("user1")
        ended = rig.last
        assert rig.heard.kinds() == ["ringing", "ended"]
        assert (ended.outcome, ended.hangup_cause, ended.id) == ("picked_up_elsewhere", "LOSE_RACE", call.uuid)
        assert (ended.caller_leg, ended.caller.number, ended.wait_duration) == (None, "0312341234", 3)
        assert ended.target is not None
        assert ended.target.type == "group"
        rig.check_empty()

    @both
    def test_a_pick_up(self, wire: Generation) -> None:
        rig = Rig(wire)
        call = rig.incoming()
        rig.wait(5)
        call.answer("user2")
        rig.wait(9)
        call.hangup()
        ended = rig.last
        assert rig.heard.kinds() == ["ringing", "answered", "ended"]
        assert (ended.outcome, ended.wait_duration, ended.talk_duration) == ("picked_up_elsewhere", 5, 9)
        assert who(ended.answered_by) == rig.sim.users[1].id
        assert ended.target is not None
        assert ended.target.name == "user1"
        assert len(ended.legs) == 3
        rig.check_empty()

    @pytest.mark.parametrize(
        ("user", "outcome", "kinds"),
        [
            ("user1", "picked_up_elsewhere", ["ringing", "ended"]),
            # Nothing but the digits that were dialled tells this one from any other call that user2 makes.
            ("user2", "answered", ["ringing", "answered", "ended"]),
        ],
    )
    def test_a_pick_up_as_each_of_the_two_sees_it(self, user: str, outcome: str, kinds: list[str]) -> None:
        rig = Rig(user=user)
        call = rig.incoming()
        rig.wait(5)
        call.answer("user2").hangup()
        assert rig.last.outcome == outcome
        assert rig.heard.kinds() == kinds
        rig.check_empty()

    @both
    def test_a_blind_transfer(self, wire: Generation) -> None:
        rig = Rig(wire)
        call = rig.incoming().answer()
        rig.wait(10)
        call.transfer("user2")
        assert rig.heard.kinds() == ["ringing", "answered", "transferred"]
        (ringing,) = rig.parser.calls
        assert ringing.state == "ringing"
        (transfer,) = ringing.transfers
        assert (transfer.kind, who(transfer.by)) == ("blind", rig.sim.users[0].id)
        assert transfer.target is not None
        assert (transfer.target.type, transfer.target.id) == ("user", rig.sim.users[1].id)
        rig.wait(6)
        call.answer()
        rig.wait(20)
        call.hangup()
        assert rig.heard.hooks[-1][0] == "ended"
        ended = rig.last
        assert rig.heard.kinds() == ["ended"]
        assert (ended.outcome, ended.wait_duration, ended.talk_duration, ended.duration) == ("answered", 0, 30, 36)
        assert who(ended.answered_by) == rig.sim.users[0].id
        rig.check_empty()

    @both
    def test_a_blind_transfer_to_somebody_who_does_not_answer(self, wire: Generation) -> None:
        rig = Rig(wire)
        rig.incoming().answer().transfer("user2").no_answer()
        assert rig.last.outcome == "answered"  # somebody had talked to the caller
        assert rig.heard.kinds() == ["ringing", "answered", "transferred", "ended"]
        rig.check_empty()

    @both
    def test_an_attended_transfer(self, wire: Generation) -> None:
        rig = Rig(wire)
        call = rig.incoming().answer()
        rig.wait(10)
        asked = rig.sim.call("user1", to="user3")
        rig.wait(4)
        asked.answer()
        assert [each.id for each in rig.parser.calls] == [call.uuid, asked.uuid]
        rig.wait(7)
        assert rig.heard.kinds() == ["ringing", "answered", "ringing", "answered"]
        call.put_through(asked)
        hooks = dict(rig.heard.hooks)
        assert rig.heard.kinds() in (["transferred", "ended"], ["ended", "transferred"])
        assert hooks["ended"].id == asked.uuid
        assert (hooks["ended"].joined, hooks["ended"].outcome) == (call.uuid, "answered")
        assert (hooks["ended"].wait_duration, hooks["ended"].talk_duration) == (4, 7)
        (transfer,) = hooks["transferred"].transfers
        assert (transfer.kind, who(transfer.by)) == ("attended", rig.sim.users[0].id)
        assert transfer.target is not None
        assert transfer.target.id == rig.sim.users[2].id
        rig.wait(30)
        call.hangup()
        ended = rig.last
        assert rig.heard.kinds() == ["ended"]
        assert (ended.id, ended.joined, ended.outcome) == (call.uuid, None, "answered")
        assert ended.talk_duration == 10 + 4 + 7 + 30
        rig.check_empty()

    @both
    def test_parked_and_taken_out_of_the_slot(self, wire: Generation) -> None:
        rig = Rig(wire)
        call = rig.incoming().answer()
        rig.wait(10)
        call.park(901)
        assert rig.heard.kinds() == ["ringing", "answered", "parked"]
        (known,) = rig.parser.calls
        assert known.state == "parked"
        assert known.park is not None
        assert (known.park.slot, known.park.parker_id) == (901, rig.sim.users[0].id)
        rig.wait(25)
        assert known.park_time(rig.now / 1e6) == 25
        call.unpark("user2")
        (known,) = rig.parser.calls
        assert (known.state, known.park) == ("talking", None)
        rig.wait(5)
        call.hangup()
        ended = rig.last
        assert rig.heard.kinds() == ["ended"]
        assert (ended.outcome, ended.talk_duration, ended.park_duration) == ("answered", 15, 25)
        assert who(ended.answered_by) == rig.sim.users[0].id
        rig.check_empty()

    @both
    def test_parked_twice(self, wire: Generation) -> None:
        rig = Rig(wire)
        call = rig.incoming().answer().park(901)
        rig.wait(3)
        call.unpark().park(902)
        rig.wait(4)
        assert rig.heard.kinds() == ["ringing", "answered", "parked", "parked"]
        call.abandon()
        assert (rig.last.outcome, rig.last.park_duration) == ("answered", 7)
        rig.check_empty()

    @both
    def test_a_parking_that_times_out(self, wire: Generation) -> None:
        rig = Rig(wire)
        call = rig.incoming().answer().park(timeout=20)
        rig.wait(20)
        (known,) = rig.parser.calls
        assert (known.state, known.transfers) == ("ringing", ())
        rig.wait(20)
        ended = rig.last
        assert rig.heard.kinds() == ["ringing", "answered", "parked", "ended"]
        assert (ended.id, ended.outcome, ended.park_duration) == (call.uuid, "answered", 20)
        if wire is CurrentWire:
            assert ended.hangup_cause == "ALLOTTED_TIMEOUT"
        rig.check_empty()

    @both
    def test_a_call_that_is_parked_unanswered_and_never_taken(self, wire: Generation) -> None:
        rig = Rig(wire)
        rig.incoming().park(timeout=20)
        rig.wait(20)
        ended = rig.last
        assert rig.heard.kinds() == ["ringing", "parked", "ended"]
        assert (ended.outcome, ended.park_duration, ended.talk_duration) == ("missed", 20, 0)
        rig.check_empty()

    @both
    def test_voicemail(self, wire: Generation) -> None:
        rig = Rig(wire)
        call = rig.incoming()
        rig.wait(20)
        call.voicemail()
        rig.wait(15)
        (known,) = rig.parser.calls
        assert (known.state, known.is_answered) == ("voicemail", False)
        call.hangup()
        ended = rig.last
        assert rig.heard.kinds() == ["ringing", "ended"]
        assert (ended.outcome, ended.wait_duration, ended.talk_duration, ended.answered_by) == (
            "voicemail",
            20,
            0,
            None,
        )
        rig.check_empty()

    @both
    def test_somebody_who_listens_to_messages(self, wire: Generation) -> None:
        rig = Rig(wire)
        call = rig.sim.check_voicemail("user1")
        rig.wait(15)
        call.hangup()
        assert rig.last.outcome == rig.sim.book[-1].outcome == "voicemail"
        assert rig.last.target is None
        rig.check_empty()

    @both
    def test_a_caller_who_gives_up(self, wire: Generation) -> None:
        rig = Rig(wire)
        call = rig.incoming("group1")
        rig.wait(12)
        call.abandon()
        ended = rig.last
        assert rig.heard.kinds() == ["ringing", "ended"]
        assert ended.outcome == ("abandoned" if wire is CurrentWire else "missed")
        assert (ended.wait_duration, ended.talk_duration, ended.answered_by) == (12, 0, None)
        rig.check_empty()

    @both
    def test_a_conference(self, wire: Generation) -> None:
        rig = Rig(wire)
        one, two = rig.incoming(), rig.incoming("user2")
        rig.wait(2)
        one.answer()
        rig.wait(8)
        one.conference(3)
        two.conference(3)
        assert [call.state for call in rig.parser.calls] == ["conference", "conference"]
        rig.wait(30)
        one.hangup()
        two.hangup()
        first, second = (call for kind, call in rig.heard.hooks if kind == "ended")
        assert sorted(rig.heard.kinds()) == ["answered", "answered", "ended", "ended", "ringing", "ringing"]
        assert (first.outcome, first.wait_duration, first.talk_duration) == ("answered", 2, 38)
        assert who(first.answered_by) == rig.sim.users[0].id
        assert (second.outcome, second.wait_duration, second.talk_duration) == ("answered", 10, 30)
        assert second.answered_by is None
        rig.check_empty()

    @both
    def test_an_outgoing_call(self, wire: Generation) -> None:
        rig = Rig(wire)
        customer = rig.sim.customers[0]
        call = rig.sim.dial("user1", customer.number)
        rig.wait(6)
        call.answer()
        rig.wait(10)
        call.hangup()
        ended = rig.last
        assert rig.heard.kinds() == ["ringing", "answered", "ended"]
        assert (ended.direction, ended.outcome, ended.wait_duration) == ("outbound", "answered", 6)
        assert who(ended.caller) == rig.sim.users[0].id
        assert ended.target is not None
        assert (ended.target.type, ended.target.address) == ("pstn", customer.number)
        assert who(ended.answered_by) == customer.number
        if wire is CurrentWire:
            assert ended.customer is not None
            assert ended.customer.name == customer.name
        rig.check_empty()

    @both
    def test_an_internal_call(self, wire: Generation) -> None:
        rig = Rig(wire)
        rig.sim.call("user1", to="user2").answer().hangup()
        assert rig.last.direction == "internal"
        assert (who(rig.last.caller), who(rig.last.answered_by)) == (rig.sim.users[0].id, rig.sim.users[1].id)
        rig.check_empty()

    @both
    def test_a_forward_before_anybody_answers(self, wire: Generation) -> None:
        rig = Rig(wire)
        call = rig.incoming()
        rig.wait(5)
        call.transfer("user2")
        rig.wait(5)
        call.answer()
        call.hangup()
        assert rig.heard.kinds()[:2] == ["ringing", "transferred"]
        rig.check_empty()


class TestGaps:
    @both
    def test_a_restart_in_mid_call(self, wire: Generation) -> None:
        """A call that goes on over a gap is the same call; what it did in it is only known from its state."""
        rig = Rig(wire)
        call = rig.incoming().answer()
        rig.wait(10)
        rig.disconnect()
        rig.wait(10)
        rig.connect()
        rig.wait(10)
        (known,) = rig.parser.calls
        assert (known.id, known.state) == (call.uuid, "talking")
        assert (known.uncertain, known.partial) == (False, False)  # the full state says what was known before
        call.hangup()
        assert rig.last.talk_duration == 30
        assert rig.heard.kinds() == ["ringing", "answered", "ended"]
        rig.check_empty()

    @both
    def test_a_restart_of_the_program_in_mid_call(self, wire: Generation) -> None:
        rig = Rig(wire)
        call = rig.incoming().answer()
        rig.wait(10)
        call.park(901)
        rig.wait(10)
        rig.restart()
        assert rig.heard.kinds() == []
        (known,) = rig.parser.calls
        assert (known.id, known.state, known.partial, known.uncertain) == (call.uuid, "parked", True, False)
        rig.wait(5)
        call.unpark("user2")
        rig.wait(5)
        call.hangup()
        ended = rig.last
        assert rig.heard.kinds() == ["answered", "ended"]
        assert (ended.outcome, ended.park_duration, ended.talk_duration) == ("answered", 15, 5)
        assert who(ended.answered_by) == rig.sim.users[1].id
        rig.check_empty()

    @both
    def test_a_call_that_ends_in_a_gap(self, wire: Generation) -> None:
        rig = Rig(wire)
        call = rig.incoming().answer()
        rig.wait(10)
        rig.disconnect()
        call.hangup()
        rig.connect()
        ended = rig.last
        assert rig.heard.told[-1].synthetic
        assert rig.heard.kinds() == ["ringing", "answered", "ended"]
        assert (ended.uncertain, ended.outcome, ended.hangup_timestamp) == (True, "answered", None)
        assert (ended.wait_duration, ended.talk_duration, ended.duration) == (0, None, None)
        rig.check_empty()

    @both
    def test_a_call_that_rang_and_ended_in_a_gap(self, wire: Generation) -> None:
        rig = Rig(wire)
        call = rig.incoming()
        rig.disconnect()
        call.hangup()
        rig.connect()
        ended = rig.last
        assert rig.heard.kinds() == ["ringing", "ended"]
        assert (ended.uncertain, ended.outcome) == (True, None)
        assert ended.wait_duration is None
        rig.check_empty()

    @both
    def test_a_call_that_is_answered_in_a_gap(self, wire: Generation) -> None:
        rig = Rig(wire)
        call = rig.incoming()
        rig.wait(4)
        rig.disconnect()
        call.answer()
        rig.wait(10)
        rig.connect()
        assert [event.synthetic for event in rig.heard.told] == [False, True]
        assert rig.heard.kinds() == ["ringing", "answered"]
        (known,) = rig.parser.calls
        assert (known.uncertain, known.wait_duration) == (True, 4)  # the channels themselves tell when
        call.hangup()
        assert rig.heard.kinds() == ["ended"]
        rig.check_empty()

    @both
    def test_a_call_that_begins_in_a_gap(self, wire: Generation) -> None:
        rig = Rig(wire)
        rig.disconnect()
        call = rig.incoming()
        call.answer()
        rig.connect()
        assert rig.heard.kinds() == ["ringing", "answered"]
        assert rig.parser.calls[0].uncertain
        call.hangup()
        assert rig.heard.kinds() == ["ended"]
        rig.check_empty()

    @both
    def test_a_call_that_is_there_at_the_first_login(self, wire: Generation) -> None:
        rig = Rig(wire)
        call = rig.incoming().answer()
        other = rig.incoming("user2")
        rig.restart()
        assert rig.heard.kinds() == []
        assert [(known.id, known.state, known.partial) for known in rig.parser.calls] == [
            (call.uuid, "talking", True),
            (other.uuid, "ringing", True),
        ]
        call.hangup()
        assert rig.heard.kinds() == ["ended"]
        other.answer()
        assert rig.heard.kinds() == ["answered"]
        other.hangup()
        assert rig.last.uncertain is False
        assert rig.heard.kinds() == ["ended"]
        rig.check_empty()

    @both
    def test_parked_and_transferred_in_a_gap(self, wire: Generation) -> None:
        rig = Rig(wire)
        one, two = rig.incoming().answer(), rig.incoming("user2").answer()
        rig.heard.kinds()
        rig.wait(5)
        rig.disconnect()
        one.park(901)
        two.transfer("user3")
        rig.connect()
        assert sorted(rig.heard.kinds()) == ["parked", "transferred"]
        assert all(known.uncertain for known in rig.parser.calls)
        one.hangup()
        two.hangup()
        assert rig.heard.kinds() == ["ended", "ended"]
        rig.check_empty()
