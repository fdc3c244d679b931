"""The Flask extension in real sites: the one that docs/flask shows, and the example; in processes, behind servers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import ROOT
from programs import (
    TIMEOUT,
    Program,
    Project,
    answers,
    captions,
    free_port,
    get,
    gunicorn,
    port_of,
    printed,
    verify_unit,
    wait_for_all,
)
from waiting import eventually

from basix_cti.simulator import Simulator

PAGE = ROOT / "docs" / "flask.rst"
EXAMPLE = ROOT / "examples" / "flask_call_log"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(domain="test1.com") as simulator:
        yield simulator


@pytest.fixture
def site(tmp_path: Path, simulator: Simulator) -> Project:
    """The site of docs/flask, with a page that tells which process answers."""
    project = Project(tmp_path, simulator)
    for name in ("calls.py", "board.py", "gunicorn.conf.py", "test_calls.py"):
        project.write(name, printed(PAGE, name))
    text = printed(PAGE, "website.py").replace('"bcs.brastel.com"', repr(simulator.url))
    project.write("website.py", text)
    project.write(
        "wsgi.py",
        """
import os
from calls import cti
from website import create_app

application = create_app()
application.add_url_rule("/", view_func=lambda: f"{os.getpid()} {cti.client.wait_ready(20)}")
""",
    )
    return project


def start_in_worker(site: Project) -> None:
    text = (site.folder / "website.py").read_text("utf-8")
    more = "BASIX_CTI_FULL_EVENTS=True"
    assert more in text
    site.write("website.py", text.replace(more, f"{more}, BASIX_CTI_START_IN_WORKER=True"))


def flask(site: Project, *arguments: str, app: str = "wsgi:application") -> Program:
    return site.run("-m", "flask", "--app", app, *arguments)


def test_every_file_of_the_page_is_run_here() -> None:
    assert captions(PAGE) == [
        *["calls.py", "website.py", "website-cti.service", "board.py", "gunicorn.conf.py", "test_calls.py"],
    ]


# --- flask cti run ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_service(simulator: Simulator, site: Project, number: signal.Signals) -> None:
    with flask(site, "cti", "run", app="website") as service:
        service.wait(r"^INFO connected to ws://")
        simulator.call("0312341234", to="user1").no_answer()
        service.wait("missed: 0312341234$")
        service.process.send_signal(number)
        assert service.process.wait(TIMEOUT) == 0
        simulator.wait_connections(0, TIMEOUT)
    assert not service.matches("Traceback|Error")


def test_a_refused_login_ends_the_service_with_one_line(site: Project) -> None:
    site.environment["BASIX_CTI_TOKEN"] = "secret-but-wrong"
    with flask(site, "cti", "run", app="website") as service:
        assert service.process.wait(TIMEOUT) == 2
    assert len(service.lines) == 1
    assert re.match(r"Error: ws://.* refused the login \(HTTP 401\)", service.lines[0])


def test_wrong_settings_end_the_service_with_one_line(site: Project) -> None:
    del site.environment["BASIX_CTI_TOKEN"]
    with flask(site, "cti", "run", app="website") as service:
        assert service.process.wait(TIMEOUT) == 2
    assert len(service.lines) == 1
    assert service.lines[0].startswith("Error: no token: ")


def test_the_service_answers_to_probes(simulator: Simulator, site: Project) -> None:
    with flask(site, "cti", "run", "--metrics", "127.0.0.1:0", app="website") as service:
        port = int(service.wait(r"^INFO metrics at http://127\.0\.0\.1:(\d+)/metrics$")[0][1])
        service.wait("^INFO connected")
        assert get(port, "/healthz") == "ok\n"
        with flask(site, "cti", "run", "--metrics", f"127.0.0.1:{port}", app="website") as second:
            assert second.process.wait(TIMEOUT) == 1
        assert second.lines == [f"Error: --metrics 127.0.0.1:{port}: Address already in use"]
        assert service.end() == 0


def test_the_service_can_be_quiet(simulator: Simulator, site: Project) -> None:
    with flask(site, "cti", "run", "--quiet", app="website") as service:
        simulator.wait_connections(1, TIMEOUT)
        simulator.call("0312341234", to="user1").no_answer()
        service.wait("missed: 0312341234$")
        assert service.end() == 0
    assert not service.matches("INFO")


def test_no_command_but_its_own_connects(simulator: Simulator, site: Project) -> None:
    start_in_worker(site)
    simulator.refuse(500, times=1)  # the first attempt would use it up
    for arguments in (["routes"], ["shell"]):
        with flask(site, *arguments) as command:
            assert command.process.wait(TIMEOUT) == 0
    with flask(site, "cti", "run", app="website") as service:
        service.wait("connecting failed: .* 500")
        assert service.end() == 0


def test_start_while_a_command_loads_the_application(site: Project) -> None:
    with (site.folder / "website.py").open("a") as file:
        file.write("\napp = create_app()\ncti.start(app)\n")
    for arguments in (["run"], ["--debug", "run"], ["cti", "run"]):
        with flask(site, *arguments, app="website:app") as command:
            assert command.process.wait(TIMEOUT) != 0
        assert command.matches("RuntimeError: cti.start.. was called while a flask command loads .*START_IN_WORKER")


def test_start_inside_a_context_behind_the_watch_of_the_files(site: Project) -> None:
    with (site.folder / "website.py").open("a") as file:
        file.write("\napp = create_app()\nwith app.app_context():\n    cti.start()\n")
    with flask(site, "run", app="website:app") as command:
        assert command.process.wait(TIMEOUT) != 0
    assert command.matches("RuntimeError: cti.start.. was called")


def test_a_command_of_the_sites_own_may_start_one(simulator: Simulator, site: Project) -> None:
    with (site.folder / "website.py").open("a") as file:
        file.write(
            """
app = create_app()

@app.cli.command("board")
def board_command():
    print("ready:", cti.start().wait_ready(20))
"""
        )
    with flask(site, "board", app="website:app") as command:
        command.wait("^ready: True$")
        assert command.process.wait(TIMEOUT) == 0


def test_the_test_of_the_page(site: Project) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_calls.py"],
        cwd=site.folder,
        env={**site.environment, "BASIX_CTI_TOKEN": ""},
        capture_output=True,
        text=True,
        timeout=2 * TIMEOUT,
    )
    assert "1 passed" in done.stdout, done.stdout


# --- web servers --------------------------------------------------------------------------------------------------


def test_the_reloader_has_one_client(simulator: Simulator, site: Project) -> None:
    start_in_worker(site)
    port = free_port()
    with flask(site, "--debug", "run", "--port", str(port)) as server:
        eventually(lambda: answers(port), "the server")
        assert not simulator.connections  # nobody asked for anything yet
        first, ready = get(port).split()
        assert (ready, simulator.connections) == ("True", 1)
        assert first != str(server.process.pid)
        for seconds in range(1, int(TIMEOUT)):
            os.utime(site.folder / "website.py", (time.time() + seconds,) * 2)
            if server.heard("Restarting with", 2, timeout=1.0):
                break
        simulator.wait_connections(0, TIMEOUT)
        eventually(lambda: answers(port), "the server")
        second, ready = get(port).split()
        assert (ready, simulator.connections) == ("True", 1)
        assert first != second
    assert not server.matches("Traceback")


@pytest.mark.parametrize(("worker", "preload"), [("sync", False), ("gthread", False), ("gthread", True)])
def test_gunicorn(simulator: Simulator, site: Project, worker: str, preload: bool) -> None:
    start_in_worker(site)
    with gunicorn(site, worker, preload, "--workers", "2", "--config", "/dev/null") as server:
        port = port_of(server)
        pids = wait_for_all(port, 2, "True")
        assert simulator.connections == 2  # none for the arbiter
        assert str(server.process.pid) not in pids
        call = simulator.call("0312341234", to="user1").answer()
        eventually(lambda: '"talking"' in get(port, "/board"), "the call")
        assert get(port, f"/hangup/{call.uuid}", "POST") == "ended"
        assert server.end() == 0
        simulator.wait_connections(0, TIMEOUT)
    assert not server.matches("Traceback")


@pytest.mark.parametrize(("worker", "preload"), [("sync", True), ("gthread", False)])
def test_gunicorn_that_starts_the_clients(simulator: Simulator, site: Project, worker: str, preload: bool) -> None:
    with gunicorn(site, worker, preload, "--config", "gunicorn.conf.py") as server:
        port = port_of(server)
        simulator.wait_connections(2, TIMEOUT)  # before anybody has asked for anything
        wait_for_all(port, 2, "True")
        assert server.end() == 0
        simulator.wait_connections(0, TIMEOUT)
    assert not server.matches("Traceback")


def test_gunicorn_with_start_where_the_application_is_made(simulator: Simulator, site: Project) -> None:
    """The pitfall of the page: with --preload, it is the arbiter that has the client; without, each worker."""
    with (site.folder / "wsgi.py").open("a") as file:
        file.write(
            """
from basix_cti.errors import NotConnected

@application.errorhandler(NotConnected)
def told(error):
    return f"NotConnected: {error}"

cti.start(application)
"""
        )
    for preload, answer in ((False, r"\d+ True"), (True, "NotConnected: no client runs in this process")):
        with gunicorn(site, "sync", preload, "--config", "/dev/null") as server:
            assert re.match(answer, get(port_of(server)))
            assert server.end() == 0
            simulator.wait_connections(0, TIMEOUT)


# --- the example --------------------------------------------------------------------------------------------------


def test_the_example_shows_calls(simulator: Simulator, tmp_path: Path) -> None:
    project = Project(tmp_path, simulator)
    project.environment["CALL_LOG_FILE"] = str(tmp_path / "calls.sqlite3")
    app = str(EXAMPLE / "call_log_site.py")
    port = free_port()
    hostile = "<script>alert(1)</script>"
    with flask(project, "cti", "run", app=app) as service, flask(project, "run", "--port", str(port), app=app):
        eventually(lambda: answers(port), "the server")
        assert "No calls yet." in get(port)
        simulator.wait_connections(1, TIMEOUT)
        call = simulator.call("0312341234", to="user1")
        eventually(lambda: '<tr class="ringing">' in get(port), "the call")
        call.answer()
        eventually(lambda: '<tr class="talking">' in get(port), "its answer")
        call.hangup()
        eventually(lambda: '<tr class="ended">' in get(port), "its end")
        page = get(port)
        assert "<td>0312341234</td>" in page
        assert "<td>answered</td>" in page
        # What ends while nobody listens is over when somebody does.
        left = simulator.call(hostile, to="user2")
        up = simulator.call("0377776666", to="user3")
        eventually(lambda: get(port).count('<tr class="ringing">') == 2, "two more calls")
        assert "&lt;script&gt;" in get(port)
        assert hostile not in get(port)
        assert service.end() == 0
        left.abandon()
        up.answer()
        with flask(project, "cti", "run", app=app):
            eventually(lambda: get(port).count('<tr class="ended">') == 2, "the end of one")
            eventually(lambda: get(port).count('<tr class="talking">') == 1, "the answer of the other")
    assert not service.matches("Traceback|ERROR")


def test_the_demo(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples" / "demo_site.py"), "flask", "--port", "0"]
    with Program(command, tmp_path, dict(os.environ)) as demo:
        port = int(demo.wait(r"^Calls of a simulated PBX: http://127\.0\.0\.1:(\d+)/")[0][1])
        eventually(lambda: answers(port), "the site")
        eventually(lambda: '<tr class="ended">' in get(port), "a call that has ended")
        assert demo.end() == 0
    assert not demo.matches("Traceback|ERROR")


def test_the_unit_is_one(tmp_path: Path) -> None:
    verify_unit(printed(PAGE, "website-cti.service"), "website-cti.service", tmp_path)
