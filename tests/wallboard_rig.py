"""A wallboard of a simulated PBX, for tests."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from clients import client_of
from recorder import TIMEOUT

from basix_cti import Auth
from basix_cti.board import Board
from basix_cti.simulator import Simulator
from basix_cti.wallboard import Wallboard

__all__ = ["COMMAND", "Served", "port_of", "serving"]

COMMAND = [sys.executable, "-m", "basix_cti", "wallboard"]


@contextlib.contextmanager
def serving(pbx: Simulator, start: bool = True, auth: Auth | None = None, **options: Any) -> Iterator[Wallboard]:
    """A wallboard that is served, and whose client is ready; or, without ``start``, was never started."""
    board = Board()
    client = client_of(pbx, board, auth)
    with Wallboard(client, board, **{"port": 0, "interval": 0.05, **options}) as wallboard:
        if start:
            with client:
                assert client.wait_ready(TIMEOUT)
                yield wallboard
        else:
            yield wallboard


def port_of(wallboard: Wallboard) -> int:
    """Where it listens."""
    return int(wallboard.url.rstrip("/").rpartition(":")[2])


class Served:
    """The command in a process of its own, which can be stopped and started at the same address.

    Args:
        arguments: of it; a free port is taken if they name none.
        token: the PBX's, if it needs one.
    """

    def __init__(self, *arguments: str, token: str | None = None) -> None:
        port = [] if "--port" in arguments else ["--port", "0"]
        secret = {} if token is None else {"BASIX_CTI_TOKEN": token}
        self.process = subprocess.Popen(
            [*COMMAND, *arguments, *port],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **secret, "XDG_CONFIG_HOME": "/nowhere"},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        match = re.fullmatch(r"The wallboard is at (http://127\.0\.0\.1:(\d+)/)\n", line)
        assert match is not None, (line, self.process.communicate())
        self.url, self.port = match[1], int(match[2])

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def end(self) -> None:
        """As a service manager would."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(TIMEOUT) == 0
