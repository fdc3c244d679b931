"""Why a connection does not work: each step of connecting, taken alone, and what it found.

================  ======================================================================================
module            holds
================  ======================================================================================
``findings``      :class:`Finding`, and the names of the steps
``connecting``    from the server's name to a WebSocket on which the login was accepted
``certificate``   what a server's certificate says, whoever signed it
``listening``     what the PBX says on the connection
================  ======================================================================================

The steps are the client's own, from ``opening`` and ``protocol``; only what is looked at afterwards is different.
Nothing is changed at the PBX: one connection is opened, never a forced one, and closed again.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from ..config import Settings
from .connecting import Connecting
from .findings import FAILED, OK, SKIPPED, STEPS, UNKNOWN, WARNING, Failed, Finding, attempts
from .listening import Listening

__all__ = ["FAILED", "OK", "SKIPPED", "STEPS", "UNKNOWN", "WARNING", "Finding", "diagnose"]

_SHORTEST_SECRET = 4


def diagnose(settings: Settings, *, timeout: float = 10.0, listen: float = 5.0) -> Generator[Finding, None, None]:
    """Go through the steps of one connection, and tell of each as soon as it is done.

    There is one finding for each of :data:`STEPS`, in that order. A step is taken when its finding is asked for; after
    one that failed, all others are skipped. Closing the generator closes the connection. The settings' ``forced`` is
    not used, because it could close the connection of a program at work. No finding holds the token, a ticket or a
    proxy's password of four or more characters, not even where a peer sends it back.

    Args:
        settings: where the PBX is, and how to log in.
        timeout: seconds for each step but ``events``.
        listen: seconds to wait for a first event.

    Raises:
        ValueError: ``timeout`` or ``listen`` is not a positive number.
        OSError: the settings' ``ca_file`` cannot be read; raised for the first finding.
    """
    for name, value in (("timeout", timeout), ("listen", listen)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be a positive number of seconds, not {value!r}")
    return _findings(settings, timeout, listen)


def _findings(settings: Settings, timeout: float, listen: float) -> Generator[Finding, None, None]:
    connecting = Connecting(settings, timeout)
    listening = Listening(settings, connecting, listen)
    steps: dict[str, Callable[[], Finding]] = {
        "name": connecting.name,
        "tcp": connecting.tcp,
        "proxy": connecting.way,
        "tls": connecting.tls,
        "ticket": connecting.ticket,
        "http": connecting.http,
        "login": connecting.login,
        "limit": listening.limit,
        "field_specs": listening.field_specs,
        "events": listening.events,
        "clock": listening.clock,
    }
    tried = attempts(settings, connecting.endpoint, connecting.proxy)
    broken = ""
    try:
        for step in STEPS:
            if broken:
                yield Finding(step, SKIPPED, f"not reached, because {broken} failed")
                continue
            try:
                finding = steps[step]()
            except Failed as failed:
                finding = Finding(step, FAILED, failed.found, failed.advice, failed.details)
                broken = step
            if finding.status != SKIPPED:
                finding = replace(finding, tried=tried[step])
            yield _redacted(finding, _secrets(settings, connecting.header))
    finally:
        connecting.close()


def _secrets(settings: Settings, header: str | None) -> list[str]:
    """All forms in which a secret was sent, the longest first."""
    token = settings.token
    encoded = [base64.b64encode(f"{settings.domain}:{token}".encode()).decode("ascii")]
    if header is not None:
        encoded.append(header.removeprefix("Basic "))
    plain = [base64.b64decode(each).decode().partition(":")[2] for each in encoded]
    secrets = {token, quote(token, safe=""), *encoded, *plain}
    if settings.proxy is not None:
        way = urlsplit(settings.proxy)
        user, password = unquote(way.username or ""), unquote(way.password or "")
        secrets |= {password, way.password or "", base64.b64encode(f"{user}:{password}".encode()).decode("ascii")}
    return sorted((each for each in secrets if len(each) >= _SHORTEST_SECRET), key=len, reverse=True)


def _redacted(finding: Finding, secrets: list[str]) -> Finding:
    """A server may send back what it was sent, and the texts of errors quote servers."""

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            for secret in secrets:
                value = value.replace(secret, "***")
            return value
        if isinstance(value, list):
            return [clean(each) for each in value]
        if isinstance(value, dict):
            return {clean(key): clean(each) for key, each in value.items()}
        return value

    return Finding(
        step=finding.step,
        status=finding.status,
        found=clean(finding.found),
        advice=clean(finding.advice),
        details=clean(finding.details),
        tried=clean(finding.tried),
    )
