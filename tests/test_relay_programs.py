"""The relay in programs: files and commands of docs/relay, forks, logins and TLS, and what its errors do not tell."""

from __future__ import annotations

import configparser
import json
import logging
import os
import pickle
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import trustme
from pages import ROOT
from programs import TIMEOUT, Program, Project, ask, captions, get, port_of, printed, verify_unit
from redis_rig import RedisServer, RelayedClient, needs_redis, relay
from waiting import eventually, soon

from basix_cti import ApiToken, CTIHandler
from basix_cti.recording import RecordingHandler
from basix_cti.relay import HeldClient, Relay, RelayClient
from basix_cti.relay.link import Address
from basix_cti.simulator import Simulator

pytestmark = needs_redis

PAGE = ROOT / "docs" / "relay.rst"
HOLDER = "basix-cti: holder of default in"
STANDBY = "basix-cti: standby of default in"
SECRET = "s3cret-pass"


class Quiet(CTIHandler):
    pass


@pytest.fixture
def pbx() -> Iterator[Simulator]:
    with Simulator(users=3) as pbx:
        yield pbx


@pytest.fixture
def project(tmp_path: Path, pbx: Simulator, server: RedisServer) -> Project:
    project = Project(tmp_path, pbx)
    project.environment["BASIX_CTI_REDIS_URL"] = server.url
    for name in ("board.py", "gunicorn.conf.py", "wsgi.py", "watch.py", "secure.py"):
        project.write(name, printed(PAGE, name))
    return project


def test_every_printed_file_is_tried_here() -> None:
    files = ["watch.py", "board.py", "gunicorn.conf.py", "wsgi.py", "basix-cti-relay.service", "users.acl", "secure.py"]
    assert captions(PAGE) == files


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_gunicorn_with_four_workers_survives_the_kill_of_the_holder(
    preload: bool,
    stack: ExitStack,
    pbx: Simulator,
    server: RedisServer,
    project: Project,
    record_property: Callable[[str, object], None],
) -> None:
    lease = [] if preload else ["--lease", "5"]  # as it is if nothing is said
    holder = stack.enter_context(relay(pbx, server, *lease))
    holder.wait(HOLDER)
    standby = stack.enter_context(relay(pbx, server, *lease))
    standby.wait(STANDBY)
    options = ["--config", "gunicorn.conf.py", "--bind", "127.0.0.1:0", *(["--preload"] if preload else [])]
    site = stack.enter_context(project.run("-m", "gunicorn", *options, "wsgi:application"))
    port = port_of(site)
    pids = {match[1] for match in site.wait(r"^worker (\d+) connected 1$", 4)}
    assert len(pids) == 4
    calls = [pbx.call("0312341234", to="user1").answer() for _ in range(3)]
    assert_all_know(port, pids, {channel.uuid for channel in pbx.channels})
    holder.process.kill()
    began = time.monotonic()
    calls[0].hangup()
    standby.wait(HOLDER)
    site.wait(r"^worker (\d+) connected 2$", 4)
    took = time.monotonic() - began
    assert took < 10
    record_property("measured", f"from the kill of the holder until four workers were connected again: {took:.1f} s")
    pbx.call("0312341234", to="user2")
    assert_all_know(port, pids, {channel.uuid for channel in pbx.channels})
    pbx.wait_connections(1)  # of all these programs


def assert_all_know(port: int, pids: set[str], channels: set[str]) -> None:
    """Each worker, when asked for it, has these channels."""
    right: set[str] = set()

    def all_right() -> bool:
        worker, *told = get(port).splitlines()
        if set(told) == channels:
            right.add(worker.removeprefix("worker "))
        return right == pids

    eventually(all_right, f"the right channels of all of {pids}, not only {right}")


def test_the_two_commands_of_the_page(stack: ExitStack, pbx: Simulator, server: RedisServer, project: Project) -> None:
    holder = stack.enter_context(relay(pbx, server))
    (match,) = holder.wait(HOLDER)
    assert match.string.startswith("basix-cti: holder of default in ")
    watch = stack.enter_context(project.run("watch.py"))
    watch.wait("^0 channels are up$")
    pbx.call("0312341234", to="user1")
    watch.wait("^ringing: 0312341234$")
    watch.process.send_signal(signal.SIGINT)
    watch.process.wait(TIMEOUT)


def test_the_unit_runs_a_relay(stack: ExitStack, pbx: Simulator, server: RedisServer, tmp_path: Path) -> None:
    """As far as a machine that systemd does not run can: it is looked at, and its command run, with files elsewhere."""
    text = printed(PAGE, "basix-cti-relay.service")
    verify_unit(text, "basix-cti-relay.service", tmp_path)
    unit = configparser.ConfigParser(interpolation=None)
    unit.read_string(text)
    program, *arguments = shlex.split(unit["Service"]["execstart"])
    assert program.endswith("/bin/basix-cti")
    config = tmp_path / "relay.ini"
    config.write_text(
        f"[basix-cti]\nserver = {pbx.url}\ndomain = {pbx.domain}\ntoken = {pbx.token}\nfull_events = yes\n"
        f"redis_url = {server.url}\nrelay_name = unit\n"
    )
    config.chmod(0o600)
    arguments = [str(config) if argument == "/etc/basix-cti/relay.ini" else argument for argument in arguments]
    command = [sys.executable, "-m", "basix_cti", *arguments]
    service = stack.enter_context(Program(command, ROOT, dict(os.environ)))
    service.wait("basix-cti: holder of unit in")
    assert service.end() == 0  # SIGTERM, as systemd stops it
    assert server.client().get("{basix-cti:unit}:lease") is None


class Guarded:
    """A Redis with TLS, and the users of the page."""

    def __init__(self, stack: ExitStack, tmp_path: Path) -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost")
        names = {"ca": tmp_path / "ca.pem", "cert": tmp_path / "cert.pem", "key": tmp_path / "key.pem"}
        authority.cert_pem.write_to_path(str(names["ca"]))
        certificate.cert_chain_pems[0].write_to_path(str(names["cert"]))
        certificate.private_key_pem.write_to_path(str(names["key"]))
        acl = tmp_path / "users.acl"
        acl.write_text(printed(PAGE, "users.acl").replace("change-me", SECRET))
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        tls = ["--tls-port", str(port), "--tls-auth-clients", "no", "--tls-ca-cert-file", str(names["ca"])]
        files = ["--tls-cert-file", str(names["cert"]), "--tls-key-file", str(names["key"])]
        self.server = stack.enter_context(RedisServer(*tls, *files, "--aclfile", str(acl)))
        self._where = f"@localhost:{port}/0?ssl_ca_certs={names['ca']}"

    def url(self, user: str, password: str) -> str:
        return f"rediss://{user}:{password}{self._where}"


def test_tls_and_users_who_may_do_no_more_than_they_need(
    stack: ExitStack, pbx: Simulator, project: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    guarded = Guarded(stack, tmp_path)
    guarded.server.url = guarded.url("relay", SECRET)
    holder = stack.enter_context(relay(pbx, guarded.server, "-vv"))
    holder.wait(HOLDER)
    standby = stack.enter_context(relay(pbx, guarded.server))
    standby.wait(STANDBY)
    guarded.server.url = guarded.url("worker", f"{SECRET}-too")
    client = stack.enter_context(RelayedClient(pbx, guarded.server))
    call = pbx.call("0312341234", to="user1").answer()
    client.catch_up()
    assert client.hangup(call.uuid).wait(TIMEOUT)
    assert pbx.wait_command(TIMEOUT)["uuid"] == call.uuid
    project.environment["BASIX_CTI_REDIS_URL"] = guarded.server.url
    secure = stack.enter_context(project.run("secure.py"))
    secure.wait(r"^True <RelayClient rediss://localhost:\d+/0 name='default': connected>$")
    holder.process.kill()
    standby.wait(HOLDER)
    client.recorder.wait_for("on_connect", 2)
    client.catch_up()
    told = [*holder.lines, *standby.lines, *secure.lines, caplog.text, repr(client), *map(str, client.recorder.calls)]
    assert not any(SECRET in line for line in told)


def test_a_wrong_password_is_told_but_not_shown(
    stack: ExitStack, pbx: Simulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    guarded = Guarded(stack, tmp_path)
    guarded.server.url = guarded.url("relay", "wr0ng-s3cret")
    holder = stack.enter_context(relay(pbx, guarded.server, "-vv"))
    holder.wait("^basix-cti: waiting for Redis: Redis at rediss://localhost:.* invalid username-password pair")
    client = RelayedClient(pbx, guarded.server)
    client.start()
    stack.callback(client.stop)
    (error,) = client.recorder.wait_for("on_error")
    assert "invalid username-password pair" in str(error)
    assert not any("wr0ng-s3cret" in text for text in [*holder.lines, caplog.text, repr(error), repr(client)])


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}/with/slash@host:6379/0",
        f"redis://me:{SECRET}@host:port/0",
        f"http://me:{SECRET}@host/0",
        f"redis://me:{SECRET}@host/0?no_such_option=1",
        f"redis://me:{SECRET}@host/0?socket_timeout=x",
        "",
    ],
)
def test_a_url_that_is_none_is_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="the Redis URL is none") as caught:
        RelayClient(url, Quiet())
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def command(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BASIX_CTI_")}
    return subprocess.run(
        [sys.executable, "-m", "basix_cti", "relay", "ws://127.0.0.1:1", "--domain", "d", *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env={**environment, "BASIX_CTI_TOKEN": "t", **more},
        cwd=ROOT,
    )


@pytest.mark.parametrize(
    ("arguments", "variables", "status", "told"),
    [
        (
            ["--redis-url", f"redis://:{SECRET}@host"],
            {},
            2,
            "--redis-url: other users of this machine could see the login",
        ),
        ([], {"BASIX_CTI_REDIS_URL": f"http://:{SECRET}@host"}, 1, "the Redis URL is none"),
        (["--forced"], {}, 2, "--forced: a relay is never forced"),
        (["--relay-name", "two words"], {}, 1, "a relay's name has 1 to 64 letters"),
        (["--lease", "0.1"], {}, 1, "lease must be from 0.5 to 60 seconds"),
    ],
)
def test_bad_settings(arguments: list[str], variables: dict[str, str], status: int, told: str) -> None:
    done = command("--full-events", *arguments, **variables)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(f"basix-cti: {told}"), done.stderr
    assert done.stderr.count("\n") == 1
    assert SECRET not in done.stderr


def test_without_the_extra() -> None:
    program = (
        "import sys; sys.modules['redis'] = None; from basix_cti.cli import main;"
        " sys.exit(main(['relay', 'ws://127.0.0.1:1', '--domain', 'd']))"
    )
    environment = {**os.environ, "BASIX_CTI_TOKEN": "t"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=TIMEOUT, env=environment, cwd=ROOT
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "pip install basix-cti[redis]" in done.stderr


def test_other_commands_have_no_redis() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "basix_cti", "tail", "--help"], capture_output=True, text=True, timeout=TIMEOUT, cwd=ROOT
    )
    assert "--redis-url" not in done.stdout


def test_what_is_refused() -> None:
    with pytest.raises(TypeError, match="handler must be an instance of a CTIHandler subclass"):
        RelayClient("redis://localhost", Quiet)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a relay's name has 1 to 64 letters"):
        RelayClient("redis://localhost", Quiet(), name="")
    with pytest.raises(ValueError, match="redis_timeout must be a positive number"):
        RelayClient("redis://localhost", Quiet(), redis_timeout=0)
    with pytest.raises(ValueError, match="command_timeout must be a positive number"):
        RelayClient("redis://localhost", Quiet(), command_timeout=0)
    with pytest.raises(ValueError, match="must be positive"):
        RelayClient("redis://localhost", Quiet(), max_queued_events=0)
    with pytest.raises(TypeError, match="a RelayClient cannot be copied"):
        pickle.dumps(RelayClient("redis://localhost", Quiet()))
    assert (
        repr(RelayClient("redis://[::1]:7/2", Quiet())) == "<RelayClient redis://[::1]:7/2 name='default': not running>"
    )
    auth = ApiToken("d", "t")
    with pytest.raises(ValueError, match="never forced"):
        HeldClient("ws://localhost", auth=auth, app_name="a", forced=True)
    with pytest.raises(ValueError, match="length must be positive"):
        Relay("redis://localhost", HeldClient("ws://localhost", auth=auth, app_name="a"), length=0)


def test_there_is_no_end_of_attempts() -> None:
    """redis-py's pools give out so many connections and no more, for all time, to who closes them himself."""
    address = Address("redis://localhost", 1)
    assert len({id(connection) for connection in [address.connection() for _ in range(500)]}) == 500


def test_a_tap_is_refused(tmp_path: Path) -> None:
    handler = RecordingHandler(tmp_path / "calls.ctirec")
    try:
        with pytest.raises(TypeError, match="give the tap to a CTIClient"):
            RelayClient("redis://localhost", handler)
    finally:
        handler.close()


FORK = """
import os, sys
from basix_cti import CTIHandler
from basix_cti.errors import ForkedError
from basix_cti.relay import RelayClient

class Told(CTIHandler):
    def on_connect(self, session):
        say("connected", session.number)
    def on_disconnect(self, reason):
        say("lost", reason)
    def on_chan_info(self, channel):
        say("channel", channel.uuid)

def say(*what):
    os.write(1, (" ".join(map(str, what)) + "\\n").encode())

def sockets():
    links = [os.readlink("/proc/self/fd/" + fd) for fd in os.listdir("/proc/self/fd") if fd.isdigit()
             and os.path.lexists("/proc/self/fd/" + fd)]
    return [link for link in links if link.startswith(("socket:", "anon_inode:[event"))]

def refuses(use):
    try:
        use()
    except ForkedError:
        return True
    return False

client = RelayClient(sys.argv[1], Told())
client.start()
client.wait_ready()
command = client.hangup("x")
while not command.sent:     # so that both connections are open
    command.wait(0.01)
here = len(sockets())
child = os.fork()
if child == 0:
    uses = [lambda: client.state, lambda: client.calls, lambda: client.connected, lambda: client.hangup("x"),
            lambda: client.start(), lambda: client.stop(), lambda: client.wait_ready(0)]
    say("child", len(sockets()), all(map(refuses, uses)))
    with RelayClient(sys.argv[1], Told()) as own:
        say("own", own.wait_ready(20), len(own.state.users))
    os._exit(0)
os.waitpid(child, 0)
say("parent", here == len(sockets()), here > 0, client.connected)
sys.stdin.readline()
client.stop()
say("stopped")
"""


def test_a_fork_of_a_running_client(stack: ExitStack, pbx: Simulator, server: RedisServer, project: Project) -> None:
    stack.enter_context(relay(pbx, server)).wait(HOLDER)
    project.write("fork.py", FORK)
    arguments = [sys.executable, "fork.py", server.url]
    program = stack.enter_context(Program(arguments, project.folder, project.environment, talks=True))
    program.wait("^child 0 True$")
    program.wait("^own True 3$")
    program.wait("^parent True True True$")
    call = pbx.call("0312341234", to="user1")  # the parent's goes on
    program.wait(f"^channel {call.uuid}$")
    assert not program.matches("^lost Redis")
    program.say("go on")
    program.wait("^stopped$")
    assert program.process.wait(TIMEOUT) == 0


def probe(url: str, path: str) -> tuple[int, str]:
    return ask(url + path)[:2]


def waits_for_redis(url: str) -> bool:
    return "waiting for Redis" in probe(url, "/readyz")[1]


def test_metrics_and_probes(stack: ExitStack, pbx: Simulator, server: RedisServer) -> None:
    holder = stack.enter_context(relay(pbx, server, "--metrics", "127.0.0.1:0"))
    holder.wait(HOLDER)
    standby = stack.enter_context(relay(pbx, server, "--metrics", "127.0.0.1:0"))
    standby.wait(STANDBY)
    client = stack.enter_context(RelayedClient(pbx, server))
    pbx.call("0312341234", to="user1")
    client.catch_up()
    urls = [program.wait(r"^basix-cti: metrics at (http://.*)/metrics$")[0][1] for program in (holder, standby)]
    for url in urls:
        assert probe(url, "/healthz") == (200, "ok\n")
        assert probe(url, "/readyz") == (200, "ok\n")
    _, metrics = probe(urls[0], "/metrics")
    samples = dict(re.findall(r"^([^#].*) (\S+)$", metrics, re.MULTILINE))
    assert samples['basix_cti_connected{client="default"}'] == "1.0"
    assert samples['basix_cti_objects{client="default",element="user"}'] == "3.0"
    assert samples['basix_cti_relay_role{role="holder"}'] == "1.0"
    assert 'basix_cti_relay_role{role="standby"} 1.0\n' in probe(urls[1], "/metrics")[1]
    assert samples['basix_cti_calls{client="default",state="ringing"}'] == "1.0"
    pbx.refuse(503)
    pbx.drop()
    eventually(lambda: probe(urls[0], "/readyz")[0] == 503, "that the holder is not ready")
    assert "no connection to the PBX" in probe(urls[0], "/readyz")[1]
    pbx.refuse(None)
    server.kill()
    for url in urls:
        eventually(partial(waits_for_redis, url), "that it is not ready")
        assert probe(url, "/healthz") == (200, "ok\n")


def test_a_stop_while_redis_says_nothing(pbx: Simulator, server: RedisServer) -> None:
    client = RelayClient(server.url, Quiet())
    server.send(signal.SIGSTOP)

    def stop() -> float:
        client.start()
        eventually(lambda: client.trouble() is None, "the start")
        began = time.monotonic()
        client.stop()
        return time.monotonic() - began

    soon(2, stop)
    assert json.dumps(client.statistics.connected) == "false"
