"""``python -m fuzz.again FILE...``: inputs once more, each in the round that its name or folder begins with."""

from __future__ import annotations

import sys
from pathlib import Path

from erlang_peer import ErlangTerms

from .compared import compare
from .targets import TARGETS

__all__ = ["again"]


def again(path: Path) -> str | None:
    """What is wrong with an input that a round has found; None for nothing.

    Raises:
        Exception: what the code under test raises, for its traceback.
        ValueError: the name is of no round.
    """
    name = path.name.partition("-")[0]
    if name == "compared":
        with ErlangTerms() as erlang:
            return compare(path.read_bytes(), erlang)
    target = TARGETS.get(name) or TARGETS.get(path.parent.name)
    if target is None:
        raise ValueError(f"{path}: neither the name nor the folder begins with {', '.join(TARGETS)} or compared")
    target(path.read_bytes())
    return None


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(f"{argument}: {again(Path(argument)) or 'nothing is wrong'}")
