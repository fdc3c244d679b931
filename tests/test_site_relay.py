"""Sites of Django and Flask with a relay: as many workers as one likes, and one connection to the PBX."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import TIMEOUT, Project, get, gunicorn, port_of, wait_for_all
from redis_rig import RedisServer, needs_redis, relay

from basix_cti.simulator import Simulator

WORKERS = 4

VIEWS = """
import os

def look(client):
    return f"{os.getpid()} {client.wait_ready(20)} {len(client.calls)}"

def hang_up(client, uuid):
    return f"ended {client.hangup(uuid).wait(20)}"
"""

DJANGO = {
    "settings.py": """
import os
SECRET_KEY = "x"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "urls"
INSTALLED_APPS = ["basix_cti.contrib.django"]
BASIX_CTI = {"REDIS_URL": os.environ["SITE_REDIS"], "START_IN_WORKER": True}
""",
    "urls.py": """
from django.http import HttpResponse
from django.urls import path
from basix_cti.contrib.django import get_client
import views
urlpatterns = [
    path("", lambda request: HttpResponse(views.look(get_client()))),
    path("hangup/<uuid>", lambda request, uuid: HttpResponse(views.hang_up(get_client(), uuid))),
]
""",
    "wsgi.py": """
import os
from django.core.wsgi import get_wsgi_application
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
application = get_wsgi_application()
""",
}

FLASK = {
    "wsgi.py": """
from flask import Flask
from basix_cti.contrib.flask import CTI
import views
application = Flask(__name__)
application.config.update(BASIX_CTI_START_IN_WORKER=True)  # and BASIX_CTI_REDIS_URL from the environment
cti = CTI(application)

@application.get("/")
def look():
    return views.look(cti.client)

@application.get("/hangup/<uuid>")
def hang_up(uuid):
    return views.hang_up(cti.client, uuid)
""",
}


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@needs_redis
@pytest.mark.parametrize("files", [pytest.param(DJANGO, id="django"), pytest.param(FLASK, id="flask")])
def test_more_workers_than_the_pbx_allows_connections(
    simulator: Simulator, tmp_path: Path, files: dict[str, str]
) -> None:
    project = Project(tmp_path, simulator)
    for name, text in {**files, "views.py": VIEWS}.items():
        project.write(name, text)
    for name in ("SERVER", "DOMAIN", "TOKEN"):  # that is the relay's business
        del project.environment[f"BASIX_CTI_{name}"]
    with RedisServer() as redis, relay(simulator, redis):
        project.environment["SITE_REDIS" if files is DJANGO else "BASIX_CTI_REDIS_URL"] = redis.url
        call = simulator.call("0312341234", to="user1").answer()
        with gunicorn(project, "sync", True, "--workers", str(WORKERS)) as server:
            port = port_of(server)
            wait_for_all(port, WORKERS, "True 1")
            assert simulator.connections == 1
            assert get(port, f"/hangup/{call.uuid}") == "ended True"
            assert [command["cmd"] for command in simulator.commands] == ["hangup"]
            wait_for_all(port, WORKERS, "True 0")
            assert server.end() == 0
        assert not server.matches("Traceback")
        simulator.wait_connections(1, TIMEOUT)
