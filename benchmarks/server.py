"""The PBX of the benchmarks, in a process of its own: sends frames that are ready, as fast as they are taken or paced.

``python benchmarks/server.py FRAMES COUNT [--rate EVENTS_A_SECOND]`` prints its URL, and serves one connection after
another. FRAMES is what ``frames.escript`` has written: a field spec, an empty full state, then events, which are sent
again and again until there are COUNT of them.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import sys
import time
from itertools import cycle, islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from framefile import frames_in
from peer import Link, frame

from basix_cti import bert


def flood(link: Link, head: bytes, events: list[bytes], count: int) -> None:
    """All events at once."""
    block = b"".join(frame(event) for event in events)
    link.send(head)
    for _ in range(count // len(events)):
        link.send(block)
    link.send(b"".join(frame(event) for event in events[: count % len(events)]))


def pace(link: Link, head: bytes, events: list[bytes], count: int, rate: float) -> None:
    """One event at a time; ``offer_timestamp`` is when it is sent, by the monotonic clock in microseconds."""
    link.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.send(head)
    terms = [bert.decode(event) for event in events]
    start = time.perf_counter()
    for number, (kind, element, values, event) in enumerate(islice(cycle(terms), count)):
        while (now := time.perf_counter()) < start + number / rate:
            time.sleep(max(0.0, start + number / rate - now - 0.0001))
        stamped = (*values[:6], time.monotonic_ns() // 1000, *values[7:])
        link.send(frame(bert.encode((kind, element, stamped, event))))


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("frames")
    parser.add_argument("count", type=int)
    parser.add_argument("--rate", type=float)
    args = parser.parse_args()
    frames = frames_in(args.frames)
    head, events = b"".join(frame(each) for each in frames[:2]), frames[2:]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sys.stdout.write(f"ws://127.0.0.1:{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        while True:
            link = Link(listener.accept()[0])
            with contextlib.suppress(OSError, EOFError):
                link.upgrade()
                if args.rate:
                    pace(link, head, events, args.count, args.rate)
                else:
                    flood(link, head, events, args.count)
                link.wait_end()
            link.close()


main()
