"""Recordings on the command line, as a user handles them: each command in a process of its own."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from erlang_peer import ERLANG_MISSING, ErlangTerms
from test_cli import LIMIT, PROGRAM, completed, environment, one_line, read_until, run

from basix_cti import etf
from basix_cti.etf import Atom
from basix_cti.recording import DROPPED, RECEIVED, SENT, Record, Recording, RecordingWriter
from basix_cti.simulator import Simulator

SAMPLES = Path(__file__).parent / "recordings"
SAMPLE = SAMPLES / "two_calls.ctirec"
PACKED = SAMPLES / "two_calls_packed.ctirec"
HELLO = etf.encode((Atom("msg"), "山田".encode()))


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(domain="test1.com") as simulator:
        traffic = simulator.play(seed=1, calls_per_minute=30, speed=40)
        yield simulator
        traffic.stop()


@pytest.fixture
def torn(tmp_path: Path) -> Path:
    path = tmp_path / "torn.ctirec"
    path.write_bytes(SAMPLE.read_bytes()[:-5])
    return path


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording that takes some seconds to play."""
    path = tmp_path_factory.mktemp("long") / "long.ctirec"
    writer = RecordingWriter(path, 1_700_000_000.0)
    for number in range(40):  # in as many blocks
        writer.write([Record(1_700_000_000.0 + number, RECEIVED, HELLO)])
    writer.close()
    return path


def record(simulator: Simulator, *options: str) -> list[str]:
    return ["record", *options, simulator.url, "--domain", "test1.com"]


class TestRecord:
    def test_for_a_while_and_again(self, simulator: Simulator, tmp_path: Path) -> None:
        path = tmp_path / "calls.ctirec"
        for options in ([], ["--compress"]):
            command = [*record(simulator, str(path)), "--full-events", "--seconds", "3", *options]
            done = run(*command, token=simulator.token)
            assert done.returncode == 0, done.stderr
            told = re.fullmatch(rf"(\d+) messages, (\d+) bytes in {path}\n", done.stdout)
            assert told is not None
            assert int(told[1]) >= 10
            assert one_line(done.stderr) == (
                f"basix-cti: recording {simulator.url}/basix/api/ws_cti into {path}; Ctrl-C ends it"
            )
        recording = Recording(path)
        kinds = [entry.kind for entry in recording]
        assert recording.trouble is None
        assert kinds.count("begin") == kinds.count("connected") == kinds.count("disconnected") == 2
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert simulator.token.encode() not in path.read_bytes()

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_until_interrupted(self, number: signal.Signals, simulator: Simulator, tmp_path: Path) -> None:
        path = tmp_path / "calls.ctirec"
        with subprocess.Popen(
            [*PROGRAM, *record(simulator, str(path)), "--full-events", "--app-name", f"record-{number}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(simulator.token),
        ) as process:
            assert process.stderr is not None
            assert process.stdout is not None
            assert "recording ws://" in process.stderr.readline()
            process.send_signal(number)
            assert process.wait(LIMIT) == 0
            assert process.stderr.read() == ""
            assert " bytes in " in process.stdout.read()
        assert [entry.kind for entry in Recording(path)][-1] == "disconnected"

    def test_into_what_is_no_recording(self, simulator: Simulator, tmp_path: Path) -> None:
        (tmp_path / "notes").write_text("buy milk")
        for path, told in (
            (tmp_path / "notes", f"{tmp_path}/notes is no recording"),
            (tmp_path, f"{tmp_path}: Is a directory"),
            (tmp_path / "none" / "x", f"{tmp_path}/none/x: No such file or directory"),
            (Path("/dev/full"), "No space left on device"),
        ):
            done = run(*record(simulator, str(path)), token=simulator.token)
            assert (done.returncode, done.stdout) == (1, "")
            assert told in one_line(done.stderr)
        assert (tmp_path / "notes").read_text() == "buy milk"

    def test_a_refused_login(self, simulator: Simulator, tmp_path: Path) -> None:
        done = run(*record(simulator, str(tmp_path / "x")), token="wrong")
        assert done.returncode == 1
        assert "refused the login (HTTP 401)" in one_line(done.stderr)
        assert "wrong" not in (tmp_path / "x").read_text("latin-1")

    def test_a_disk_that_gets_full(self, simulator: Simulator, tmp_path: Path) -> None:
        path = tmp_path / "x"
        program = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000));"
        program += "from basix_cti.cli import main; sys.exit(main(sys.argv[1:]))"
        done = subprocess.run(
            [sys.executable, "-c", program, *record(simulator, str(path)), "--full-events", "--app-name", "full"],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            env=environment(simulator.token),
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.splitlines()[-1] == f"basix-cti: {path} cannot be written: File too large"
        assert "Traceback" not in done.stderr
        assert path.stat().st_size == 9000

    def test_no_settings(self, tmp_path: Path) -> None:
        done = run("record", str(tmp_path / "x"), token="x")
        assert done.returncode == 2
        assert "no server: give SERVER" in one_line(done.stderr)
        assert not (tmp_path / "x").exists()


class TestRedact:
    def test_people_are_gone(self, tmp_path: Path) -> None:
        path = tmp_path / "calls.ctirec"
        writer = RecordingWriter(path, 1.0)
        frames = [etf.encode((Atom("msg"), b"Taro 0312341234")), b"?"]
        writer.write([Record(1.0, RECEIVED, frame) for frame in frames])
        writer.close()
        done = run("redact", str(path), str(tmp_path / "public"), "--compress", "--uuids")
        assert done.stderr == ""
        assert done.stdout.splitlines() == [
            f"2 messages in {tmp_path}/public; 2 different numbers and words replaced",
            "not understood, and masked: a message that is no term (1 times)",
        ]
        shown = run("decode", str(tmp_path / "public"))
        assert shown.returncode == 0
        assert "{msg,<<" in shown.stdout
        assert "Taro" not in shown.stdout
        assert "0312341234" not in shown.stdout

    def test_a_key_makes_it_the_same_again(self, tmp_path: Path) -> None:
        key = tmp_path / "key"
        for name in ("a", "b"):
            assert run("redact", str(SAMPLE), str(tmp_path / name), "--key-file", str(key)).returncode == 0
        assert run("redact", str(SAMPLE), str(tmp_path / "c")).returncode == 0
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        told = [[entry.data for entry in Recording(tmp_path / name)] for name in "abc"]
        assert told[0] == told[1] != told[2]
        key.write_text("short")
        done = run("redact", str(SAMPLE), str(tmp_path / "d"), "--key-file", str(key))
        assert done.returncode == 1
        assert f"{key} is no key" in one_line(done.stderr)

    def test_what_cannot_be(self, torn: Path, tmp_path: Path) -> None:
        (tmp_path / "there").write_text("x")
        for source, target, told in (
            (SAMPLE, tmp_path / "there", f"{tmp_path}/there is there already; choose another name"),
            (SAMPLE, SAMPLE, "is there already"),
            (tmp_path / "there", tmp_path / "new", f"{tmp_path}/there is no recording"),
            (tmp_path / "none", tmp_path / "new", f"{tmp_path}/none: No such file or directory"),
            (SAMPLE, tmp_path / "none" / "new", f"{tmp_path}/none/new: No such file or directory"),
        ):
            done = run("redact", str(source), str(target))
            assert (done.returncode, done.stdout) == (1, "")
            assert told in one_line(done.stderr)
        assert (tmp_path / "there").read_text() == "x"
        assert not (tmp_path / "new").exists()
        done = run("redact", str(torn), str(tmp_path / "new"))
        assert done.returncode == 1
        assert f"{torn} is cut off or damaged" in one_line(done.stderr)
        assert len(list(Recording(tmp_path / "new"))) > 40


class TestReplay:
    @pytest.mark.parametrize("path", [SAMPLE, PACKED], ids=["plain", "compressed"])
    def test_it_is_printed_as_tail_prints(self, path: Path) -> None:
        """Also: a file of this form, written once, can still be read."""
        done = run("replay", str(path), "--speed", "max", TZ="UTC")
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.splitlines()
        assert lines[0] == "09:52:12.387 connected to ws://818.0.0.7:54321/basix/api/ws_cti"
        assert lines[-1] == "09:52:12.462 disconnected: Stopped (redacted)"
        for what in ("channel added", "parked slot 901", "(in a gap); left slot 901", "NORMAL_CLEARING"):
            assert what in done.stdout
        assert "call " not in done.stdout

    def test_its_calls(self) -> None:
        done = run("replay", str(SAMPLE), "--speed", "max", "--calls")
        assert (done.returncode, done.stderr) == (0, "")
        for what in ("call ringing", "call answered", "call parked", "call ended"):
            assert what in done.stdout
        assert "channel" not in done.stdout

    def test_json_and_count(self) -> None:
        done = run("replay", str(SAMPLE), "--speed", "max", "--json", "--count", "3")
        assert (done.returncode, done.stderr) == (0, "")
        events = [json.loads(line) for line in done.stdout.splitlines()]
        assert [event["type"] for event in events] == ["connected", "initial_info", "initial_info"]
        assert events[0]["received_at"].startswith("2026-11-25T09:52:12.387")

    def test_a_handler_of_your_own(self, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text(
            "from basix_cti import CTIHandler\n"
            "class Screen(CTIHandler):\n"
            "    def on_call_ended(self, call):\n"
            "        print(call.outcome, call.hangup_time)\n"
            "class Needs(CTIHandler):\n"
            "    def __init__(self, what): self.what = what\n"
            "other = 5\n"
        )
        (tmp_path / "bad.py").write_text("import no_such_thing\n")

        def replayed(handler: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*PROGRAM, "replay", str(SAMPLE), "--speed", "max", "--handler", handler],
                capture_output=True,
                text=True,
                timeout=LIMIT,
                cwd=tmp_path,
                env={**environment(None), "PYTHONPATH": str(SAMPLES.parent.parent)},
            )

        done = replayed("mine:Screen")
        assert (done.returncode, done.stderr) == (0, "")
        assert [line.split()[0] for line in done.stdout.splitlines()] == ["answered", "missed"]
        for handler, told in (
            ("mine", "not of the form module:Class"),
            ("yours:Screen", "there is no module yours"),
            ("mine:Board", "mine has no subclass of CTIHandler of that name"),
            ("mine:other", "mine has no subclass of CTIHandler of that name"),
            ("mine:Needs", "it cannot be made without arguments"),
        ):
            done = replayed(handler)
            assert done.returncode == 1
            assert told in one_line(done.stderr)
        done = replayed("bad:Screen")
        assert done.returncode == 1
        assert "No module named 'no_such_thing'" in done.stderr

    def test_bad_files(self, torn: Path, tmp_path: Path) -> None:
        done = run("replay", str(torn), "--speed", "max")
        assert done.returncode == 1
        assert f"{torn} is cut off or damaged: of " in one_line(done.stderr)
        assert "parked slot 901" in done.stdout
        (tmp_path / "notes").write_text("buy milk")
        for more in ([], ["--serve", "0"]):
            done = run("replay", str(tmp_path / "notes"), *more)
            assert (done.returncode, done.stdout) == (1, "")
            assert "is no recording" in one_line(done.stderr)

    @pytest.mark.parametrize("arguments", [["--speed", "0"], ["--speed", "fast"], ["--serve", "x"], ["--count", "-1"]])
    def test_bad_arguments(self, arguments: list[str]) -> None:
        done = run("replay", str(SAMPLE), *arguments)
        assert done.returncode == 2
        assert f"argument {arguments[0]}: invalid" in done.stderr

    def test_progress_of_a_long_one(self, long: Path, tmp_path: Path) -> None:
        """On a stderr that is no terminal: lines; on one: a line that is written over, and gone at the end."""
        done = run("replay", str(long), "--speed", "12")
        assert done.returncode == 0
        assert len(done.stdout.splitlines()) == 41 + 1
        assert re.fullmatch(r"(basix-cti: replaying: \d+ %\n){1,4}", done.stderr)
        ours, theirs = pty.openpty()
        with (
            (tmp_path / "out").open("w") as out,
            subprocess.Popen(
                [*PROGRAM, "replay", str(long), "--speed", "12"], stdout=out, stderr=theirs, env=environment(None)
            ) as process,
        ):
            os.close(theirs)
            shown = read_until(ours, "\x1b[K")
            assert process.wait(LIMIT) == 0
        os.close(ours)
        assert re.fullmatch(r"(\rbasix-cti: replaying: \d+ %)+\r\x1b\[K", shown)
        assert len((tmp_path / "out").read_text().splitlines()) == 41 + 1

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_interrupted(self, number: signal.Signals, long: Path) -> None:
        with subprocess.Popen(
            [*PROGRAM, "replay", str(long), "--speed", "0.001"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(None),
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert "connected" in process.stdout.readline()
            process.send_signal(number)
            assert process.wait(LIMIT) == 0
            assert process.stderr.read() == ""

    def test_served_as_a_pbx(self) -> None:
        with subprocess.Popen(
            [*PROGRAM, "replay", str(SAMPLE), "--serve", "0", "--speed", "max", "--once"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(None),
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline().startswith(f"{SAMPLE} on ws://127.0.0.1:")
            told = re.fullmatch(r"Watch it: BASIX_CTI_TOKEN=(\S+) basix-cti (.+)\n", process.stdout.readline())
            assert told is not None
            done = run(*told[2].split(), "--count", "30", token=told[1])
            assert (done.returncode, done.stderr) == (0, "")
            assert "(in a gap); left slot 901" in done.stdout
            assert process.wait(LIMIT) == 0
            assert re.fullmatch(r"(basix-cti: serving: \d+ %\n)*", process.stderr.read())

    def test_served_without_the_extra(self) -> None:
        program = "import sys; sys.modules['aiohttp'] = None; from basix_cti.cli import main; sys.exit(main())"
        done = subprocess.run(
            [sys.executable, "-c", program, "replay", str(SAMPLE), "--serve", "0"],
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
        assert done.returncode == 1
        assert "pip install basix-cti[simulator]" in one_line(done.stderr)


def decode(*arguments: str, given: bytes | None = None) -> tuple[int, str, str]:
    done = subprocess.run(
        [*PROGRAM, "decode", *arguments], input=given, capture_output=True, timeout=LIMIT, env=environment(None)
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class TestDecode:
    @pytest.mark.parametrize(
        "text",
        [
            HELLO.hex(),
            "0x" + HELLO.hex().upper(),
            HELLO.hex(" "),
            base64.b64encode(HELLO).decode(),
            f"<<{','.join(map(str, HELLO))}>>.",
        ],
        ids=["hex", "0x", "spaced", "base64", "erlang"],
    )
    def test_a_message_in_every_form(self, text: str, tmp_path: Path) -> None:
        told = (0, '{msg,<<"山田"/utf8>>}.\n', "")
        assert decode(given=text.encode()) == told
        assert decode("-", given=f"\n{text}\n".encode()) == told
        assert decode(text) == told
        (tmp_path / "x").write_text(text)
        assert decode(str(tmp_path / "x")) == told
        assert decode("--json", text) == (0, '["msg", "山田"]\n', "")

    def test_raw_bytes_and_many_lines(self, tmp_path: Path) -> None:
        assert decode(given=HELLO) == (0, '{msg,<<"山田"/utf8>>}.\n', "")
        (tmp_path / "x").write_bytes(HELLO)
        assert decode("--format", "raw", "--json", str(tmp_path / "x"))[1] == '["msg", "山田"]\n'
        assert decode(given=b"836101\ng2EC\n")[1] == "1.\n2.\n"
        assert decode("--format", "hex", given=b"83 61 03")[1] == "3.\n"

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            (b"", "stdin is empty"),
            (b"\xff\xfe\x00", "stdin is neither a recording nor an Erlang term"),
            (b"hello", "stdin is neither hex nor base64 nor <<...>>"),
            (b"836101\n<<300>>", "line 2 of stdin is neither hex nor base64 nor <<...>>"),
            (HELLO[:-1], "stdin is no Erlang term: "),
            (b"8368", "stdin is no Erlang term: "),
            (SAMPLE.read_bytes(), "a recording cannot be read from stdin; name its file"),
        ],
        ids=["empty", "bytes", "words", "byte", "torn", "short", "recording"],
    )
    def test_what_is_none(self, given: bytes, told: str) -> None:
        status, _, stderr = decode(given=given)
        assert status == 1
        assert one_line(stderr).startswith(f"basix-cti: {told}")

    def test_no_such_file(self, tmp_path: Path) -> None:
        assert decode("calls.ctirec") == (1, "", "basix-cti: calls.ctirec: No such file or directory\n")
        assert decode(str(tmp_path)) == (1, "", f"basix-cti: {tmp_path}: Is a directory\n")
        assert decode("8368")[2].startswith("basix-cti: the message is no Erlang term: ")
        (tmp_path / "notes").write_text("x")
        assert "is no recording" in one_line(decode("--format", "recording", str(tmp_path / "notes"))[2])

    @pytest.mark.parametrize("path", [SAMPLE, PACKED], ids=["plain", "compressed"])
    def test_a_recording(self, path: Path) -> None:
        status, shown, complaints = decode(str(path))
        assert (status, complaints) == (0, "")
        lines = shown.splitlines()
        assert lines[0].startswith("%% 2026-11-25T09:52:12.3")
        assert lines[3] == '{field_spec,"domain",[id,name,label,language]}.'
        assert re.search(r'^%% \S+ sent \{"cmd": "hangup", "uuid": "\S+"\}$', shown, re.MULTILINE)
        status, shown, complaints = decode("--json", str(path))
        assert (status, complaints) == (0, "")
        told = [json.loads(line) for line in shown.splitlines()]
        assert [entry["kind"] for entry in told[:3]] == ["begin", "connected", "received"]
        assert told[2]["term"] == ["field_spec", "domain", ["id", "name", "label", "language"]]
        assert [entry["time"] for entry in told] == sorted(entry["time"] for entry in told)
        assert [entry["kind"] for entry in told].count(SENT) == 1

    @pytest.mark.skipif(ERLANG_MISSING is not None, reason=str(ERLANG_MISSING))
    def test_erlang_reads_it(self, tmp_path: Path) -> None:
        path = tmp_path / "terms"
        path.write_text(decode(str(SAMPLE))[1], "utf-8")
        with ErlangTerms() as erlang:
            terms = etf.decode(erlang.consult(str(path)))
        assert terms == [etf.decode(entry.data) for entry in Recording(SAMPLE) if entry.kind == RECEIVED]

    def test_a_recording_with_rubbish_in_it(self, tmp_path: Path) -> None:
        path = tmp_path / "r"
        writer = RecordingWriter(path, 1.0)
        rubbish = [(RECEIVED, b"\x83h\x02a"), (SENT, b"\xff\n{}"), (DROPPED, b"[")]
        writer.write([Record(float(number), kind, data) for number, (kind, data) in enumerate(rubbish, 1)])
        writer.close()
        status, shown, _ = decode(str(path))
        assert status == 0
        assert re.search(r"^%% 1970-01-01T00:00:01.000000Z received, no term: .+: 83680261$", shown, re.MULTILINE)
        assert not [line for line in shown.splitlines() if not line.startswith("%%")]
        told = [json.loads(line) for line in decode("--json", str(path))[1].splitlines()]
        assert told[1]["base64"] == "g2gCYQ=="
        assert told[2]["text"] == "\ufffd\n{}"

    def test_a_torn_recording(self, torn: Path) -> None:
        status, shown, complaints = decode(str(torn))
        assert status == 1
        assert f"{torn} is cut off or damaged" in one_line(complaints)
        assert shown.count("\n{info_event") > 10

    def test_a_reader_that_has_had_enough(self) -> None:
        with subprocess.Popen(
            [*PROGRAM, "decode", str(SAMPLE)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(None)
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            assert process.wait(LIMIT) == 0
            assert process.stderr.read() == b""


def test_completion(tmp_path: Path) -> None:
    (tmp_path / "calls.ctirec").touch()
    assert sorted(completed("basix-cti", "re")) == ["record", "redact", "relay", "replay"]
    assert completed("basix-cti", "replay", "--sp") == ["--speed"]
    for command in ("replay", "decode", "record", "redact"):
        assert completed("basix-cti", command, f"{tmp_path}/c") == [f"{tmp_path}/calls.ctirec"]
