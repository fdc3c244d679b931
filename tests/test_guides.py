"""Programs of several files that docs/ shows, each with what it talks to: tickets, and a service."""

from __future__ import annotations

import configparser
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import ROOT, blocks
from programs import TIMEOUT, Program, environment_of, printed, verify_unit

from basix_cti.simulator import Simulator

TICKETS = ROOT / "docs" / "tickets.rst"
SERVICE = ROOT / "docs" / "service.rst"


@pytest.fixture
def pbx() -> Iterator[Simulator]:
    with Simulator(domain="test1.com") as pbx:
        yield pbx


def test_tickets(pbx: Simulator, tmp_path: Path) -> None:
    """tickets.rst: who has a secret gets tickets for the own extension, again for each connection; nobody else does."""
    server, free = printed(TICKETS, "ticket_server.py"), '"127.0.0.1", 0, application) as server:'
    serves = '    make_server("127.0.0.1", 8001, application).serve_forever()\n'
    assert serves in server
    (tmp_path / "ticket_server.py").write_text(
        server.replace(
            serves, f"    with make_server({free}\n        print(server.server_port)\n        server.serve_forever()\n"
        ),
        "utf-8",
    )
    (tmp_path / "pop.py").write_text(printed(TICKETS, "pop.py"), "utf-8")
    environment = environment_of(pbx)
    with Program([sys.executable, "ticket_server.py"], tmp_path, environment) as tickets:
        port = tickets.wait(r"^\d+$")[0][0]
        del environment["BASIX_CTI_TOKEN"]
        environment |= {"TICKET_SERVER": f"http://127.0.0.1:{port}", "no_proxy": "127.0.0.1"}
        with Program([sys.executable, "pop.py"], tmp_path, environment | {"TICKET_SECRET": "secret-of-hana"}) as hana:
            hana.wait("^connected$")
            pbx.call("0312341234", to="user2")
            pbx.call("0398765432", to="user1")
            hana.wait("^0398765432 is calling$")
            pbx.drop()
            hana.wait("^connected$", 2)
            assert not hana.matches("0312341234")
        with Program([sys.executable, "pop.py"], tmp_path, environment | {"TICKET_SECRET": "secret-of-ken"}) as ken:
            ken.wait("^fetching a ticket failed with HTTPError")
            assert not ken.matches("^connected$")


def test_the_service_s_unit(tmp_path: Path) -> None:
    verify_unit(printed(SERVICE, "/etc/systemd/system/screen.service"), "screen.service", tmp_path)


def test_service(pbx: Simulator, tmp_path: Path) -> None:
    """service.rst: what systemd would start and stop, with the settings from the file."""
    text = printed(SERVICE, "/etc/systemd/system/screen.service")
    unit = configparser.ConfigParser()
    unit.read_string(text)
    (settings,) = (block.code for block in blocks(SERVICE, "ini") if not block.caption)
    assert "token = your-token" in settings
    config = tmp_path / "pbx.ini"
    for name, real in (("bcs.brastel.com", pbx.url), ("your-token", pbx.token)):
        settings = settings.replace(name, real)
    config.write_text(settings + "full_events = yes\n", "utf-8")
    config.chmod(0o600)
    (tmp_path / "screen.py").write_text(printed(SERVICE, "screen.py"), "utf-8")

    service = unit["Service"]
    command = shlex.split(service["ExecStart"].replace("/opt/screen/.venv/bin/python", sys.executable))
    variables = dict(variable.split("=", 1) for variable in shlex.split(service["Environment"]))
    assert variables == {"BASIX_CTI_CONFIG": "/opt/screen/pbx.ini", "PYTHONUNBUFFERED": "1"}
    command = [part.replace("/opt/screen", str(tmp_path)) for part in command]
    environment = {name: value for name, value in environment_of(pbx).items() if not name.startswith("BASIX_CTI_")}
    with Program(command, tmp_path, environment | variables | {"BASIX_CTI_CONFIG": str(config)}) as program:
        pbx.wait_connections(1, TIMEOUT)
        pbx.call("0312341234", to="user1")
        program.wait("^INFO screen: 0312341234 is calling$")
        assert program.end(signal.SIGTERM) == 0
        pbx.wait_connections(0, TIMEOUT)
        assert not program.matches("Traceback")
