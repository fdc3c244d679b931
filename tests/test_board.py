"""The live board: rows of what people do at a simulated PBX, what changed, what is not known, and what is masked."""

from __future__ import annotations

import json
import random
import re
import threading
from typing import Any

import pytest
from board_rig import BoardRig, by_id
from call_rig import BEGIN, Generation, both

from basix_cti.board import (
    PERSON_STATES,
    TABLES,
    Board,
    Row,
    Selection,
    by_wait,
    mask_number,
    mask_text,
    masked,
    people_order,
    seconds_since,
)
from basix_cti.board.masking import FIELDS
from basix_cti.errors import CommandError, ConnectError, PingTimeout
from basix_cti.events import Failed, Overflowed
from basix_cti.simulator import Simulator
from basix_cti.simulator.wire import CurrentWire, FirstWire
from basix_cti.testing import RecordedClient, Recorder

SECOND = 1_000_000


def taken(board: Board, now: float = 0.0) -> dict[str, Any]:
    """What changes() tells, by id."""
    told = board.changes(now)
    return {table: (by_id(told[table]["changed"]), set(told[table]["removed"])) for table in TABLES}


class TestCalls:
    @both
    def test_a_call_to_a_group(self, wire: Generation) -> None:
        rig = BoardRig(wire)
        customer = rig.sim.customers[0]
        call = rig.sim.call(customer.number, to="group1")
        rig.wait(5)
        row = rig.only
        assert (row["id"], row["state"], row["waiting"], row["direction"]) == (call.uuid, "ringing", True, "inbound")
        assert (row["since"], row["offered"], row["number"], row["extension"]) == (BEGIN, BEGIN, customer.number, None)
        assert (row["group_id"], len(row["user_ids"])) == (rig.sim.groups[0].id, 5)
        if wire is CurrentWire:
            assert (row["caller"], row["customer"], row["customers"]) == (customer.name, customer.name, 1)
            assert row["group"] == row["target"] == rig.sim.groups[0].label
        else:
            assert (row["caller"], row["customer"], row["group"], row["target"]) == (None, None, "group1", "group1")
        call.answer()
        row = rig.only
        assert (row["state"], row["waiting"], row["since"]) == ("talking", False, BEGIN + 5 * SECOND)
        assert row["answered_by"] == (rig.label("user1") if wire is CurrentWire else "user1")
        assert row["user_ids"] == [rig.sim.users[0].id]
        call.hangup()
        assert rig.rows("calls") == {}

    @both
    def test_a_parked_call_waits_since_it_was_parked(self, wire: Generation) -> None:
        rig = BoardRig(wire)
        call = rig.incoming("group1").answer()
        rig.wait(10)
        call.park(901)
        row = rig.only
        assert (row["state"], row["waiting"], row["since"]) == ("parked", True, BEGIN + 10 * SECOND)
        assert row["slot"] == 901
        assert row["parker"] == (rig.label("user1") if wire is CurrentWire else "user1")
        assert row["group_id"] == rig.sim.groups[0].id
        call.unpark("user2")
        row = rig.only
        assert (row["waiting"], row["slot"], row["parker"]) == (False, None, None)

    @both
    def test_a_call_that_is_sent_on_waits_since_then(self, wire: Generation) -> None:
        rig = BoardRig(wire)
        call = rig.incoming("group1").answer()
        rig.wait(10)
        call.transfer("user2")
        row = rig.only
        assert (row["state"], row["waiting"], row["since"]) == ("ringing", True, BEGIN + 10 * SECOND)
        assert row["group_id"] is None
        assert row["target"] == (rig.label("user2") if wire is CurrentWire else "user2")
        assert rig.sim.users[1].id in row["user_ids"]

    @pytest.mark.parametrize(
        ("caller", "to", "waits"),
        [
            ("0312341234", "user1", True),
            ("0312341234", "group1", True),
            ("user1", "group1", True),
            ("user1", "user2", False),
            ("user1", "0399990000", False),
        ],
    )
    @both
    def test_who_waits(self, caller: str, to: str, waits: bool, wire: Generation) -> None:
        rig = BoardRig(wire)
        rig.sim.call(caller, to=to)
        assert rig.only["waiting"] is waits
        assert rig.header()["waiting"] == waits

    def test_a_menu_is_waiting_and_a_mailbox_is_not(self) -> None:
        rig = BoardRig()
        call = rig.incoming().ivr()
        rig.wait(3)
        assert (rig.only["state"], rig.only["waiting"], rig.only["since"]) == ("menu", True, BEGIN)
        call.voicemail()
        assert (rig.only["state"], rig.only["waiting"]) == ("voicemail", False)

    def test_a_caller_who_is_no_customer(self) -> None:
        rig = BoardRig()
        rig.sim.call("0311112222", to="user1", calling_name="0311112222")
        assert (rig.only["caller"], rig.only["number"], rig.only["customer"]) == (None, "0311112222", None)

    def test_a_user_who_calls_outside(self) -> None:
        rig = BoardRig()
        rig.sim.dial("user1", "0399990000")
        row = rig.only
        assert (row["direction"], row["caller"], row["number"]) == ("outbound", rig.label("user1"), None)
        assert (row["extension"], row["target_number"]) == ("201", "0399990000")


class TestPeople:
    @both
    def test_what_they_do(self, wire: Generation) -> None:
        rig = BoardRig(wire)
        call = rig.incoming()
        rig.wait(4)
        row = rig.person("user1")
        assert (row["state"], row["direction"], row["peer_number"]) == ("ringing", "in", "0312341234")
        assert (row["since"], row["call"], row["calls"]) == (BEGIN, call.uuid, 1)
        call.answer()
        rig.wait(6)
        row = rig.person("user1")
        assert (row["state"], row["doing"], row["since"]) == ("talking", "talking", BEGIN + 4 * SECOND)
        assert (row["peer_number"], row["extension"]) == ("0312341234", "201")
        call.hangup()
        row = rig.person("user1")
        assert (row["state"], row["peer_number"], row["since"], row["call"]) == ("free", None, None, None)

    @both
    def test_two_colleagues(self, wire: Generation) -> None:
        rig = BoardRig(wire)
        call = rig.sim.call("user1", to="user2")
        caller, called = rig.person("user1"), rig.person("user2")
        assert (caller["state"], caller["direction"], called["state"], called["direction"]) == (
            *("ringing", "out"),
            *("ringing", "in"),
        )
        assert caller["peer"] == (rig.label("user2") if wire is CurrentWire else "user2")
        assert called["peer_extension"] == "201"
        call.answer()
        caller, called = rig.person("user1"), rig.person("user2")
        assert (caller["state"], called["state"]) == ("talking", "talking")
        assert (caller["peer_extension"], caller["peer_number"]) == ("202", None)
        assert (called["peer_extension"], called["peer_number"]) == ("201", None)

    def test_who_talks_and_is_called_once_more_talks(self) -> None:
        rig = BoardRig()
        first = rig.incoming().answer()
        rig.wait(3)
        rig.sim.call("0399990000", to="user1")
        row = rig.person("user1")
        assert (row["state"], row["call"], row["calls"]) == ("talking", first.uuid, 2)
        first.hangup()
        row = rig.person("user1")
        assert (row["state"], row["peer_number"], row["calls"]) == ("ringing", "0399990000", 1)

    def test_a_conference_and_a_mailbox_have_no_other_end(self) -> None:
        rig = BoardRig()
        rig.sim.check_voicemail("user1")
        row = rig.person("user1")
        assert (row["state"], row["doing"], row["peer"], row["peer_number"]) == ("talking", "voicemail", None, None)

    def test_away_and_why(self) -> None:
        rig = BoardRig()
        assert rig.person("user1")["state"] == "free"
        for field, reason in (("do_not_disturb_status", "do not disturb"), ("fwd_always_status", "forwarding")):
            rig.sim.update_user("user1", **{field: 1})
            assert (rig.person("user1")["state"], rig.person("user1")["reason"]) == ("away", reason)
            rig.sim.update_user("user1", **{field: 0})
        (telephone,) = [each for each in rig.sim.terminals if each.assoc_user_id == rig.sim.users[0].id][:1]
        rig.sim.update_terminal(telephone.name, registered=False)
        row = rig.person("user1")
        assert (row["state"], row["reason"], row["registered"]) == ("away", "no telephone", False)
        assert rig.header()["people"] == {"ringing": 0, "talking": 0, "free": 11, "away": 1}
        rig.sim.update_user("user1", do_not_disturb_status=1)
        rig.sim.call("user1", to="user2")
        assert (rig.person("user1")["state"], rig.person("user1")["dnd"]) == ("ringing", True)

    def test_voicemail(self) -> None:
        rig = BoardRig()
        rig.incoming().voicemail().hangup()
        assert (rig.person("user1")["mwi_new"], rig.person("user1")["mwi_saved"]) == (1, 0)

    def test_voicemail_of_the_first_generation_is_unknown_until_it_is_told(self) -> None:
        rig = BoardRig(FirstWire)
        call = rig.incoming()
        assert rig.person("user1")["mwi_new"] is None
        call.voicemail().hangup()
        assert rig.person("user1")["mwi_new"] == 1

    def test_groups_and_logins(self) -> None:
        rig = BoardRig()
        group = rig.sim.groups[0].id
        assert rig.person("user1")["group_ids"] == rig.person("user1")["logged_in"] == [group]
        assert rig.group("group1")["logged_in"] == 5
        rig.sim.update_member("user1", "group1", login_status=0)
        assert (rig.person("user1")["group_ids"], rig.person("user1")["logged_in"]) == ([group], [])
        assert (rig.group("group1")["members"], rig.group("group1")["logged_in"]) == (5, 4)
        rig.sim.update_group("group1", check_login_status=0)  # which asks for no login
        assert rig.group("group1")["logged_in"] == 5
        assert rig.person("user1")["logged_in"] == [group]
        rig.sim.remove_member("user1", "group1")
        assert (rig.group("group1")["members"], rig.person("user1")["group_ids"]) == (4, [])

    def test_who_is_removed_and_added(self) -> None:
        rig = BoardRig()
        rig.sim.add_user("new", extension="777", label="新人")
        assert (rig.person("new")["label"], rig.person("new")["extension"]) == ("新人", "777")
        rig.sim.remove_user("new")
        assert "new" not in {row["name"] for row in rig.rows("people").values()}

    def test_of_the_first_generation_they_are_those_whom_calls_named(self) -> None:
        rig = BoardRig(FirstWire)
        assert rig.rows("people") == rig.rows("groups") == {}
        rig.incoming("group1").answer().hangup()
        assert {row["name"] for row in rig.rows("people").values()} == {f"user{i}" for i in (1, 4, 7, 10, 12)}
        assert {row["state"] for row in rig.rows("people").values()} == {"free"}
        assert {row["name"] for row in rig.rows("groups").values()} == {"group1"}
        assert not rig.board.lists("people")
        assert rig.header()["lists"] == {"groups": False, "people": False}
        assert rig.header()["people"] == {"ringing": 0, "talking": 0, "free": None, "away": None}


class TestGroups:
    @both
    def test_waiting_and_talking(self, wire: Generation) -> None:
        rig = BoardRig(wire)
        first = rig.incoming("group1")
        rig.wait(5)
        rig.sim.call("0399990000", to="group1")
        row = rig.group("group1")
        assert (row["waiting"], row["longest_since"], row["talking"]) == (2, BEGIN, 0)
        first.answer()
        row = rig.group("group1")
        assert (row["waiting"], row["longest_since"], row["talking"]) == (1, BEGIN + 5 * SECOND, 1)
        first.park()
        row = rig.group("group1")
        assert (row["waiting"], row["longest_since"], row["talking"]) == (2, BEGIN + 5 * SECOND, 0)

    def test_what_is_told_of_one(self) -> None:
        rig = BoardRig()
        hunt, ring = rig.group("group3"), rig.group("group1")
        assert (hunt["type"], ring["type"], ring["extension"]) == ("hunt", "ring", "301")
        assert (ring["mwi_new"], ring["mwi_saved"]) == (0, 0)
        assert ring["label"] == rig.sim.groups[0].label

    def test_sorted_by_the_longest_wait(self) -> None:
        rig = BoardRig()
        rig.incoming("group2")
        rig.wait(1)
        rig.incoming("group3")
        rows = sorted(rig.rows("groups").values(), key=by_wait)
        assert [row["name"] for row in rows] == ["group2", "group3", "group1"]


class TestWhatChanged:
    def test_only_what_has_changed_and_only_once(self) -> None:
        rig = BoardRig()
        first = taken(rig.board)
        assert [len(first[table][0]) for table in TABLES] == [3, 0, 12]
        assert all(taken(rig.board)[table] == ({}, set()) for table in TABLES)
        call = rig.incoming()
        told = taken(rig.board)
        assert told["calls"] == ({call.uuid: rig.only}, set())
        assert [row["name"] for row in told["people"][0].values()] == ["user1"]
        assert told["groups"] == ({}, set())
        rig.wait(60)
        assert all(taken(rig.board)[table] == ({}, set()) for table in TABLES)  # time changes no row
        call.answer().hangup()
        told = taken(rig.board)
        assert told["calls"] == ({}, {call.uuid})
        assert [row["state"] for row in told["people"][0].values()] == ["free"]

    def test_what_came_and_went_in_between_is_not_told_but_as_removed(self) -> None:
        rig = BoardRig()
        rig.board.changes(0)
        rig.incoming().answer().hangup()
        assert taken(rig.board)["calls"] == ({}, set())
        call = rig.incoming()
        rig.board.snapshot(0)  # somebody got it
        call.hangup()
        assert taken(rig.board)["calls"] == ({}, {call.uuid})

    def test_revisions(self) -> None:
        rig = BoardRig()
        assert [rig.board.changes(0)["revision"] for _ in range(3)] == [1, 2, 3]
        assert rig.board.snapshot(0)["revision"] == 3

    @both
    @pytest.mark.parametrize("seed", range(3))
    def test_a_viewer_who_gets_changes_sees_what_a_new_one_sees(self, seed: int, wire: Generation) -> None:
        rig = BoardRig(wire, seed=seed)
        rng = random.Random(seed)
        selection = Selection(groups=frozenset({rig.sim.groups[0].id}))
        viewer: dict[str, dict[Any, Row]] = {table: {} for table in TABLES}
        chosen: dict[str, dict[Any, Row]] = {table: {} for table in TABLES}
        for step in range(150):
            act_at_random(rig, rng)
            if step % 40 == 20:
                rig.disconnect()
            elif step % 40 == 25:
                rig.connect()
            if step % 3:
                continue
            told = rig.board.changes(rig.time)
            json.dumps(told, allow_nan=False)
            for mine, update in ((viewer, told), (chosen, selection.narrow(told))):
                for table in TABLES:
                    for key in update[table]["removed"]:
                        mine[table].pop(key, None)
                    mine[table].update(by_id(update[table]["changed"]))
            whole, part = rig.board.snapshot(rig.time), rig.board.snapshot(rig.time, selection)
            for table in TABLES:
                assert viewer[table] == by_id(whole[table])
                assert chosen[table] == by_id(part[table])
        check_consistent(rig)
        for call in rig.sim.calls:
            call.hangup()
        if rig.deaf:
            rig.connect()
        assert rig.rows("calls") == {}
        assert {row["state"] for row in rig.rows("people").values()} <= {"free", "away"}
        assert {(row["waiting"], row["talking"]) for row in rig.rows("groups").values()} == {(0, 0)}
        rows = rig.board._rows
        assert not rows._known
        assert not any(rows._calls_of.values())


def act_at_random(rig: BoardRig, rng: random.Random) -> None:
    """One thing that people do; what cannot be done now is left."""
    rig.wait(rng.randrange(5))
    calls = rig.sim.calls
    what = rng.choice(["call", "call", "internal", "dial", "answer", "park", "unpark", "transfer", "hangup", "dnd"])
    user = f"user{rng.randrange(1, 13)}"
    try:
        if what == "call":
            rig.sim.call(rng.choice(rig.sim.customers).number, to=rng.choice([user, "group1", "group2", "group3"]))
        elif what == "internal":
            rig.sim.call(user, to=f"user{rng.randrange(1, 13)}")
        elif what == "dial":
            rig.sim.dial(user, "0399990000")
        elif what == "dnd":
            rig.sim.update_user(user, do_not_disturb_status=rng.randrange(2))
        elif calls:
            call = rng.choice(calls)
            getattr(call, what)(*([user] if what == "transfer" else []))
    except CommandError:
        pass


def check_consistent(rig: BoardRig) -> None:
    """The tables fit together, and the header fits the tables."""
    calls, people, groups = (rig.rows(table) for table in ("calls", "people", "groups"))
    header = rig.header()
    if header["connection"]["state"] == "live":
        assert header["active"] == len(calls)
        assert header["waiting"] == sum(row["waiting"] for row in calls.values())
        if header["lists"]["people"]:
            assert sum(header["people"].values()) == len(people)
    for row in people.values():
        assert row["state"] in PERSON_STATES
        assert (row["call"] in calls) is (row["state"] in ("ringing", "talking"))
        assert row["call"] is None or row["id"] in calls[row["call"]]["user_ids"]
    for row in groups.values():
        assert row["waiting"] == sum(each["waiting"] for each in calls.values() if each["group_id"] == row["id"])


class TestTheConnection:
    def test_from_the_beginning_to_the_end(self) -> None:
        board = Board()
        header = board.header(5.0)
        assert (header["now"], header["connection"]["state"], header["received_at"]) == (5.0, "connecting", None)
        assert (header["waiting"], header["active"], header["people"], header["longest_since"]) == (None,) * 4
        assert (header["counters"]["since"], header["counters"]["complete"]) == (None, False)
        board.on_event(Failed(ConnectError("refused by nobody"), received_at=6.0))
        assert board.header(7.0)["connection"]["reason"] == "refused by nobody"
        rig = BoardRig()
        header = rig.header()
        assert header["connection"] == {
            "state": "live",
            "since": rig.time,
            "reason": None,
            "server": None,
            "number": 1,
        }
        assert (header["waiting"], header["longest_since"], header["active"]) == (0, None, 0)
        rig.disconnect()
        assert rig.header()["connection"]["state"] == "lost"
        assert rig.header()["connection"]["reason"] == "the connection has ended"

    def test_until_the_channels_are_told_it_loads(self) -> None:
        rig = BoardRig()
        rig.disconnect()
        rig.parser.connection_made(received_at=rig.time)
        frames = rig.wire.opening(rig.view)
        for frame in frames[:-2]:
            rig.parser.handle_message(frame, rig.time)
        assert rig.header()["connection"]["state"] == "loading"
        assert rig.header()["active"] is None
        for frame in frames[-2:]:
            rig.parser.handle_message(frame, rig.time)
        assert rig.header()["connection"]["state"] == "live"

    def test_a_sign_of_life_that_is_no_event(self) -> None:
        rig = BoardRig()
        assert rig.header()["received_at"] == rig.time
        rig.board.heard(rig.time - 5)
        assert rig.header()["received_at"] == rig.time
        rig.board.heard(rig.time + 1)
        assert rig.header()["received_at"] == rig.time + 1

    @both
    def test_a_gap(self, wire: Generation) -> None:
        rig = BoardRig(wire)
        gone, stays = rig.incoming(), rig.sim.call("0399990000", to="user2")
        assert rig.header()["counters"]["complete"]
        rig.wait(1)
        lost = rig.time
        rig.disconnect()
        header = rig.header()
        assert (header["waiting"], header["longest_since"], header["active"], header["people"]) == (None,) * 4
        assert (header["counters"]["complete"], header["gaps"], header["gap"]) == (False, 1, [lost, None])
        assert set(rig.rows("calls")) == {gone.uuid, stays.uuid}  # as it was then
        gone.hangup()
        stays.answer()
        rig.wait(30)
        rig.connect()
        header = rig.header()
        assert (header["active"], header["gap"]) == (1, [lost, rig.time])
        assert not header["counters"]["complete"]
        assert (rig.only["id"], rig.only["uncertain"]) == (stays.uuid, True)

    def test_what_happened_while_nothing_was_heard_lies_in_the_gap(self) -> None:
        rig = BoardRig()
        rig.wait(100)
        rig.board.heard(rig.time)  # a pong
        heard = rig.time
        rig.wait(45)
        rig.disconnect(PingTimeout("nothing was heard for 45 s"))
        assert rig.header()["gap"] == [heard, None]
        assert rig.header()["connection"]["since"] == heard
        rig.wait(5)
        rig.connect()
        assert rig.header()["gap"] == [heard, rig.time]

    def test_overflows_and_bad_frames_are_told(self) -> None:
        rig = BoardRig()
        rig.board.on_event(Overflowed(7))
        assert rig.header()["overflowed"] == 7
        assert not rig.header()["counters"]["complete"]
        rig = BoardRig()
        rig.parser.handle_message(b"\x83nonsense", rig.time)
        assert rig.header()["bad_frames"] == 1
        assert not rig.header()["counters"]["complete"]
        rig = BoardRig()
        rig.board.on_event(Failed(ValueError("a bug of a hook")))
        assert rig.header()["counters"]["complete"]


class TestTheClock:
    def test_its_difference_is_that_of_the_fastest_message(self) -> None:
        rig = BoardRig()
        assert rig.header()["clock_difference"] is None  # nothing was told that has just happened
        rig.ahead = 3.0
        call = rig.incoming()
        assert rig.header()["clock_difference"] == 3.0
        rig.ahead = 3.4  # this one was late
        call.answer()
        assert rig.header()["clock_difference"] == 3.0
        rig.ahead = 2.9
        call.hangup()
        assert rig.header()["clock_difference"] == pytest.approx(2.9)

    def test_this_machine_may_be_behind(self) -> None:
        rig = BoardRig()
        rig.ahead = -100.0
        rig.incoming()
        rig.wait(12)
        header = rig.header()
        assert header["clock_difference"] == -100.0
        assert seconds_since(rig.only["since"], rig.time, header["clock_difference"]) == pytest.approx(12)

    def test_what_tells_no_new_moment_tells_nothing(self) -> None:
        rig = BoardRig()
        call = rig.incoming()
        rig.ahead = -50.0
        rig.wait(100)
        rig.sim.update_user("user1", label="new")
        leg = rig.sim._board.find(call.uuid)
        assert leg is not None
        leg._change(call.uuid, "CHANNEL_APPLICATION", tags="a;b")
        assert rig.header()["clock_difference"] == 0.0

    def test_what_follows_from_a_gap_tells_nothing(self) -> None:
        rig = BoardRig()
        rig.disconnect()
        rig.incoming()
        rig.wait(100)
        rig.connect()
        assert rig.header()["clock_difference"] is None

    def test_old_messages_tell_nothing_any_more(self) -> None:
        rig = BoardRig()
        rig.ahead = 1.0
        rig.incoming().hangup()
        rig.wait(601)
        rig.ahead = 2.0  # the clock was set
        rig.incoming()
        assert rig.header()["clock_difference"] == 2.0

    @pytest.mark.parametrize("jump", [300.0, 3600.0, -300.0, -3600.0])
    def test_a_clock_that_is_set_is_followed_soon(self, jump: float) -> None:
        rig = BoardRig()
        rig.ahead = 1.0
        for _ in range(30):
            rig.incoming().hangup()
            rig.wait(5)
        rig.ahead += jump
        for _ in range(4):
            rig.incoming().hangup()
            rig.wait(5)
        rig.incoming()
        rig.wait(7)
        header = rig.header()
        assert header["clock_difference"] == pytest.approx(1.0 + jump)
        assert seconds_since(rig.only["since"], rig.time, header["clock_difference"]) == pytest.approx(7)

    def test_silence_is_seen_after_this_machine_was_set_back(self) -> None:
        rig = BoardRig()
        assert rig.header()["received_at"] == rig.time
        rig.ahead = -3600.0
        set_back = rig.time
        assert rig.header()["received_at"] == set_back
        rig.wait(40)
        assert rig.header()["received_at"] == set_back
        rig.board.heard(rig.time - 3)
        assert rig.header()["received_at"] == rig.time - 3

    def test_messages_that_were_late_do_not_set_it(self) -> None:
        rig = BoardRig()
        rig.ahead = 1.0
        rig.incoming().hangup()
        rig.ahead = 9.0  # the network stood still
        for _ in range(30):
            rig.incoming().hangup()
        rig.ahead = 1.0
        rig.incoming()
        assert rig.header()["clock_difference"] == 1.0

    def test_seconds_since(self) -> None:
        assert seconds_since(None, 5.0, None) is None
        assert seconds_since(0, 5.0, None) is None
        assert seconds_since(3 * SECOND, 5.0, None) == 2.0
        assert seconds_since(3 * SECOND, 5.0, 0.5) == 1.5
        assert seconds_since(9 * SECOND, 5.0, 0.0) == 0.0
        assert seconds_since(1 << 4000, 5.0, 0.0) is None

    def test_a_moment_that_no_clock_tells(self) -> None:
        rig = BoardRig()
        call = rig.incoming()
        leg = rig.sim._board.find(call.uuid)
        assert leg is not None
        leg._change(call.uuid, "CHANNEL_ANSWER", answer_timestamp=1 << 4000)
        assert rig.header()["clock_difference"] == 0.0


class TestCounters:
    def counted(self, rig: BoardRig) -> dict[str, int]:
        counters = rig.header()["counters"]
        return {name: count for name, count in counters.items() if count and name not in ("since", "complete")}

    def test_calls_that_came_in_by_how_they_ended(self) -> None:
        rig = BoardRig()
        assert self.counted(rig) == {}
        rig.incoming().answer().hangup()
        rig.incoming("group1").answer()
        rig.incoming("user2").no_answer()
        rig.incoming("user2").abandon()
        rig.incoming("user2").busy()
        rig.incoming("user2").voicemail().hangup()
        rig.sim.dial("user3", "0399990000").answer().hangup()
        rig.sim.call("user3", to="user4").answer().hangup()
        assert self.counted(rig) == {"answered": 2, "missed": 1, "abandoned": 1, "busy": 1, "voicemail": 1}
        assert rig.header()["counters"]["since"] == BEGIN / SECOND
        assert rig.header()["counters"]["complete"]

    def test_those_that_were_up_already_are_not_counted(self) -> None:
        rig = BoardRig()
        ringing, talking = rig.incoming(), rig.incoming("user2").answer()
        rig.restart()
        ringing.answer().hangup()
        talking.hangup()
        assert self.counted(rig) == {}
        assert rig.header()["counters"]["complete"]
        assert not rig.board._present
        rig.incoming().answer()
        assert self.counted(rig) == {"answered": 1}

    def test_one_of_which_only_a_part_is_known(self) -> None:
        rig = BoardRig()
        rig.deaf = True
        call = rig.incoming()
        rig.deaf = False
        call.hangup()  # which is the first that is told of it
        assert not rig.header()["counters"]["complete"]

    def test_after_a_gap_they_are_what_was_seen(self) -> None:
        rig = BoardRig()
        rig.incoming().answer().hangup()
        rig.disconnect()
        rig.incoming().answer().hangup()
        rig.connect()
        rig.incoming().answer().hangup()
        assert self.counted(rig) == {"answered": 2}
        assert not rig.header()["counters"]["complete"]


class TestSelections:
    def test_a_group_its_calls_and_its_members(self) -> None:
        rig = BoardRig()
        mine = rig.incoming("group2")
        rig.wait(3)
        rig.incoming("group1")
        rig.incoming("user1")
        for name in ("group2", rig.sim.groups[1].label, "302", str(rig.sim.groups[1].id)):
            selection = rig.board.select(groups=[name])
            told = rig.board.snapshot(rig.time, selection)
            assert [row["name"] for row in told["groups"]] == ["group2"]
            assert [row["id"] for row in told["calls"]] == [mine.uuid]
            assert {row["name"] for row in told["people"]} == {"user2", "user5", "user8", "user11"}
            assert (told["header"]["waiting"], told["header"]["active"]) == (1, 1)
            assert sum(told["header"]["people"].values()) == 4
            assert rig.board.header(rig.time, selection) == told["header"]
        assert rig.header()["active"] == 3

    def test_a_user_with_their_calls_and_groups(self) -> None:
        rig = BoardRig()
        group_call, own = rig.incoming("group1"), rig.sim.call("user1", to="user2")
        rig.incoming("user3")
        told = rig.board.snapshot(rig.time, rig.board.select(users=["user1"]))
        assert [row["name"] for row in told["groups"]] == ["group1"]
        assert {row["id"] for row in told["calls"]} == {group_call.uuid, own.uuid}
        assert [row["name"] for row in told["people"]] == ["user1"]

    def test_several_and_both(self) -> None:
        rig = BoardRig()
        two = rig.board.snapshot(rig.time, rig.board.select(groups=["group1", "group2"]))
        assert [row["name"] for row in two["groups"]] == ["group1", "group2"]
        both_ = rig.board.snapshot(rig.time, rig.board.select(groups=["group1"], users=["user1", "user2"]))
        assert [row["name"] for row in both_["people"]] == ["user1"]

    @pytest.mark.parametrize(
        ("names", "told"),
        [
            ({"groups": ["nobody"]}, "there is no group nobody"),
            ({"users": ["user1", "group1"]}, "there is no user group1"),
        ],
    )
    def test_one_that_is_not_there(self, names: dict[str, list[str]], told: str) -> None:
        rig = BoardRig()
        with pytest.raises(LookupError, match=f"^{told}$"):
            rig.board.select(**names)

    def test_a_row_that_is_chosen_no_longer_counts_as_removed(self) -> None:
        rig = BoardRig()
        selection = rig.board.select(groups=["group1"])
        rig.board.changes(0)
        rig.sim.remove_member("user1", "group1")
        told = selection.narrow(rig.board.changes(0))
        assert told["people"] == {"changed": [], "removed": [rig.sim.users[0].id]}


class TestOrders:
    def test_people(self) -> None:
        rig = BoardRig()
        rig.sim.call("user3", to="user4")
        rig.wait(1)
        rig.incoming("user2").answer()
        rig.incoming("user1")
        rig.sim.update_user("user5", do_not_disturb_status=1)
        people = list(rig.rows("people").values())
        names = [row["name"] for row in sorted(people, key=people_order("state"))]
        assert names[:4] == ["user4", "user1", "user3", "user2"]
        assert names[-1] == "user5"
        names = [row["extension"] for row in sorted(people, key=people_order("extension"))]
        assert names == [str(number) for number in range(201, 213)]
        labels = [row["label"] for row in sorted(people, key=people_order("name"))]
        assert labels == sorted(labels)
        names = [row["name"] for row in sorted(people, key=people_order("duration"))]
        assert set(names[:2]) == {"user3", "user4"}
        with pytest.raises(ValueError, match="people are sorted by state, name, extension, duration, not by 'luck'"):
            people_order("luck")


class TestMasking:
    @pytest.mark.parametrize(
        ("number", "told"),
        [
            ("0312341234", "********34"),
            ("+81-3-1234-1234", "+**-*-****-**34"),
            ("110", "***"),
            ("123456", "******"),
            ("\uff10\uff13\uff11\uff12\uff13\uff14\uff15", "*****\uff14\uff15"),
            ("anonymous", "anonymous"),
            ("", ""),
        ],
    )
    def test_numbers(self, number: str, told: str) -> None:
        assert mask_number(number) == told

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("田中 0312341234", "田中 ********34"),
            ("03-1234-1234 (自宅)", "**-****-**34 (自宅)"),
            ("090ー1234ー5678", "***ー****ー**78"),
            ("03\uff081234\uff095678", "**\uff08****\uff09**78"),
            ("03 - 1234 - 5678", "** - **** - **78"),
            ("03/1234/5678", "**/****/**78"),
            ("03_1234_5678", "**_****_**78"),
            ("03\uff0e1234\uff0e5678", "**\uff0e****\uff0e**78"),
            ("03\uff5e1234\uff5e5678", "**\uff5e****\uff5e**78"),
            ("03ｰ1234ｰ5678", "**ｰ****ｰ**78"),
            ("03\u200b1234\u200b5678", "**\u200b****\u200b**78"),
            ("2024/11/26", "****/**/26"),  # a date looks like one
            ("201, 202, 203", "201, 202, 203"),
            ("営業2024", "営業2024"),
            ("サポート 302", "サポート 302"),
            ("24/365", "24/365"),
        ],
    )
    def test_texts(self, text: str, told: str) -> None:
        assert mask_text(text) == told

    @both
    def test_nothing_is_left_of_any_number(self, wire: Generation) -> None:
        rig = BoardRig(wire)
        rng = random.Random(1)
        for step in range(120):
            act_at_random(rig, rng)
            if step % 10 == 0:
                rig.sim.call("0355556666", to="user1", calling_name="0355556666")
            for told in (rig.board.snapshot(rig.time), rig.board.changes(rig.time)):
                hidden = masked(told)
                assert hidden["header"] == told["header"]
                text = json.dumps({table: hidden[table] for table in TABLES}, ensure_ascii=False)
                for customer in rig.sim.customers:
                    assert customer.number not in text
                assert "0355556666" not in text
                assert "0399990000" not in text
        assert "0355556666" in json.dumps(rig.board.snapshot(rig.time))
        assert re.search(r'"extension": "2\d\d"', json.dumps(masked(rig.board.snapshot(rig.time))))

    def test_every_field_was_thought_of(self) -> None:
        rig = BoardRig()
        rig.incoming("group1")
        told = rig.board.snapshot(rig.time)
        fields = {field for table in TABLES for row in told[table] for field in row}
        assert fields == FIELDS.keys()
        assert masked({"id": 1, "of_a_later_release": "0312341234"})["of_a_later_release"] == "********34"


class TestWithAClient:
    def test_calls_at_a_simulated_pbx(self) -> None:
        board = Board()
        with Simulator() as pbx, RecordedClient(pbx, Recorder(board)) as client:
            client.catch_up()
            assert board.changes(0)["header"]["connection"]["server"] == f"{pbx.url}/basix/api/ws_cti"
            call = pbx.call("0312341234", to="group1")
            client.catch_up()
            told = taken(board)
            assert told["calls"][0][call.uuid]["waiting"]
            call.answer()
            client.catch_up()
            assert taken(board)["calls"][0][call.uuid]["state"] == "talking"
            pbx.drop()
            call.hangup()
            client.catch_up()
            assert taken(board)["calls"] == ({}, {call.uuid})
            header = board.header(0)
            assert (header["gaps"], header["active"], header["connection"]["number"]) == (1, 0, 2)
            difference = header["clock_difference"]
            assert 0 <= difference < 10

    def test_viewers_in_other_threads(self) -> None:
        """Rows are never torn: whatever is read while calls are made fits together."""
        rig = BoardRig()
        done = threading.Event()
        wrong: list[BaseException] = []

        def view() -> None:
            try:
                while not done.is_set():
                    told = rig.board.snapshot(0.0)
                    calls = by_id(told["calls"])
                    for row in told["people"]:
                        assert row["call"] is None or row["id"] in calls[row["call"]]["user_ids"]
                    assert told["header"]["active"] == len(calls)
                    rig.board.changes(0.0)
            except BaseException as error:
                wrong.append(error)

        viewers = [threading.Thread(target=view) for _ in range(2)]
        for viewer in viewers:
            viewer.start()
        rng = random.Random(2)
        for _ in range(200):
            act_at_random(rig, rng)
        done.set()
        for viewer in viewers:
            viewer.join()
        assert not wrong

    def test_it_forgets_what_is_over(self) -> None:
        rig = BoardRig()
        for _ in range(50):
            rig.incoming("group1").answer().hangup()
        assert rig.rows("calls") == {}
        rows = rig.board._rows
        assert not rows._known
        assert not any(rows._calls_of.values())
        assert rows._changed is None  # nobody asks for changes
