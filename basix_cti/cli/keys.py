"""What is typed while a screen is shown: it is not echoed, and ``q`` ends the program."""

from __future__ import annotations

import os
import re
import select
import sys
from typing import Any

try:
    import termios
except ImportError:  # there is none on Windows
    HAS_TERMIOS = False
else:
    HAS_TERMIOS = True

__all__ = ["Keys"]

# What arrows and the like send, with letters in it (ECMA-48, section 5.4).
_OTHER_KEYS = re.compile(rb"\x1b(?:O.|\[[0-?]*[ -/]*[@-~])")


class Keys:
    """The keyboard; where there is none, nothing is ever typed."""

    def __init__(self) -> None:
        self._input: int | None = None
        self._before: list[Any] = []
        self._is_open = False

    def hold(self) -> None:
        """Take what is typed from now on, until :meth:`release`; Ctrl-Z does nothing so long."""
        if not HAS_TERMIOS or sys.stdin is None or not sys.stdin.isatty():
            return
        self._before = termios.tcgetattr(sys.stdin)
        self._input = sys.stdin.fileno()
        mode = termios.tcgetattr(self._input)
        mode[3] &= ~(termios.ECHO | termios.ICANON)
        # Ctrl-Z would leave the shell with the screen as it is, and without an echo.
        mode[6][termios.VSUSP] = bytes([os.fpathconf(self._input, "PC_VDISABLE")])
        termios.tcsetattr(self._input, termios.TCSANOW, mode)
        self._is_open = True

    def quit(self) -> bool:
        """Whether ``q`` was typed since the last time."""
        if self._input is None or not self._is_open or not select.select([self._input], [], [], 0)[0]:
            return False
        typed = os.read(self._input, 1024)
        self._is_open = bool(typed)
        return b"q" in _OTHER_KEYS.sub(b"", typed)

    def release(self) -> None:
        """Have the terminal as it was; what was typed is forgotten."""
        if self._input is not None:
            termios.tcsetattr(self._input, termios.TCSAFLUSH, self._before)
