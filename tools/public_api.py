"""Print every public name of basix_cti with its signature, sorted: what tests/public_api.txt holds.

Public is what ``from basix_cti import *`` gives, and what a page of docs/ documents with a directive of autodoc. It
wants the modules as plain Python: run it where this repository comes first on the path.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "basix_cti"
# Of the methods with two underscores, those that a user's code makes use of by its syntax.
SPECIAL = ("__call__", "__contains__", "__enter__", "__getitem__", "__iter__", "__len__", "__str__")
_LONG = 90  # from here on, each parameter stands on a line of its own, so that a change of one is seen as such

_DIRECTIVE = re.compile(
    r"^\.\. (?P<kind>currentmodule|automodule|autoclass|autoexception|autofunction|autodata):: "
    r"(?P<name>[\w.]+).*\n(?P<options>(?: {3}:.*\n)*)",
    re.MULTILINE,
)


def documented() -> Iterator[str]:
    """The full names that the pages document."""
    for page in sorted((ROOT / "docs").glob("*.rst")):
        module = PACKAGE
        for found in _DIRECTIVE.finditer(page.read_text("utf-8")):
            name = found["name"]
            if found["kind"] == "currentmodule":
                module = name
            elif found["kind"] == "automodule":
                module = name
                members = re.search(r":members:(.*)", found["options"])
                if members is not None:
                    named = re.findall(r"\w+", members[1]) or importlib.import_module(name).__all__
                    yield from (f"{name}.{member}" for member in named)
            else:
                yield name if name.startswith(PACKAGE) else f"{module}.{name}"


def public() -> dict[str, Any]:
    """Every public object by its full name."""
    package = importlib.import_module(PACKAGE)
    names = {*documented(), *(f"{PACKAGE}.{name}" for name in package.__all__)}
    found: dict[str, Any] = {}
    for name in sorted(names):
        module, _, last = name.rpartition(".")
        found[name] = getattr(importlib.import_module(module), last)
    return found


def text_of(annotation: object) -> str:
    """An annotation as it stands in the source."""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def signature(function: Any) -> str:
    """As in the source: with names, kinds, types and defaults of all parameters."""
    parts: list[str] = []
    keyword_only = False
    found = inspect.signature(function)
    for parameter in found.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            parts.append("*")
        keyword_only = keyword_only or parameter.kind is parameter.VAR_POSITIONAL
        part = str(parameter.replace(annotation=parameter.empty, default=parameter.empty))  # with its stars
        if parameter.annotation is not parameter.empty:
            part += f": {text_of(parameter.annotation)}"
        if parameter.default is not parameter.empty:
            part += " = " + re.sub(r"<(\w+).*>", r"<\1>", repr(parameter.default))
        parts.append(part)
    returned = "" if found.return_annotation is found.empty else f" -> {text_of(found.return_annotation)}"
    line = f"({', '.join(parts)}){returned}"
    if len(line) <= _LONG:
        return line
    return "(\n" + "".join(f"    {part},\n" for part in parts) + f"){returned}"


def lines_of_class(name: str, cls: type, others: set[type]) -> Iterator[str]:
    """A class, how it is made, and its members, but for those of bases that are public themselves."""
    bases = ", ".join(base.__name__ for base in cls.__bases__ if base is not object)
    yield f"class {name}" + (f"({bases})" if bases else "")
    ours = [base for base in cls.__mro__ if base.__module__.split(".")[0] == PACKAGE]
    if any({"__init__", "__new__"} & set(vars(base)) for base in ours):
        yield f"{name}{signature(cls)}"
    seen: set[str] = set()
    for base in ours:
        if base is not cls and base in others:
            continue
        annotations = vars(base).get("__annotations__", {})
        for member in {*vars(base), *annotations} - seen:
            seen.add(member)
            if member.startswith("_") and member not in SPECIAL:
                continue
            value = inspect.getattr_static(base, member, None)
            full = f"{name}.{member}"
            if isinstance(value, property):
                yield f"{full}: property{signature(value.fget)[len('(self)') :]}"
            elif isinstance(value, (classmethod, staticmethod)):
                yield f"{full}{signature(value.__func__)}  # {type(value).__name__}"
            elif inspect.isfunction(value):
                yield f"{full}{signature(value)}"
            else:
                yield f"{full}: {text_of(annotations[member])}" if member in annotations else full


def entries() -> Iterator[str]:
    """All of it, in no order."""
    objects = public()
    classes = {value for value in objects.values() if isinstance(value, type)}
    for name, value in objects.items():
        if isinstance(value, type):
            yield from lines_of_class(name, value, classes)
        elif callable(value):
            yield f"{name}{signature(value)}"
        else:
            yield f"{name}: {type(value).__name__}"


if __name__ == "__main__":
    sys.stdout.write("\n".join(sorted(entries(), key=lambda entry: entry.removeprefix("class "))) + "\n")
