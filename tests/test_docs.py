"""What README and docs/ show runs as it stands there: Python, commands, settings. What they name is there."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
import trustme
from pages import PAGES, ROOT, Block, blocks, commands_of
from programs import TIMEOUT, environment_of

from basix_cti.config import Settings
from basix_cti.simulator import Simulator

# Pages whose files and commands have a test file of their own, which has to name them.
ELSEWHERE = {
    "django.rst": "test_django_site.py",
    "flask.rst": "test_flask_site.py",
    "processes.rst": "test_processes.py",
    "relay.rst": "test_relay_programs.py",
    "service.rst": "test_guides.py",
    "tickets.rst": "test_guides.py",
    "tutorial.rst": "test_tutorial.py",
}
# Commands that are not run here, with where they are. What they name is looked at all the same.
NOT_HERE = {
    r"([A-Z_]+=1 )?(\S*/)?pip install ": ".ci/run installs the wheels and what they need into an empty environment",
    r"python3 -m venv |\. .venv/bin/activate": ".ci/run makes one",
}


def scripts() -> Iterator[object]:
    """The Python blocks that are programs of their own."""
    for page in PAGES:
        for block in blocks(page, "python"):
            if not block.caption:
                yield pytest.param(block, id=f"{page.name}-{block.line}")


SCRIPTS = list(scripts())


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(domain="test1.com") as simulator:
        traffic = simulator.play(seed=1, calls_per_minute=30, speed=40)
        yield simulator
        traffic.stop()


@pytest.fixture
def environment(simulator: Simulator, tmp_path: Path) -> dict[str, str]:
    return {**environment_of(simulator), "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / ".config")}


# --- Python -----------------------------------------------------------------------------------------------------


def run(script: Path, environment: dict[str, str], enough: Callable[[list[str]], bool]) -> list[str]:
    """The lines that a script prints until it ends by itself, or until it is interrupted because they are enough."""
    lines: list[str] = []
    interrupted = False
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=script.parent,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if not interrupted and enough(lines):
                interrupted = True
                process.send_signal(signal.SIGINT)
        told = process.stderr.read()
        status = process.wait(TIMEOUT)
    # One that was about to end by itself is ended by the signal without a word.
    assert status == 0 or (interrupted and status == -signal.SIGINT), f"status {status}: {told}"
    if interrupted:
        told = before_the_interrupt(told)
    assert "Error" not in told or "Error" in script.read_text("utf-8"), told  # some show what an error looks like
    return lines


def before_the_interrupt(told: str) -> str:
    """What a program wrote ahead of the traceback that Ctrl-C brings; that may begin with what was just handled."""
    if not told.endswith("KeyboardInterrupt\n"):
        return told
    begin = "Traceback (most recent call last):\n"
    chained = "During handling of the above exception, another exception occurred:\n\n"
    at = told.rfind(begin)
    while told.endswith(chained, 0, at):
        at = told.rfind(begin, 0, at)
    return told[:at]


def test_an_interrupt_hides_nothing_else() -> None:
    handled = "Traceback (most recent call last):\nKeyError: 1\n\n"
    broken_off = "During handling of the above exception, another exception occurred:\n\n"
    interrupt = "Traceback (most recent call last):\n  line\nKeyboardInterrupt\n"
    assert before_the_interrupt(handled + broken_off + interrupt) == ""
    assert before_the_interrupt(handled + interrupt) == handled
    assert before_the_interrupt(handled) == handled


@pytest.mark.parametrize("block", SCRIPTS)
def test_python(block: Block, environment: dict[str, str], tmp_path: Path) -> None:
    if (tests := len(re.findall(r"^ *def test_", block.code, re.MULTILINE))) > 0:
        run_tests(block.code, tests, tmp_path)
        return
    certify(tmp_path, block.code)
    script = tmp_path / "script.py"
    script.write_text(block.code, "utf-8")
    lines = run(script, environment, enough=lambda lines: not block.prints and len(lines) == 6)
    if block.prints:
        assert "\n".join(lines) == block.prints


def certify(folder: Path, code: str) -> None:
    """Make the files of certificates that a block names."""
    for name in set(re.findall(r"\b[\w-]+\.pem\b", code)):
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(folder / name))
        if "load_cert_chain" in code:
            authority.issue_cert("screen").private_key_and_cert_chain_pem.write_to_path(str(folder / "screen.pem"))


def run_tests(code: str, at_least: int, directory: Path) -> None:
    """A block with tests is for pytest, which must see so many of them pass."""
    (directory / "test_page.py").write_text(code, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_page.py"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=directory,
    )
    passed = re.search(r"^(\d+) passed in", done.stdout, re.MULTILINE)
    assert done.returncode == 0, done.stdout
    assert passed is not None
    assert int(passed[1]) >= at_least


def test_readme_shows_a_handler(environment: dict[str, str], tmp_path: Path) -> None:
    block = next(blocks(ROOT / "README.rst", "python"))
    assert block.saved_as == "screen.py"
    assert len([line for line in block.code.splitlines() if line]) <= 10
    script = tmp_path / "script.py"
    script.write_text(block.code, "utf-8")
    patterns = (r"0\d+ .+ is calling", r"0\d+ .+ answered")
    run(script, environment, enough=lambda lines: all(any(re.fullmatch(p, line) for line in lines) for p in patterns))


def test_there_is_code_to_run() -> None:
    assert len(SCRIPTS) >= 20
    assert sum(bool(block.prints) for page in PAGES for block in blocks(page, "python")) >= 3


# --- Commands ---------------------------------------------------------------------------------------------------


_BY_CTRL_C = ("Traceback", "KeyboardInterrupt$")  # the only traceback that there may be

CONSOLES = [
    page
    for page in PAGES
    if page.name not in ELSEWHERE and any(commands_of(block) for block in blocks(page, "console"))
]


def on_loopback(text: str, simulator: Simulator) -> str:
    """What a reader puts in place of the names that are printed."""
    for printed in ("ws://127.0.0.1:8765", "bcs.brastel.com", "pbx.example.com"):
        text = text.replace(printed, simulator.url)
    text = text.replace("--domain example", f"--domain {simulator.domain}")
    text = text.replace("BASIX_CTI_DOMAIN=example", f"BASIX_CTI_DOMAIN={simulator.domain}")
    return re.sub(r"BASIX_CTI_TOKEN=(simulated-token|\.\.\.)", f"BASIX_CTI_TOKEN={simulator.token}", text)


def furnish(folder: Path, simulator: Simulator) -> None:
    """What the pages take for granted: a configuration file, a token file, a recording, and a handler."""
    config = folder / ".config" / "basix-cti" / "config.ini"
    config.parent.mkdir(parents=True)
    login = f"server = {simulator.url}\ndomain = {simulator.domain}\ntoken = {simulator.token}\n"
    config.write_text(f"[basix-cti]\nfull_events = yes\n[main]\n{login}[rig]\n{login}", "utf-8")
    config.chmod(0o600)
    (folder / ".basix-token").write_text(simulator.token, "utf-8")
    shutil.copy(ROOT / "tests" / "recordings" / "two_calls.ctirec", folder / "calls.ctirec")
    (folder / "mine").mkdir()
    (folder / "mine" / "screen.py").write_text(
        "from basix_cti import CTIHandler\nclass Screen(CTIHandler):\n    pass\n", "utf-8"
    )


@pytest.mark.timeout(180)  # some pages have twenty commands
@pytest.mark.parametrize("page", CONSOLES, ids=lambda page: page.name)
def test_console(page: Path, simulator: Simulator, environment: dict[str, str], tmp_path: Path) -> None:
    """All commands of a page, one after another in one shell, with the files that the page shows before them."""
    furnish(tmp_path, simulator)
    tools, failures = tmp_path / ".venv" / "bin", tmp_path / "failures"
    tools.mkdir(parents=True)
    for name, program in (("basix-cti", "basix-cti"), ("python", "python"), ("python3", "python")):
        shim = tools / name
        shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT}/tests/as_printed.py" {program} "$@"\n', "utf-8")
        shim.chmod(0o755)
    (tools / "make").write_text(f'#!/bin/sh\nexec {shutil.which("make")} -C "{ROOT}" -n "$@"\n', "utf-8")
    (tools / "make").chmod(0o755)
    script = ["set -e", "shopt -s expand_aliases"]
    for number, block in enumerate(blocks(page, "console", "python")):
        if block.language == "python" and block.saved_as:
            (tmp_path / f"staged-{number}").write_text(block.code, "utf-8")
            script.append(f"cp staged-{number} {block.saved_as}")
        elif block.language == "console":
            script += [one for one in commands_of(block) if not any(re.match(not_here, one) for not_here in NOT_HERE)]
    if any(re.search(r"\bjq ", line) for line in script) and shutil.which("jq") is None:
        pytest.skip("there is no jq: tools/install-peer jq")
    (tmp_path / "page.sh").write_text(on_loopback("\n".join(script) + "\n", simulator), "utf-8")
    done = subprocess.run(
        ["bash", "-v", "page.sh"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=170,
        cwd=tmp_path,
        env={
            **environment,
            "PATH": os.pathsep.join([str(tools), str(Path(sys.executable).parent), environment["PATH"]]),
            "AS_PRINTED_FAILURES": str(failures),
        },
    )
    assert done.returncode == 0, done.stdout
    assert not failures.exists(), failures.read_text("utf-8") + done.stdout
    tracebacks, interrupted = (len(re.findall(f"^{line}", done.stdout, re.MULTILINE)) for line in _BY_CTRL_C)
    assert tracebacks == interrupted, done.stdout


def test_what_is_not_run_here_is_run_elsewhere() -> None:
    others = [path for path in (ROOT / "tests").glob("test_*.py") if path.name != Path(__file__).name]
    tests = {path.name: path.read_text("utf-8") for path in others}
    for shown in PAGES:
        if any(block.caption for block in blocks(shown, "python")):
            assert any(shown.name in test for test in tests.values()), f"no test runs the files of {shown.name}"
    for page, test in ELSEWHERE.items():
        if (ROOT / "docs" / page).exists():
            assert page in tests[test], f"{test} does not name {page}"
    printed = [command for page in PAGES for block in blocks(page, "console") for command in commands_of(block)]
    for not_here in NOT_HERE:
        assert any(re.match(not_here, command) for command in printed), f"no page has {not_here}"


def test_extras_that_are_named_exist() -> None:
    extras = re.findall(r'^        "(\w+)": ', (ROOT / "setup.py").read_text("utf-8"), re.MULTILINE)
    named = {
        extra
        for page in PAGES
        for list_of in re.findall(r"(?:'\.|basix[-_]cti)\[([\w,-]+)\]", page.read_text("utf-8"))
        for extra in list_of.split(",")
    }
    assert {"simulator", "testing"} <= named
    assert named <= set(extras), f"no extras of setup.py: {named - set(extras)}"


# --- Files of other kinds ---------------------------------------------------------------------------------------


def kept(*languages: str) -> list[object]:
    return [pytest.param(block, id=f"{page.name}-{block.line}") for page in PAGES for block in blocks(page, *languages)]


@pytest.mark.parametrize("block", kept("ini", "toml"))
def test_settings(block: Block, tmp_path: Path) -> None:
    """A configuration file is read as the library reads it: each of its sections is enough to log in."""
    if block.language == "ini":
        sections = configparser.ConfigParser(inline_comment_prefixes=";")
        sections.read_string(block.code)
        names = sections.sections()
    else:
        names = re.findall(r"^\[([\w-]+)\]", block.code, re.MULTILINE)
    if "basix-cti" not in names:
        return  # of another program
    config = tmp_path / f"config.{block.language}"
    config.write_text(block.code, "utf-8")
    config.chmod(0o600)
    certify(tmp_path, block.code)
    for name in set(re.findall(r"token_file\s*=\s*\"?([\w-]+)", block.code)):
        (tmp_path / name).write_text("token", "utf-8")
    for profile in names:
        if profile != "basix-cti" or len(names) == 1:
            settings = Settings.load(config=config, profile=profile, environ={}, defaults={"app_name": "page"})
            assert settings.server
            assert settings.token


@pytest.mark.parametrize("block", kept("json"))
def test_json(block: Block) -> None:
    assert json.loads(block.code)


# --- Names and links --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_local_links(page: Path) -> None:
    """What a page names or links to in this repository is there."""
    text = page.read_text("utf-8")
    named = re.findall(r"``((?:docs|examples|tests|tools|benchmarks|fuzz|soak|basix_cti|\.ci)/[\w./-]*)``", text)
    missing = [name for name in named if not (ROOT / name).exists() and "/_build" not in name]
    beside = re.findall(r"^ *\.\. (?:literalinclude|include|image|figure):: (?!https?:)(\S+)$", text, re.MULTILINE)
    beside += re.findall(r"`[^`<]+ <(?!https?:|mailto:)([^>#]+)(?:#[^>]*)?>`_", text)
    missing += [name for name in beside if not (page.parent / name).exists()]
    assert not missing, f"{page.name} names what is not there: {missing}"
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"``make ([a-z-]+)", text):
        assert re.search(rf"^(?:[\w-]+ )*{target}(?: [\w-]+)*:", makefile, re.MULTILINE), f"make {target}"
    commands = {path.stem for path in (ROOT / "basix_cti" / "cli").glob("*.py")}
    for command in re.findall(r"basix-cti ([a-z]{4,})\b", text):
        assert command in commands, f"basix-cti {command}"


def test_pictures_are_whole() -> None:
    pictures = list((ROOT / "docs").glob("*.svg"))
    assert pictures
    for picture in pictures:
        root = ElementTree.parse(picture).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        loaded = re.findall(r"""(?:href=|src=|url\()["']?(https?:[^"')]+)""", picture.read_text("utf-8"))
        assert not loaded, f"{picture.name} would load {loaded}"


def test_readme_is_plain_restructuredtext() -> None:
    """As PyPI and GitHub show it: without Sphinx."""
    for page in ("README.rst", "CONTRIBUTING.rst", "CHANGELOG.rst"):
        command = [sys.executable, "-m", "docutils", "--report=info", "--halt=warning", str(ROOT / page), os.devnull]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_anchors(page: Path) -> None:
    """A link to a place on the same page, as in README, leads to one of its titles or targets."""
    text = page.read_text("utf-8")
    titles = set(re.findall(r"^(\S.*)\n(?:=+|-+|~+)$", text, re.MULTILINE))
    targets = titles | set(re.findall(r"^\.\. _([^:]+):", text, re.MULTILINE))
    targets |= set(re.findall(r"`([^`<]+) <[^>]+>`_", text))
    for name in re.findall(r"(?<![:`])`([^`<>]+)`_(?!_)", text):
        assert re.sub(r"\s+", " ", name) in targets, f"{page.name} has no {name}"


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.rst").read_text("utf-8")
    listed = re.findall(r"^   (?:[^<\n]+ <)?([a-z_/]+)>?$", index, re.MULTILINE)
    pages = [page.stem for page in (ROOT / "docs").glob("*.rst") if page.stem != "index"]
    assert sorted(listed) == sorted(pages)
