"""A wallboard of a simulated PBX, for tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from clients import client_of
from recorder import TIMEOUT

from basix_cti.board import Board
from basix_cti.simulator import Simulator
from basix_cti.wallboard import Wallboard

__all__ = ["port_of", "serving"]


@contextlib.contextmanager
def serving(pbx: Simulator, start: bool = True, **options: Any) -> Iterator[Wallboard]:
    """A wallboard that is served, and whose client is ready; or, without ``start``, was never started."""
    board = Board()
    client = client_of(pbx, board)
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
