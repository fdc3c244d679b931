"""The Django app in real sites: the one that docs/django shows, and the example; in processes, behind servers."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import django
import psycopg
import pytest
from pages import ROOT
from postgresql import PostgreSQL, programs_of_postgresql
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

PAGE = ROOT / "docs" / "django.rst"
EXAMPLE = ROOT / "examples" / "django_call_log"

BASE_SETTINGS = """
import os, sys
sys.stdout.reconfigure(line_buffering=True)  # lines come when they are whole, into a pipe, too
SECRET_KEY = "x"
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "urls"
INSTALLED_APPS = []
MANAGERS = [("Front", "front@test1.com")]
EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.sqlite3"}}
"""


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(domain="test1.com") as simulator:
        yield simulator


@pytest.fixture
def site(tmp_path: Path, simulator: Simulator) -> Project:
    """The site of docs/django."""
    project = Project(tmp_path, simulator)
    project.write("manage.py", (EXAMPLE / "manage.py").read_text("utf-8").replace("website.settings", "settings"))
    project.write(
        "wsgi.py", (EXAMPLE / "website" / "wsgi.py").read_text("utf-8").replace("website.settings", "settings")
    )
    shown = printed(PAGE, "settings.py").replace('"bcs.brastel.com"', repr(simulator.url))
    project.write("settings.py", BASE_SETTINGS + shown)
    project.write("calls/__init__.py", "")
    for name in ("calls/receivers.py", "calls/apps.py", "calls/handlers.py", "calls/views.py", "calls/tests.py"):
        project.write(name, printed(PAGE, name))
    project.write(
        "urls.py",
        """
import os
from django.http import HttpResponse
from django.urls import path
from basix_cti.contrib.django import get_client
from calls import views

urlpatterns = [
    path("", lambda request: HttpResponse(f"{os.getpid()} {get_client().wait_ready(20)}")),
    path("board", views.board),
    path("hangup/<uuid>", views.hang_up),
]
""",
    )
    return project


def add(project: Project, more: str) -> None:
    """Add to the settings."""
    project.write("settings.py", (project.folder / "settings.py").read_text("utf-8") + more)


def manage(project: Project, *arguments: str) -> str:
    """Run a command that ends; what it printed."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=project.folder,
        env=project.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * TIMEOUT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_the_release_of_django_is_the_one_that_is_meant(site: Project) -> None:
    expected = os.environ.get("BASIX_CTI_EXPECT_DJANGO", django.get_version())
    assert django.get_version().startswith(expected)
    assert manage(site, "version").startswith(expected)


def test_every_file_of_the_page_is_run_here() -> None:
    assert captions(PAGE) == [
        *["settings.py", "calls/receivers.py", "calls/apps.py", "calls/handlers.py", "settings.py, with a handler"],
        *["website-cti.service", "settings.py, with a client in each worker", "calls/views.py", "calls/tests.py"],
    ]


# --- manage.py cti ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGINT], [signal.SIGINT, signal.SIGTERM]])
def test_the_service(simulator: Simulator, site: Project, numbers: list[signal.Signals]) -> None:
    add(site, printed(PAGE, "settings.py, with a handler"))
    with site.run("manage.py", "cti") as service:
        service.wait(r"^INFO connected to ws://")
        assert simulator.connections == 1
        simulator.call("0312341234", to="user1").no_answer()
        service.wait("^0312341234 rings$")
        service.wait("^Call back: 0312341234$")
        for number in numbers:
            service.process.send_signal(number)
        assert service.process.wait(TIMEOUT) == 0
        simulator.wait_connections(0, TIMEOUT)
    assert not service.matches("Traceback|Error")


def test_a_refused_login_ends_the_service_with_one_line(simulator: Simulator, site: Project) -> None:
    site.environment["BASIX_CTI_TOKEN"] = "secret-but-wrong"
    with site.run("manage.py", "cti") as service:
        assert service.process.wait(TIMEOUT) == 2
    assert len(service.lines) == 1
    assert re.match(r"CommandError: ws://.* refused the login \(HTTP 401\)", service.lines[0])


def test_wrong_settings_end_the_service_with_one_line(site: Project) -> None:
    add(site, 'BASIX_CTI["SERVRE"] = "x"\n')
    with site.run("manage.py", "cti") as service:
        assert service.process.wait(TIMEOUT) == 2
    assert service.lines == ['CommandError: BASIX_CTI["SERVRE"] is no setting; did you mean BASIX_CTI["SERVER"]?']


def test_the_service_answers_to_probes(simulator: Simulator, site: Project) -> None:
    with site.run("manage.py", "cti", "--metrics", "127.0.0.1:0") as service:
        port = int(service.wait(r"^INFO metrics at http://127\.0\.0\.1:(\d+)/metrics$")[0][1])
        service.wait("^INFO connected")
        assert get(port, "/healthz") == "ok\n"
        eventually(lambda: "basix_cti_connected" in get(port, "/metrics"), "the metrics")
        with site.run("manage.py", "cti", "--metrics", f"127.0.0.1:{port}") as second:
            assert second.process.wait(TIMEOUT) == 1
        assert second.lines == [f"CommandError: --metrics 127.0.0.1:{port}: Address already in use"]
        assert service.end() == 0
    assert not answers(port)
    with site.run("manage.py", "cti", "--metrics", "here") as service:
        assert service.process.wait(TIMEOUT) == 2
    assert service.lines == ["CommandError: --metrics: 'here' is not of the form HOST:PORT"]


def test_the_log_goes_where_the_site_says(simulator: Simulator, site: Project) -> None:
    add(
        site,
        """
LOGGING = {
    "version": 1,
    "formatters": {"own": {"format": "own log: {message}", "style": "{"}},
    "handlers": {"own": {"class": "logging.StreamHandler", "formatter": "own"}},
    "loggers": {"basix_cti": {"handlers": ["own"], "level": "INFO"}},
}
""",
    )
    with site.run("manage.py", "cti") as service:
        service.wait("^own log: connected to ws://")
        assert service.end() == 0
    assert not service.matches("INFO")


def test_a_call_is_mailed_in_the_tests_of_the_page(site: Project) -> None:
    """And START_IN_WORKER starts nothing in tests, which would be refused here."""
    add(site, printed(PAGE, "settings.py, with a client in each worker"))
    del site.environment["BASIX_CTI_TOKEN"]
    assert re.search(r"^Ran 1 test in .*\n\nOK$", manage(site, "test"), re.MULTILINE)


def test_no_command_but_its_own_connects(site: Project) -> None:
    add(site, printed(PAGE, "settings.py, with a client in each worker"))
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        nobody.setblocking(False)
        shown = f"ws://127.0.0.1:{nobody.getsockname()[1]}"
        add(site, f'BASIX_CTI["SERVER"] = "{shown}"\n')
        assert "no issues" in manage(site, "check")
        for arguments in (["migrate"], ["makemigrations", "--check"], ["shell", "-c", "import basix_cti"]):
            manage(site, *arguments)
        with pytest.raises(BlockingIOError):
            nobody.accept()


def test_start_while_the_apps_are_loaded(site: Project) -> None:
    text = printed(PAGE, "calls/apps.py").replace(
        "from . import receivers", "from basix_cti.contrib.django import start; start()"
    )
    site.write("calls/apps.py", text)
    with site.run("manage.py", "check") as check:
        assert check.process.wait(TIMEOUT) == 1
    assert re.match("django.core.exceptions.ImproperlyConfigured: .*START_IN_WORKER", check.lines[-1])


# --- web servers --------------------------------------------------------------------------------------------------


def test_the_autoreloader_has_one_client(simulator: Simulator, site: Project) -> None:
    add(site, printed(PAGE, "settings.py, with a client in each worker"))
    port = free_port()
    with site.run("manage.py", "runserver", f"127.0.0.1:{port}") as server:
        server.wait("Quit the server")
        assert not simulator.connections  # nobody asked for anything yet
        eventually(lambda: answers(port), "the server")
        first, ready = get(port).split()
        assert (ready, simulator.connections) == ("True", 1)
        assert first != str(server.process.pid)
        # It looks every second, and takes what it sees first for unchanged.
        for seconds in range(1, int(TIMEOUT)):
            os.utime(site.folder / "urls.py", (time.time() + seconds,) * 2)
            if server.heard("changed, reloading", 1, timeout=1.0):
                break
        server.wait("Quit the server", 2)
        simulator.wait_connections(0, TIMEOUT)
        eventually(lambda: answers(port), "the server")
        second, ready = get(port).split()
        assert (ready, simulator.connections) == ("True", 1)
        assert first != second
    assert not server.matches("Traceback")


@pytest.mark.parametrize(("worker", "preload"), [("sync", False), ("sync", True), ("gthread", True)])
def test_gunicorn(simulator: Simulator, site: Project, worker: str, preload: bool) -> None:
    add(site, printed(PAGE, "settings.py, with a client in each worker"))
    with gunicorn(site, worker, preload, "--workers", "2") as server:
        port = port_of(server)
        pids = wait_for_all(port, 2, "True")
        assert simulator.connections == 2  # none for the arbiter
        assert str(server.process.pid) not in pids
        call = simulator.call("0312341234", to="user1").answer()
        eventually(lambda: get(port, "/board") == '{"calls": [["0312341234", "talking"]]}', "the call")
        assert "NotConnected" not in get(port, "/board")
        call.hangup()
        assert server.end() == 0
        simulator.wait_connections(0, TIMEOUT)
    assert not server.matches("Traceback")


def test_gunicorn_with_start_in_wsgi(simulator: Simulator, site: Project) -> None:
    """The pitfall of the page: with --preload, it is the arbiter that has the client; without, each worker."""
    text = (site.folder / "wsgi.py").read_text("utf-8")
    site.write("wsgi.py", text + "from basix_cti.contrib.django import start\nstart()\n")
    site.write(
        "urls.py",
        """
from django.http import HttpResponse
from django.urls import path
from basix_cti.contrib.django import get_client
from basix_cti.errors import NotConnected

def view(request):
    try:
        return HttpResponse(f"ready {get_client().wait_ready(20)}")
    except NotConnected as error:
        return HttpResponse(f"NotConnected: {error}")

urlpatterns = [path("", view)]
""",
    )
    for preload, answer in ((False, "ready True"), (True, "NotConnected: no client runs in this process")):
        with gunicorn(site, "sync", preload) as server:
            assert get(port_of(server)).startswith(answer)
            assert server.end() == 0
            simulator.wait_connections(0, TIMEOUT)


def test_commands_from_a_view(simulator: Simulator, site: Project) -> None:
    add(site, printed(PAGE, "settings.py, with a client in each worker"))
    call = simulator.call("0312341234", to="user1").answer()
    with gunicorn(site, "sync", False) as server:
        port = port_of(server)
        assert get(port).endswith("True")
        assert get(port, f"/hangup/{call.uuid}", "POST") == "ended"
        assert not simulator.channels


# --- the example --------------------------------------------------------------------------------------------------


@pytest.fixture
def example(tmp_path: Path, simulator: Simulator) -> Project:
    """A copy of the example, with its database beside it."""
    folder = tmp_path / "example"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3"))
    return Project(folder, simulator)


def test_the_example_shows_calls(simulator: Simulator, example: Project) -> None:
    manage(example, "migrate")
    manage(example, "makemigrations", "--check")
    with (
        example.run("manage.py", "cti") as service,
        gunicorn_of_the_example(example) as server,
    ):
        port = port_of(server)
        assert "No calls yet." in get(port)
        simulator.wait_connections(1, TIMEOUT)
        call = simulator.call("0312341234", to="user1")
        eventually(lambda: '<tr class="ringing">' in get(port, "/rows/"), "the call")
        call.answer()
        eventually(lambda: '<tr class="talking">' in get(port, "/rows/"), "its answer")
        call.hangup()
        eventually(lambda: '<tr class="ended">' in get(port, "/rows/"), "its end")
        page = get(port)
        assert "<td>0312341234</td>" in page
        assert "<td>answered</td>" in page
        # What ends while nobody listens is over when somebody does.
        left = simulator.call("0399998888", to="user2")
        up = simulator.call("0377776666", to="user3")
        eventually(lambda: get(port, "/rows/").count('<tr class="ringing">') == 2, "two more calls")
        assert service.end() == 0
        left.abandon()
        up.answer()
        with example.run("manage.py", "cti"):
            eventually(lambda: get(port, "/rows/").count('<tr class="ended">') == 2, "the end of one")
            eventually(lambda: get(port, "/rows/").count('<tr class="talking">') == 1, "the answer of the other")
    assert not service.matches("Traceback|ERROR")


def gunicorn_of_the_example(example: Project) -> Program:
    return example.run("-m", "gunicorn", "--bind", "127.0.0.1:0", "--threads", "2", "website.wsgi")


def test_what_a_pbx_sends_is_no_html(simulator: Simulator, example: Project) -> None:
    hostile = "<script>alert(1)</script>"
    manage(example, "migrate")
    with example.run("manage.py", "cti"), gunicorn_of_the_example(example) as server:
        simulator.wait_connections(1, TIMEOUT)
        simulator.call(hostile, to="user1")
        port = port_of(server)
        eventually(lambda: "&lt;script&gt;alert(1)" in get(port, "/rows/"), "the call")
        assert hostile not in get(port, "/rows/")


def test_the_admin_of_the_example(example: Project) -> None:
    look = """
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from call_log.models import LoggedCall
call_command("migrate", verbosity=0)
call = LoggedCall.objects.create(call_id="1", caller_number="0312341234", caller_name="Hayashi", state="ended")
client = Client(SERVER_NAME="127.0.0.1")
client.force_login(User.objects.create_superuser("demo"))
for address in ("/admin/call_log/loggedcall/?q=Hayashi", f"/admin/call_log/loggedcall/{call.pk}/change/"):
    answer = client.get(address)
    print(answer.status_code, b"0312341234" in answer.content, b'name="_save"' in answer.content)
"""
    shown = manage(example, "shell", "-c", look)
    assert re.findall(r"^200 .*", shown, re.MULTILINE) == ["200 True False", "200 True False"]


def test_the_demo(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples" / "demo_site.py"), "django", "--port", "0"]
    with Program(command, tmp_path, dict(os.environ)) as demo:
        address = demo.wait(r"^Calls of a simulated PBX: http://127\.0\.0\.1:(\d+)/")[0]
        port = int(address[1])
        eventually(lambda: answers(port), "the site")
        eventually(lambda: '<tr class="ended">' in get(port), "a call that has ended")
        assert demo.end() == 0
    assert not demo.matches("Traceback|ERROR")


# --- PostgreSQL ---------------------------------------------------------------------------------------------------


@pytest.fixture
def postgresql() -> Iterator[PostgreSQL]:
    programs = programs_of_postgresql()
    if programs is None:
        pytest.skip("no PostgreSQL server; on Debian: apt-get install postgresql")
    with PostgreSQL(programs) as server:
        yield server


PLAIN = """
from django.dispatch import receiver
from basix_cti.contrib.django.signals import on_call_ended, on_error
from .models import LoggedCall

@receiver(on_call_ended)
def write(call, **kwargs):
    LoggedCall(call_id=call.id, caller_number=call.caller.number, outcome=call.outcome).save(force_insert=True)

@receiver(on_error)
def tell(error, **kwargs):
    print("on_error:", type(error).__name__, flush=True)
"""


def rows(postgresql: PostgreSQL) -> dict[str, str]:
    """The outcome of each call that is logged, by the caller's number."""
    with psycopg.connect(host=postgresql.environment["PGHOST"], user="site", dbname="postgres") as connection:
        found = connection.execute("SELECT caller_number, outcome FROM call_log_loggedcall").fetchall()
    return dict(found)


def test_the_database_is_restarted(simulator: Simulator, example: Project, postgresql: PostgreSQL) -> None:
    example.environment.update(postgresql.environment)
    manage(example, "migrate")
    with example.run("manage.py", "cti") as service:
        simulator.wait_connections(1, TIMEOUT)
        simulator.call("1", to="user1").answer().hangup()
        eventually(lambda: rows(postgresql) == {"1": "answered"}, "the first call")
        postgresql.crash()
        simulator.call("2", to="user2").answer().hangup()
        service.wait(r"the database does not answer \(OperationalError: .*\): events wait for it")
        with example.run("manage.py", "cti") as second:  # one that is stopped while it waits
            second.wait(r"the database does not answer \(OperationalError: .*\): events wait for it")
            assert second.end() == 0
        simulator.call("3", to="user3").no_answer()
        postgresql.start()
        service.wait("the database answers again")
        simulator.call("4", to="user4").answer().hangup()
        wanted = {"1": "answered", "2": "answered", "3": "missed", "4": "answered"}
        eventually(lambda: rows(postgresql) == wanted, "all calls")
        assert not service.matches("Traceback")
        assert service.end() == 0

    # A receiver without a transaction, after whose errors Django closes no connection by itself. Nobody waits: what
    # comes meanwhile is lost to it, and told; what comes afterwards is not.
    settings = (example.folder / "website" / "settings.py").read_text("utf-8")
    example.write("website/settings.py", settings.replace('"WAIT_FOR_DATABASE": 60', '"WAIT_FOR_DATABASE": 0'))
    example.write("call_log/receivers.py", PLAIN)
    with example.run("manage.py", "cti") as service:
        simulator.wait_connections(1, TIMEOUT)
        simulator.call("5", to="user5").answer().hangup()
        eventually(lambda: rows(postgresql).get("5") == "answered", "the call before")
        postgresql.crash()
        simulator.call("6", to="user6").answer().hangup()
        service.wait("^on_error: OperationalError$")
        postgresql.start()
        simulator.call("7", to="user7").answer().hangup()
        eventually(lambda: rows(postgresql).get("7") == "answered", "the call afterwards")
        assert "6" not in rows(postgresql)
        assert service.end() == 0


# --- systemd ------------------------------------------------------------------------------------------------------


def test_the_unit_is_one(tmp_path: Path) -> None:
    verify_unit(printed(PAGE, "website-cti.service"), "website-cti.service", tmp_path)
