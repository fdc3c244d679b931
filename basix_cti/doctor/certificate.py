"""What a server's certificate says, whoever signed it."""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..endpoint import one_line
from ..errors import ConnectError
from ..values import Json

__all__ = ["Certificate", "look", "problems"]

_DAY = 86_400.0
# OpenSSL's X509_V_FLAG_NO_CHECK_TIME and X509_V_ERR_..., which the ssl module does not name.
_NO_CHECK_TIME = 0x200000
_NOT_YET_VALID, _EXPIRED = 9, 10
_SELF_SIGNED = (18, 19)
_OTHER_HOST = (62, 64)

Handshake: TypeAlias = Callable[[ssl.SSLContext], ssl.SSLSocket]
"""Makes a TLS connection to the server; raises a ConnectError where that fails."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate.

    Attributes:
        names: what it is for.
        issuer: who signed it.
        not_before, not_after: seconds since the epoch.
        other_host: True if none of the names is the server's.
    """

    names: list[str]
    issuer: str
    not_before: float
    not_after: float
    other_host: bool

    @classmethod
    def of(cls, tls: ssl.SSLSocket, *, other_host: bool = False) -> Certificate | None:
        """The certificate of a connection that has verified it; None where it was not verified."""
        told: dict[str, Any] = dict(tls.getpeercert() or {})
        if not told:
            return None
        subject, issuer = _distinguished(told.get("subject", ())), _distinguished(told.get("issuer", ()))
        names = [str(value) for _, value in told.get("subjectAltName", ())] or [subject.get("commonName", "nobody")]
        by = [issuer[key] for key in ("organizationName", "organizationalUnitName", "commonName") if key in issuer]
        return cls(
            names=[one_line(name, 100) for name in names],
            issuer=one_line(", ".join(by), 200) or "nobody",
            not_before=float(ssl.cert_time_to_seconds(told["notBefore"])),
            not_after=float(ssl.cert_time_to_seconds(told["notAfter"])),
            other_host=other_host,
        )

    @property
    def days_left(self) -> float:
        """Days until it expires; negative once it has."""
        return (self.not_after - time.time()) / _DAY

    @property
    def days_until(self) -> float:
        """Days until it becomes valid; negative once it is."""
        return (self.not_before - time.time()) / _DAY

    @property
    def words(self) -> str:
        """All of it in one line."""
        end = f"valid until {_date(self.not_after)}"
        if self.days_until > 0:
            end = f"valid from {_date(self.not_before)} until {_date(self.not_after)}"
        elif self.days_left >= 0:
            end += f", {_days(self.days_left)} left"
        return f"it is for {', '.join(self.names)}, from {self.issuer}, {end}"

    @property
    def details(self) -> dict[str, Json]:
        """All of it for programs; dates as ``2026-11-25``."""
        return {
            "names": list(self.names),
            "issuer": self.issuer,
            "not_before": _date(self.not_before),
            "not_after": _date(self.not_after),
            "days_left": math.floor(self.days_left),
        }


def look(handshake: Handshake) -> Certificate | None:
    """The server's certificate, whether it would be trusted or not; None if that cannot be seen. No login is sent.

    Python shows the contents of a verified certificate alone. So it is fetched without being verified first, and is
    then verified against itself, whatever the date; with the host's name and, if that does not fit, without.
    """
    try:
        anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anyone.check_hostname = False
        anyone.verify_mode = ssl.CERT_NONE
        with handshake(anyone) as tls:
            der = tls.getpeercert(True)
        if der is None:
            return None
        itself = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        itself.load_verify_locations(cadata=der)
        itself.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
        try:
            with handshake(itself) as tls:
                return Certificate.of(tls)
        except ConnectError:
            itself.check_hostname = False
            with handshake(itself) as tls:
                return Certificate.of(tls, other_host=True)
    except (ConnectError, OSError, ValueError):
        return None


def problems(
    error: ssl.SSLCertVerificationError, certificate: Certificate | None, host: str
) -> tuple[list[str], list[str]]:
    """Everything that is wrong with a certificate, not only what OpenSSL met first; and what to do about each.

    Args:
        error: why it was not trusted.
        certificate: what it says; None where that is not known.
        host: whom it should be for.
    """
    code = error.verify_code
    found, advices = [], []
    if code not in (_EXPIRED, _NOT_YET_VALID, *_OTHER_HOST):
        whom = "is signed by itself, or by an authority" if code in _SELF_SIGNED else "comes from an authority"
        found.append(f"{whom} that this machine does not trust ({one_line(error.verify_message)})")
        advices.append(
            "if the authority is the PBX's own, name its PEM file with --ca-file; if it is a public one, the server "
            "may not send its intermediate certificates, or this machine's list of authorities is old"
        )
    if code == _EXPIRED and certificate is not None and certificate.days_left >= 0:
        found.append("is vouched for by another one, which has expired")
        advices.append(
            "have the server send the authority's new intermediate certificate, or renew what --ca-file names"
        )
    elif code == _EXPIRED or (certificate is not None and certificate.days_left < 0):
        found.append("has expired" + (f" {_days(-certificate.days_left)} ago" if certificate else ""))
        advices.append("have the PBX's certificate renewed; if it should be good, check this machine's clock")
    if code == _NOT_YET_VALID or (certificate is not None and certificate.days_until > 0):
        days = certificate.days_until if certificate else 0.0
        found.append("is not yet valid" + (f", for another {_days(days)}" if days > 0 else ""))
        advices.append("check this machine's clock: it may be behind")
    if code in _OTHER_HOST or (certificate is not None and certificate.other_host):
        found.append(f"is not for {host}" + (f", but for {', '.join(certificate.names)}" if certificate else ""))
        advices.append("connect by a name that the certificate is for")
    return found, advices


def _distinguished(name: Any) -> dict[str, str]:
    return {str(key): str(value) for part in name for key, value in part}


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def _days(days: float) -> str:
    whole = math.floor(days)
    return f"{whole} day{'' if whole == 1 else 's'}" if whole else "less than a day"
