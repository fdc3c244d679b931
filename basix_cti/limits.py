"""The bounds on what a peer may make this process do, checked before memory is taken."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_LIMITS", "Limits"]

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds for one message from the PBX. Whatever exceeds one is refused with an error that names it.

    Args:
        max_frame: bytes of one WebSocket message, all its fragments together, and of one term's encoding.
        max_depth: how deep terms may nest; a term that holds no other has depth 1. More than 1,000 is never taken.
        max_terms: how many terms one message may hold, elements of strings (tag 107) included.
        max_inflated: bytes that a compressed term (tag 80) may inflate to.
        max_integer: bytes of an integer's magnitude.

    Raises:
        ValueError: a bound that is not a positive whole number.
    """

    max_frame: int = 16 * _MIB
    max_depth: int = 128
    max_terms: int = 1_000_000
    max_inflated: int = 16 * _MIB
    max_integer: int = 1024

    def __post_init__(self) -> None:
        for name in ("max_frame", "max_depth", "max_terms", "max_inflated", "max_integer"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a positive whole number, not {value!r}")


DEFAULT_LIMITS = Limits()
