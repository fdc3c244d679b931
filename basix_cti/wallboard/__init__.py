"""The wallboard: a page for the wall and the desk that shows a live board, fed by server-sent events (extra ``web``).

::

    board = Board()
    client = settings.client(board)
    with Wallboard(client, board), client:
        ...

================  ========================================================
module            is for
================  ========================================================
``server``        ``Wallboard``: the HTTP server, in a thread of its own
``feed``          ``Feed``: what browsers are sent, made once for all
``history``       ``History``: the last hour of the chart
``access``        ``Access``: who may look
``static``        a folder: the page itself; plain files, nothing is built
================  ========================================================
"""

from __future__ import annotations

from .access import Access, is_loopback
from .server import Wallboard

__all__ = ["Access", "Wallboard", "is_loopback"]
