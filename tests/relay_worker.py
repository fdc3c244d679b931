"""A client of a relay in a process of its own: ``relay_worker.py URL``. It tells what it is told, a line each.

On a line from stdin it prints its channels as JSON, behind ``state``.
"""

from __future__ import annotations

import json
import sys
import threading

from basix_cti import Channel, CTIHandler, Session
from basix_cti.errors import ConnectionLost
from basix_cti.relay import RelayClient

LOCK = threading.Lock()


class Worker(CTIHandler):
    def on_connect(self, session: Session) -> None:
        say("connected", session.number)

    def on_disconnect(self, reason: ConnectionLost) -> None:
        say("lost", reason)

    def on_chan_info(self, channel: Channel) -> None:
        say("end" if channel.is_hung_up else "up", channel.uuid)


def say(*words: object) -> None:
    with LOCK:  # two threads do
        print(*words, flush=True)


def main() -> None:
    with RelayClient(sys.argv[1], Worker()) as client:
        client.wait_ready()
        say("ready")
        for _ in sys.stdin:
            client.wait_ready()
            channels = client.state.channels
            say("state", json.dumps({uuid: channel.to_dict() for uuid, channel in channels.items()}, sort_keys=True))


if __name__ == "__main__":
    main()
