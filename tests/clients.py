"""Clients for tests: they do not wait long before they connect again."""

from __future__ import annotations

from typing import Any

from peer import Peer, trusting

from basix_cti import ApiToken, Auth, CTIClient, CTIHandler
from basix_cti.simulator import Simulator

AUTH = ApiToken("test1.com", "hunter2")
_SOON: dict[str, Any] = {"app_name": "test", "reconnect_min": 0.01, "reconnect_max": 0.05}


def client_of(simulator: Simulator, handler: CTIHandler, auth: Auth | None = None, **options: Any) -> CTIClient:
    """A client of the simulator."""
    settings = {**_SOON, "full_events": True, **options}
    return CTIClient(simulator.url, handler, auth=auth or ApiToken(simulator.domain, simulator.token), **settings)


def client_at(peer: Peer, handler: CTIHandler, auth: Auth = AUTH, **options: Any) -> CTIClient:
    """A client of a peer; over TLS, it trusts the tests' authority."""
    tls = {"ssl_context": trusting()} if peer.url.startswith("wss") else {}
    settings = {**_SOON, **tls, **options}
    return CTIClient(peer.url, handler, auth=auth, **settings)
