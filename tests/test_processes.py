"""The servers of docs/processes, each a real one, with the very files that are printed there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import programs
import pytest
from programs import TIMEOUT, Program, Project, get, gunicorn, port_of

from basix_cti.simulator import Simulator

PAGE = Path(__file__).parent.parent / "docs" / "processes.rst"

# What is told of a client, in place of the page's board.py. It starts when it is imported, as the page advises against.
STARTED = """
import os
from basix_cti import ApiToken, CTIClient, CTIHandler
from basix_cti.errors import ForkedError

class Board(CTIHandler):
    def on_connect(self, session):
        print("connected", os.getpid(), session.number, flush=True)
    def on_disconnect(self, reason):
        print("lost", os.getpid(), flush=True)
    def on_chan_info(self, channel):
        print("told", os.getpid(), flush=True)

client = CTIClient(os.environ["BASIX_CTI_SERVER"], Board(),
                   auth=ApiToken(os.environ["BASIX_CTI_DOMAIN"], os.environ["BASIX_CTI_TOKEN"]),
                   app_name="board", full_events=True)
client.start()

def use():
    try:
        return "ready" if client.wait_ready(20) else "dead"
    except ForkedError:
        return "ForkedError"
"""


def printed(caption: str) -> str:
    return programs.printed(PAGE, caption)


def test_every_printed_file_is_run_here() -> None:
    assert programs.captions(PAGE) == [
        *["board.py", "gunicorn.conf.py", "wsgi.py", "tasks.py"],
        *["board/management/commands/listen.py", "board/apps.py"],
    ]


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def project(tmp_path: Path, simulator: Simulator) -> Project:
    return Project(tmp_path, simulator)


# --- Gunicorn ---------------------------------------------------------------------------------------------------


KINDS = pytest.mark.parametrize(
    ("worker", "preload"), [("sync", False), ("sync", True), ("gthread", False), ("gthread", True)]
)


@KINDS
def test_gunicorn_as_printed(simulator: Simulator, project: Project, worker: str, preload: bool) -> None:
    for name in ("board.py", "gunicorn.conf.py", "wsgi.py"):
        project.write(name, printed(name))
    call = simulator.call("0312341234", to="user1")
    with gunicorn(project, worker, preload, "--config", "gunicorn.conf.py") as server:
        port = port_of(server)
        simulator.wait_connections(2, TIMEOUT)  # one for each worker, none for the arbiter
        shown = get(port)
        assert sorted(line.split()[0] for line in shown.splitlines()) == sorted(
            channel.uuid for channel in simulator.channels
        )
        call.hangup()
        # Each of them is told; a process other than these two is not.
        tellers = {match[1] for match in server.wait(r"^(\d+) \S+ CHANNEL_HANGUP$", 4)}
        assert len(tellers) == 2
        assert str(server.process.pid) not in tellers
        assert get(port) == ""
        assert server.end() == 0
        simulator.wait_connections(0, TIMEOUT)
    assert not server.matches("Error|Traceback")


@KINDS
def test_gunicorn_with_a_client_that_runs_before_the_fork(
    simulator: Simulator, project: Project, worker: str, preload: bool
) -> None:
    project.write("board.py", STARTED)
    project.write(
        "wsgi.py",
        """
import os
from board import use

def application(environ, start_response):
    start_response("200 OK", [])
    return [f"{os.getpid()} {use()}".encode()]
""",
    )
    with gunicorn(project, worker, preload) as server:
        port = port_of(server)
        first, said = get(port).split()
        assert said == ("ForkedError" if preload else "ready")
        simulator.wait_connections(1, TIMEOUT)
        os.kill(int(first), signal.SIGKILL)
        server.wait("Booting worker", 2)
        second, said = get(port).split()
        assert second != first
        assert said == ("ForkedError" if preload else "ready")
        # The old connection has gone with its worker; or it is the arbiter's, which has seen nothing of all this.
        simulator.wait_connections(1, TIMEOUT)
        owner = str(server.process.pid) if preload else second
        simulator.call("0312341234", to="user1")
        server.wait(f"^told {owner}$", 2)
        assert {match[1] for match in server.matches(r"^told (\d+)$")} == {owner}
        expected = [f"connected {pid} 1" for pid in ([owner] if preload else [first, second])]
        assert [match[0] for match in server.matches(r"^(connected|lost) .*")] == expected
        assert server.end() == 0


# --- Celery -----------------------------------------------------------------------------------------------------


def celery(project: Project, *more: str) -> Program:
    """A worker with the prefork pool; its broker is a folder."""
    for name in ("queue", "control", "results"):
        (project.folder / name).mkdir()
    project.write(
        "celeryconfig.py",
        """
broker_url = "filesystem://"
broker_transport_options = {"data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control"}
result_backend = "file://results"
worker_redirect_stdouts = False
""",
    )
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO"]
    return project.run("-m", "celery", "--app", "tasks", "worker", "--pool", "prefork", *quiet, *more)


def order(project: Project, task: str, *arguments: str) -> str:
    """Have a task done; its result."""
    code = f"import sys, tasks; print(tasks.{task}.delay(*sys.argv[1:]).get({TIMEOUT}))"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(
        command, cwd=project.folder, env=project.environment, capture_output=True, text=True, timeout=2 * TIMEOUT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_celery_as_printed(simulator: Simulator, project: Project) -> None:
    for name in ("board.py", "tasks.py"):
        project.write(name, printed(name))
    call = simulator.call("0312341234", to="user1").answer()
    with celery(project, "--concurrency", "2") as worker:
        worker.wait(" ready[.]$")
        simulator.wait_connections(2, TIMEOUT)
        assert order(project, "hang_up", call.uuid) == "True"
        assert not simulator.channels
        tellers = {match[1] for match in worker.wait(r"^(\d+) \S+ CHANNEL_HANGUP$", 4)}
        assert len(tellers) == 2
        assert str(worker.process.pid) not in tellers
        assert worker.end() == 0
        simulator.wait_connections(0, TIMEOUT)
    assert not worker.matches("ForkedError|Traceback")


def test_celery_with_a_client_that_runs_before_the_fork(simulator: Simulator, project: Project) -> None:
    project.write("board.py", STARTED)
    project.write(
        "tasks.py",
        """
import os
import sys
from celery import Celery
app = Celery("tasks")
app.config_from_object("celeryconfig")
if "worker" in sys.argv:
    from board import use

@app.task
def look():
    return f"{os.getpid()} {use()}"
""",
    )
    with celery(project, "--concurrency", "1", "--max-tasks-per-child", "1") as worker:
        worker.wait(" ready[.]$")
        looks = [order(project, "look").split() for _ in range(2)]
        assert [said for _, said in looks] == ["ForkedError", "ForkedError"]
        assert looks[0][0] != looks[1][0]  # the first process of the pool has ended, and another came
        simulator.call("0312341234", to="user1")
        owner = worker.process.pid
        worker.wait(f"^told {owner}$", 2)
        assert [match[0] for match in worker.matches("^(connected|lost) .*")] == [f"connected {owner} 1"]
        simulator.wait_connections(1, TIMEOUT)
        assert worker.end() == 0


# --- Django -----------------------------------------------------------------------------------------------------


@pytest.fixture
def django(project: Project) -> Project:
    project.write(
        "manage.py",
        """
import os, sys
from django.core.management import execute_from_command_line
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
execute_from_command_line(sys.argv)
""",
    )
    project.write(
        "settings.py",
        """
import sys
sys.stdout.reconfigure(line_buffering=True)  # lines come when they are whole, into a pipe, too
SECRET_KEY = "x"
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["board"]
ROOT_URLCONF = "urls"
""",
    )
    project.write(
        "urls.py",
        """
import os
from django.http import HttpResponse
from django.urls import path
from board.client import client

urlpatterns = [path("", lambda request: HttpResponse(f"{os.getpid()} {client.wait_ready(20)}"))]
""",
    )
    for package in ("board", "board/management", "board/management/commands"):
        project.write(f"{package}/__init__.py", "")
    project.write("board/client.py", printed("board.py"))
    return project


def test_django_with_its_autoreloader(simulator: Simulator, django: Project) -> None:
    django.write("board/apps.py", printed("board/apps.py"))
    with django.run("manage.py", "runserver", "127.0.0.1:0") as server:
        simulator.wait_connections(1, TIMEOUT)
        call = simulator.call("0312341234", to="user1")
        first = {match[1] for match in server.wait(r"^(\d+) \S+ NEW_CHANNEL$", 1)}
        server.wait("Quit the server")
        # It looks every second, and takes what it sees first for unchanged.
        for seconds in range(1, int(TIMEOUT)):
            os.utime(django.folder / "urls.py", (time.time() + seconds,) * 2)
            if server.heard("changed, reloading", 1, timeout=1.0):
                break
        server.wait("Quit the server", 2)
        simulator.wait_connections(1, TIMEOUT)
        call.hangup()
        second = {match[1] for match in server.wait(r"^(\d+) \S+ CHANNEL_HANGUP$", 1)}
    assert len(first) == len(second) == 1  # one client at a time, ...
    assert first != second  # ... and after the change another
    assert str(server.process.pid) not in first | second
    assert not server.matches("Traceback")


def test_django_calls_ready_twice(simulator: Simulator, django: Project) -> None:
    """Why the page asks for RUN_MAIN."""
    text = printed("board/apps.py").replace('os.environ.get("RUN_MAIN") == "true"', "True")
    django.write("board/apps.py", text)
    with django.run("manage.py", "runserver", "127.0.0.1:0"):
        simulator.wait_connections(2, TIMEOUT)


def test_django_with_a_command_of_its_own(simulator: Simulator, django: Project) -> None:
    for name in ("board/apps.py", "board/management/commands/listen.py"):
        django.write(name, printed(name))
    with django.run("manage.py", "listen") as listener:
        simulator.wait_connections(1, TIMEOUT)
        simulator.call("0312341234", to="user1")
        assert {match[1] for match in listener.wait(r"^(\d+) \S+ NEW_CHANNEL$", 1)} == {str(listener.process.pid)}
        listener.process.send_signal(signal.SIGINT)
        assert listener.process.wait(TIMEOUT) != 0
        simulator.wait_connections(0, TIMEOUT)
