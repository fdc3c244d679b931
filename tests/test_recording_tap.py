"""What a tap sees of a client, and a client that is recorded: all of it, no secret, and the client does not suffer."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from clients import client_at, client_of
from peer import CLOSE, PING, SPEC, TEXT, Link, Peer, change, frame, full_state, message
from recorder import TIMEOUT, Recorder

from basix_cti import ApiToken, ApiUser, Session, Tap, Ticket, TicketService, bert
from basix_cti.errors import ConnectionClosed, ConnectionLost
from basix_cti.recording import (
    BEGIN,
    CONNECTED,
    DISCONNECTED,
    DROPPED,
    RECEIVED,
    SENT,
    Record,
    Recording,
    RecordingHandler,
    RecordingTap,
)
from basix_cti.simulator import Simulator

FRAME = b"\x83m\x00\x00\x00\x01x"


class Listening(Tap):
    """Notes what it is told, and in which thread."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object, float | None]] = []
        self.threads: set[str] = set()

    def _note(self, what: str, told: object, at: float | None) -> None:
        self.told.append((what, told, at))
        self.threads.add(threading.current_thread().name)

    def connected(self, session: Session, at: float | None = None) -> None:
        self._note("connected", session.number, at)

    def received(self, frame: bytes, at: float | None = None) -> None:
        self._note("received", frame, at)

    def sent(self, text: str, at: float | None = None) -> None:
        self._note("sent", text, at)

    def disconnected(self, reason: ConnectionLost, at: float | None = None) -> None:
        self._note("disconnected", type(reason), at)


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as peer:
        yield peer


def serve(peer: Peer, *uuids: str) -> Link:
    link = peer.accept().upgrade()
    link.send(message(SPEC) + full_state(*uuids))
    return link


class TestTap:
    def test_sees_whole_messages_both_ways_in_order(self, peer: Peer) -> None:
        tap, seen = Listening(), Recorder()
        with client_at(peer, seen, tap=tap) as client:
            link = serve(peer, "a")
            bad = frame(b"\x83h")
            link.send(bad + frame(b"", PING) + frame(b"text", TEXT) + change("b")[:9])
            seen.wait_for("on_error")
            link.send(change("b")[9:])
            seen.wait_for("on_chan_info")
            client.hangup("b")
            while link.recv_frame()[0] != TEXT:
                pass
            link.send(frame(b"\x03\xe9gone", CLOSE))
            seen.wait_for("on_disconnect")
            serve(peer)
            seen.wait_for("on_initial_chan_info", 2)
        told = [(what, data) for what, data, _ in tap.told]
        assert told == [
            ("connected", 1),
            ("received", bert.encode(SPEC)),
            ("received", full_state("a")[2:]),
            ("received", b"\x83h"),
            ("received", change("b")[2:]),
            ("sent", '{"cmd": "hangup", "uuid": "b"}'),
            ("disconnected", ConnectionClosed),
            ("connected", 2),
            ("received", bert.encode(SPEC)),
            ("received", full_state()[2:]),
            ("disconnected", told[-1][1]),
        ]
        assert tap.threads == {"basix-cti-test-io"}
        times = [at for _, _, at in tap.told]
        assert None not in times
        assert times == sorted(times, key=lambda at: at or 0.0)

    def test_one_that_raises_is_told_nothing_more(self, peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
        class Broken(Listening):
            def received(self, frame: bytes, at: float | None = None) -> None:
                super().received(frame, at)
                raise OSError("no")

        tap, seen = Broken(), Recorder()
        with caplog.at_level(logging.ERROR), client_at(peer, seen, tap=tap):
            link = serve(peer)
            link.send(change("a"))
            seen.wait_for("on_chan_info")
        assert [what for what, _, _ in tap.told] == ["connected", "received"]
        assert [record.message for record in caplog.records] == ["the tap raised OSError; it is told nothing more"]
        assert seen.of("on_error") == []

    def test_what_is_no_tap_is_refused(self, peer: Peer) -> None:
        with pytest.raises(TypeError, match="tap must be an instance of a Tap subclass, not str"):
            client_at(peer, Recorder(), tap="calls.ctirec")


def records(path: Path) -> list[Record]:
    recording = Recording(path)
    found = list(recording)
    assert recording.trouble is None
    return found


def kinds(path: Path) -> list[str]:
    return [record.kind for record in records(path)]


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "compressed"])
def test_everything_is_recorded(compress: bool, peer: Peer, tmp_path: Path) -> None:
    seen = Recorder()
    with RecordingTap(tmp_path / "r", compress=compress) as tap, client_at(peer, seen, tap=tap) as client:
        link = serve(peer, "a")
        link.send(frame(b"\x83h") + change("b"))
        seen.wait_for("on_chan_info")
        client.hangup("b")
        assert link.recv_frame()[0] == TEXT
        link.send(frame(b"\x03\xe9gone", CLOSE))
        seen.wait_for("on_disconnect")
        serve(peer, "a")
        seen.wait_for("on_initial_chan_info", 2)
    told = records(tmp_path / "r")
    middle = [CONNECTED, *[RECEIVED] * 4, SENT, DISCONNECTED, CONNECTED, RECEIVED, RECEIVED, DISCONNECTED]
    assert [record.kind for record in told] == [BEGIN, *middle]
    assert told[1].info["url"] == f"{peer.url}/basix/api/ws_cti"
    assert told[4].data == b"\x83h"
    assert told[6].data == b'{"cmd": "hangup", "uuid": "b"}'
    lost = told[7].info
    assert (lost["kind"], lost["code"], lost["reason"]) == ("ConnectionClosed", 1001, "gone")
    assert told[-1].info["kind"] == "Stopped"
    assert [record.at for record in told] == sorted(record.at for record in told)
    assert (tap.recorded, tap.dropped, tap.error) == (7, 0, None)
    assert tap.written == (tmp_path / "r").stat().st_size


def test_no_login_is_recorded(tmp_path: Path) -> None:
    with Simulator(domain="test1.com") as pbx:
        token = ApiToken(pbx.domain, pbx.token)
        logins = {
            "token": token,
            "user": ApiUser(pbx.domain, pbx.api_user, pbx.token),
            "ticket": Ticket(TicketService(pbx.url, token)),
        }
        for name, auth in logins.items():
            seen = Recorder()
            options = {"user_name": "user1", "full_events": False} if name == "ticket" else {}
            with (
                RecordingTap(tmp_path / name) as tap,
                client_of(pbx, seen, auth, app_name=name, tap=tap, **options),
            ):
                seen.wait_for("on_initial_chan_info")
            content = (tmp_path / name).read_bytes()
            assert b"initial_" in content
            assert pbx.token.encode() not in content
            assert b"Basic " not in content
            assert b"ws_ticket" not in content
            assert b"api_token" not in content


def test_a_handler_that_records(peer: Peer, tmp_path: Path) -> None:
    class Mine(RecordingHandler):
        told = threading.Event()

        def on_chan_info(self, channel: object) -> None:
            self.told.set()

    with Mine(tmp_path / "r") as handler, client_at(peer, handler):
        serve(peer).send(change("a"))
        assert handler.told.wait(TIMEOUT)
    assert kinds(tmp_path / "r") == [BEGIN, CONNECTED, RECEIVED, RECEIVED, RECEIVED, DISCONNECTED]


def test_the_tap_given_comes_before_the_handler(peer: Peer, tmp_path: Path) -> None:
    tap, seen = Listening(), threading.Event()

    class Mine(RecordingHandler):
        def on_initial_chan_info(self, channels: object) -> None:
            seen.set()

    with Mine(tmp_path / "r") as handler, client_at(peer, handler, tap=tap):
        serve(peer)
        assert seen.wait(TIMEOUT)
    assert kinds(tmp_path / "r") == [BEGIN]
    assert len(tap.told) == 4


def test_with_a_websocket_of_your_own(tmp_path: Path) -> None:
    with RecordingTap(tmp_path / "r") as tap:
        tap.connected(Session(1))
        tap.received(FRAME)
        tap.sent("{}")
        tap.disconnected()
    assert kinds(tmp_path / "r") == [BEGIN, CONNECTED, RECEIVED, SENT, DISCONNECTED]
    tap.received(FRAME)
    tap.close()
    assert len(kinds(tmp_path / "r")) == 5


def test_more_than_there_is_room_for_is_dropped_and_told(tmp_path: Path) -> None:
    with RecordingTap(tmp_path / "r", max_queued_bytes=1000, interval=3600) as tap:
        tap.connected(Session(1))
        for _ in range(50):
            tap.received(bytes(100), 5.0)
        tap.disconnected()
        assert 0 < tap.recorded < 10
        assert tap.recorded + tap.dropped == 50
    told = records(tmp_path / "r")
    assert [record.kind for record in told] == [
        *[BEGIN, CONNECTED, *[RECEIVED] * tap.recorded],
        *[DROPPED, DISCONNECTED],
    ]
    assert told[-2].info == {"count": tap.dropped}


def test_a_drop_at_the_very_end_is_told_as_well(tmp_path: Path) -> None:
    with RecordingTap(tmp_path / "r", max_queued_bytes=10, interval=3600) as tap:
        tap.received(bytes(100))
    assert kinds(tmp_path / "r") == [BEGIN, DROPPED]


# --- in processes of their own --------------------------------------------------------------------------------------

HEAD = """
import logging, os, resource, signal, sys, threading
from basix_cti import ApiToken, CTIClient, CTIHandler
from basix_cti.recording import RecordingTap
logging.basicConfig(level=logging.ERROR, format="%(message)s")
path, url = sys.argv[1:]

class Told(CTIHandler):
    def __init__(self):
        self.count = 0
        self.changed = threading.Condition()
    def on_chan_info(self, channel):
        with self.changed:
            self.count += 1
            self.changed.notify_all()
    def on_disconnect(self, reason):
        print("lost", type(reason).__name__, flush=True)
    def more(self, count):
        with self.changed:
            aim = self.count + count
            assert self.changed.wait_for(lambda: self.count >= aim, 20)

told = Told()
def client_of(tap):
    return CTIClient(url, told, auth=ApiToken("d", "t"), app_name="x", tap=tap)
"""


class Feeding:
    """Sends channels to a client, without end, in a thread."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        link = serve(self._peer)
        data = b"".join(change(f"{number:036d}") for number in range(20))
        while not self._ended.wait(0.01):
            try:
                link.send(data)
            except OSError:
                return

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()


def run(code: str, path: Path, peer: Peer) -> subprocess.CompletedProcess[str]:
    with Feeding(peer):
        return subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", HEAD + code, path, peer.url],
            capture_output=True,
            text=True,
            timeout=40,
        )


def test_a_full_disk_ends_the_recording_and_not_the_client(peer: Peer, tmp_path: Path) -> None:
    code = """
with RecordingTap(path, interval=0.01) as tap:
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    with client_of(tap) as client:
        while not tap.dropped:  # what is told may have come long before the error
            told.more(1)
        told.more(500)
        print(client.connected, tap.error.strerror, tap.dropped > 0)
"""
    done = run(code, tmp_path / "r", peer)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["True File too large True", "lost Stopped"]
    assert done.stderr == f"the recording {tmp_path}/r cannot be written, and ends: File too large\n"
    assert (tmp_path / "r").stat().st_size == 50_000
    recording = Recording(tmp_path / "r")
    assert len(list(recording)) > 100  # the torn block's beginning, too
    assert recording.trouble is not None


def test_a_program_that_is_killed_has_recorded_what_was_before(peer: Peer, tmp_path: Path) -> None:
    code = """
tap = RecordingTap(path, interval=0.01)
client = client_of(tap)
client.start()
told.more(100)
written = tap.written
while tap.written < written + 10_000:
    told.more(1)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = run(code, tmp_path / "r", peer)
    assert done.returncode == -signal.SIGKILL, done.stderr
    recording = Recording(tmp_path / "r")
    found = list(recording)
    assert found[1].kind == CONNECTED
    assert sum(record.kind == RECEIVED for record in found) > 100


def test_a_program_that_ends_without_a_word_has_recorded_all(peer: Peer, tmp_path: Path) -> None:
    code = """
tap = RecordingTap(path, interval=3600)
client = client_of(tap)
client.start()
told.more(100)
"""
    done = run(code, tmp_path / "r", peer)
    assert (done.returncode, done.stderr) == (0, "")
    assert kinds(tmp_path / "r").count(RECEIVED) > 100


def test_a_fork_writes_nothing_and_holds_nothing(peer: Peer, tmp_path: Path) -> None:
    code = """
def holds():
    return any(os.path.realpath(f"/proc/self/fd/{fd}") == os.path.realpath(path) for fd in os.listdir("/proc/self/fd"))

def child():
    tap.received(b"child")
    tap.sent("child")
    tap.close()
    return 3 if holds() else 0

def forked():
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            code = child()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

tap = RecordingTap(path, interval=0.001)
client = client_of(tap)
client.start()
told.more(10)
assert holds()
print([forked() for _ in range(20)])  # while the I/O thread and the writing one are at work

ready, wait = os.pipe()
if os.fork() == 0:   # one that lives on, and is collected with all that atexit does
    os.read(ready, 1)
    sys.exit(0)
told.more(10)
client.stop()
tap.close()
RecordingTap(path).close()  # nobody else holds the lock
os.write(wait, b"x")
os.wait()
"""
    done = run(code, tmp_path / "r", peer)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == str([0] * 20)
    found = records(tmp_path / "r")
    assert not any(b"child" in record.data for record in found)
    assert [record.kind for record in found].count(BEGIN) == 2


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_nothing_is_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with RecordingTap(tmp_path / "r") as tap:
        tap.received(FRAME)
    assert len(os.listdir("/proc/self/fd")) == before
    assert records(tmp_path / "r")[1].data == FRAME
