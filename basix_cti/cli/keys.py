"""What is typed while a screen is shown: it is not echoed, and ``q`` ends the program."""

from __future__ import annotations

import os
import re
import select
import sys
from types import TracebackType

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
    """The keyboard. Use it as a context manager, which leaves it as it was; without one, nothing is ever typed."""

    def __init__(self) -> None:
        self._input: int | None = None
        self._is_open = False

    def quit(self) -> bool:
        """Whether ``q`` was typed since the last time."""
        if self._input is None or not self._is_open or not select.select([self._input], [], [], 0)[0]:
            return False
        typed = os.read(self._input, 1024)
        self._is_open = bool(typed)
        return b"q" in _OTHER_KEYS.sub(b"", typed)

    def __enter__(self) -> Keys:
        if HAS_TERMIOS and sys.stdin is not None and sys.stdin.isatty():
            self._input = sys.stdin.fileno()
            self._before = termios.tcgetattr(self._input)
            mode = termios.tcgetattr(self._input)
            mode[3] &= ~(termios.ECHO | termios.ICANON)
            termios.tcsetattr(self._input, termios.TCSANOW, mode)
            self._is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._input is not None:
            termios.tcsetattr(self._input, termios.TCSAFLUSH, self._before)
