"""From tuples of terms to elements, by a field spec. May be compiled by mypyc."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from .elements import CLASSES, Element, Reader, UnknownElement
from .readers import plain, read_integer, read_scalar, read_text
from .terms import UNDEFINED, Term
from .values import Json, Misfit

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["FieldPlan"]

_OTHER: Final = 0
_TEXT: Final = 1
_NUMBER: Final = 2
_FORMS: Final[dict[Reader, int]] = {read_text: _TEXT, read_integer: _NUMBER, read_scalar: _NUMBER}


class _Field:
    """Where a value goes (-1: to extra), how it is read, and what of it needs no reading."""

    __slots__ = ("form", "name", "place", "read")

    def __init__(self, name: str, place: i64, read: Reader) -> None:
        self.name = name
        self.place: i64 = place
        self.read = read
        self.form: i64 = _FORMS.get(read, _OTHER)


class FieldPlan:
    """How the values of one element's tuples become an object, by the latest field spec.

    Args:
        element: the element's name.
        names: the fields in the order of the tuple. Without a spec this is empty, and all values go to ``extra``.
    """

    __slots__ = ("_element", "_known", "_make", "_plan", "_size")

    def __init__(self, element: str, names: Sequence[str]) -> None:
        cls = CLASSES.get(element, UnknownElement)
        self._element = element
        self._known = cls is not UnknownElement
        self._make: Callable[..., Element] = cls
        places = {name: place for place, name in enumerate(cls.READERS)}
        self._size = len(places)
        self._plan: list[_Field] = []
        seen: set[str] = set()
        for position, name in enumerate(names, 1):
            # A name that stands in the spec twice keeps both values.
            label = f"field_{position}" if name in seen else name
            seen.add(name)
            self._plan.append(_Field(label, places.get(label, -1), cls.READERS.get(label, plain)))

    def build(self, values: tuple[Term, ...]) -> Element:
        """The object that a tuple stands for. Shorter and longer tuples than the spec are taken; never raises."""
        args: list[Any] = [None] * self._size
        extra: dict[str, Json] = {}
        plan = self._plan
        planned = len(plan)
        for index, value in enumerate(values):
            if index >= planned:
                extra[f"field_{index + 1}"] = plain(value)
                continue
            field = plan[index]
            if field.place < 0:
                extra[field.name] = plain(value)
            elif value is UNDEFINED:
                pass
            elif field.form == _NUMBER and type(value) is int:
                args[field.place] = value
            else:
                try:
                    # Most fields are text in a binary: a call less for each.
                    if field.form == _TEXT and type(value) is bytes:
                        args[field.place] = value.decode()
                    else:
                        args[field.place] = field.read(value)
                except UnicodeDecodeError:
                    args[field.place] = field.read(value)
                except Misfit:
                    extra[field.name] = plain(value)
        if not self._known:
            args = [self._element]
        item = self._make(*args)
        if extra:
            item.extra = extra
        return item
