"""The recording handler of the test kit, under the name that the tests have for it."""

from __future__ import annotations

from basix_cti.testing import TIMEOUT, Recorder

__all__ = ["TIMEOUT", "Recorder"]
