"""Programs and servers in processes of their own, and the files that pages of the documentation show."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from pathlib import Path
from types import TracebackType

import pytest
from pages import ROOT, blocks
from waiting import TIMEOUT as TIMEOUT
from waiting import eventually

from basix_cti.simulator import Simulator

_BROWSER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def captions(page: Path) -> list[str]:
    """The names of all files that a page shows."""
    return [block.caption for block in blocks(page) if block.caption]


def printed(page: Path, caption: str) -> str:
    """The file of this name, as the page shows it."""
    found = [block.code for block in blocks(page) if block.caption == caption]
    assert len(found) == 1, f"{caption} is shown {len(found)} times"
    return found[0]


def verify_unit(unit: str, name: str, folder: Path) -> None:
    """Have systemd look at a unit; the program that it starts is taken for one that is here."""
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("no systemd-analyze; on Debian: apt-get install systemd")
    file = folder / name
    file.write_text(re.sub(r"/\S+/bin/[\w-]+", sys.executable, unit), "utf-8")
    done = subprocess.run([verify, "verify", "--man=no", str(file)], capture_output=True, text=True, timeout=TIMEOUT)
    told = [line for line in done.stderr.splitlines() if name in line]  # it tells of other units of the machine, too
    assert told == []
    assert done.returncode == 0, done.stderr


def answers(port: int) -> bool:
    """True if somebody listens on a TCP port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT).close()
    except ConnectionRefusedError:
        return False
    return True


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Project:
    """A folder with a program in it, and the environment that it runs in."""

    def __init__(self, folder: Path, simulator: Simulator) -> None:
        self.folder = folder
        self.environment = {
            # Unbuffered, a line that is printed in parts gets mixed with those of other processes.
            **{name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
            "BASIX_CTI_SERVER": simulator.url,
            "BASIX_CTI_DOMAIN": simulator.domain,
            "BASIX_CTI_TOKEN": simulator.token,
            "HOME": str(folder),  # Gunicorn puts its control socket there
            # What the tests were given comes first: compiled modules, or another release of Django.
            "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)])),
            "PYTHONWARNINGS": "ignore",
        }

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def run(self, *arguments: str) -> Program:
        return Program([sys.executable, *arguments], self.folder, self.environment)


class Program:
    """A running program with all that it prints."""

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], *, talks: bool = False
    ) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()

    def say(self, line: str) -> None:
        """A line to its stdin, if it was said to be one that talks."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def matches(self, pattern: str) -> list[re.Match[str]]:
        return [match for line in list(self.lines) if (match := re.search(pattern, line))]

    def wait(self, pattern: str, count: int = 1) -> list[re.Match[str]]:
        """Wait until ``count`` lines match; these."""
        self.wait_until(lambda: len(self.matches(pattern)) >= count, f"{count} times {pattern!r}")
        return self.matches(pattern)

    def wait_until(self, reached: Callable[[], bool], what: str) -> None:
        with self._changed:
            assert self._changed.wait_for(reached, TIMEOUT), "\n".join([f"no {what} in:", *self.lines])

    def heard(self, pattern: str, count: int, timeout: float) -> bool:
        """Wait, at most so long, until ``count`` lines match; whether they do."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.matches(pattern)) >= count, timeout)

    def end(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; its status."""
        self.process.send_signal(by)
        return self.process.wait(TIMEOUT)

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        if error is not None:
            print(*self.lines, sep="\n")


def ask(url: str, accept: str = "", method: str = "GET") -> tuple[int, str, Message]:
    """Status, body and headers of what a web server answers."""
    request = urllib.request.Request(url, headers={"Accept": accept}, method=method)
    try:
        with _BROWSER.open(request, timeout=TIMEOUT) as response:
            return response.status, response.read().decode(), response.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), error.headers


def get(port: int, path: str = "/", method: str = "GET") -> str:
    """What a web server of this machine answers, if all is well with it."""
    status, body, _ = ask(f"http://127.0.0.1:{port}{path}", method=method)
    assert status == 200, body
    return body


def wait_for_all(port: int, workers: int, wanted: str) -> set[str]:
    """Ask until each worker of a server has answered with its process id and what is wanted; these ids."""
    pids: set[str] = set()

    def reached() -> bool:
        with ThreadPoolExecutor(2 * workers) as browsers:  # all at once, so that no worker gets them all
            for answer in browsers.map(get, [port] * 2 * workers):
                pid, told = answer.split(maxsplit=1)
                if told == wanted:
                    pids.add(pid)
        return len(pids) == workers

    eventually(reached, f"{wanted!r} from each of {workers} workers")
    return pids


def gunicorn(
    project: Project, worker: str, preload: bool, *more: str, application: str = "wsgi:application"
) -> Program:
    """Gunicorn on a free port."""
    threads = ["--threads", "4"] if worker == "gthread" else []
    options = ["--bind", "127.0.0.1:0", "--worker-class", worker, *threads, *(["--preload"] if preload else []), *more]
    return project.run("-m", "gunicorn", *options, "wsgi:application")


def port_of(program: Program) -> int:
    """The port that Gunicorn listens on."""
    return int(program.wait(r"Listening at: http://127\.0\.0\.1:(\d+)")[0][1])


def environment_of(pbx: Simulator) -> dict[str, str]:
    """The variables that lead a program to a simulator, beside those of this process."""
    return {
        **os.environ,
        "BASIX_CTI_SERVER": pbx.url,
        "BASIX_CTI_DOMAIN": pbx.domain,
        "BASIX_CTI_TOKEN": pbx.token,
        "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)])),
        "PYTHONUNBUFFERED": "1",
    }
