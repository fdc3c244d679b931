"""The command line, as a user runs it: in processes of its own."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from relay import Relay

from basix_cti.simulator import Simulator

LIMIT = 40.0
PROGRAM = [sys.executable, "-m", "basix_cti"]


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(domain="test1.com") as simulator:
        traffic = simulator.play(seed=1, calls_per_minute=30, speed=40)
        yield simulator
        traffic.stop()


def environment(token: str | None, **more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BASIX_CTI_")}
    clean["XDG_CONFIG_HOME"] = "/nowhere"
    return {**clean, **more, **({} if token is None else {"BASIX_CTI_TOKEN": token})}


def run(*arguments: str, token: str | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments], capture_output=True, text=True, timeout=LIMIT, env=environment(token, **more)
    )


def one_line(text: str) -> str:
    """The only line of a text."""
    lines = text.splitlines()
    assert len(lines) == 1, text
    return lines[0]


@pytest.mark.timeout(180)  # it starts a program for each command
def test_help_teaches() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "BASIX_CTI_TOKEN" in done.stdout
    commands = re.findall(r"^    (\w+) ", done.stdout, re.MULTILINE)
    assert {"tail", "simulate", "demo"} <= set(commands)
    for command in commands:
        taught = run(command, "--help")
        assert taught.returncode == 0
        assert f"examples:\n  basix-cti {command}" in taught.stdout
        assert "exit status:\n  0 " in taught.stdout
        if "SERVER" in taught.stdout:
            assert "BASIX_CTI_FULL_EVENTS" in taught.stdout


def test_version() -> None:
    assert re.fullmatch(r"basix-cti \d+\.\d+\.\d+\n", run("--version").stdout)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("tail", "rig", "--domain", "d", "--token", "hunter2"),
        ("tail", "rig", "--domain", "d", "--count", "0"),
        ("demo", "--seconds", "nan"),
    ],
    ids=" ".join,
)
def test_wrong_arguments(arguments: tuple[str, ...]) -> None:
    done = run(*arguments, token="x")
    assert done.returncode == 2
    assert "usage: basix-cti" in done.stderr


def test_no_token() -> None:
    done = run("tail", "rig", "--domain", "d")
    assert done.returncode == 2
    assert "BASIX_CTI_TOKEN" in one_line(done.stderr)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["tail"], "no server: give SERVER, set the variable BASIX_CTI_SERVER"),
        (["tail", "rig"], "no domain: give --domain,"),
        (["tail", "rig", "--domain", "a:b"], "--domain: domain must not contain a colon"),
        (["tail", "rig", "--domain", "d", "--ca-file", "/nowhere"], "--ca-file: /nowhere cannot be used: No such file"),
        (["tail", "--config", "/nowhere"], "the configuration file /nowhere cannot be read"),
    ],
)
def test_bad_settings(arguments: list[str], told: str) -> None:
    done = run(*arguments, token="hunter2")
    assert (done.returncode, done.stdout) == (2, "")
    assert one_line(done.stderr).startswith(f"basix-cti: {told}")


def test_a_proxy(simulator: Simulator) -> None:
    arguments = ["tail", simulator.url, "--domain", "test1.com", "--full-events", "--app-name", "proxy", "--count", "1"]
    with Relay("socks5", login=True) as relay:
        done = run(*arguments, token=simulator.token, BASIX_CTI_PROXY=relay.url)
        assert (done.returncode, done.stderr) == (0, "")
        assert relay.asked == [("127.0.0.1", simulator.port)]
    done = run(*arguments, "--proxy", "http://me:pr0xy-s3cret@proxy", token=simulator.token)
    assert (done.returncode, done.stdout) == (2, "")
    assert one_line(done.stderr).startswith("basix-cti: --proxy: other users of this machine could see the login")
    assert "pr0xy-s3cret" not in done.stderr


def test_a_configuration_file(simulator: Simulator, tmp_path: Path) -> None:
    file = tmp_path / "basix-cti" / "config.ini"
    file.parent.mkdir()
    file.write_text(
        f"[basix-cti]\ndomain = test1.com\ntoken = {simulator.token}\nuser_name = user1\n"
        f"[rig]\nserver = {simulator.url}\napp_name = config\n"
    )
    file.chmod(0o600)
    done = run("tail", "--profile", "rig", "--full-events", "--count", "5", XDG_CONFIG_HOME=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"user: 12 present$", done.stdout, re.MULTILINE)
    file.chmod(0o644)
    done = run("tail", "--profile", "rig", XDG_CONFIG_HOME=str(tmp_path))
    assert done.returncode == 2
    assert "config.ini:3, [basix-cti] token: other users can read this token" in one_line(done.stderr)
    assert simulator.token not in done.stderr


def completed(*words: str) -> list[str]:
    """What bash makes of Tab behind these words, with our script."""
    script = run("completion", "bash")
    assert (script.returncode, script.stderr) == (0, "")
    line = f"COMP_WORDS=({' '.join(map(shlex.quote, words))}); COMP_CWORD={len(words) - 1}"
    ask = """
        name=$(complete -p basix-cti | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
        $name
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{script.stdout}\n{line}\n{ask}"], capture_output=True, text=True, timeout=LIMIT
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [word.strip() for word in done.stdout.split()]


def test_completion_in_bash(tmp_path: Path) -> None:
    assert completed("basix-cti", "ta") == ["tail"]
    assert completed("basix-cti", "tail", "--full") == ["--full-events"]
    assert completed("basix-cti", "completion", "z") == ["zsh"]
    (tmp_path / "ca.pem").touch()
    assert completed("basix-cti", "tail", "--ca-file", f"{tmp_path}/c") == [f"{tmp_path}/ca.pem"]


def test_completion_without_its_package() -> None:
    program = (
        "import sys; sys.modules['shtab'] = None; from basix_cti.cli import main; sys.exit(main(['completion', 'zsh']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 1
    assert "pip install basix-cti[cli]" in one_line(done.stderr)


@pytest.mark.parametrize(("content", "told"), [(None, "No such file"), (b"", "is empty"), (b"\xff", "is no text")])
def test_bad_token_file(content: bytes | None, told: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    done = run("tail", "rig", "--domain", "d", "--token-file", str(file))
    assert done.returncode == 2
    assert told in one_line(done.stderr)


@pytest.mark.parametrize(
    ("server", "told"), [("https://rig", "starts with https"), ("a b", "space"), ("rig:x", "not a valid host")]
)
def test_bad_server(server: str, told: str) -> None:
    done = run("tail", server, "--domain", "d", token="x")
    assert done.returncode == 2
    assert told in one_line(done.stderr)


@pytest.mark.parametrize(
    "options", [["--api-user", "u", "--ticket"], ["--ticket", "--full-events"], ["--user", "u", "--full-events"]]
)
def test_options_that_do_not_go_together(options: list[str]) -> None:
    done = run("tail", "rig", "--domain", "d", *options, token="x")
    assert done.returncode == 2
    assert "do not go together" in one_line(done.stderr)


def test_tail(simulator: Simulator) -> None:
    done = run("tail", simulator.url, "--domain", "test1.com", "--full-events", "--count", "40", token=simulator.token)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 40
    assert re.search(r"^\d\d:\d\d:\d\d\.\d{3} connected to ws://127", done.stdout)
    assert re.search(r"user: 12 present$", done.stdout, re.MULTILINE)
    assert re.search(r"channel (added|updated): .+ -> .+ \[[0-9a-f-]{36}\]$", done.stdout, re.MULTILINE)
    assert " call " not in done.stdout
    assert "unknown" not in done.stdout


def test_tail_of_calls(simulator: Simulator) -> None:
    done = run(
        *["tail", simulator.url, "--domain", "test1.com", "--full-events", "--calls", "--count", "40"],
        token=simulator.token,
    )
    assert (done.returncode, done.stderr) == (0, "")
    connected, *calls = done.stdout.splitlines()
    assert "connected to" in connected
    told: dict[str, list[str]] = {}
    for line in calls:
        found = re.fullmatch(r"[0-9:.]{12} call (\w+): \d+.* -> [^,]+(.*) \[[0-9a-f-]{36}\]", line)
        assert found is not None, line
        told.setdefault(found[1], []).append(found[2])
    assert {"ringing", "answered", "ended"} <= set(told)
    # What was up before, or nobody in particular took, is told without that: it depends on the moment which come.
    assert any(re.fullmatch(r", by .+ after \d+ s", rest) for rest in told["answered"])
    outcomes = r", (answered|missed|abandoned|busy|voicemail|picked up elsewhere|failed)"
    assert any(re.match(outcomes, rest) for rest in told["ended"])


@pytest.mark.parametrize("calls", [True, False])
def test_json_lines_of_calls(simulator: Simulator, calls: bool) -> None:
    done = run(
        *["tail", simulator.url, "--domain", "test1.com", "--full-events", "--json", "--count", "30"],
        *(["--calls"] if calls else []),
        token=simulator.token,
    )
    assert (done.returncode, done.stderr) == (0, "")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    types = {event["type"] for event in events}
    assert types == ({"connected", "call"} if calls else {"connected", "initial_info", "info_event"})
    assert all(event["call"]["id"] for event in events if event["type"] == "call")


@pytest.mark.parametrize("login", [["--full-events"], ["--api-user", "api"], ["--ticket", "--user", "user1"]])
def test_json_lines(simulator: Simulator, login: list[str]) -> None:
    done = run(
        *["tail", simulator.url, "--domain", "test1.com", "--app-name", login[0].strip("-")],
        *["--json", "--count", "4", *login],
        token=simulator.token,
    )
    assert (done.returncode, done.stderr) == (0, "")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(events) == 4
    assert events[0]["type"] == "connected"
    assert events[1]["type"] == "initial_info"
    assert simulator.token not in done.stdout


def test_token_file(simulator: Simulator, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(simulator.token + "\n")
    done = run("tail", simulator.url, "--domain", "test1.com", "--count", "1", "--token-file", str(file))
    assert (done.returncode, done.stderr) == (0, "")


def test_unknown_user(simulator: Simulator) -> None:
    done = run("tail", simulator.url, "--domain", "test1.com", "--user", "nobody", token=simulator.token)
    assert (done.returncode, done.stdout) == (1, "")
    assert "answered HTTP 404" in one_line(done.stderr)
    assert "it knows no such user" in done.stderr


def test_refused_login(simulator: Simulator) -> None:
    done = run("tail", simulator.url, "--domain", "test1.com", token="wrong")
    assert done.returncode == 1
    assert "refused the login (HTTP 401)" in one_line(done.stderr)


def test_a_reader_that_has_had_enough(simulator: Simulator) -> None:
    with subprocess.Popen(
        [*PROGRAM, "tail", simulator.url, "--domain", "test1.com", "--full-events", "--app-name", "pipe"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(simulator.token),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(LIMIT) == 0
        assert process.stderr.read() == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_tail(simulator: Simulator, number: signal.Signals) -> None:
    with subprocess.Popen(
        [*PROGRAM, "tail", simulator.url, "--domain", "test1.com", "--app-name", f"signal-{number}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(simulator.token),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.send_signal(number)
        assert process.wait(LIMIT) == 0
        assert process.stderr.read() == ""


def test_names_cannot_steer_the_terminal(simulator: Simulator) -> None:
    with subprocess.Popen(
        [*PROGRAM, "tail", simulator.url, "--domain", "test1.com", "--full-events", "--app-name", "steer"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(simulator.token),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        simulator.call("0312340000", to="user1", calling_name="a\x1b[2Jb").abandon()
        line = next(line for line in process.stdout if "0312340000" in line)
        assert "0312340000 a [2Jb -> " in line
        process.terminate()
        assert "\x1b" not in line + process.stdout.read()
        assert process.wait(LIMIT) == 0


def test_simulate_and_tail(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*PROGRAM, "simulate", "--port", "0", "--speed", "30"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(None),
    ) as process:
        assert process.stdout is not None
        where = process.stdout.readline()
        command = process.stdout.readline()
        url = re.search(r"ws://127\.0\.0\.1:\d+", where)
        assert url is not None
        told = re.fullmatch(r"Watch it: BASIX_CTI_TOKEN=(\S+) basix-cti (.+)\n", command)
        assert told is not None
        done = run(*told[2].split(), "--count", "12", token=told[1])
        assert (done.returncode, done.stderr) == (0, "")
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT) == 0


def test_simulate_takes_a_token_and_does_not_show_it() -> None:
    done = run("simulate", "--port", "0", "--seconds", "0.1", token="hunter2")
    assert done.returncode == 0
    assert "hunter2" not in done.stdout + done.stderr


def test_simulate_on_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = run("simulate", "--port", str(listener.getsockname()[1]))
    assert done.returncode == 1
    assert "address already in use" in one_line(done.stderr).lower()


@pytest.mark.parametrize("generation", [[], ["--first-generation"]], ids=["current", "first"])
def test_demo(generation: list[str]) -> None:
    done = run("demo", "--seconds", "4", "--speed", "40", *generation)
    assert (done.returncode, done.stderr) == (0, "")
    for what in ("ringing", "answered", "ended"):
        assert re.search(rf"^\d\d:\d\d:\d\d  {what} +\d+.* -> ", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"^Summary: \d+ events; \d+ calls rang, .* still up\.$", done.stdout, re.MULTILINE)


def test_demo_ends_by_itself_off_a_terminal() -> None:
    done = run("demo")
    assert done.returncode == 0
    assert "for 15 s" in done.stdout.splitlines()[0]
    assert done.stdout.splitlines()[-1].startswith("Summary: ")


def test_demo_on_a_terminal_goes_on_until_ctrl_c() -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*PROGRAM, "demo", "--speed", "40"], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        shown = read_until(ours, "ringing")
        assert "until you press Ctrl-C" in shown
        process.send_signal(signal.SIGINT)
        assert "Summary: " in read_until(ours, "still up.")
        assert process.wait(LIMIT) == 0
    os.close(ours)


def read_until(terminal: int, text: str) -> str:
    shown = b""
    while text.encode() not in shown:
        ready, _, _ = select.select([terminal], [], [], LIMIT)
        assert ready, f"{text!r} did not come: {shown!r}"
        shown += os.read(terminal, 65536)
    return shown.decode(errors="replace")  # what was read may begin and end within a character


def test_without_the_extra() -> None:
    program = "import sys; sys.modules['aiohttp'] = None; from basix_cti.cli import main; sys.exit(main(['demo']))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 1
    assert "pip install basix-cti[simulator]" in one_line(done.stderr)
