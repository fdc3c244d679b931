"""README and the pages of docs/, and what stands in them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.rst", ROOT / "CONTRIBUTING.rst", *sorted((ROOT / "docs").glob("*.rst"))]

_BLOCK = re.compile(
    r"^(?P<indent> *)\.\. code-block:: (?P<language>\S+)\n(?P<options>(?: +:.+\n)*)\n"
    r"(?P<code>(?:(?P=indent) {3,}.*\n|\s*\n)+)",
    re.MULTILINE,
)
_LITERAL = re.compile(r"^(?!\.\.)(?P<lead>.*)::\n\n(?P<code>(?: {3,}.*\n|\n)+)", re.MULTILINE)


class Block(NamedTuple):
    """A block of code.

    Attributes:
        language: as in the directive: ``python``, ``console``, …
        caption: a file's name, or empty.
        saved_as: the same; or the name that the reader is told to save it as.
        code: the text, without its indentation.
        line: where it begins in the page.
        prints: what the page says right behind it that it prints; empty where it says nothing.
    """

    language: str
    caption: str
    saved_as: str
    code: str
    line: int
    prints: str


def blocks(page: Path, *languages: str) -> Iterator[Block]:
    """The code blocks of a page in these languages, or in all, in order."""
    text = page.read_text("utf-8")
    for found in _BLOCK.finditer(text):
        if languages and found["language"] not in languages:
            continue
        caption = re.search(r":caption: (.+)", found["options"])
        follows = _LITERAL.match(text, found.end())
        prints = textwrap.dedent(follows["code"]) if follows and follows["lead"] == "It prints" else ""
        line = text.count("\n", 0, found.start()) + 1
        code = textwrap.dedent(found["code"]).strip("\n") + "\n"
        named = caption[1] if caption else ""
        told = re.search(r"Save this as ``([\w.]+)``[^\n]*:\n\n$", text[: found.start()])
        yield Block(found["language"], named, told[1] if told else named, code, line, prints.strip("\n"))


def commands_of(block: Block) -> list[str]:
    """The commands of a console block, without what they print."""
    commands: list[str] = []
    for line in block.code.splitlines():
        if line.startswith("$ "):
            commands.append(line[2:])
        elif line.startswith("> ") and commands and commands[-1].endswith("\\"):
            commands[-1] += "\n" + line[2:]
    return commands
