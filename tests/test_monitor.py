"""basix-cti monitor, as a user runs it: in a terminal of its own, into a pipe, of a PBX and of recordings."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from call_rig import Rig
from redis_rig import RedisServer, needs_redis, relay
from terminal import Terminal
from test_cli import LIMIT, PROGRAM, completed, environment, one_line, run

from basix_cti.recording import RECEIVED, Record, RecordingWriter
from basix_cti.simulator import Simulator
from basix_cti.simulator.model import Change

BEGIN = 1_700_000_000.0


@pytest.fixture
def pbx() -> Iterator[Simulator]:
    with Simulator(domain="test1.com") as simulator:
        yield simulator


def of(pbx: Simulator, *options: str, full: bool = True) -> list[str]:
    return ["monitor", pbx.url, "--domain", "test1.com", *(["--full-events"] if full else []), *options]


def terminal(pbx: Simulator, *options: str, **more: Any) -> Terminal:
    return Terminal([*PROGRAM, *of(pbx, *options)], environment(pbx.token), **more)


class Recorded(Rig):
    """A rig that writes down what its parser hears."""

    def __init__(self, path: Path) -> None:
        self.writer = RecordingWriter(path, BEGIN)
        super().__init__()

    def connect(self) -> None:
        self.deaf = False
        for frame in self.wire.opening(self.view):
            self.writer.write([Record(self.now / 1e6, RECEIVED, frame)])

    def _hear(self, change: Change) -> None:
        for seen in self.view.changes(change):
            for frame in self.wire.messages(seen):
                self.writer.write([Record(self.now / 1e6, RECEIVED, frame)])


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A call to a group, answered after 30 seconds, and another one, which has waited for 12 at the end."""
    path = tmp_path / "calls.ctirec"
    rig = Recorded(path)
    call = rig.sim.call("0312341234", to="group1")
    rig.wait(30)
    call.answer()
    rig.sim.call("0399990000", to="group2")
    rig.wait(12)
    rig.sim.update_user("user12", do_not_disturb_status=1)
    rig.writer.close()
    return path


class TestInATerminal:
    def test_a_call_comes_waits_too_long_and_goes(self, pbx: Simulator) -> None:
        with terminal(pbx, "--amber", "1", "--red", "6") as screen:
            screen.wait(r"^LIVE  ws://127\.0\.0\.1:\d+  data \d s old +\d\d:\d\d:\d\d$")
            screen.wait(r"^waiting 0  calls 0   people 0 ringing  0 talking  12 free  0 away$")
            call = pbx.call("0312341234", to="group1")
            screen.wait(r"^0312341234 +営業部 +0:0\d ")
            screen.wait(r"^0312341234 +営業部 +0:0[1-5] long ")
            assert screen.colour(" long ", "0312341234") == "brown"  # as amber is called in terminals
            screen.wait(r"^0312341234 +営業部 +0:\d\d too long ")
            assert screen.colour(" too long ", "0312341234") == "red"
            screen.wait(r"^waiting 1  longest 0:\d\d too long  calls 1$")
            screen.wait(r"^people  5 ringing  0 talking  7 free  0 away$")
            screen.wait(r"^営業部 +301 +1  0:\d\d too long +0 +5 of 5$")
            screen.wait(r"^201 +\S+ \S+ +ringing  from 0312341234 +0:\d\d$")
            call.answer()
            screen.wait(r"^201 +\S+ \S+ +talking  from 0312341234 +0:\d\d$")
            screen.wait(r"^営業部 +301 +0 +1 +5 of 5$")
            screen.wait(r"^since \d\d:\d\d \(earlier unknown\): 1 answered, 0 missed")
            call.park(901)
            screen.wait(r"^0312341234 +営業部 +0:\d\d .*slot 901$")
            call.hangup()
            screen.wait(r"^201 +\S+ \S+ +free$")
            screen.wait(lambda text: "waiting 0  calls 0 " in text and "0312341234" not in text)

    def test_wide_characters_line_up_and_the_size_may_change(self, pbx: Simulator) -> None:
        pbx.update_user("user2", label="Smith")
        pbx.update_user("user3", label="ひらがなとカタカナと漢字の長い名前")
        pbx.call("0312341234", to="user1").answer()
        with terminal(pbx) as screen:
            screen.wait(lambda text: len(re.findall(r"^2\d\d .*(?:talking|free)", text, re.MULTILINE)) == 12)
            titles = screen.column("state", "PEOPLE")
            for extension, state in (("201", "talking"), ("202", "free"), ("203", "free")):
                assert screen.column(state, f"{extension}    ") == titles
            assert re.search(r"^203 +ひら\S+\.\. ", screen.text, re.MULTILINE)
            screen.resize(132, 30)
            screen.wait(r"^203 +ひらがなとカタカナと漢字の長い名前 +free$")
            assert screen.column("free", "203    ") == screen.column("state", "PEOPLE") > titles
            screen.resize(60, 12)
            screen.wait(r"\A(?:.*\n){11}\.\.\. and \d+ more$")

    def test_a_lost_connection_is_told_and_comes_back(self, pbx: Simulator) -> None:
        gone = pbx.call("0312341234", to="user1")
        with terminal(pbx) as screen:
            screen.wait("^waiting 1  ")
            pbx.refuse(503)
            pbx.drop()
            screen.wait("^LOST ")
            screen.wait(r"^No connection for \d+ s: ")
            screen.wait(r"^waiting \?  longest \?  calls \?   people \? ringing")
            screen.wait(r"^0312341234 .* \?  +ringing$")
            screen.wait(r"at least 0 answered")
            gone.hangup()
            pbx.call("0399990000", to="user2")
            pbx.refuse(None)
            screen.wait("^LIVE ")
            screen.wait(r"^What happened from \d\d:\d\d:\d\d to \d\d:\d\d:\d\d is not known\.$")
            screen.wait(lambda text: "0399990000" in text and "0312341234" not in text)

    def test_without_colours(self, pbx: Simulator) -> None:
        pbx.call("0312341234", to="group1")
        with Terminal(["env", "NO_COLOR=1", *PROGRAM, *of(pbx, "--amber", "0.1")], environment(pbx.token)) as shown:
            shown.wait(r"0312341234.+0:\d\d long")
            for word, where in (("LIVE", "LIVE"), ("long", "0312341234"), ("ringing", "0312341234")):
                assert shown.colour(word, where) == "default"
            shown.press("q")
            assert shown.wait_end() == 0

    def test_masked(self, pbx: Simulator) -> None:
        pbx.call("0312341234", to="user1", calling_name="0312341234")
        pbx.dial("user2", "0355556666")
        pbx.call("user3", to="user4")
        with terminal(pbx, "--mask", columns=120) as screen:
            for line in (r"201 .* from \*{8}34 ", r"202 .* to \*{8}66 ", r"203 .* to \S+ \S+ 204 "):
                screen.wait(f"^{line}")
            shown = screen.raw.decode(errors="replace")  # what was read may end within a character
            assert not re.search(r"\d{6}", shown.replace(str(pbx.port), ""))

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, None])
    def test_it_leaves_the_terminal_as_it_was(self, number: signal.Signals | None, pbx: Simulator) -> None:
        with terminal(pbx) as screen:
            screen.wait("^LIVE ")
            assert b"\x1b[?1049h" in screen.raw
            assert not screen.echoes
            screen.press("what is this\n\x1bOq")  # no q of its own, but a part of another key
            if number is None:
                screen.press("q")
            else:
                screen.process.send_signal(number)
            screen.wait(lambda text: screen.raw.endswith(b"\x1b[?25h\x1b[?1049l"))
            assert screen.wait_end() == 0
            assert "what is this" not in screen.raw.decode()
            assert screen.echoes

    def test_ctrl_z_does_not_leave_the_screen_to_the_shell(self, pbx: Simulator) -> None:
        with terminal(pbx) as shown:
            assert shown.suspends
            shown.wait("LIVE")
            assert not shown.suspends
            shown.press("\x1aq")
            assert shown.wait_end() == 0
            assert shown.suspends

    @pytest.mark.parametrize(("columns", "lines"), [(80, 5), (30, 8), (10, 3), (1, 1)])
    def test_a_very_small_terminal(self, columns: int, lines: int, pbx: Simulator) -> None:
        pbx.call("0312341234", to="group1")
        with terminal(pbx, columns=columns, lines=lines) as shown:
            shown.wait("LIVE"[:columns])
            shown.resize(80, 24)
            shown.wait("0312341234")
            shown.resize(columns, lines)
            first = ["LIVE"[:columns], "waiting 1"[:columns]][:lines]  # no line is broken

            def drawn(text: str) -> bool:
                begins = [line.startswith(begin) for line, begin in zip(text.splitlines(), first, strict=False)]
                return begins == [True] * len(first) and "0312341234" not in text

            shown.wait(drawn)
            shown.press("q")
            assert shown.wait_end() == 0

    def test_it_does_so_too_when_it_is_interrupted_as_it_begins(self, pbx: Simulator) -> None:
        for number in (signal.SIGINT, signal.SIGTERM) * 3:
            with terminal(pbx, "--app-name", f"early{number}") as screen:
                screen.wait(lambda text: screen.raw)
                screen.process.send_signal(number)
                assert screen.wait_end() == 0
                assert screen.raw.count(b"\x1b[?1049h") == screen.raw.count(b"\x1b[?1049l")
                assert screen.raw.endswith(b"\x1b[?25h\x1b[?1049l")
                assert screen.echoes

    def test_a_refused_login_is_told_behind_the_screen(self, pbx: Simulator) -> None:
        with Terminal([*PROGRAM, *of(pbx)], environment("wrong")) as screen:
            assert screen.wait_end() == 1
            last = screen.raw.partition(b"\x1b[?1049l")[2].decode()
            assert "refused the login (HTTP 401)" in one_line(last)

    def test_it_waits_for_a_pbx_that_is_not_there_yet(self, pbx: Simulator) -> None:
        pbx.stop()
        with terminal(pbx) as screen:
            screen.wait("^CONNECTING .* no data yet ")
            screen.wait("^Not connected: .*refused")
            pbx.start()
            screen.wait("^LIVE ")

    def test_an_unknown_group_is_told_behind_the_screen(self, pbx: Simulator) -> None:
        with terminal(pbx, "--group", "nobody") as screen:
            assert screen.wait_end() == 1
            last = screen.raw.partition(b"\x1b[?1049l")[2].decode()
            assert one_line(last) == "basix-cti: there is no group nobody; there are group1, group2, group3"

    def test_a_recording(self, recording: Path) -> None:
        with Terminal([*PROGRAM, "monitor", "--replay", str(recording), "--speed", "20"], environment(None)) as screen:
            screen.wait("^REPLAY x20  ")
            screen.wait(r"^0312341234 +営業部 +0:\d\d ")
            screen.wait("^REPLAY ended ")
            screen.wait(r"^0399990000 +サポート +0:12 ")
            screen.wait(r"^212 .* away +do not disturb +DND$")
            screen.press("q")
            assert screen.wait_end() == 0


class TestBehindARelay:
    @needs_redis
    def test_it_shows_what_the_relay_sees(self, pbx: Simulator) -> None:
        with RedisServer() as redis, relay(pbx, redis) as holder:
            holder.wait("holder of ")
            command = [*PROGRAM, "monitor", "--redis-url", redis.url]
            with Terminal(command, environment(None)) as screen:
                screen.wait(r"^LIVE ")
                call = pbx.call("0312341234", to="group1")
                screen.wait(r"^0312341234 +営業部 +0:\d\d .*ringing$")
                call.answer()
                screen.wait(r"^201 +\S+ \S+ +talking  from 0312341234 ")
                done = run(*command[3:], "--once", "--json")
                assert (done.returncode, done.stderr) == (0, "")
                assert [row["id"] for row in json.loads(done.stdout)["calls"]] == [call.uuid]

    def test_an_address_that_is_none(self) -> None:
        done = run("monitor", "--redis-url", "http://here")
        assert (done.returncode, done.stdout) == (2, "")
        assert "--redis-url" in one_line(done.stderr)


class TestOnce:
    def test_as_text(self, pbx: Simulator) -> None:
        pbx.call("0312341234", to="group1")
        done = run(*of(pbx, "--once"), token=pbx.token)
        assert (done.returncode, done.stderr) == (0, "")
        assert re.search(r"^0312341234 +営業部 +~0:\d\d +ringing", done.stdout, re.MULTILINE)
        assert len(re.findall(r"^2\d\d ", done.stdout, re.MULTILINE)) == 12
        assert "\x1b" not in done.stdout

    def test_as_json(self, pbx: Simulator) -> None:
        call = pbx.call("0312341234", to="group1")
        done = run(*of(pbx, "--once", "--json", "--mask", "--sort", "extension"), token=pbx.token)
        assert (done.returncode, done.stderr) == (0, "")
        told = json.loads(one_line(done.stdout))
        assert (told["header"]["waiting"], told["header"]["people"]["ringing"]) == (1, 5)
        assert told["header"]["counters"]["answered"] == 0
        assert [(row["id"], row["number"]) for row in told["calls"]] == [(call.uuid, "********34")]
        assert [row["extension"] for row in told["people"]] == [str(number) for number in range(201, 213)]
        assert [row["name"] for row in told["groups"]] == ["group1", "group2", "group3"]
        assert not re.search(r"0312341234", done.stdout)

    def test_of_the_first_generation(self, pbx: Simulator) -> None:
        pbx.call("0312341234", to="group1")
        done = run(*of(pbx, "--once", "--api-user", "api", full=False), token=pbx.token)
        assert (done.returncode, done.stderr) == (0, "")
        assert re.search(r"^group1 +1  ~0:\d\d +0 +\? +\?", done.stdout, re.MULTILINE)
        assert re.search(r"^201 +user1 +ringing  from 0312341234 ", done.stdout, re.MULTILINE)
        assert "people 5 ringing  0 talking  ? free  ? away" in done.stdout
        assert done.stdout.count("only those whom calls have named so far") == 2

    def test_of_some(self, pbx: Simulator) -> None:
        pbx.call("0312341234", to="group1")
        pbx.call("0399990000", to="group2")
        done = run(*of(pbx, "--once", "--group", "group2", "--group", "302"), token=pbx.token)
        assert "0399990000" in done.stdout
        assert "0312341234" not in done.stdout
        assert "only group2  only 302" in done.stdout
        done = run(*of(pbx, "--once", "--user", "201"), token=pbx.token)
        assert re.findall(r"^2\d\d ", done.stdout, re.MULTILINE) == ["201 "]

    def test_of_a_recording(self, recording: Path) -> None:
        done = run("monitor", "--replay", str(recording), "--once", TZ="Asia/Tokyo")
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.splitlines()
        assert re.fullmatch(r"REPLAY ended  calls\.ctirec +07:14:02", lines[0])
        assert lines[1] == "waiting 1  longest 0:12  calls 2   people 4 ringing  1 talking  6 free  1 away"
        assert lines[2] == "since 07:13 (earlier unknown): 1 answered, 0 missed, 0 abandoned, 0 voicemail"
        again = run("monitor", "--replay", str(recording), "--once", TZ="Asia/Tokyo")
        assert again.stdout == done.stdout

    def test_as_a_picture(self, recording: Path, tmp_path: Path) -> None:
        path = tmp_path / "board.svg"
        done = run("monitor", "--replay", str(recording), "--svg", str(path))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert "0399990000" in path.read_text("utf-8")
        done = run("monitor", "--replay", str(recording), "--svg", str(tmp_path))
        assert done.returncode == 1
        assert f"{tmp_path}: Is a directory" in one_line(done.stderr)


class TestIntoAPipe:
    def follow(self, pbx: Simulator, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*PROGRAM, *of(pbx, *options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(pbx.token),
        )

    def test_lines(self, pbx: Simulator) -> None:
        with self.follow(pbx, "--amber", "1", "--red", "6") as process:
            assert process.stdout is not None
            assert process.stderr is not None

            def come(pattern: str) -> None:
                assert process.stdout is not None
                for line in process.stdout:
                    if re.fullmatch(rf"\d\d:\d\d:\d\d  {pattern}\n", line):
                        return
                raise AssertionError(f"{pattern} did not come")

            come(r"connected   to ws://127.+")
            come(r"now         0 waiting, 0 calls; people: 0 ringing, 0 talking, 12 free, 0 away")
            call = pbx.call("0312341234", to="group1")
            come(r"ringing     0312341234 -> 営業部")
            come(r"now         1 waiting, 1 calls; people: 5 ringing, .+")
            come(r"long        0312341234 -> 営業部, waits 0:\d\d")
            come(r"too long    0312341234 -> 営業部, waits 0:\d\d")
            call.answer()
            come(r"talking     0312341234 -> 営業部, answered by \S+ \S+")
            call.park(901)
            come(r"parked      0312341234 -> 営業部, in slot 901 by \S+ \S+")
            pbx.drop()
            come(r"lost        .+; what happens until the next connection is not known")
            call.hangup()
            come(r"connected   to ws://127.+")
            come(r"ended       0312341234 -> 営業部")
            process.send_signal(signal.SIGINT)
            assert process.wait(LIMIT) == 0
            assert process.stderr.read() == ""

    def test_a_call_that_leaves_what_is_shown_has_not_ended(self, pbx: Simulator) -> None:
        with self.follow(pbx, "--group", "group1") as process:
            assert process.stdout is not None

            def told(pattern: str) -> str:
                assert process.stdout is not None
                for line in process.stdout:
                    if re.search(pattern, line):
                        return line
                raise AssertionError(f"{pattern} did not come")

            told("now  ")
            call = pbx.call("0312341234", to="group1").answer()
            told("  talking  ")
            call.transfer("user12")
            assert "  left        0312341234 -> 営業部" in told("ended|left")
            other = pbx.call("0399990000", to="group1")
            told("  ringing  ")
            other.hangup()
            assert "  ended       0399990000 -> 営業部" in told("ended|left")
            process.send_signal(signal.SIGINT)
            assert process.wait(LIMIT) == 0

    def test_json(self, pbx: Simulator) -> None:
        with self.follow(pbx, "--json", "--group", "group1") as process:
            assert process.stdout is not None
            first = json.loads(process.stdout.readline())
            assert (first["type"], len(first["people"]), first["calls"]) == ("board", 5, [])
            pbx.call("0399990000", to="group2")
            call = pbx.call("0312341234", to="group1")
            for line in process.stdout:
                told = json.loads(line)
                assert told["type"] == "changes"
                if told["calls"]["changed"]:
                    break
            assert [row["id"] for row in told["calls"]["changed"]] == [call.uuid]
            assert (told["header"]["waiting"], told["header"]["active"]) == (1, 1)
            call.hangup()
            for line in process.stdout:
                told = json.loads(line)
                if call.uuid in told["calls"]["removed"]:
                    break
            process.stdout.close()  # who reads has had enough
            pbx.call("0312341234", to="group1")
            assert process.wait(LIMIT) == 0
            assert process.stderr is not None
            assert process.stderr.read() == ""

    def test_a_recording_to_its_end(self, recording: Path) -> None:
        done = run("monitor", "--replay", str(recording), "--speed", "100")
        assert (done.returncode, done.stderr) == (0, "")
        assert "connected   to a PBX" in done.stdout
        assert "talking     0312341234 -> 営業部, answered by" in done.stdout
        assert "ringing     0399990000 -> サポート" in done.stdout
        assert "ended" not in done.stdout


class TestFailures:
    def test_names_that_are_not_there(self, pbx: Simulator, recording: Path) -> None:
        for source in (of(pbx), ["monitor", "--replay", str(recording)]):
            for option, names in (("--group", "group1, group2, group3"), ("--user", "user1, user2, ")):
                done = run(*source, "--once", option, "nobody", token=pbx.token)
                assert (done.returncode, done.stdout) == (1, "")
                told = one_line(done.stderr)
                assert told.startswith(f"basix-cti: there is no {option[2:]} nobody; there are {names}")

    def test_names_of_which_it_cannot_be_known(self, pbx: Simulator) -> None:
        done = run(*of(pbx, "--user-name", "user1", "--once", "--group", "group3", full=False), token=pbx.token)
        assert done.returncode == 0
        assert one_line(done.stderr) == (
            "basix-cti: there is no group group3 so far: the PBX does not tell this login of all that there are"
        )
        assert re.search("^there is no group group3 so far$", done.stdout, re.MULTILINE)
        assert not re.search(r"^2\d\d ", done.stdout, re.MULTILINE)

    @pytest.mark.parametrize(
        ("content", "told"), [(b"buy milk", "is no recording"), (b"", "is no recording"), (None, "No such file")]
    )
    def test_no_recordings(self, content: bytes | None, told: str, tmp_path: Path) -> None:
        path = tmp_path / "x"
        if content is not None:
            path.write_bytes(content)
        done = run("monitor", "--replay", str(path))
        assert (done.returncode, done.stdout) == (1, "")
        assert told in one_line(done.stderr)

    def test_a_recording_that_is_cut_off(self, recording: Path, tmp_path: Path) -> None:
        path = tmp_path / "torn.ctirec"
        path.write_bytes(recording.read_bytes()[:-5])
        for options in (["--once"], ["--speed", "max"], ["--once", "--json"]):
            done = run("monitor", "--replay", str(path), *options)
            assert done.returncode == 1
            assert f"{path} is cut off or damaged" in one_line(done.stderr)
            assert "0312341234" in done.stdout
        with Terminal([*PROGRAM, "monitor", "--replay", str(path), "--speed", "max"], environment(None)) as screen:
            screen.wait("^REPLAY ended ")
            screen.process.send_signal(signal.SIGINT)
            assert screen.wait_end() == 1
            assert "is cut off or damaged" in one_line(screen.raw.partition(b"\x1b[?1049l")[2].decode())

    def test_a_pbx_that_is_not_there(self, pbx: Simulator) -> None:
        pbx.stop()
        done = run(*of(pbx, "--once"), token=pbx.token)
        assert (done.returncode, done.stdout) == (1, "")
        assert "refused" in one_line(done.stderr)

    def test_a_pbx_that_has_no_room(self, pbx: Simulator) -> None:
        pbx.limit(0)
        done = run(*of(pbx, "--once"), token=pbx.token)
        assert (done.returncode, done.stdout) == (1, "")
        assert "connection_limit_reached" in one_line(done.stderr) or "two connections" in one_line(done.stderr)

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            (["--amber", "30", "--red", "10"], "--red 10 is less than --amber 30"),
            (["--sort", "luck"], "invalid choice: 'luck'"),
            (["--speed", "0"], "invalid positive number or max value: '0'"),
        ],
    )
    def test_wrong_arguments(self, options: list[str], told: str) -> None:
        done = run("monitor", "rig", "--domain", "d", *options, token="x")
        assert (done.returncode, done.stdout) == (2, "")
        assert told in done.stderr.splitlines()[-1]

    def test_without_its_package(self, recording: Path) -> None:
        program = "import sys; sys.modules['rich'] = None; from basix_cti.cli import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", program, "monitor", "--replay", str(recording), "--once"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
        assert done.returncode == 1
        assert "pip install basix-cti[cli]" in one_line(done.stderr)
        done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=LIMIT)
        assert done.returncode == 0
        assert json.loads(done.stdout)["header"]["waiting"] == 1


@pytest.mark.parametrize("options", [[], ["--once"], ["--once", "--json"]], ids=" ".join)
def test_where_names_cannot_be_written(options: list[str], recording: Path) -> None:
    arguments = ("monitor", "--replay", str(recording), "--speed", "max", *options)
    done = run(*arguments, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    assert "営業部" in done.stdout.encode().decode("unicode_escape")
    if "--json" in options:  # nothing of it is lost
        assert json.loads(done.stdout) == json.loads(run(*arguments).stdout)


def test_a_terminal_that_cannot_show_names(pbx: Simulator) -> None:
    with Terminal([*PROGRAM, *of(pbx)], environment(pbx.token, PYTHONIOENCODING="ascii")) as shown:
        pbx.call("0312341234", to="group1")
        text = shown.wait("0312341234")
        assert re.search(r"^\?\?\? +301", text, re.MULTILINE)
        shown.press("q")
        assert shown.wait_end() == 0


def test_completion(tmp_path: Path) -> None:
    assert completed("basix-cti", "mon") == ["monitor"]
    assert completed("basix-cti", "monitor", "--rep") == ["--replay"]
    (tmp_path / "x.ctirec").touch()
    assert completed("basix-cti", "monitor", "--replay", f"{tmp_path}/x") == [f"{tmp_path}/x.ctirec"]
