"""From tuples of terms to elements, by a field spec. May be compiled by mypyc."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .elements import CLASSES, Element, Reader, UnknownElement
from .readers import plain, read_text
from .terms import UNDEFINED, Term
from .values import Json, Misfit

__all__ = ["FieldPlan"]


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
        # Where the value stands, where it goes (-1: to extra), and how it is read.
        self._plan: list[tuple[int, int, str, Reader]] = []
        seen: set[str] = set()
        for position, name in enumerate(names, 1):
            # A name that stands in the spec twice keeps both values.
            label = f"field_{position}" if name in seen else name
            seen.add(name)
            self._plan.append((position - 1, places.get(label, -1), label, cls.READERS.get(label, plain)))

    def build(self, values: tuple[Term, ...]) -> Element:
        """The object that a tuple stands for. Shorter and longer tuples than the spec are taken; never raises."""
        args: list[Any] = [None] * self._size
        extra: dict[str, Json] = {}
        plan = self._plan
        text = read_text
        if len(values) < len(plan):
            plan = plan[: len(values)]
        for position, place, name, read in plan:
            value = values[position]
            if value is UNDEFINED:
                if place < 0:
                    extra[name] = None
            elif place < 0:
                extra[name] = plain(value)
            else:
                try:
                    # Most fields are text in a binary: a call less for each.
                    args[place] = value.decode() if read is text and isinstance(value, bytes) else read(value)
                except UnicodeDecodeError:
                    args[place] = read(value)
                except Misfit:
                    extra[name] = plain(value)
        for beyond in range(len(plan), len(values)):
            extra[f"field_{beyond + 1}"] = plain(values[beyond])
        if not self._known:
            args = [self._element]
        item = self._make(*args)
        if extra:
            item.extra = extra
        return item
