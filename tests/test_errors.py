"""The exception tree: what its picture shows, and what one can do with each."""

from __future__ import annotations

import pickle
import re

import pytest

from basix_cti import errors
from basix_cti.errors import AuthError, ConfigError, ConnectionLost, CTIError, DecodeError, HandshakeError

CLASSES = [getattr(errors, name) for name in errors.__all__ if name != "CTIWarning"]
MADE: list[CTIError] = [
    DecodeError("too short", 7, 109),
    AuthError("refused", 401),
    HandshakeError("no"),
    ConnectionLost("the connection broke", 1001, "bye"),
    ConfigError("no token", "token", missing=True),
    *(cls("what happened") for cls in CLASSES),
]


def test_one_tree() -> None:
    assert all(issubclass(cls, CTIError) for cls in CLASSES)


def test_the_picture_is_true() -> None:
    """Each line of the drawing stands below its base class."""
    assert errors.__doc__ is not None
    bases: list[str] = []
    drawn = {}
    for line in errors.__doc__.splitlines():
        match = re.match(r"    ([│ ├└─]*)(\w+)", line)
        if match is None:
            continue
        depth = len(match[1]) // 4
        drawn[match[2]] = bases[depth - 1] if depth else "Exception"
        bases[depth:] = [match[2]]
    assert drawn == {cls.__name__: cls.__bases__[0].__name__ for cls in CLASSES}


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_errors_can_be_pickled(error: CTIError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.__dict__ == error.__dict__


def test_where_a_term_is_wrong() -> None:
    assert str(DecodeError("too short", 7, 109)) == "too short at byte 7 (tag 109)"
    assert str(DecodeError("empty")) == "empty"
    assert isinstance(DecodeError("empty"), ValueError)


def test_the_reason_of_a_lost_connection() -> None:
    assert ConnectionLost("broke").reason == "broke"
    assert ConnectionLost("closed with code 1001: bye", 1001, "bye").reason == "bye"
