"""A Django signal for every hook of :class:`~basix_cti.CTIHandler`, of the same name.

Receivers get the hook's arguments by name, and ``client``, the :class:`~basix_cti.CTIClient` that was told (None where
events come from elsewhere, as in a test). ``sender`` is the class ``CTIClient``. They are called in the client's
dispatcher thread, one at a time. What one raises is logged by Django and told to ``on_error``; the others are called.

===========================  ===================================
signal                       arguments
===========================  ===================================
``on_initial_chan_info``     ``channels``
``on_chan_info``             ``channel``
``on_park_info``             ``park``
``on_unpark_info``           ``park``
``on_call_ringing``          ``call``
``on_call_answered``         ``call``
``on_call_parked``           ``call``
``on_call_transferred``      ``call``
``on_call_ended``            ``call``
``on_mwi_info``              ``mwi``
``on_initial_info``          ``element``, ``items``
``on_info_event``            ``element``, ``item``, ``event``
``on_system_msg``            ``msg``
``on_msg``                   ``msg``
``on_event``                 ``event``
``on_connect``               ``session``
``on_disconnect``            ``reason``
``on_error``                 ``error``
``on_overflow``              ``count``
===========================  ===================================
"""

from __future__ import annotations

import inspect

from django.dispatch import Signal

from ...handler import HOOKS, CTIHandler

__all__ = [
    "ARGUMENTS",
    "SIGNALS",
    "on_call_answered",
    "on_call_ended",
    "on_call_parked",
    "on_call_ringing",
    "on_call_transferred",
    "on_chan_info",
    "on_connect",
    "on_disconnect",
    "on_error",
    "on_event",
    "on_info_event",
    "on_initial_chan_info",
    "on_initial_info",
    "on_msg",
    "on_mwi_info",
    "on_overflow",
    "on_park_info",
    "on_system_msg",
    "on_unpark_info",
]

on_initial_chan_info = Signal()
on_chan_info = Signal()
on_park_info = Signal()
on_unpark_info = Signal()
on_call_ringing = Signal()
on_call_answered = Signal()
on_call_parked = Signal()
on_call_transferred = Signal()
on_call_ended = Signal()
on_mwi_info = Signal()
on_initial_info = Signal()
on_info_event = Signal()
on_system_msg = Signal()
on_msg = Signal()
on_event = Signal()
on_connect = Signal()
on_disconnect = Signal()
on_error = Signal()
on_overflow = Signal()

SIGNALS: dict[str, Signal] = {hook: globals()[hook] for hook in HOOKS}  # fails here where one was forgotten
"""The signals by name."""

ARGUMENTS: dict[str, tuple[str, ...]] = {
    hook: tuple(inspect.signature(getattr(CTIHandler, hook)).parameters)[1:] for hook in HOOKS
}
"""The names of what each hook is called with."""
