"""``basix-cti doctor``, as a user runs it: in a process of its own, against peers that have what it is to find."""

from __future__ import annotations

import datetime
import email.utils
import gc
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from peer import NOTHING, SPEC, Link, Peer, authority, certified, frame, full_state, message
from relay import LOGIN, Relay

from basix_cti.config import Settings
from basix_cti.doctor import STEPS, Finding, diagnose
from basix_cti.doctor.certificate import Certificate, problems
from basix_cti.etf import Atom
from basix_cti.simulator import Simulator
from basix_cti.testing import Recorder

LIMIT = 50.0
TOKEN = "hunter2+s3cret"
PROGRAM = [sys.executable, "-m", "basix_cti", "doctor"]
SOON = ["--timeout", "2"]  # for what has to be waited for in vain
QUIET = ["--seconds", "0.2"]  # where it is known that no event comes

Serve = Callable[[Link], object]


class Report:
    """What the program said with ``--json``."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        assert done.stderr == ""
        self.told: dict[str, Any] = json.loads(done.stdout)
        self.exit_status = done.returncode
        assert [step["step"] for step in self.told["steps"]] == list(STEPS)
        for step in self.told["steps"]:
            assert set(step) == {"step", "status", "tried", "found", "advice", "details"}
            assert step["found"]
            assert "\n" not in step["found"] + step["advice"] + step["tried"]
            assert bool(step["tried"]) is (step["status"] != "skipped")
            assert step["advice"] or step["status"] not in ("failed", "warning")

    def __getitem__(self, step: str) -> dict[str, Any]:
        found: dict[str, Any] = self.told["steps"][STEPS.index(step)]
        return found

    def statuses(self) -> dict[str, str]:
        return {step["step"]: step["status"] for step in self.told["steps"]}

    def failed(self, step: str, found: str, advice: str = "") -> Report:
        """Check that this step failed for this reason, with this advice, and ended the examination."""
        assert self[step]["status"] == "failed", self.told
        assert re.search(found, self[step]["found"]), self[step]
        assert re.search(advice, self[step]["advice"]), self[step]
        assert (self.exit_status, self.told["status"], self.told["failed"]) == (1, "failed", step)
        after = STEPS[STEPS.index(step) + 1 :]
        assert all(self[each]["status"] == "skipped" and step in self[each]["found"] for each in after)
        return self

    def warned(self, step: str, found: str, advice: str = "") -> Report:
        """Check that all works, but with this warning."""
        assert self[step]["status"] == "warning", self.told
        assert re.search(found, self[step]["found"]), self[step]
        assert re.search(advice, self[step]["advice"]), self[step]
        assert (self.exit_status, self.told["status"], self.told["failed"]) == (0, "warning", None)
        return self

    def worked(self) -> Report:
        """Check that nothing is wrong."""
        assert (self.exit_status, self.told["status"], self.told["failed"]) == (0, "ok", None), self.told
        return self


def environment(token: str, **more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BASIX_CTI_")}
    return {**clean, "XDG_CONFIG_HOME": "/nowhere", "BASIX_CTI_TOKEN": token, **more}


def start(*arguments: str, token: str = TOKEN, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(token, **more),
    )


def finish(process: subprocess.Popen[str], token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    with process:
        out, err = process.communicate(timeout=LIMIT)
    assert token not in out + err
    assert "Traceback" not in err
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def examine(server: str, *arguments: str, token: str = TOKEN, **more: str) -> Report:
    """The report on a server that needs nobody to steer it."""
    return Report(finish(start(server, "--domain", "test1.com", "--json", *arguments, token=token, **more), token))


def examine_simulator(simulator: Simulator, *arguments: str, **more: str) -> Report:
    """The report on a simulated PBX, with its token."""
    return examine(simulator.url, *arguments, token=simulator.token, **more)


def meet(peer: Peer, serve: Serve, *arguments: str, url: str = "", **more: str) -> Report:
    """The report on a peer that does ``serve`` with its side of the first connection."""
    process = start(url or peer.url, "--domain", "test1.com", "--json", *arguments, **more)
    with ExitStack() as stack:
        stack.enter_context(process)
        stack.callback(process.kill)
        serve(peer.accept())
        return Report(finish(process))


def talk(*data: bytes, extra: str = "") -> Serve:
    """Accept the WebSocket, say this, and stay until the other side has ended the connection."""

    def serve(link: Link) -> None:
        link.upgrade(extra).send(b"".join(data))
        link.wait_end()

    return serve


def answer(text: str) -> Serve:
    """Answer the handshake with this, and end the connection."""

    def serve(link: Link) -> None:
        link.read_request()
        link.send(text.encode())
        link.finish()

    return serve


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as peer:
        yield peer


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(domain="test1.com") as simulator:
        yield simulator


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that drops who tries to connect, as a firewall does: its queue is full, and nobody takes from it."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.fixture
def closed() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture
def ca(tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority().cert_pem.write_to_path(str(path))
    return str(path)


# --- where it works ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("login", "told", "watched"),
    [
        (["--full-events"], "the API token of domain test1.com", "the whole PBX"),
        (["--user", "user1"], "the API token of domain test1.com", "the user with name user1"),
        (["--api-user", "api"], "API user api of domain test1.com", "the whole PBX"),
        (["--ticket", "--user-id", "1001"], "a one-time ticket for domain test1.com", "the user with id 1001"),
    ],
    ids=["whole PBX", "user", "first generation", "ticket"],
)
def test_it_works(simulator: Simulator, login: list[str], told: str, watched: str) -> None:
    user = simulator.users[0]
    login = [str(user.id) if part == "1001" else part for part in login]
    simulator.play(seed=1, calls_per_minute=300, speed=5)  # until the simulator stops
    report = examine_simulator(simulator, *login, "--seconds", "20").worked()
    expected = dict.fromkeys(STEPS, "ok") | {"proxy": "skipped", "tls": "skipped"}
    assert report.statuses() == expected | ({} if "--ticket" in login else {"ticket": "skipped"})
    assert report["login"]["tried"] == f"log in with {told}"
    assert watched.replace("1001", str(user.id)) in report["login"]["found"]
    assert "uuid" in str(report["field_specs"]["details"]["fields"])
    assert report["clock"]["details"]["ahead"]["the HTTP header Date"] == 0.0  # by the same clock
    simulator.wait_connections(0)


def test_a_busy_pbx_does_not_hold_it_up(simulator: Simulator) -> None:
    """Events come all the time: what is waited for is the end of the present state, not silence."""
    simulator.play(seed=1, calls_per_minute=600, speed=5)
    environ = {"BASIX_CTI_TOKEN": simulator.token}
    given = {"server": simulator.url, "domain": simulator.domain, "app_name": "busy", "full_events": True}
    settings = Settings.load(given, environ=environ)
    findings = {finding.step: finding for finding in diagnose(settings, timeout=600, listen=20)}
    assert findings["field_specs"].status == "ok"
    assert findings["events"].status == "ok"


def test_in_words(simulator: Simulator) -> None:
    done = finish(start(simulator.url, "--domain", "test1.com", "--full-events", *QUIET, token=simulator.token))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"{simulator.url}/basix/api/ws_cti, domain test1.com, app_name basix-cti-doctor"
    assert [line.split()[1] for line in lines if re.match(r"(ok|skipped|unknown) ", line)] == list(STEPS)
    assert (
        f"ok       tcp          connect to port {simulator.port}: 127.0.0.1:{simulator.port} accepted (" in done.stdout
    )
    assert "unknown  events       wait for an event: none came within 0.2 s" in done.stdout
    assert lines[-1] == "It works."
    assert max(map(len, lines)) <= 100


def test_a_failure_in_words(closed: int) -> None:
    done = finish(start(f"ws://127.0.0.1:{closed}", "--domain", "test1.com"))
    assert (done.returncode, done.stderr) == (1, "")
    assert re.search(r"^FAILED   tcp .*: Connection refused\n +-> nothing listens there", done.stdout, re.MULTILINE)
    assert re.search(r"^skipped  not reached: proxy, tls, .*, clock$", done.stdout, re.MULTILINE)
    assert done.stdout.endswith("\nIt does not work: tcp failed.\n")


def test_tls_works(ca: str) -> None:
    with Simulator(domain="test1.com", ssl_context=certified("127.0.0.1")) as simulator:
        report = examine_simulator(simulator, "--ca-file", ca, "--full-events", *QUIET).worked()
    assert re.search(r"TLSv1\.\d, and the certificate is trusted: it is for 127\.0\.0\.1, from", report["tls"]["found"])
    assert report["tls"]["details"]["names"] == ["127.0.0.1"]
    assert report["tls"]["details"]["days_left"] > 14


# --- name and TCP -----------------------------------------------------------------------------------------------------


def test_unknown_name() -> None:
    report = examine("ws://no-such-host.invalid", "--timeout", "30")
    report.failed("name", "^the name no-such-host.invalid was not found$", r"check the name \(given by SERVER\)")


def test_closed_port(closed: int) -> None:
    server = f"ws://127.0.0.1:{closed}"
    report = Report(finish(start("--domain", "test1.com", "--json", BASIX_CTI_SERVER=server)))
    where = rf"port {closed} \(given by the variable BASIX_CTI_SERVER\)"
    report.failed("tcp", f"^127.0.0.1:{closed}: Connection refused$", f"nothing listens there on {where}")


def test_silent_host(silent: int) -> None:
    report = examine(f"ws://127.0.0.1:{silent}", *SOON)
    report.failed("tcp", f"^127.0.0.1:{silent}: no answer$", "a firewall on the way drops the packets")


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def resolve(*ports: int) -> None:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    return resolve


def findings(simulator: Simulator, timeout: float = 20.0) -> dict[str, Finding]:
    settings = Settings(simulator.url, simulator.domain, simulator.token, app_name="test", full_events=True)
    return {finding.step: finding for finding in diagnose(settings, timeout=timeout, listen=0.1)}


def test_a_name_with_several_addresses(
    simulator: Simulator, closed: int, silent: int, addresses: Callable[..., None]
) -> None:
    """The resolver's answer is put into this process; nothing on loopback has two addresses everywhere."""
    addresses(closed, simulator.port)
    told = findings(simulator)["tcp"]
    assert (told.status, told.advice) == ("ok", "")
    assert f"but 127.0.0.1:{closed} did not: Connection refused" in told.found
    addresses(silent, simulator.port)
    told = findings(simulator, timeout=2.0)["tcp"]
    assert (told.status, told.details["failed"]) == ("warning", [f"127.0.0.1:{silent}"])
    assert "each connection loses time" in told.advice


# --- proxy ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_through_a_proxy(scheme: str, ca: str) -> None:
    with (
        Simulator(domain="test1.com", ssl_context=certified("pbx.invalid")) as simulator,
        Relay(scheme, login=True) as relay,
    ):
        server = f"wss://pbx.invalid:{simulator.port}"
        options = ["--ca-file", ca, "--full-events", *QUIET]
        report = examine(server, *options, token=simulator.token, BASIX_CTI_PROXY=relay.url)
        assert relay.asked == [("pbx.invalid", simulator.port)]
    report.worked()
    assert report["proxy"]["tried"] == f"have {relay.address} connect to pbx.invalid:{simulator.port}"
    assert report.told["proxy"] == relay.address
    assert "s3cret" not in json.dumps(report.told)


def test_a_certificate_behind_a_proxy() -> None:
    with Simulator(domain="test1.com", ssl_context=certified("other.example")) as simulator, Relay("http") as relay:
        report = examine(f"wss://pbx.invalid:{simulator.port}", "--proxy", relay.url)
    report.failed("tls", "that this machine does not trust .* is not for pbx.invalid, but for other.example")


@pytest.mark.parametrize(
    ("scheme", "told"), [("http", r"did not connect to .* \(HTTP 407\)"), ("socks5", "refused the way to log in")]
)
def test_a_proxy_that_wants_another_login(simulator: Simulator, scheme: str, told: str) -> None:
    with Relay(scheme, login=True) as relay:
        report = examine_simulator(simulator, "--proxy", f"{scheme}://{relay.address}")
    report.failed("proxy", told, r"user and password \(given by --proxy\)")


def test_a_proxy_that_sends_the_login_back(peer: Peer) -> None:
    login = f"{LOGIN[0].replace(' ', '%20')}:pr0xy-s3cret"

    def serve(link: Link) -> None:
        link.read_request()
        link.send(b"HTTP/1.1 407 pr0xy-s3cret " + link.headers["proxy-authorization"].encode() + b"\r\n\r\n")
        link.wait_end()

    proxy = peer.url.replace("ws://", f"http://{login}@")
    report = meet(peer, serve, url="ws://pbx.invalid", BASIX_CTI_PROXY=proxy)
    report.failed("proxy", "HTTP 407", "given by the variable BASIX_CTI_PROXY")
    assert "pr0xy-s3cret" not in json.dumps(report.told)


def test_a_pbx_that_knows_the_proxys_login(peer: Peer) -> None:
    with Relay("http", login=True) as relay:
        goodbye = frame(b"\x03\xf0hello " + LOGIN[1].encode(), 8)
        report = meet(peer, talk(goodbye), BASIX_CTI_PROXY=relay.url)
    report.failed("limit", r"with code 1008: hello \*\*\*$")


def test_a_silent_proxy(peer: Peer) -> None:
    report = meet(peer, Link.wait_end, "--proxy", peer.url.replace("ws", "http"), *SOON, url="ws://pbx.invalid")
    report.failed("proxy", "^no answer within 2 s$", "of the kind http://")


def test_a_proxy_that_is_down(closed: int) -> None:
    report = examine("pbx.invalid", "--proxy", f"socks5://127.0.0.1:{closed}")
    report.failed("tcp", "Connection refused", rf"port {closed} \(given by --proxy\): .* whether the proxy is up")
    report = examine("pbx.invalid", "--proxy", "http://no-such-proxy.invalid", "--timeout", "30")
    report.failed("name", "no-such-proxy.invalid was not found", r"given by --proxy")


# --- TLS --------------------------------------------------------------------------------------------------------------


def days(number: float) -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=number)


def serving(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def self_signed(folder: Path) -> ssl.SSLContext:
    """That of an authority, which is its own issuer."""
    made = trustme.CA()
    path = folder / "self-signed.pem"
    path.write_bytes(made.cert_pem.bytes() + made.private_key_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def examine_tls(context: ssl.SSLContext, *options: str) -> Report:
    with Simulator(domain="test1.com", ssl_context=context) as simulator:
        return examine_simulator(simulator, "--full-events", *QUIET, *options)


def test_an_authority_that_nobody_trusts() -> None:
    report = examine_tls(certified("127.0.0.1"))
    report.failed("tls", "an authority that this machine does not trust", "name its PEM file with --ca-file")
    assert report["tls"]["details"]["names"] == ["127.0.0.1"]
    assert "trustme" in report["tls"]["details"]["issuer"]


def test_self_signed(tmp_path: Path) -> None:
    report = examine_tls(self_signed(tmp_path))
    report.failed("tls", "is signed by itself.*self-signed.* is not for 127.0.0.1", "by a name that the certificate is")


def test_another_host_name(ca: str) -> None:
    report = examine_tls(certified("pbx.example", "*.pbx.example"), "--ca-file", ca)
    told = r"^the certificate is not for 127\.0\.0\.1, but for pbx\.example, \*\.pbx\.example: it is for"
    report.failed("tls", told, "^connect by a name that the certificate is for$")


def test_expired(ca: str) -> None:
    end = days(-9.5)
    issued = authority().issue_cert("127.0.0.1", not_before=days(-40), not_after=end)
    report = examine_tls(serving(issued), "--ca-file", ca)
    report.failed("tls", "^the certificate has expired 9 days ago: it is for 127", "renewed; .* this machine's clock")
    assert report["tls"]["details"]["days_left"] == -10
    assert report["tls"]["details"]["not_after"] == f"{end:%Y-%m-%d}"


def test_everything_is_wrong_with_it() -> None:
    issued = authority().issue_cert("pbx.example", not_before=days(-40), not_after=days(-9.5))
    report = examine_tls(serving(issued))
    found = "does not trust .* and has expired 9 days ago and is not for 127.0.0.1, but for pbx.example"
    report.failed("tls", found, "--ca-file.*; have the PBX's certificate renewed.*; connect by a name")


def test_not_yet_valid(ca: str) -> None:
    issued = authority().issue_cert("127.0.0.1", not_before=days(3.5), not_after=days(9.5))
    report = examine_tls(serving(issued), "--ca-file", ca)
    report.failed("tls", "^the certificate is not yet valid, for another 3 days: it is for 127", "may be behind")


def test_soon_to_expire(ca: str) -> None:
    issued = authority().issue_cert("127.0.0.1", not_before=days(-40), not_after=days(9.5))
    report = examine_tls(serving(issued), "--ca-file", ca)
    report.warned("tls", "is trusted: .*, 9 days left", "renewed in time")
    strict = examine_tls(serving(issued), "--ca-file", ca, "--strict")
    assert (strict.exit_status, strict.told["status"]) == (1, "warning")


def test_not_verified() -> None:
    issued = authority().issue_cert("pbx.example", not_before=days(-40), not_after=days(-9.5))
    report = examine_tls(serving(issued), "--insecure")
    report.warned("tls", "was not verified: it is for pbx.example", r"do without insecure \(given by --insecure\)")


def test_an_authority_in_between_that_has_expired() -> None:
    """Which trustme does not make."""
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = 10, "certificate has expired"
    certificate = Certificate(["pbx.example"], "somebody", time.time() - 9e5, time.time() + 9e5, False)
    found, advices = problems(error, certificate, "pbx.example")
    assert found == ["is vouched for by another one, which has expired"]
    assert len(advices) == 1


def test_no_tls_there(peer: Peer) -> None:
    def serve(link: Link) -> None:
        link.sock.recv(65536)
        link.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        link.finish()

    report = meet(peer, serve, url=peer.url.replace("ws", "wss"))
    report.failed("tls", "wrong version number|record layer failure", f"For a test rig without it, write {peer.url}")


def test_tls_without_an_answer(peer: Peer) -> None:
    report = meet(peer, Link.wait_end, *SOON, url=peer.url.replace("ws", "wss"))
    report.failed("tls", "^no answer within 2 s$", "does it speak TLS?")


def test_tls_where_it_is_not_expected() -> None:
    with Simulator(ssl_context=certified("127.0.0.1")) as simulator:
        report = examine(simulator.url.replace("wss", "ws"))
    report.failed("http", "something else than a WebSocket", "Or does the port speak TLS. Then write wss://")


# --- HTTP and the login -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        (["--full-events"], r"check domain \(given by --domain\) and token \(given by the variable BASIX_CTI_TOKEN\)"),
        (["--api-user", "api"], "and api_user .*; a PBX of today needs the token without --api-user"),
    ],
)
def test_wrong_token(simulator: Simulator, options: list[str], advice: str) -> None:
    report = examine(simulator.url, *options).failed("login", "^refused with HTTP 401$", advice)
    assert report["http"]["status"] == "ok"
    assert report["login"]["details"] == {"status": 401}


def test_a_right_is_missing(simulator: Simulator) -> None:
    simulator.refuse(403)
    report = examine_simulator(simulator, "--full-events")
    report.failed("login", "^refused with HTTP 403$", "may lack a right: .* so try it without")


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (400, r"check app_name \(by default\)"),
        (429, "wait a while"),
        (500, "the PBX behind it is not"),
        (503, "ask the PBX's operator"),
    ],
)
def test_http_status(simulator: Simulator, status: int, advice: str) -> None:
    simulator.refuse(status)
    report = examine_simulator(simulator, "--full-events")
    report.failed("http", f"^answered with HTTP {status}, not with a WebSocket$", advice)
    assert report["http"]["details"] == {"status": status}


def test_unknown_user(simulator: Simulator) -> None:
    report = examine_simulator(simulator, "--user-label", "Nobody")
    report.failed("http", "HTTP 404", r"and user_label \(given by --user-label\)")


def test_a_redirection_is_not_followed(peer: Peer) -> None:
    with Peer() as other:
        report = meet(peer, answer(f"HTTP/1.1 302 Found\r\nLocation: {other.url.replace('ws', 'http')}/\r\n\r\n"))
        assert not other.has_visitor()
    report.failed("http", "HTTP 302", "a redirection is not followed, because it would take the token elsewhere")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "HTTP 200"),
        ("SSH-2.0-OpenSSH_9.9\r\n", "something else"),
        ("", "something else"),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "something else"),
    ],
    ids=["a web page", "ssh", "nothing", "a wrong upgrade"],
)
def test_not_a_websocket(peer: Peer, text: str, found: str) -> None:
    meet(peer, answer(text)).failed("http", found, "is this a Basix PBX?")


def test_a_host_that_does_not_speak(peer: Peer) -> None:
    meet(peer, Link.wait_end, *SOON).failed("http", "^no answer within 2 s$", "or it speaks TLS: then write wss://")


def test_no_ticket(simulator: Simulator, peer: Peer) -> None:
    refused = examine(simulator.url, "--ticket")
    refused.failed("ticket", r"refused the API token for that \(HTTP 401\)", r"check domain .* and token")

    def serve(link: Link) -> None:
        asking = peer.accept()  # the first connection waits for the ticket
        asking.read_request()
        body = json.dumps({"result_code": 7, "description": f"no tickets for {TOKEN} today"})
        asking.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        asking.wait_end()
        link.wait_end()

    report = meet(peer, serve, "--ticket")
    report.failed("ticket", r"result_code 7 \(no tickets for \*\*\* today\)", "check whether this PBX gives tickets")


# --- what the PBX says ------------------------------------------------------------------------------------------------


def test_connection_limit(simulator: Simulator) -> None:
    simulator.limit()
    report = examine_simulator(simulator, "--full-events", "--app-name", "screen")
    report.failed("limit", "^connection_limit_reached: .* app_name 'screen'", r"of its own \(given by --app-name\)")


def test_no_other_connection_is_closed(simulator: Simulator) -> None:
    """Not even with forced, which some programs have in their configuration."""
    with ExitStack() as stack:
        for _ in range(2):
            client = Settings(simulator.url, simulator.domain, simulator.token, app_name="screen", full_events=True)
            handler = Recorder()
            stack.enter_context(client.client(handler))
            handler.wait_for("on_connect")
        report = examine_simulator(simulator, "--full-events", "--app-name", "screen", "--forced")
        report.failed("limit", "^connection_limit_reached")
        simulator.wait_connections(2)
        assert not handler.of("on_disconnect")


def test_connection_replaced(peer: Peer) -> None:
    notice = message((Atom("system_msg"), Atom("connection_replaced")))
    report = meet(peer, talk(message(SPEC), message(NOTHING), notice), "--app-name", "screen")
    assert report.told["failed"] in ("limit", "field_specs")
    report.failed(report.told["failed"], "^connection_replaced: another program with app_name 'screen'")


def test_silent_after_the_login(peer: Peer) -> None:
    report = meet(peer, talk(), *SOON)
    report.failed("field_specs", "^the connection is up, but the PBX has said nothing for 2 s$", "hold the data back")
    assert report["limit"]["status"] == "warning"


def test_no_field_specs(peer: Peer) -> None:
    report = meet(peer, talk(full_state("a", "b")))
    report.failed("field_specs", "^none for channels, of which there are 2$", "nothing of a call can be told")


def test_nothing_that_would_need_a_field_spec(peer: Peer) -> None:
    report = meet(peer, talk(message(NOTHING)), *QUIET)
    report.warned("field_specs", "^0 field specs, and the present state: 0 channel$", "make a call")


def test_a_field_spec_is_missing(peer: Peer) -> None:
    users = message((Atom("initial_info"), Atom("user"), [(1, "user1")]))
    report = meet(peer, talk(users, message(SPEC), message(NOTHING)), *QUIET)
    report.warned("field_specs", "; but none for user$", "their fields have no names")


def test_no_present_state(peer: Peer) -> None:
    report = meet(peer, talk(message(SPEC)), *SOON)
    report.failed("field_specs", "^the state of channels did not come within 2 s$", "would never get ready")


def test_messages_of_a_later_release(peer: Peer) -> None:
    later = message((Atom("hologram"), 1))
    report = meet(peer, talk(message(SPEC), later, later, message(NOTHING)), *QUIET)
    report.warned("field_specs", r"does not know: hologram \(2\)$", "a later release")


def test_frames_that_are_no_terms(peer: Peer) -> None:
    report = meet(peer, talk(message(SPEC), *[frame(b"\x83\x52")] * 3))
    report.failed("field_specs", r"^3 of 4 messages cannot be decoded: .*\(tag 82\)", "this is no Basix PBX")


def test_a_bad_frame_among_events(peer: Peer) -> None:
    """It comes so slowly that it is whole after the present state was looked at."""

    def serve(link: Link) -> None:
        link.upgrade().send(message(SPEC) + message(NOTHING))
        assert link.dribble(frame(b"\x83\x52"), 0.5, threading.Event()) == 4
        link.wait_end()

    report = meet(peer, serve, "--seconds", "8")
    assert report.told["failed"] in ("field_specs", "events")
    report.failed(report.told["failed"], "cannot be decoded")


@pytest.mark.parametrize("goodbye", [frame(b"\x03\xf0maintenance of hunter2+s3cret", 8), b""], ids=["close", "end"])
def test_the_end_of_the_connection(peer: Peer, goodbye: bytes) -> None:
    def serve(link: Link) -> None:
        link.upgrade().send(message(SPEC) + goodbye)
        link.finish()

    report = meet(peer, serve)
    told = r"closed the connection with code 1008: maintenance of \*\*\*$" if goodbye else "without a close frame"
    step = report.told["failed"]
    assert step in ("limit", "field_specs")
    report.failed(step, told, "run it again")


# --- the clock --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "told"), [(3 * 3600, "this machine is 3.0 h behind"), (-600, "this machine is 10 min ahead of")]
)
def test_the_clock_by_http(peer: Peer, seconds: float, told: str) -> None:
    date = email.utils.formatdate(time.time() + seconds, usegmt=True)
    report = meet(peer, talk(message(SPEC), message(NOTHING), extra=f"Date: {date}\r\n"), *QUIET)
    report.warned("clock", f"^{told} the server, by the HTTP header Date$", "time server")


@pytest.mark.parametrize("date", ["", "Date: yesterday\r\n"])
def test_no_clock(peer: Peer, date: str) -> None:
    report = meet(peer, talk(message(SPEC), message(NOTHING), extra=date), *QUIET).worked()
    assert report["clock"]["status"] == "unknown"


def test_the_clock_by_events() -> None:
    def clock() -> int:
        return time.time_ns() // 1000 - 600_000_000

    with Simulator(domain="test1.com", clock=clock) as simulator:
        process = start(
            simulator.url, "--domain", "test1.com", "--full-events", "--json", "--seconds", "20", token=simulator.token
        )
        simulator.wait_connections(1, LIMIT)
        while process.poll() is None and simulator.connections:
            simulator.call("0312341234", to="user1").answer().hangup()
            simulator.run_due()
        report = Report(finish(process, simulator.token))
    report.warned("clock", "^this machine is 10 min ahead of the server, by the times in events$", "time server")
    assert abs(report["clock"]["details"]["ahead"]["the HTTP header Date"]) <= 2


# --- the program ------------------------------------------------------------------------------------------------------


def test_settings_that_are_wrong() -> None:
    done = finish(start("rig"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("basix-cti: no domain: give --domain,")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(peer: Peer, number: signal.Signals) -> None:
    process = start(peer.url, "--domain", "test1.com", "--timeout", "40")
    peer.accept().read_request()
    process.send_signal(number)
    done = finish(process)
    assert (done.returncode, done.stderr) == (1, "basix-cti: interrupted before the last step\n")


def test_help_tells_the_exit_status() -> None:
    done = finish(start("--help"))
    assert re.search(r"^  1  it does not work, or that was not found out", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("bad", [0, -1, float("nan"), float("inf")])
def test_bad_times(bad: float) -> None:
    for name in ("timeout", "listen"):
        with pytest.raises(ValueError, match=f"{name} must be a positive number"):
            diagnose(Settings("rig", "d", TOKEN, app_name="a"), **{name: bad})


def test_an_examination_that_is_given_up(simulator: Simulator) -> None:
    """Nor is a socket left, of which Python would warn, before there is a WebSocket."""
    settings = Settings(simulator.url, simulator.domain, simulator.token, app_name="a", full_events=True)
    examination = diagnose(settings)
    assert [next(examination).step for _ in range(2)] == ["name", "tcp"]
    examination.close()
    del examination
    gc.collect()
    examination = diagnose(settings)
    assert [next(examination).step for _ in range(7)] == list(STEPS[:7])
    simulator.wait_connections(1)
    examination.close()
    simulator.wait_connections(0)
