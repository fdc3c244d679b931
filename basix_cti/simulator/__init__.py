"""A Basix PBX on loopback, for demonstrations and tests: ``pip install basix-cti[simulator]``.

==================  ======================================================================================
module              holds
==================  ======================================================================================
``simulator``       :class:`Simulator`: what a script uses
``calls``           :class:`Call`: a call, step by step, and what FreeSWITCH tells of each
``book``            :class:`Played`: what the calls were meant to be, to hold other programs against
``traffic``         :class:`Traffic`: many believable calls at once
``model``           the PBX's objects, and how their changes are told; no I/O
``population``      the people of a PBX, from a seed
``commands``        what clients order
``views``           what one connection sees
``wire``            changes as Erlang terms, in either generation's vocabulary
``access``          logins and tickets
``server``          HTTP and WebSocket, in a thread of its own
==================  ======================================================================================
"""

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("aiohttp") is None:
    raise ImportError("the simulator needs aiohttp: pip install basix-cti[simulator]")

from .book import Played
from .calls import Call
from .model import Channel, Group, GroupMember, Mailbox, Terminal, User
from .population import Customer
from .simulator import Simulator
from .traffic import Traffic

__all__ = [
    "Call",
    "Channel",
    "Customer",
    "Group",
    "GroupMember",
    "Mailbox",
    "Played",
    "Simulator",
    "Terminal",
    "Traffic",
    "User",
]
