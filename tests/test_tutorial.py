"""docs/tutorial.rst, followed word for word: its files and its commands, in its order, in the end with a browser."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

import pytest
from pages import ROOT, blocks, commands_of
from programs import TIMEOUT, Program, environment_of

from basix_cti.simulator import Simulator

PAGE = ROOT / "docs" / "tutorial.rst"
POPS = [block.code for block in blocks(PAGE, "python") if block.caption == "pop.py"]
FILES = {block.caption: block.code for block in blocks(PAGE, "python")}


def test_nothing_is_printed_that_is_not_tried_here() -> None:
    commands = [command for block in blocks(PAGE, "console") for command in commands_of(block)]
    assert commands == [
        # These were tried in .ci/run, with a wheel.
        *["mkdir ../pop", "python3 -m venv ../pop/.venv", ". ../pop/.venv/bin/activate"],
        *["pip install '.[simulator,testing]'", "cd ../pop"],
        "basix-cti demo",  # in test_cli.py
        "basix-cti simulate --users 3 --groups 1 --speed 10",
        ". .venv/bin/activate",
        "export BASIX_CTI_SERVER=ws://127.0.0.1:8765",
        "export BASIX_CTI_DOMAIN=example",
        "export BASIX_CTI_TOKEN=simulated-token",
        "python pop.py",
        "export BASIX_CTI_USER_EXTENSION=201",
        *["python pop.py", "python crm.py", "python pop.py"],
        "python -m pytest -q test_pop.py",
        "basix-cti doctor",
    ]
    assert len(POPS) == 3
    assert set(FILES) == {"pop.py", "crm.py", "test_pop.py"}


@pytest.fixture
def pbx() -> Iterator[Simulator]:
    """As in its third step, but silent until the test makes a call."""
    with Simulator(domain="example", token="simulated-token", users=3, groups=1) as pbx:
        assert pbx.users[0].main_extension == "201"
        yield pbx


def environment(pbx: Simulator, **variables: str) -> dict[str, str]:
    return {**environment_of(pbx), "BASIX_CTI_USER_EXTENSION": "201", **variables}


def test_the_simulated_pbx_is_as_the_page_says(tmp_path: Path) -> None:
    """It listens, its users call each other, and the tutorial's first program hears of it."""
    simulate = next(
        command
        for block in blocks(PAGE, "console")
        for command in commands_of(block)
        if command.startswith("basix-cti simulate")
    )
    arguments = [*shlex.split(simulate)[1:], "--port", "0"]
    plain = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with Program([sys.executable, "-m", "basix_cti", *arguments], tmp_path, plain) as server:
        url = server.wait(r"^Simulated PBX on (ws://127\.0\.0\.1:\d+), domain example, API user api\.$")[0][1]
        login = {"BASIX_CTI_SERVER": url, "BASIX_CTI_DOMAIN": "example", "BASIX_CTI_TOKEN": "simulated-token"}
        (tmp_path / "pop.py").write_text(POPS[0], "utf-8")
        with Program([sys.executable, "pop.py"], tmp_path, {**plain, **login}) as program:
            program.wait(r"^\S.* is calling$")


def test_only_my_telephone(pbx: Simulator, tmp_path: Path) -> None:
    customer = pbx.customers[0]
    (tmp_path / "pop.py").write_text(POPS[1], "utf-8")
    with Program([sys.executable, "pop.py"], tmp_path, environment(pbx)) as program:
        pbx.wait_connections(1, TIMEOUT)
        pbx.call("0398765432", to="user2").answer()  # somebody else's
        pbx.call("user2", to="user1").abandon()  # a colleague
        pbx.call("0312341234", to="user1").abandon()
        pbx.call(customer.number, to="user1").answer()
        program.wait("^answered by ")
        assert [line for line in program.lines if not line.startswith("INFO:")] == [
            "unknown: 0312341234",
            f"{customer.name} {customer.organization} {customer.number}",
            f"answered by {pbx.users[0].label}",
        ]


def test_a_page_pops(pbx: Simulator, tmp_path: Path) -> None:
    """In a browser that gets the page from the tutorial's CRM, and shows what it got."""
    customer = pbx.customers[0]
    where = '"127.0.0.1", 8000), CustomerPage)\nprint("a CRM on http://127.0.0.1:8000/"'
    assert where in FILES["crm.py"]
    free = '"127.0.0.1", 0), CustomerPage)\nprint(f"a CRM on http://127.0.0.1:{server.server_port}/"'
    (tmp_path / "crm.py").write_text(FILES["crm.py"].replace(where, free), "utf-8")
    (tmp_path / "pop.py").write_text(FILES["pop.py"], "utf-8")
    browser = tmp_path / "browser"
    browser.write_text(
        f"#!{sys.executable}\nimport sys, urllib.request\n"
        "print('browser:', urllib.request.urlopen(sys.argv[1]).read().decode(), flush=True)\n",
        "utf-8",
    )
    browser.chmod(0o755)
    with ExitStack() as stack:
        crm = stack.enter_context(Program([sys.executable, "crm.py"], tmp_path, environment(pbx)))
        url = crm.wait(r"^a CRM on (http://127\.0\.0\.1:\d+/)$")[0][1]
        variables = environment(pbx, BROWSER=f"{browser} %s", no_proxy="127.0.0.1", CRM_URL=url)
        program = stack.enter_context(Program([sys.executable, "pop.py"], tmp_path, variables))
        pbx.wait_connections(1, TIMEOUT)
        pbx.call(customer.number, to="user1")
        shown = f"<title>{customer.name}</title><h1>{customer.name}</h1><p>calls from {customer.number}</p>"
        program.wait(f"^browser: {re.escape(shown)}$")
        pbx.call("0312341234", to="user1")
        program.wait("^browser: .*<h1>unknown</h1><p>calls from 0312341234</p>$")
        pbx.drop()  # what the page has its reader do: the connection is lost, and comes back
        program.wait(r"INFO:basix_cti.*", 2)
        pbx.wait_connections(1, TIMEOUT)
        with urlopen(f"{url}?number=%3Cb%3E") as answer:
            assert "<b>" not in answer.read().decode()


def test_its_test(tmp_path: Path) -> None:
    for name in ("pop.py", "test_pop.py"):
        (tmp_path / name).write_text(FILES[name], "utf-8")
    plain = {**os.environ, "PYTHONPATH": str(ROOT)}
    with Program([sys.executable, "-m", "pytest", "-q", "test_pop.py"], tmp_path, plain) as program:
        program.wait("^1 passed in ")
    # ... and it can fail.
    (tmp_path / "pop.py").write_text(FILES["pop.py"].replace('"inbound"', '"outbound"'), "utf-8")
    with Program([sys.executable, "-m", "pytest", "-q", "test_pop.py"], tmp_path, plain) as program:
        program.wait("^1 failed in ")


def test_doctor_takes_the_same_settings(pbx: Simulator, tmp_path: Path) -> None:
    with Program([sys.executable, "-m", "basix_cti", "doctor"], tmp_path, environment(pbx)) as program:
        program.wait("^It works")
