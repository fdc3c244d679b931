"""How far a long piece of work has come, on stderr."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from ..recording import Recording

_PATIENCE = 2.0  # seconds without a word, and between two lines
_REDRAW = 0.1


class Progress:
    """Call it with the recording that is being read, as often as you like; nothing is shown of what is done at once.

    On a terminal of its own the line is written over; otherwise there is a line now and then, 100 at most.

    Args:
        what: is being done, in a word or two.
        silent: True to show nothing.
    """

    def __init__(self, what: str, *, silent: bool = False) -> None:
        self._what = what
        self._silent = silent
        self._over = sys.stderr.isatty() and not sys.stdout.isatty()
        self._due = time.monotonic() + _PATIENCE
        self._shown = -1

    def __call__(self, recording: Recording) -> None:
        if self._silent or (now := time.monotonic()) < self._due:
            return
        share = min(100, 100 * recording.position // max(1, recording.size))
        if share == self._shown:
            return
        self._due = now + (_REDRAW if self._over else _PATIENCE)
        self._shown = share
        begin, end = ("\r", "") if self._over else ("", "\n")
        sys.stderr.write(f"{begin}basix-cti: {self._what}: {share} %{end}")
        sys.stderr.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._over and self._shown >= 0:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
