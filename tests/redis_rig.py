"""Real Redis servers, relays in processes of their own, and recorded clients of them."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
import redis
from programs import TIMEOUT, Program
from waiting import eventually

from basix_cti import CTIHandler
from basix_cti.base_client import Client
from basix_cti.elements import Channel
from basix_cti.relay import RelayClient
from basix_cti.simulator import Simulator
from basix_cti.testing import Recorded, RecordedClient, Recorder
from soak.ledger import Ledger

needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server: make redis installs it")

LEASE = 3.0  # on a busy machine a holder may stand still for a while
ELEMENTS = ("channel", "channel_waiting", "parked_channel", "user", "group", "group_member", "terminal", "domain")


class RedisServer:
    """A redis-server at a socket of its own in the file system, so that no two tests want the same port.

    Args:
        options: further arguments, such as ``--appendonly yes``.

    Attributes:
        url: where it is.
    """

    def __init__(self, *options: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="redis-"))  # short: the path of a socket has 107 bytes at most
        self.url = f"unix://{self.folder}/s"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, with the data that it left."""
        where = ["--port", "0", "--unixsocket", str(self.folder / "s"), "--dir", str(self.folder)]
        quiet = ["--save", "", "--loglevel", "warning", *self._options]
        self._process = subprocess.Popen(
            ["redis-server", *where, *quiet], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        eventually(self._answers, "an answer of redis-server")

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.BusyLoadingError):
            return False

    def client(self) -> redis.Redis:
        """A client of it, to look at what is there."""
        return redis.Redis.from_url(self.url)

    def send(self, number: int) -> None:
        """A signal to its process."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it in the midst of whatever it does."""
        self.send(signal.SIGKILL)
        self.send(signal.SIGCONT)
        assert self._process is not None
        self._process.wait(TIMEOUT)

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def relay(pbx: Simulator, server: RedisServer, *options: str, generation: int = 2) -> Program:
    """``basix-cti relay`` for a simulated PBX, in a process of its own."""
    environment = {
        **os.environ,
        "BASIX_CTI_TOKEN": pbx.token,
        "BASIX_CTI_REDIS_URL": server.url,
        "PYTHONPATH": str(Path(__file__).parent.parent),
    }
    who = ["--api-user", pbx.api_user] if generation == 1 else []
    given = [pbx.url, "--domain", pbx.domain, "--full-events", "--lease", str(LEASE), *who, *options]
    command = [sys.executable, "-m", "basix_cti", "relay", *given]
    return Program(command, server.folder, environment)


class RelayedClient(Recorded, RelayClient):
    """A RelayClient whose handler's calls are recorded."""

    def __init__(
        self,
        pbx: Simulator,
        server: RedisServer,
        handler: CTIHandler | None = None,
        *,
        wait: bool = True,
        **options: Any,
    ) -> None:
        self.pbx = pbx
        self.recorder = Recorder(handler)
        self._wait_at_start = wait
        super().__init__(server.url, self.recorder, **{"reconnect_min": 0.05, "reconnect_max": 0.2, **options})

    def losses(self) -> int:
        """How often a connection was told to have ended."""
        return len(self.recorder.of("on_disconnect"))


def assert_same(ours: Client, theirs: Client, elements: Sequence[str]) -> None:
    """Both have the same picture of the PBX."""
    for element in elements:
        mine, other = ours.state.items(element), theirs.state.items(element)
        assert mine == other, f"{element} of {ours} and {theirs}"


def assert_right(
    pbx: Simulator,
    *clients: RelayedClient,
    truth: RecordedClient | None = None,
    elements: Sequence[str] = ELEMENTS,
) -> None:
    """Each client's picture is that of a direct client, and each channel has the ends that it should have.

    Args:
        pbx: where all calls are.
        clients: of a relay.
        truth: a direct client; None for one that connects now.
        elements: what to compare.
    """
    with ExitStack() as stack:
        if truth is None:
            truth = stack.enter_context(RecordedClient(pbx, app_name="truth"))
        for client in (*clients, truth):
            client.catch_up()
        for client in clients:
            assert_same(client, truth, elements)
    for client in clients:
        assert_one_end_each(client)


def assert_one_end_each(client: RelayedClient) -> None:
    """Each channel that was told has one end if it has ended, and none if it has not."""
    ledger = Ledger(io.StringIO())
    for name, args in client.recorder.calls:
        if name == "on_initial_chan_info":
            channels: list[Channel] = args[0]
        elif name == "on_chan_info":
            channels = [args[0]]
        else:
            continue
        for channel in channels:
            assert channel.uuid is not None
            (ledger.ended if channel.is_hung_up else ledger.begun)(channel.uuid)
    _, wrong = ledger.violations(client.state.channels)
    assert not wrong, wrong


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A redis-server that is running."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """For relays and clients that end with the test, the latest first."""
    with ExitStack() as stack:
        yield stack
