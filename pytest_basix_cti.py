"""The pytest plugin of basix_cti: the fixtures ``pbx`` and ``cti_client``, and the mark ``pbx``.

A module outside of the package, which imports nothing of it until a fixture is used: pytest reads it at every start,
in every project of an environment that has basix_cti. So it costs nothing there, and a tool that measures coverage
sees the imports of basix_cti.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from basix_cti import CTIHandler
    from basix_cti.simulator import Simulator
    from basix_cti.testing import ClientFactory, RecordedClient

__all__ = ["cti_client", "pbx"]


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", "pbx(**options): arguments of basix_cti.simulator.Simulator for the fixture pbx")


@pytest.fixture
def pbx(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """A simulated Basix PBX on a free port of 127.0.0.1; a mark ``pbx(users=3)`` gives it arguments."""
    try:
        from basix_cti.simulator import Simulator
    except ImportError:
        pytest.fail("the fixture pbx needs aiohttp: pip install basix-cti[testing]", pytrace=False)
    # The mark that is nearest to the test counts most.
    options: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers("pbx"))):
        options |= mark.kwargs
    with Simulator(**options) as simulator:
        yield simulator


@pytest.fixture
def cti_client(pbx: Simulator) -> Iterator[ClientFactory]:
    """Makes clients of ``pbx``: ``cti_client(handler, **options)``, connected, and stopped at the end of the test.

    The arguments are those of ``basix_cti.testing.RecordedClient``. Each client has an ``app_name`` of its own, unless
    it is given one.
    """
    from basix_cti.testing import RecordedClient

    with ExitStack() as stack:
        count = 0

        def start(handler: CTIHandler | None = None, **options: Any) -> RecordedClient:
            nonlocal count
            count += 1
            return stack.enter_context(RecordedClient(pbx, handler, **{"app_name": f"test-{count}", **options}))

        yield start
