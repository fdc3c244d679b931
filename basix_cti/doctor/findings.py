"""What a step of the examination found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..config import Settings
from ..endpoint import Endpoint
from ..proxy import Proxy
from ..values import Json

__all__ = [
    "FAILED",
    "OK",
    "SKIPPED",
    "STEPS",
    "UNKNOWN",
    "WARNING",
    "Failed",
    "Finding",
    "attempts",
    "login_of",
    "milliseconds",
    "origin",
]

OK, WARNING, FAILED, UNKNOWN, SKIPPED = "ok", "warning", "failed", "unknown", "skipped"

STEPS = ("name", "tcp", "proxy", "tls", "ticket", "http", "login", "limit", "field_specs", "events", "clock")
"""The steps in their order."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one step found.

    Attributes:
        step: one of :data:`STEPS`.
        status: ``ok``, ``warning`` (it works, but look at it), ``failed``, ``unknown`` (it was tried, but has shown
            nothing), or ``skipped`` (not reached, or not needed).
        found: what was found, one line.
        advice: what to do next, one line; empty where there is nothing to do.
        details: the same for programs, JSON-ready; which keys depends on the step.
        tried: what was tried, one line; empty where the step was skipped.
    """

    step: str
    status: str
    found: str
    advice: str = ""
    details: Mapping[str, Json] = field(default_factory=dict)
    tried: str = ""

    def to_dict(self) -> dict[str, Json]:
        """All of it, JSON-ready."""
        return {
            "step": self.step,
            "status": self.status,
            "tried": self.tried,
            "found": self.found,
            "advice": self.advice,
            "details": dict(self.details),
        }


class Failed(Exception):
    """Ends a step, and with it the examination; the arguments are those of a :class:`Finding`."""

    def __init__(self, found: str, advice: str, details: Mapping[str, Json] | None = None) -> None:
        self.found = found
        self.advice = advice
        self.details = details or {}
        super().__init__(found)


def attempts(settings: Settings, endpoint: Endpoint, proxy: Proxy | None) -> dict[str, str]:
    """What each step tries, in words."""
    nearest = proxy or endpoint
    return {
        "name": f"look up {nearest.host}" if proxy is None else f"look up {nearest.host}, the proxy",
        "tcp": f"connect to port {nearest.port}",
        "proxy": "" if proxy is None else f"have {proxy.address} connect to {endpoint.address}",
        "tls": f"do a TLS handshake with {endpoint.address}",
        "ticket": "fetch a one-time ticket",
        "http": f"do a WebSocket handshake on {endpoint.path}",
        "login": f"log in with {login_of(settings)}",
        "limit": "wait for the first message",
        "field_specs": "wait for field specs and the present state",
        "events": "wait for an event",
        "clock": "compare the clocks",
    }


def login_of(settings: Settings) -> str:
    """The login in words, without its secret."""
    if settings.ticket:
        return f"a one-time ticket for domain {settings.domain}"
    if settings.api_user is not None:
        return f"API user {settings.api_user} of domain {settings.domain}"
    return f"the API token of domain {settings.domain}"


def origin(settings: Settings, name: str) -> str:
    """Where a setting stands, in words to put behind its name; empty where that is not known."""
    place = settings.origins.get(name)
    if place is None:
        return ""
    return " (by default)" if place.endswith(" by default") else f" (given by {place})"


def milliseconds(seconds: float) -> str:
    """A duration in words."""
    return f"{max(1, round(seconds * 1000))} ms"
