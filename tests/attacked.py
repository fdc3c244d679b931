"""A client in a process of its own: what does an attack cost it?

Run as ``attacked.py URL OPTIONS``, options as JSON. It prints two lines of JSON: ``{"ready": true}`` after the first
sign of its server, and after the attack what it was told, and since the first line the seconds of CPU and the growth of
its peak memory.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from pathlib import Path

from basix_cti import ApiToken, Channel, CTIClient, CTIHandler
from basix_cti.errors import ConnectionLost, CTIError

_MIB = 1024 * 1024


def peak() -> float:
    """The most memory that was in RAM at once since the last :func:`forget`, in MiB."""
    (kib,) = re.findall(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(kib) / 1024


def forget() -> None:
    """Let the peak be what is in RAM now."""
    Path("/proc/self/clear_refs").write_text("5")


class Measuring(CTIHandler):
    """Measures from the first sign of the server to the first failure after it."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._before: tuple[float, float] | None = None

    def on_initial_chan_info(self, channels: list[Channel]) -> None:
        self._ready()

    def on_error(self, error: BaseException) -> None:
        if self._before is None:
            self._ready()
        else:
            self._failed(error)

    def on_disconnect(self, reason: ConnectionLost) -> None:
        self._failed(reason)

    def _ready(self) -> None:
        forget()
        self._before = time.process_time(), peak()
        print(json.dumps({"ready": True}), flush=True)

    def _failed(self, error: BaseException) -> None:
        if self._before is None or self.over.is_set():
            return
        cpu, memory = time.process_time() - self._before[0], peak()
        told = type(error).__name__ if isinstance(error, CTIError) else repr(error)
        cost = {"told": told, "text": str(error), "cpu": cpu, "peak": memory, "grown": memory - self._before[1]}
        print(json.dumps(cost), flush=True)
        self.over.set()


if __name__ == "__main__":
    handler = Measuring()
    with CTIClient(
        sys.argv[1],
        handler,
        auth=ApiToken("test1.com", "hunter2"),
        app_name="attacked",
        **{"reconnect_min": 0.01, "reconnect_max": 0.05, **json.loads(sys.argv[2])},
    ):
        handler.over.wait()
