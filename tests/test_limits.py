"""The bounds themselves; what they bound is tested where it is bounded."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest

from basix_cti.limits import DEFAULT_LIMITS, Limits

DEFAULTS = {
    "max_frame": 16_777_216,
    "max_depth": 128,
    "max_terms": 1_000_000,
    "max_inflated": 16_777_216,
    "max_integer": 1024,
}


def limits(**bounds: Any) -> Limits:
    """`Limits` of bounds whose types are wrong on purpose, too."""
    return Limits(**bounds)


class TestLimits:
    def test_defaults(self) -> None:
        assert {field.name: getattr(DEFAULT_LIMITS, field.name) for field in fields(Limits)} == DEFAULTS
        assert Limits() == DEFAULT_LIMITS

    @pytest.mark.parametrize("name", DEFAULTS)
    @pytest.mark.parametrize("bound", [1, 2, 2**80])
    def test_each_is_set_alone(self, name: str, bound: int) -> None:
        changed = limits(**{name: bound})
        assert {field.name: getattr(changed, field.name) for field in fields(Limits)} == {**DEFAULTS, name: bound}
        assert changed != DEFAULT_LIMITS

    @pytest.mark.parametrize("name", DEFAULTS)
    @pytest.mark.parametrize("bound", [0, -1, -(2**80), True, False, 1.0, float("inf"), "1", b"1", None], ids=repr)
    def test_a_bound_is_a_positive_whole_number(self, name: str, bound: Any) -> None:
        with pytest.raises(ValueError, match=f"^{name} must be a positive whole number, not ") as caught:
            limits(**{name: bound})
        assert str(caught.value).endswith(repr(bound))
        with pytest.raises(ValueError, match=f"^{name} must"):
            replace(DEFAULT_LIMITS, **{name: bound})

    def test_no_other_bound(self) -> None:
        with pytest.raises(TypeError, match="max_width"):
            limits(max_width=1)

    @pytest.mark.parametrize("name", DEFAULTS)
    def test_is_frozen(self, name: str) -> None:
        with pytest.raises(FrozenInstanceError):
            setattr(DEFAULT_LIMITS, name, 1)
        assert not hasattr(DEFAULT_LIMITS, "__dict__")

    def test_is_a_value(self) -> None:
        one = Limits(max_depth=7, max_terms=8)
        assert one == Limits(max_terms=8, max_depth=7)
        assert hash(one) == hash(Limits(max_terms=8, max_depth=7))
        assert one == pickle.loads(pickle.dumps(one)) == copy.deepcopy(one)
        assert repr(one) == (
            "Limits(max_frame=16777216, max_depth=7, max_terms=8, max_inflated=16777216, max_integer=1024)"
        )
