"""Events of a Basix PBX, told to Python callbacks.

The public names; see :class:`CTIHandler` for what can be told, and :class:`CTIClient` for how to connect.
"""

from __future__ import annotations

import logging

from .auth import ApiToken, ApiUser, Auth, Ticket, TicketService
from .calls import Call, Leg, Party, Transfer
from .client import CTIClient
from .commands import Command
from .decoder import COMPILED as compiled
from .elements import (
    Channel,
    ChannelWaiting,
    Customer,
    Domain,
    Element,
    EndUser,
    Group,
    GroupMember,
    MessageWaiting,
    OtherInfo,
    ParkedChannel,
    ParkInfo,
    QueuedChannel,
    State,
    Target,
    Terminal,
    UnknownElement,
    User,
)
from .events import Event, Session
from .handler import CTIHandler
from .limits import Limits
from .parser import MessageParser
from .state import Picture
from .statistics import Statistics
from .tap import Tap
from .version import __version__

__all__ = [
    "ApiToken",
    "ApiUser",
    "Auth",
    "CTIClient",
    "CTIHandler",
    "Call",
    "Channel",
    "ChannelWaiting",
    "Command",
    "Customer",
    "Domain",
    "Element",
    "EndUser",
    "Event",
    "Group",
    "GroupMember",
    "Leg",
    "Limits",
    "MessageParser",
    "MessageWaiting",
    "OtherInfo",
    "ParkInfo",
    "ParkedChannel",
    "Party",
    "Picture",
    "QueuedChannel",
    "Session",
    "State",
    "Statistics",
    "Tap",
    "Target",
    "Terminal",
    "Ticket",
    "TicketService",
    "Transfer",
    "UnknownElement",
    "User",
    "__version__",
    "compiled",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())
