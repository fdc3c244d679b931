"""What of the I/O thread can be seen without a network; the rest is in test_client.py."""

from __future__ import annotations

import logging
import random
import threading
from typing import Any

import pytest

from basix_cti import ApiToken, CTIClient
from basix_cti.base_thread import Timing
from basix_cti.testing import TIMEOUT, Recorder


@pytest.mark.parametrize("name", Timing.__slots__)
@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), True, "1"])
def test_delays_are_positive_numbers(name: str, value: object) -> None:
    given: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"{name} must be a positive number of seconds"):
        Timing(**given)


def test_delays_grow_with_full_jitter(caplog: pytest.LogCaptureFixture) -> None:
    """A connection that always fails: each delay is random within a bound that doubles up to the greatest."""
    caplog.set_level(logging.INFO, "basix_cti")
    recorder = Recorder()
    # Nothing listens on the discard port of loopback, which needs no waiting to be refused.
    client = CTIClient(
        "ws://127.0.0.1:9",
        recorder,
        auth=ApiToken("d", "t"),
        app_name="x",
        reconnect_min=0.001,
        reconnect_max=0.064,
    )
    waits = observed_delays(client, 40)
    assert "connecting again in 0.0 s" in caplog.text
    assert waits[0] <= 0.002
    assert max(waits) <= 0.064
    assert max(waits[8:]) > 0.016
    assert min(waits[8:]) < 0.048
    assert len(set(waits)) > 10, "they are random"


def observed_delays(client: CTIClient, count: int) -> list[float]:
    """The first ``count`` random delays of a client."""
    waits: list[float] = []
    enough = threading.Event()
    real = random.uniform

    def uniform(low: float, high: float) -> float:
        waits.append(real(low, high))
        if len(waits) >= count:
            enough.set()
        return waits[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random, "uniform", uniform)
        with client:
            assert enough.wait(TIMEOUT)
    return waits
