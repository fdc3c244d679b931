"""The recording handler of the test kit, under the name that the tests have for it, and one that stands still."""

from __future__ import annotations

import threading
from typing import Any

from basix_cti.testing import TIMEOUT, Recorder

__all__ = ["TIMEOUT", "Gate", "Recorder"]


class Gate(Recorder):
    """Stands still in ``on_msg``, told ``gate``, until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.opened = threading.Event()

    def told(self, name: str, args: tuple[Any, ...]) -> None:
        if name == "on_msg" and args[0] == "gate":
            self.reached.set()
            self.opened.wait(TIMEOUT)
