"""The board drawn as lines: what stands in them, how wide they are, and what is left out where there is little room."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from board_rig import BoardRig
from call_rig import Generation, both
from rich.cells import cell_len
from rich.text import Text
from test_board import act_at_random

from basix_cti import MessageParser
from basix_cti.board import Board, Row, by_wait, masked, people_order
from basix_cti.cli.screen import Look, draw, picture
from basix_cti.errors import DecodeError
from fuzz.mutate import change_session
from fuzz.targets import CORPUS, LIMITS, frames

ROOT = Path(__file__).parent.parent


def snapshot(rig: BoardRig) -> Row:
    return sorted_(rig.board.snapshot(rig.time))


def sorted_(told: Row) -> Row:
    told["groups"].sort(key=by_wait)
    told["calls"].sort(key=by_wait)
    told["people"].sort(key=people_order("state"))
    return told


def drawn(rig: BoardRig, width: int = 80, height: int | None = None, look: Look | None = None) -> list[Text]:
    return draw(snapshot(rig), look or Look(), width, height)


def line(lines: list[Text], text: str) -> str:
    """The first line that has a text in it."""
    found = [each.plain for each in lines if text in each.plain]
    assert found, "\n".join(each.plain for each in lines)
    return found[0]


def style_of(lines: list[Text], text: str) -> str:
    """The style of the first place where a text stands."""
    for each in lines:
        at = each.plain.find(text)
        if at >= 0:
            return " ".join(str(span.style) for span in each.spans if span.start <= at < span.end)
    raise AssertionError(text)


class TestTheHead:
    def test_a_live_connection(self) -> None:
        rig = BoardRig()
        rig.wait(7)
        first, figures, counters, *_ = (each.plain for each in drawn(rig))
        assert re.fullmatch(r"LIVE +data 7 s old +\d\d:\d\d:\d\d", first)
        assert figures == "waiting 0  calls 0   people 0 ringing  0 talking  12 free  0 away"
        assert re.fullmatch(
            r"since \d\d:\d\d \(earlier unknown\): 0 answered, 0 missed, 0 abandoned, 0 voicemail", counters
        )

    def test_calls_that_wait(self) -> None:
        rig = BoardRig()
        rig.incoming("group1")
        for seconds, text, style in ((5, "0:05", "bold"), (20, "0:25 long", "yellow"), (60, "1:25 too long", "red")):
            rig.wait(seconds)
            lines = drawn(rig)
            assert f"waiting 1  longest {text}  calls 1" in line(lines, "waiting")
            for table in ("営業部 ", "0312341234"):
                assert text in line(lines, table)
            assert style in style_of(lines, text)
        assert "0:85" not in line(drawn(rig), "0312341234")
        assert line(drawn(rig, look=Look(amber=100, red=200)), "0312341234").count("long") == 0

    def test_the_unknown_is_no_number(self) -> None:
        rig = BoardRig()
        rig.incoming("group1")
        rig.disconnect()
        rig.wait(30)
        lines = drawn(rig)
        assert line(lines, "waiting") == "waiting ?  longest ?  calls ?   people ? ringing  ? talking  ? free  ? away"
        assert line(lines, "LOST").startswith("LOST")
        assert line(lines, "No connection") == "No connection for 30 s: the connection has ended"
        assert "at least 0 answered" in line(lines, "since")
        assert " ?  " in line(lines, "0312341234")
        assert "dim" in style_of(lines, "0312341234")
        rig.connect()
        assert re.search(r"from \d\d:\d\d:\d\d to \d\d:\d\d:\d\d is not known\.", line(drawn(rig), "What happened"))

    def test_a_wait_whose_beginning_lies_in_a_gap_is_unknown(self) -> None:
        rig = BoardRig()
        call = rig.incoming("group1").answer()
        row = snapshot(rig)
        row["calls"][0] |= {"waiting": True, "since": None, "state": "parked", "slot": 901}
        lines = draw(row, Look(), 80)
        assert re.search(r" \?  +slot 901", line(lines, "slot 901"))
        call.hangup()

    def test_until_the_clocks_are_known(self) -> None:
        rig = BoardRig()
        rig.incoming("group1")
        rig.restart()
        rig.wait(5)
        assert "longest ~0:05" in line(drawn(rig), "waiting")
        rig.ahead = 7.0
        rig.incoming("group2")
        assert "longest 0:05" in line(drawn(rig), "waiting")
        assert "PBX clock 7 s behind" in line(drawn(rig), "LIVE")

    def test_before_the_first_connection(self) -> None:
        rig = BoardRig()
        told = snapshot(rig)
        told["header"] |= {"received_at": None, "waiting": None, "active": None, "people": None}
        told["header"]["connection"] |= {"state": "connecting", "reason": "nobody listens"}
        told["header"]["counters"] |= {"since": None}
        lines = draw(told, Look(), 80)
        assert "no data yet" in line(lines, "CONNECTING")
        assert line(lines, "Not connected") == "Not connected: nobody listens"
        assert line(lines, "before the first connection")

    def test_what_was_lost_is_told(self) -> None:
        rig = BoardRig()
        told = snapshot(rig)
        told["header"] |= {"overflowed": 7, "bad_frames": 2}
        lines = draw(told, Look(), 80)
        assert line(lines, "7 messages were dropped")
        assert line(lines, "2 messages could not be decoded")

    def test_a_replay_and_notes(self) -> None:
        lines = drawn(BoardRig(), look=Look(notes=["only group1", "masked"], replay="calls.ctirec  x10  45 %"))
        assert line(lines, "REPLAY").startswith("REPLAY calls.ctirec  x10  45 %  only group1  masked  ")

    def test_narrow_and_wide(self) -> None:
        rig = BoardRig()
        rig.incoming("group1")
        rig.wait(100)
        assert line(drawn(rig, 100), "waiting").endswith(" away")
        assert line(drawn(rig, 60), "waiting 1") == "waiting 1  longest 1:40 too long  calls 1"
        assert line(drawn(rig, 60), "people ") == "people  5 ringing  0 talking  7 free  0 away"


class TestTheTables:
    def test_groups(self) -> None:
        rig = BoardRig()
        rig.incoming("group2")
        rig.sim.update_member("user2", "group2", login_status=0)
        first, second, *_ = (each.plain for each in drawn(rig) if "of " in each.plain)
        assert re.fullmatch(r"サポート +302 +1  0:00 +0 +3 of 4 +", first)
        assert re.fullmatch(r"営業部 +301 +0 +0 +5 of 5 +", second)

    def test_waiting_calls(self) -> None:
        rig = BoardRig()
        customer = rig.sim.customers[0]
        rig.sim.call(customer.number, to="group1").answer().park(901)
        rig.sim.call("0399990000", to="user3").ivr()
        lines = drawn(rig, 120)
        parked = line(lines, "slot 901")
        assert f"{customer.name} {customer.number} {customer.organization}" in parked
        assert rig.sim.groups[0].label in parked
        assert "menu" in line(lines, "0399990000")
        narrow = line(drawn(rig, 60), "slot 901")  # no room for all of it
        assert customer.name in narrow
        assert customer.number not in narrow

    def test_people(self) -> None:
        rig = BoardRig()
        rig.incoming("user1").answer()
        rig.sim.call("user2", to="user3")
        rig.sim.check_voicemail("user4")
        rig.sim.update_user("user5", do_not_disturb_status=1)
        rig.sim.call("0399990000", to="user6").voicemail().hangup()
        rig.wait(65)
        lines = drawn(rig, 100)
        for extension, told in (
            ("201", r"talking  from 0312341234 +1:05"),
            ("202", r"ringing  to \S+ \S+ 203 +1:05"),
            ("203", r"ringing  from \S+ \S+ 202 +1:05"),
            ("204", r"talking  voicemail +1:05"),
            ("205", r"away     do not disturb +DND"),
            ("206", r"free +1 new"),
        ):
            (person,) = [each.plain for each in lines if each.plain.startswith(extension)]
            assert re.search(told, person), person
        assert "cyan" in style_of(lines, "talking  from")

    @both
    def test_every_line_is_as_wide_as_it_should_be(self, wire: Generation) -> None:
        rig = BoardRig(wire)
        rng = random.Random(4)
        for step in range(60):
            act_at_random(rig, rng)
            if step == 40:
                rig.disconnect()
            for width in (40, 80, 81, 132):
                for each in drawn(rig, width):
                    assert cell_len(each.plain) <= width, each.plain
                titles = [each for each in drawn(rig, width) if "reverse" in [str(span.style) for span in each.spans]]
                assert [cell_len(each.plain) for each in titles] == [width] * 3

    @pytest.mark.parametrize("height", [4, 8, 12, 16, 24, 31, 100])
    def test_as_many_lines_as_there_is_room_for(self, height: int) -> None:
        rig = BoardRig(users=40, groups=12)
        for number in range(10):
            rig.sim.call(f"03{number:08}", to=f"group{number + 1}")
        lines = drawn(rig, 80, height)
        assert len(lines) <= height
        if height < 100:
            assert len(lines) == height
        told = [each.plain for each in lines]
        if height >= 12:
            left_out = sum(int(found[1]) for each in told if (found := re.fullmatch(r"\.\.\. and (\d+) more", each)))
            rows = sum(bool(re.match(r"\d+ +\S+|.* of \d|.*ringing +$", each)) for each in told[3:])
            assert left_out + rows == 40 + 12 + 10

    def test_on_a_wide_terminal_people_stand_beside_the_rest(self) -> None:
        rig = BoardRig(users=40)
        rig.incoming("group1")
        lines = drawn(rig, 170, 24)
        assert len(lines) <= 24
        titles = [each for each in lines if "PEOPLE" in each.plain]
        assert [each.plain.split()[0] for each in titles] == ["GROUPS"]
        first, second = (each.plain for each in lines[5:7])
        assert re.search(r"営業部 +301 +1  0:00 .*  2\d\d +\S+ \S+ +ringing  from 0312341234 +0:00", first)
        assert {cell_len(each[: each.index("  ringing")]) for each in (first, second)} == {
            cell_len(titles[0].plain[: titles[0].plain.index("  state")])
        }
        assert re.search(r"^ *\.\.\. and \d+ more", lines[-1].plain)

    def test_who_withholds_the_number_is_somebody(self) -> None:
        rig = BoardRig()
        rig.sim.call("", to="user1", calling_name="")
        assert "from ?" in line(drawn(rig), "201 ")

    def test_a_board_of_many_is_drawn_in_no_time(self) -> None:
        rig = BoardRig(users=3000, groups=3)
        told = snapshot(rig)
        assert len(draw(told, Look(), 80, 50)) == 50

    def test_names_cannot_steer_the_terminal(self) -> None:
        rig = BoardRig()
        rig.sim.call("0312341234", to="user1", calling_name="a\x1b[31m\x07b\nc\u202ed\u0085e")
        text = "\n".join(each.plain for each in drawn(rig, 120))
        assert "a [31m b c d e" in text


class TestWhateverAPbxSends:
    @pytest.mark.parametrize("path", sorted((CORPUS / "session").iterdir()), ids=lambda path: path.name)
    def test_it_can_be_shown(self, path: Path) -> None:
        rng = random.Random(path.name)
        data = path.read_bytes()
        for _ in range(12):
            board = _Strict()
            parser = MessageParser(board, limits=LIMITS)
            parser.connection_made()
            for number, frame in enumerate(frames(data)):
                if frame is None:
                    parser.connection_lost()
                    parser.connection_made()
                else:
                    parser.handle_message(frame, 1.0)
                if number % 9 == 0:
                    json.dumps(board.changes(2.0), allow_nan=False)
                    draw(masked(sorted_(board.snapshot(1.7e9))), Look(), 80, 24)
            data = change_session(data, rng)


class _Strict(Board):
    def on_error(self, error: BaseException) -> None:
        if not isinstance(error, DecodeError):
            pytest.fail(f"the board raised {error!r}")


class TestThePicture:
    def test_it_is_the_same_for_the_same_board_and_needs_nothing_from_outside(self) -> None:
        pictures = set()
        for _ in range(2):
            rig = BoardRig()
            rig.incoming("group1")
            pictures.add(picture(drawn(rig), 80, "a board"))
        (svg,) = pictures
        root = ElementTree.fromstring(svg)
        assert root.tag.endswith("svg")
        assert "a board" in svg.replace("&#160;", " ")
        assert "0312341234" in svg
        links = re.findall(r"https?://[^\"' )]+", svg)
        assert {link for link in links if "w3.org" not in link} <= {"https://www.textualize.io"}  # in a comment
        assert "url(" not in svg.replace("url(#", "")

    def test_the_one_in_the_documentation_shows_what_the_monitor_shows_today(self, tmp_path: Path) -> None:
        path = tmp_path / "now.svg"
        environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
        command = [sys.executable, str(ROOT / "tools" / "monitor_picture.py"), str(path)]
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=40)
        now, then = (texts(each.read_text("utf-8")) for each in (path, ROOT / "docs" / "monitor.svg"))
        assert now == then, "it is not: run make pictures"
        assert "too long" in " ".join(now)


def texts(svg: str) -> list[str]:
    """What stands in a picture, whatever releases of rich make of it beside that."""
    return [found.replace("&#160;", " ") for found in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]
