"""``RelayProbes``: what a relay answers to those who watch over it. Metrics need the extra ``prometheus``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..health import Probes

if TYPE_CHECKING:
    from prometheus_client.core import Metric
    from prometheus_client.registry import Collector

    from .holder import Relay

__all__ = ["RelayProbes"]

_ROLES = ("starting", "standby", "holder")


class RelayProbes(Probes):
    """The answers for a relay, holder or standby; ``/metrics`` has those of its client, and the relay's role.

    Args:
        relay: whose.
        patience: how many seconds it may stand still where it should move.
    """

    def __init__(self, relay: Relay, patience: float) -> None:
        super().__init__(relay.client, patience=patience)
        self._relay = relay
        if self._registry is not None:
            self._registry.register(_role_of(relay))

    def _trouble(self) -> str | None:
        return self._relay.trouble(self._patience)

    def _not_ready(self) -> str | None:
        return self._relay.not_ready()


def _role_of(relay: Relay) -> Collector:
    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.registry import Collector

    class Role(Collector):
        def collect(self) -> Iterable[Metric]:
            family = GaugeMetricFamily("basix_cti_relay_role", "1 for what the relay is now", labels=("role",))
            for role in _ROLES:
                family.add_metric([role], float(role == relay.role))
            return [family]

    return Role()
