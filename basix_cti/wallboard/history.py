"""The last hour of waiting calls and of the longest wait. No I/O, and no clock."""

from __future__ import annotations

import math
from collections import deque

from ..board import Row, seconds_since

__all__ = ["STEP", "History", "Sample"]

STEP = 10
"""How many seconds one sample stands for."""

_SAMPLES = 3600 // STEP

Sample = tuple[int, int | None, int | None]
"""When it begins, seconds since the epoch; the most calls that waited at once; the longest wait, in whole seconds.

Both are None where that is not known for all of the time; the latter alone where the PBX does not tell it.
"""


class History:
    """Keeps the samples of an hour, by the headers of a board. What was not looked at is no sample: it is a gap."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=_SAMPLES)

    def take(self, header: Row) -> list[Sample]:
        """Take a header in.

        Returns:
            The samples that this has begun or changed, oldest first; none where all is as it was. That there is a gap
            may be noticed late, so that earlier ones turn out to be unknown.
        """
        told = {sample[0]: sample for sample in (*self._add(header), *self._without(header.get("gap")))}
        return [told[start] for start in sorted(told)]

    def _without(self, gap: tuple[float, float | None] | None) -> list[Sample]:
        """Take out what lies in a gap."""
        begin, end = gap or (math.inf, None)
        changed = []
        for place, (start, waiting, _) in enumerate(self._samples):
            if start + STEP > begin and (end is None or start < end) and waiting is not None:
                self._samples[place] = (start, None, None)
                changed.append(self._samples[place])
        return changed

    def _add(self, header: Row) -> list[Sample]:
        now: float = header["now"]
        waiting: int | None = header["waiting"]
        wait = seconds_since(header["longest_since"], now, header["clock_difference"])
        longest = None if wait is None else int(wait)
        if waiting == 0:
            longest = 0
        start = int(now) // STEP * STEP
        latest = self._samples[-1] if self._samples else None
        if latest is not None and latest[0] > start:  # the clock was put back: what comes after now has not been yet
            while self._samples and self._samples[-1][0] >= start:
                self._samples.pop()
            latest = None
        if latest is None or latest[0] < start:
            sample: Sample = (start, waiting, longest)
            self._samples.append(sample)
            return [sample]
        sample = (start, _most(latest[1], waiting), _most(latest[2], longest))
        if waiting is None or latest[1] is None:
            sample = (start, None, None)
        self._samples[-1] = sample
        return [] if sample == latest else [sample]

    def samples(self, now: float) -> list[Sample]:
        """The samples of the hour before now, oldest first."""
        return [sample for sample in self._samples if sample[0] > now - _SAMPLES * STEP]


def _most(one: int | None, other: int | None) -> int | None:
    """The greater of two; None where either is not known."""
    return None if one is None or other is None else max(one, other)
