"""No public name, parameter or default changes unnoticed: tests/public_api.txt holds them."""

from __future__ import annotations

import difflib
import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

import basix_cti

ROOT = Path(__file__).parent.parent
HELD = ROOT / "tests" / "public_api.txt"
TOOL = ROOT / "tools" / "public_api.py"


def test_public_names_do_not_change_unnoticed() -> None:
    done = subprocess.run(
        [sys.executable, str(TOOL)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=30,
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONIOENCODING": "utf-8",
        },  # the plain modules, not compiled ones
    )
    assert done.returncode == 0, done.stderr
    held, now = HELD.read_text("utf-8").splitlines(), done.stdout.splitlines()
    changes = [line for line in difflib.unified_diff(held, now, "was", "is", lineterm="", n=0) if line[:2] != "@@"]
    message = "public names changed. If that is meant: make public-api, and tell it in CHANGELOG.rst\n"
    assert held == now, message + "\n".join(changes)


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("public_api", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_public_name_is_documented(tool: ModuleType) -> None:
    documented = {name.rpartition(".")[2] for name in tool.documented()}
    assert set(basix_cti.__all__) - documented == {"__version__", "compiled"}  # docs/public_api tells of these


@dataclass
class Before:
    number: str = ""

    def call(self, to: str, timeout: float = 1.0) -> None: ...

    @property
    def state(self) -> str:
        return ""

    def _private(self) -> None: ...


@dataclass
class After:
    number: str = ""

    def call(self, target: str, timeout: float = 2.0) -> None: ...

    @property
    def state(self) -> str | None:
        return ""

    def _private(self, more: int) -> None: ...


def test_what_counts_as_a_change(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "PACKAGE", __name__)
    before, after = (sorted(tool.lines_of_class("Line", cls, set())) for cls in (Before, After))
    assert before == [
        "Line(number: str = '') -> None",
        "Line.call(self, to: str, timeout: float = 1.0) -> None",
        "Line.number: str",
        "Line.state: property -> str",
        "class Line",
    ]
    assert [line for line in after if line not in before] == [
        "Line.call(self, target: str, timeout: float = 2.0) -> None",
        "Line.state: property -> str | None",
    ]
