"""What the client was told of each channel: kept in a file, so that keeping it does not look like a leak."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import TextIO

__all__ = ["Ledger"]

_BEGUN, _ENDED = "+", "-"


class Ledger:
    """Written by the hooks, one line for each beginning and end; read when all is over.

    Args:
        file: where it is written, and read again; empty, and closed by whoever opened it.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._alive: set[str] = set()

    def begun(self, uuid: str) -> None:
        """The channel was told to be up; further calls for it say nothing new."""
        if uuid not in self._alive:
            self._alive.add(uuid)
            self._file.write(f"{_BEGUN}{uuid}\n")

    def ended(self, uuid: str) -> None:
        """The channel was told to have ended."""
        self._alive.discard(uuid)
        self._file.write(f"{_ENDED}{uuid}\n")

    def violations(self, up: Collection[str]) -> tuple[int, list[str]]:
        """Read it.

        Args:
            up: the channels that are up now.

        Returns:
            How many channels were told, and a line for each that has not exactly one end, or one too early or too
            many.
        """
        begins: Counter[str] = Counter()
        ends: Counter[str] = Counter()
        wrong = []
        self._file.seek(0)
        for line in self._file:
            uuid = line[1:].rstrip("\n")
            if line[0] == _ENDED:
                ends[uuid] += 1
            elif ends[uuid]:
                wrong.append(f"{uuid} was told to be up after its end")
            else:
                begins[uuid] += 1
        for uuid in begins.keys() | ends.keys():
            expected = 0 if uuid in up else 1
            if ends[uuid] != expected:
                wrong.append(f"{uuid} was told to end {ends[uuid]} times, not {expected}")
        return len(begins), sorted(wrong)
