"""A client and forks: the copy gives up its descriptors without a word, says so when used, and the parent goes on."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
import trustme
from peer import CLOSE, TEXT, TIMEOUT, Link, Peer, message

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork") or not os.path.isdir("/proc/self/fd"), reason="needs fork and /proc"
)
SPEC = ("field_spec", "channel", ["uuid", "last_event"])

# What each program below begins with. Its stdin tells it when to go on, its stdout what it sees.
PREAMBLE = """
import ctypes, multiprocessing, os, signal, sys, threading
from basix_cti import ApiToken, CTIClient, CTIHandler
from basix_cti.errors import ForkedError, NotConnected

def say(*what):
    os.write(1, (" ".join(map(str, what)) + "\\n").encode())

def go_on():
    return os.read(0, 1)

def sockets():
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink("/proc/self/fd/" + fd)
        except OSError:
            continue
        if target.startswith(("socket:", "anon_inode:[eventpoll]")):
            found.append(target)
    return sorted(found)

def forked(work):
    child = os.fork()
    if child == 0:
        code = 70
        try:
            code = work() or 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def refuses(use):
    try:
        use()
    except ForkedError:
        return True
    return False

class Told(CTIHandler):
    def on_connect(self, session):
        say("connected", session.number)
    def on_disconnect(self, reason):
        say("lost", type(reason).__name__)
    def on_chan_info(self, channel):
        say("channel", channel.uuid)

def client_of(handler=None, **options):
    return CTIClient(SERVER, handler or Told(), auth=ApiToken("d", "t"), app_name="fork",
                     ca_file=CA, ping_interval=600, ping_timeout=600, **options)
"""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(params=["ws", "wss"])
def peer(request: pytest.FixtureRequest, authority: trustme.CA) -> Iterator[Peer]:
    context = None
    if request.param == "wss":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
    with Peer(context) as peer:
        yield peer


class Program:
    """A running program; what it says comes line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self._stdin = process.stdin
        self._stdout = process.stdout

    def hear(self) -> str:
        """The next line; empty at the end."""
        return self._stdout.readline().rstrip("\n")

    def hear_until(self, line: str) -> None:
        while (heard := self.hear()) != line:
            assert heard, f"the program ended without saying {line!r}"

    def go_on(self) -> None:
        self._stdin.write("\n")
        self._stdin.flush()

    def rest(self) -> list[str]:
        """What it still says, until its end."""
        return self._stdout.read().splitlines()


@contextmanager
def program(code: str, peer: Peer, authority: trustme.CA, tmp_path: Path) -> Iterator[Program]:
    """Run a program with a client of ``peer``; it has to end well, and to complain of nothing."""
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    head = f"SERVER = {peer.url!r}\nCA = {str(ca) if peer.url.startswith('wss') else None!r}\n"
    path = tmp_path / "program.py"
    path.write_text(head + PREAMBLE + code, "utf-8")
    complaints = tmp_path / "stderr"
    with (
        complaints.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, "-W", "ignore::DeprecationWarning", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        try:
            yield Program(process)
            status = process.wait(TIMEOUT)
        finally:
            process.kill()
    assert (status, complaints.read_text()) == (0, "")


def serve(peer: Peer) -> Link:
    link = peer.accept().upgrade()
    link.send(message(SPEC) + message(("initial_info", "channel", [])))
    return link


USE_EVERYTHING = """
ARGUMENTS = {
    "hangup": ("u",), "park": ("u",), "transfer": ("u",), "eavesdrop": ("u", "v", "s"),
    "wait_connected": (5,), "wait_ready": (5,), "__exit__": (None, None, None),
}

def uses(client):
    for name in [*(name for name in dir(CTIClient) if not name.startswith("_")), "__enter__", "__exit__"]:
        member = getattr(CTIClient, name)
        options = {"destination": "x"} if name == "transfer" else {}
        if callable(member):
            yield name, lambda: getattr(client, name)(*ARGUMENTS.get(name, ()), **options)
        else:
            yield name, lambda: getattr(client, name)
"""


def test_a_fork_says_so_whatever_is_used(peer: Peer, authority: trustme.CA, tmp_path: Path) -> None:
    code = (
        USE_EVERYTHING
        + """
client = client_of()
client.start()
assert client.wait_ready(20)
pending = client.hangup("pending")

def child():
    for name, use in uses(client):
        say(name, refuses(use))
    say("pending", refuses(lambda: pending.wait()), refuses(lambda: pending.done))
    say(repr(client), repr(pending))
    try:
        client.connected
    except ForkedError as error:
        say(error)
    try:
        with client_of() as other:   # a client of its own is what it may have
            say("own", other.connected is not None)
    except ForkedError:
        say("own refused")

parent = os.getpid()
say("ended", forked(child))
say(client.connected)
client.stop()
say("parent", parent)
"""
    )
    with program(code, peer, authority, tmp_path) as it:
        link = serve(peer)
        assert it.hear() == "connected 1"
        said = []
        while not (line := it.hear()).startswith("pending"):
            said.append(line)
        names = [line.split()[0] for line in said]
        assert {"state", "connected", "start", "stop", "run_forever", "hangup", "__enter__", "__exit__"} <= set(names)
        assert [line for line in said if not line.endswith(" True")] == []
        assert line == "pending True True"
        assert "left behind by a fork>" in (shown := it.hear())
        assert shown.endswith("<Command hangup pending: left behind by a fork>")
        told = it.hear()
        assert "make and start a client of its own here" in told
        assert it.hear() == "own True"
        assert it.hear() == "ended 0"
        assert it.hear() == "True"
        assert link.recv_frame() == (TEXT, json.dumps({"cmd": "hangup", "uuid": "pending"}).encode())
        assert link.recv_frame()[0] == CLOSE
        link.finish()
        assert it.hear() == "lost Stopped"
        assert it.hear().split()[1] in told


@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(0)", "pass"])
def test_the_child_sends_no_byte_and_the_parent_goes_on(
    peer: Peer, authority: trustme.CA, tmp_path: Path, end: str
) -> None:
    code = f"""
client = client_of()
client.start()
assert client.wait_ready(20)
before = sockets()
child = os.fork()
if child:
    os.waitpid(child, 0)
    say("kept", sockets() == before)
    client.hangup("after")
    go_on()
    client.stop()
else:
    say("inherited", sockets())
    {end}
"""
    with program(code, peer, authority, tmp_path) as it:
        link = serve(peer)
        assert [it.hear(), it.hear(), it.hear()] == ["connected 1", "inherited []", "kept True"]
        # The next that comes over the wire is the parent's: the stream, TLS included, is as it was.
        assert link.recv_frame() == (TEXT, json.dumps({"cmd": "hangup", "uuid": "after"}).encode())
        link.send(message(("info_event", "channel", ("new", "NEW_CHANNEL"), "added")))
        assert it.hear() == "channel new"
        it.go_on()
        assert link.recv_frame()[0] == CLOSE
        link.finish()
        assert it.rest() == ["lost Stopped"]


@pytest.mark.parametrize("stage", ["handshake", "up"])
def test_the_connection_ends_with_the_parent_not_with_the_child(
    peer: Peer, authority: trustme.CA, tmp_path: Path, stage: str
) -> None:
    """What the child had kept of the connection would keep it open."""
    code = """
client = client_of(connect_timeout=600)
client.start()
go_on()
child = os.fork()
if child == 0:
    say("child")
    go_on()
    os._exit(0)
signal.pause()
"""
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    path = tmp_path / "program.py"
    head = f"SERVER = {peer.url!r}\nCA = {str(ca) if peer.url.startswith('wss') else None!r}\n"
    path.write_text(head + PREAMBLE + code, "utf-8")
    command = [sys.executable, "-W", "ignore::DeprecationWarning", str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        it = Program(process)
        link = peer.accept()
        link.read_request()
        if stage == "up":
            link.send(link.upgrade_answer())
            assert it.hear() == "connected 1"
        it.go_on()
        assert it.hear() == "child"
        it.process.kill()
        assert it.process.wait(TIMEOUT) < 0
        link.wait_end()  # would run into its time-out
        it.go_on()
        assert it.rest() == []


def test_nothing_that_is_locked_at_that_moment_blocks_the_child(
    peer: Peer, authority: trustme.CA, tmp_path: Path
) -> None:
    """Forks in the midst of events, hooks, waits and commands; each child uses everything."""
    code = (
        USE_EVERYTHING
        + """
class Silent(CTIHandler):
    def on_chan_info(self, channel):
        client.state, client.queued_events

client = client_of(Silent())
client.start()
assert client.wait_ready(20)
over = threading.Event()

def order():
    while not over.is_set():
        try:
            client.hangup("x")
        except NotConnected:    # too many wait
            pass
        client.wait_connected(1)

orderers = [threading.Thread(target=order) for _ in range(2)]
for thread in orderers:
    thread.start()

def child():
    signal.alarm(20)
    return sum(not refuses(use) for name, use in uses(client))

say("began")
codes = [forked(child) for _ in range(20)]
over.set()
for thread in orderers:
    thread.join()
say(codes)
say(client.connected)
client.stop()
"""
    )
    with program(code, peer, authority, tmp_path) as it:
        link = serve(peer)
        assert it.hear() == "began"
        flood = message(("info_event", "channel", ("u", "STATE_CHANGE"), "updated")) * 200
        link.sock.setblocking(False)
        said = _flood(it, link, flood)
        assert said == [str([0] * 20), "True"]


def _flood(it: Program, link: Link, flood: bytes) -> list[str]:
    """Send without end, and read what comes, until the program has nothing more to say."""
    said: list[str] = []
    listener = Thread(target=lambda: said.extend(it.rest()))
    listener.start()
    link.sock.settimeout(TIMEOUT)
    reader = Thread(target=link.wait_end)
    reader.start()
    try:
        while listener.is_alive():
            link.send(flood)
    except OSError:
        pass  # the program has ended
    listener.join(TIMEOUT)
    reader.join(TIMEOUT)
    return said


def test_a_client_that_does_not_run_may_be_started_in_a_fork(peer: Peer, authority: trustme.CA, tmp_path: Path) -> None:
    code = """
made, stopped = client_of(), client_of()
stopped.start()
assert stopped.wait_connected(20)
stopped.stop()

def child():
    for client in made, stopped:
        with client:
            say("child", client.wait_ready(20))
say(forked(child))
"""
    with program(code, peer, authority, tmp_path) as it:
        for _ in range(3):
            link = serve(peer)
            assert link.recv_frame()[0] == CLOSE
            link.finish()
        said = it.rest()
    assert said == [
        *["connected 1", "lost Stopped"],
        *["connected 1", "child True", "lost Stopped"],
        *["connected 2", "child True", "lost Stopped"],
        "0",
    ]


def test_leaving_the_block_early_in_a_fork(peer: Peer, authority: trustme.CA, tmp_path: Path) -> None:
    code = """
with client_of() as client:
    assert client.wait_ready(20)    # on_connect() has returned
    child = os.fork()
    if child == 0:
        sys.exit(7)
    say("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    with program(code, peer, authority, tmp_path) as it:
        link = serve(peer)
        assert [it.hear(), it.hear()] == ["connected 1", "child 7"]
        assert link.recv_frame()[0] == CLOSE
        link.finish()
        assert it.rest() == ["lost Stopped"]


def test_a_fork_inside_a_hook(peer: Peer, authority: trustme.CA, tmp_path: Path) -> None:
    """The copy of the hook's thread is all of the child: it ends with the hook, and tells nothing twice."""
    code = """
import logging
logging.getLogger("basix_cti").setLevel(logging.CRITICAL)

class Forks(Told):
    def on_chan_info(self, channel):
        child = os.fork()
        if child == 0:
            say("child", channel.uuid, refuses(lambda: client.state), sockets())
        else:
            os.waitpid(child, 0)
            say("parent", channel.uuid, client.state.channels[channel.uuid] is channel)

client = client_of(Forks())
client.start()
go_on()
client.stop()
"""
    with program(code, peer, authority, tmp_path) as it:
        link = serve(peer)
        assert it.hear() == "connected 1"
        added = [message(("info_event", "channel", (uuid, "NEW_CHANNEL"), "added")) for uuid in ("a", "b")]
        link.send(b"".join(added))
        assert [it.hear() for _ in range(4)] == [
            *["child a True []", "parent a True"],
            *["child b True []", "parent b True"],
        ]
        it.go_on()
        assert link.recv_frame()[0] == CLOSE
        link.finish()
        assert it.rest() == ["lost Stopped"]


def test_a_fork_that_python_is_not_told_of(peer: Peer, authority: trustme.CA, tmp_path: Path) -> None:
    """As servers do that are written in C: the copies are given up when the client is first used."""
    code = """
sys.setswitchinterval(1000)     # no thread of the parent asks for the interpreter at that moment
client = client_of()
client.start()
assert client.wait_ready(20)
before = len(sockets())
child = ctypes.PyDLL(None).fork()
if child == 0:
    say(len(sockets()) == before, refuses(lambda: client.connected), sockets())
    os._exit(0)
os.waitpid(child, 0)
say(client.connected)
client.stop()
"""
    with program(code, peer, authority, tmp_path) as it:
        link = serve(peer)
        assert [it.hear(), it.hear(), it.hear()] == ["connected 1", "True True []", "True"]
        assert link.recv_frame()[0] == CLOSE
        link.finish()
        assert it.rest() == ["lost Stopped"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(peer: Peer, authority: trustme.CA, tmp_path: Path, method: str) -> None:
    code = f"""
def look(queue):
    queue.put((refuses(lambda: client.state), sockets()))

if __name__ == "__main__":
    client = client_of()
    client.start()
    assert client.wait_ready(20)
    context = multiprocessing.get_context({method!r})
    queue = context.SimpleQueue()
    try:
        process = context.Process(target=look, args=(queue,))
        process.start()
        say(queue.get() if {method!r} == "fork" else "")
        process.join()
        say(process.exitcode)
        process = context.Process(target=print, args=(client,))
        process.start()
        process.join()
        say("sent", process.exitcode)
    except TypeError as error:
        say(error)
    say(client.connected)
    client.stop()
else:
    client = None   # spawned: there is none

    def look(queue):
        queue.put(None)
"""
    with program(code, peer, authority, tmp_path) as it:
        link = serve(peer)
        assert it.hear() == "connected 1"
        if method == "fork":
            assert [it.hear(), it.hear()] == ["(True, [])", "0"]
            assert "left behind by a fork" in it.hear()
            assert it.hear() == "sent 0"
        else:
            assert [it.hear(), it.hear()] == ["", "0"]
            assert it.hear() == "a CTIClient cannot be copied or sent to another process; make one there"
        assert it.hear() == "True"
        assert link.recv_frame()[0] == CLOSE
        link.finish()
        assert it.rest() == ["lost Stopped"]


def test_nothing_is_registered_by_the_import() -> None:
    code = """
import os
registered = []
os.register_at_fork = lambda **hooks: registered.append(hooks)
import basix_cti
ours = [hook for hooks in registered for hook in hooks.values() if hook.__module__.startswith("basix_cti")]
assert registered and not ours, ours
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT)
    assert (done.returncode, done.stderr) == (0, "")
