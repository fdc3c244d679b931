"""A terminal for programs under test: a real pseudo-terminal, and an emulator that tells what stands on its screen."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

import pyte

__all__ = ["Terminal"]

_LIMIT = 40.0


class Terminal:
    """Runs a program in a terminal. Use it as a context manager, which kills a program that still runs at its end.

    Args:
        command: the program and its arguments.
        env: its environment; ``COLUMNS`` and ``LINES`` are left out.
        columns, lines: how large the terminal is.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str], *, columns: int = 80, lines: int = 24) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._mine, theirs = pty.openpty()
        self.raw = b""
        self._resize(columns, lines)
        clean = {name: value for name, value in env.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=clean | {"TERM": "xterm-256color"},
            start_new_session=True,
        )
        os.close(theirs)

    def press(self, text: str) -> None:
        """Type something."""
        os.write(self._mine, text.encode())

    @property
    def echoes(self) -> bool:
        """Whether what is typed appears on the screen, as it does in front of a shell."""
        return bool(termios.tcgetattr(self._mine)[3] & termios.ECHO)

    @property
    def suspends(self) -> bool:
        """Whether Ctrl-Z would stop a program, as it does in front of a shell."""
        return bool(termios.tcgetattr(self._mine)[6][termios.VSUSP] == b"\x1a")

    def _resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._mine, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size, and tell the program, as a window manager does."""
        self._resize(columns, lines)
        self._screen.resize(lines, columns)
        self.process.send_signal(signal.SIGWINCH)

    @property
    def text(self) -> str:
        """What stands on the screen, without spaces at the ends of lines; a wide character counts as one."""
        rows = [self._cells(row) for row in range(self._screen.lines)]
        return "\n".join("".join(cells).rstrip() for cells in rows)

    def _cells(self, row: int) -> list[str]:
        return [self._screen.buffer[row][column].data for column in range(self._screen.columns)]

    def column(self, text: str, where: str) -> int:
        """The column, from 0, in which a text begins, in the first line that has ``where`` in it."""
        return self._place(text, where)[1]

    def colour(self, text: str, where: str) -> str:
        """The colour of the first character of a text, in the first line that has ``where`` in it."""
        row, column = self._place(text, where)
        return self._screen.buffer[row][column].fg

    def _place(self, text: str, where: str) -> tuple[int, int]:
        for row in range(self._screen.lines):
            cells = self._cells(row)
            if where in "".join(cells):
                for column, cell in enumerate(cells):  # behind a wide character there is an empty one
                    if cell and "".join(cells[column:]).startswith(text):
                        return row, column
        raise AssertionError(f"{text!r} is not in a line with {where!r}:\n{self.text}")

    def wait(self, reached: str | Callable[[str], object], limit: float = _LIMIT) -> str:
        """Wait until the screen matches a pattern, or a function of its text gives something true; the text then.

        Raises:
            AssertionError: that did not come; the message shows the screen.
        """
        test = reached if callable(reached) else re.compile(reached, re.MULTILINE).search
        end = time.monotonic() + limit
        while not test(self.text):
            if not self._read(max(0.0, end - time.monotonic())):
                raise AssertionError(f"{reached} did not come:\n{self.text}")
        return self.text

    def wait_end(self, limit: float = _LIMIT) -> int:
        """Wait until the program has ended; its exit status."""
        end = time.monotonic() + limit
        while self._read(max(0.0, end - time.monotonic())):
            pass
        return self.process.wait(max(1.0, end - time.monotonic()))

    def _read(self, limit: float) -> bool:
        """Take in what the program writes next; False at the end of the program, or of the time."""
        ready, _, _ = select.select([self._mine], [], [], limit)
        if not ready:
            return False
        try:
            data = os.read(self._mine, 65536)
        except OSError:  # Linux tells the end in this way
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            if self.process.poll() is None:
                self.process.kill()
        self.process.wait()
        os.close(self._mine)
