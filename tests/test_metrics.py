"""Metrics and probes: real scrapes over HTTP of clients of a simulated PBX, read by Prometheus's own parser."""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from clients import client_of
from pages import ROOT
from programs import ask
from prometheus_client import CollectorRegistry, generate_latest, make_wsgi_app
from prometheus_client.parser import text_string_to_metric_families
from recorder import TIMEOUT, Gate, Recorder
from waiting import eventually

from basix_cti import metrics
from basix_cti.health import Probes, ProbeServer
from basix_cti.simulator import Simulator
from basix_cti.testing import RecordedClient

DASHBOARD = ROOT / "docs" / "grafana.json"
PAGE = ROOT / "docs" / "metrics.rst"


@pytest.fixture
def pbx() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


class Scrape:
    """What Prometheus would see: ``scrape("basix_cti_calls", state="ringing")``."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float | None:
        """The sum of all samples with these labels; None without any."""
        found = [
            sample.value for sample in self.samples if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return sum(found) if found else None


def scrape(url: str) -> Scrape:
    status, text, headers = ask(f"{url}/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=")
    return Scrape(text)


def test_a_scrape_tells_the_client(pbx: Simulator) -> None:
    client = RecordedClient(pbx, max_queued_events=77)
    with ProbeServer(Probes(client)) as server:
        before = scrape(server.url)
        assert (before("basix_cti_connected"), before("basix_cti_working"), before("basix_cti_connections_total")) == (
            0,
        ) * 3
        assert before("basix_cti_connected_at_seconds") is None
        with client:
            call = pbx.call("0312341234", to="user1").answer()
            pbx.call("0399999999", to="user2")
            client.catch_up()
            now = scrape(server.url)
            assert (now("basix_cti_connected"), now("basix_cti_ready"), now("basix_cti_working")) == (1, 1, 1)
            assert now("basix_cti_calls", state="talking") == 1
            assert now("basix_cti_calls", state="ringing") == 1
            assert now("basix_cti_calls", state="parked") == 0
            assert now("basix_cti_objects", element="user") == len(pbx.users)
            assert now("basix_cti_objects", element="channel") == len(pbx.channels)
            assert now("basix_cti_events_total", kind="call", event="ringing") == 2
            assert now("basix_cti_queued_events_limit") == 77
            assert now("basix_cti_gaps_total", cause="reconnection") == 0
            call.hangup()
            pbx.drop(reset=True)
            client.recorder.wait_for("on_call_ended")
            client.catch_up()
            now = scrape(server.url)
            assert now("basix_cti_reconnections_total") == 1
            assert now("basix_cti_disconnections_total", reason="ConnectionLost") == 1
            assert now("basix_cti_gaps_total", cause="reconnection") == 1
            lag = now.families["basix_cti_lag_seconds"]
            buckets = [sample.value for sample in lag.samples if sample.name.endswith("_bucket")]
            assert buckets == sorted(buckets)
            assert buckets[-1] == now("basix_cti_lag_seconds_count")
            assert (now("basix_cti_events_total") or 0) > (now("basix_cti_synthetic_events_total") or 0)
            assert now("process_resident_memory_bytes")


def test_every_metric_is_told_with_type_and_help(pbx: Simulator) -> None:
    registry = CollectorRegistry()
    client = client_of(pbx, Recorder())
    metrics.register(client, registry=registry)
    told = Scrape(generate_latest(registry).decode()).families
    assert list(told) == [description.name for description in metrics.DESCRIPTIONS]
    for description in metrics.DESCRIPTIONS:
        family = told[description.name]
        assert (family.type, family.documentation) == (description.kind, description.help)
        for sample in family.samples:
            assert sample.labels.keys() == {"client", *description.labels} | (
                {"le"} if "le" in sample.labels else set()
            )


def test_open_metrics_for_those_who_ask(pbx: Simulator) -> None:
    answer = Probes(client_of(pbx, Recorder())).answer("/metrics", "application/openmetrics-text; version=1.0.0")
    assert answer is not None
    assert answer.content_type.startswith("application/openmetrics-text")
    assert b"\n# TYPE basix_cti_lag_seconds histogram\n" in answer.body
    assert answer.body.endswith(b"\n# EOF\n")


def test_clients_of_one_site_are_told_apart(pbx: Simulator) -> None:
    """As a Django or Flask site would: the registry and the WSGI application are prometheus_client's own."""
    registry = CollectorRegistry()
    one, two = client_of(pbx, Recorder()), client_of(pbx, Recorder(), app_name="other")
    metrics.register(one, "one", registry=registry)
    metrics.register(two, "two", registry=registry)
    metrics.register(two, "two", registry=registry)
    with pytest.raises(ValueError, match="another client is registered as 'two'"):
        metrics.register(one, "two", registry=registry)

    app = make_wsgi_app(registry)

    def told() -> Scrape:
        environ: dict[str, Any] = {}
        setup_testing_defaults(environ)
        return Scrape(b"".join(app(environ, lambda status, headers, *_: lambda data: None)).decode())

    with one:
        assert one.wait_ready(TIMEOUT)
        now = told()
        assert now("basix_cti_connected", client="one") == 1
        assert now("basix_cti_connected", client="two") == 0
    metrics.unregister(one, registry=registry)
    assert told()("basix_cti_connected", client="one") is None
    assert told()("basix_cti_connected", client="two") == 0
    metrics.unregister(two, registry=registry)
    metrics.unregister(two, registry=registry)
    assert told().samples == []
    metrics.register(one, registry=registry)
    assert told()("basix_cti_connected", client="default") == 0


def test_health_and_readiness(pbx: Simulator) -> None:
    gate = Gate()
    client = client_of(pbx, gate)
    with ProbeServer(Probes(client, patience=1.0)) as server:

        def health() -> tuple[int, str]:
            return ask(f"{server.url}/healthz")[:2]

        def readiness() -> tuple[int, str]:
            return ask(f"{server.url}/readyz?x=1")[:2]

        assert health() == (503, "the client is not running\n")
        assert readiness() == (503, "no connection to the PBX\n")
        pbx.refuse(503)
        with client:
            eventually(lambda: "; the last error: " in readiness()[1], "a failure")
            assert health() == (200, "ok\n"), "it is at work to get a connection"
            assert readiness()[0] == 503
            pbx.refuse(None)
            assert client.wait_ready(TIMEOUT)
            assert readiness() == (200, "ok\n")
            pbx.msg("gate")
            assert gate.reached.wait(TIMEOUT)
            eventually(lambda: health()[0] == 503, "a hook that hangs")
            assert "a hook has been running" in health()[1]
            assert readiness()[0] == 200
            gate.opened.set()
            eventually(lambda: health() == (200, "ok\n"), "its end")
        assert health()[0] == readiness()[0] == 503


def test_the_server_answers_what_it_should(pbx: Simulator) -> None:
    with ProbeServer(Probes(client_of(pbx, Recorder()))) as server:
        status, text, headers = ask(f"{server.url}/")
        assert (status, text) == (404, "there are /healthz, /readyz and /metrics\n")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Server"] == "basix_cti"
        status, text, headers = ask(f"{server.url}/metrics", method="HEAD")
        assert (status, text) == (200, "")
        assert int(headers["Content-Length"]) > 1000
        assert ask(f"{server.url}/metrics", method="POST")[0] == 501
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            ProbeServer(Probes(client_of(pbx, Recorder())), port=port)
    server.stop()


def test_a_peer_that_breaks_off_is_no_news(pbx: Simulator, capfd: pytest.CaptureFixture[str]) -> None:
    """Load balancers do so: no traceback goes to stderr."""

    def answering() -> bool:
        return any("process_request_thread" in thread.name for thread in threading.enumerate())

    with ProbeServer(Probes(client_of(pbx, Recorder()))) as server:
        with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), TIMEOUT) as peer:
            peer.sendall(b"GET /heal")
            eventually(answering, "somebody who reads that")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closes with a reset
        eventually(lambda: not answering(), "the end of that")
        assert ask(f"{server.url}/healthz")[0] == 503
    assert capfd.readouterr().err == ""


def test_a_server_asks_no_name_server(pbx: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The standard library would ask for the name of its address; where nobody answers, that takes long."""

    def ask_for_a_name(name: str = "") -> str:
        raise AssertionError(f"asked for the name of {name}")

    monkeypatch.setattr(socket, "getfqdn", ask_for_a_name)
    with ProbeServer(Probes(client_of(pbx, Recorder()))) as server:
        assert ask(f"{server.url}/healthz")[0] == 503


def test_over_ipv6(pbx: Simulator) -> None:
    with ProbeServer(Probes(client_of(pbx, Recorder())), host="::1") as server:
        assert server.url.startswith("http://[::1]:")
        assert ask(f"{server.url}/healthz")[0] == 503


def run_python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_the_extra() -> None:
    told = run_python("""
import sys
sys.modules["prometheus_client"] = None  # as if it were not installed
from basix_cti import ApiToken, CTIClient, CTIHandler
from basix_cti.health import Probes
class Quiet(CTIHandler): pass
client = CTIClient("ws://127.0.0.1:1", Quiet(), auth=ApiToken("d", "t"), app_name="a", full_events=True)
print(Probes(client).answer("/metrics"), Probes(client).answer("/healthz"))
try:
    import basix_cti.metrics
except ImportError as error:
    print(error)
""")
    assert "status=501" in told
    assert told.count("pip install 'basix_cti[prometheus]'") == 2
    assert "the client is not running" in told


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_tells_nothing_of_the_client_it_left_behind(pbx: Simulator) -> None:
    """A site whose server forks after the start must still be able to tell its other metrics."""
    told = run_python(
        """
import os
from basix_cti import ApiToken, CTIClient, CTIHandler, metrics
from basix_cti.health import Probes
from prometheus_client import generate_latest
class Quiet(CTIHandler): pass
client = CTIClient(os.environ["URL"], Quiet(), auth=ApiToken(os.environ["DOMAIN"], os.environ["TOKEN"]), app_name="a",
                   full_events=True)
metrics.register(client)
probes = Probes(client)
with client:
    assert client.wait_ready(20)
    assert b"basix_cti_connected{" in generate_latest()
    pid = os.fork()
    if not pid:
        try:
            text = generate_latest()
            assert b"basix_cti_connected{" not in text and b"python_info" in text
            for path in ("/healthz", "/readyz"):
                assert probes.answer(path).status == 503
                assert b"is a fork of it" in probes.answer(path).body
            os._exit(0)
        finally:
            os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""",
        URL=pbx.url,
        DOMAIN=pbx.domain,
        TOKEN=pbx.token,
        PYTHONWARNINGS="ignore",
    )
    assert told == "0\n"


def names_in(expression: str) -> set[str]:
    return set(re.findall(r"\bbasix_cti_[a-z_]+", expression))


def exposed() -> set[str]:
    """The names that a query may use."""
    names = set()
    for each in metrics.DESCRIPTIONS:
        suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}[each.kind]
        names |= {each.name + suffix for suffix in suffixes}
    return names


def test_the_dashboard_names_metrics_that_exist() -> None:
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    used = set().union(*map(names_in, expressions))
    assert used <= exposed()
    assert len(used) >= 15
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for expression in expressions:
        assert 'client=~"$client"' in expression
    assert names_in(dashboard["templating"]["list"][-1]["query"]["query"]) <= exposed()


def test_the_page_lists_all_metrics_and_its_alerts_name_those_that_exist() -> None:
    page = PAGE.read_text("utf-8")
    rows = dict(re.findall(r"^``(basix_cti_\w+)`` +(\w+) ", page, re.MULTILINE))
    suffix = {"counter": "_total", "gauge": "", "histogram": ""}
    assert rows == {each.name + suffix[each.kind]: each.kind for each in metrics.DESCRIPTIONS}
    alerts = re.findall(r"^ +expr: (.+)$", page, re.MULTILINE)
    assert len(alerts) >= 6
    for alert in alerts:
        assert names_in(alert) <= exposed()
        assert names_in(alert)
