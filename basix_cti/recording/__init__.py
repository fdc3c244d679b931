"""Recordings: every message of a PBX, both ways, with times, in a file; and what can be done with it.

================  ========================================================
module            is for
================  ========================================================
``format``        what is in the file: records, blocks, a header
``reader``        ``Recording``: the records of a file, whole or not
``writer``        ``RecordingWriter``: a new file, or more of an old one
``tap``           ``RecordingTap``, ``RecordingHandler``: record a client
``player``        ``replay``: a recording told to a handler
``redaction``     ``redact``: a recording without the people in it
``server``        ``ReplayServer``: a recording served as a PBX
================  ========================================================

The form of the file is told in docs/recordings.
"""

from __future__ import annotations

from .format import BEGIN, CONNECTED, DISCONNECTED, DROPPED, RECEIVED, SENT, Record
from .player import replay
from .reader import Recording
from .redaction import Report, redact
from .tap import RecordingHandler, RecordingTap
from .writer import RecordingWriter

__all__ = [
    "BEGIN",
    "CONNECTED",
    "DISCONNECTED",
    "DROPPED",
    "RECEIVED",
    "SENT",
    "Record",
    "Recording",
    "RecordingHandler",
    "RecordingTap",
    "RecordingWriter",
    "Report",
    "redact",
    "replay",
]
