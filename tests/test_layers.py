"""Imports run one way only: from the rim of the package inwards. Held by reading the sources, not by importing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "basix_cti"

# A module of the core imports only from earlier layers. Modules that are in none are leaves.
LAYERS = (
    {"version", "errors", "limits", "frames"},
    {"terms", "values", "forks", "waiting"},
    {"decoder", "readers"},
    {"etf"},
    {"bert"},
    {"elements"},
    {"builder", "calls"},
    {"events"},
    {"protocol", "state", "handler", "tap", "statistics"},
    {"call_tracker", "sink"},
    {"telling"},
    {"parser"},
    {"endpoint"},
    {"proxy"},
    {"auth"},
    {"transport", "commands", "dispatcher"},
    {"opening", "base_thread"},
    {"base_client", "io_thread"},
    {"client"},
)
RANK = {module: rank for rank, layer in enumerate(LAYERS) for module in layer}

# What websocket-client is used by.
WEBSOCKET = {"opening", "transport"}

# Without sockets, threads or clocks; and what of these some have leave to import.
SANS_IO = {
    "version",
    "errors",
    "limits",
    "frames",
    "terms",
    "decoder",
    "etf",
    "bert",
    "values",
    "readers",
    "builder",
    "elements",
    "calls",
    "events",
    "call_tracker",
    "protocol",
    "state",
    "statistics",
    "handler",
    "sink",
    "telling",
    "tap",
    "parser",
    "commands",
}
OUTSIDE = {
    "asyncio",
    "concurrent",
    "http",
    "multiprocessing",
    "os",
    "queue",
    "random",
    "requests",
    "sched",
    "select",
    "selectors",
    "signal",
    "socket",
    "socketserver",
    "ssl",
    "subprocess",
    "threading",
    "time",
    "urllib.request",
    "websocket",
}
LEAVE = {"parser": {"time"}, "commands": {"threading"}}


def imports(path: Path) -> Iterator[str]:
    """The full names of all modules that a source imports: at its top, in functions, and for type checkers alone."""
    inside = path.is_relative_to(PACKAGE)
    package = ".".join(path.parent.relative_to(PACKAGE.parent).parts) if inside else "basix_cti"
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield source
            # "from . import bert" names modules, "from .etf import Term" does not.
            yield from (f"{source}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "__import__",
            "import_module",
            "importlib.import_module",
        ):
            yield "importlib"


def ours(path: Path) -> set[str]:
    """The modules of the package that a source imports, by their first name; ``__init__`` for the package itself."""
    found = set()
    for name in imports(path):
        if name == "basix_cti":
            continue  # "from . import x": what follows names x
        if name.startswith("basix_cti."):
            first = name.split(".")[1]
            found.add(first if (PACKAGE / f"{first}.py").exists() or (PACKAGE / first).is_dir() else "__init__")
    return found


def others(path: Path) -> set[str]:
    """What a source imports from elsewhere, with all the packages that it lies in."""
    found: set[str] = set()
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "basix_cti":
            found |= {".".join(parts[: count + 1]) for count in range(len(parts))}
    return found


def sources() -> dict[str, list[Path]]:
    """The sources of each module of the package, of which some are packages themselves."""
    modules = {path.stem: [path] for path in PACKAGE.glob("*.py")}
    return modules | {path.parent.name: sorted(path.parent.rglob("*.py")) for path in PACKAGE.glob("*/__init__.py")}


def source(module: str) -> Path:
    return PACKAGE / f"{module}.py"


@pytest.mark.parametrize("module", sorted(RANK))
def test_a_module_of_the_core_imports_only_from_layers_below(module: str) -> None:
    assert source(module).exists()
    wrong = {name for name in ours(source(module)) if RANK.get(name, len(LAYERS)) >= RANK[module]}
    assert not wrong, f"{module} imports {sorted(wrong)}"


def test_the_package_itself_imports_the_core_alone() -> None:
    assert ours(PACKAGE / "__init__.py") <= RANK.keys()


def test_endpoint_and_auth_know_nothing_of_the_protocol() -> None:
    for module in ("endpoint", "proxy", "auth"):
        assert not ours(source(module)) & {
            "etf",
            "bert",
            "values",
            "elements",
            "events",
            "protocol",
            "state",
            "handler",
        }


def test_the_sans_io_modules_and_the_connection_do_not_know_each_other() -> None:
    for module in SANS_IO - {"commands"}:
        assert ours(source(module)) <= SANS_IO
    for module in WEBSOCKET | {"waiting"}:
        assert not ours(source(module)) & {"etf", "bert", "protocol", "state", "handler", "events"}


@pytest.mark.parametrize("path", sorted((PACKAGE / "board").glob("*.py")), ids=lambda path: path.stem)
def test_the_board_has_no_sockets_or_clocks_and_knows_no_viewer(path: Path) -> None:
    allowed = {"threading"} if path.stem == "board" else set()
    assert not others(path) & (OUTSIDE | {"rich", "importlib", "datetime"}) - allowed
    assert ours(path) <= RANK.keys() | {"board"}


def test_nothing_but_contrib_knows_of_web_frameworks() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] != "contrib":
            assert "contrib" not in ours(path), path
            assert not others(path) & {"django", "flask"}, path


@pytest.mark.parametrize(("leaf", "known_to"), [("doctor", {"cli"}), ("relay", {"cli", "contrib"})])
def test_only_the_rim_imports_the_doctor_and_the_relay(leaf: str, known_to: set[str]) -> None:
    users = {path.relative_to(PACKAGE).parts[0] for path in PACKAGE.rglob("*.py") if leaf in ours(path)}
    assert users - {leaf} == known_to


def test_only_the_relay_needs_redis() -> None:
    users = {path.relative_to(PACKAGE).parts[0] for path in PACKAGE.rglob("*.py") if "redis" in others(path)}
    assert users == {"relay"}


def test_there_are_no_cycles() -> None:
    """Also among the leaves, and whatever the table above says."""
    graph = {path.stem: ours(path) - {path.stem} for path in PACKAGE.glob("*.py")}
    while free := {module for module, needs in graph.items() if not needs & graph.keys()}:
        graph = {module: needs for module, needs in graph.items() if module not in free}
    assert not graph


@pytest.mark.parametrize("module", sorted(RANK.keys() - WEBSOCKET))
def test_only_opening_and_transport_import_websocket(module: str) -> None:
    assert "websocket" not in others(source(module))


@pytest.mark.parametrize("module", sorted(WEBSOCKET))
def test_they_do_import_websocket(module: str) -> None:
    assert "websocket" in others(source(module))


@pytest.mark.parametrize("module", sorted(SANS_IO))
def test_the_sans_io_modules_have_no_sockets_threads_or_clocks(module: str) -> None:
    assert not others(source(module)) & OUTSIDE - LEAVE.get(module, set())


@pytest.mark.parametrize("module", sorted(RANK.keys() - WEBSOCKET))
def test_the_core_needs_the_standard_library_alone(module: str) -> None:
    foreign = {
        "aiohttp",
        "websocket",
        "requests",
        "numpy",
        "hypothesis",
        "pytest",
        "importlib",
        "prometheus_client",
        "redis",
    }
    assert not others(source(module)) & foreign


class TestThePageOnArchitecture:
    """Its picture of the layers and its table of modules, as a newcomer reads them, and the tables in the packages."""

    page = (PACKAGE.parent / "docs" / "architecture.rst").read_text("utf-8")

    def test_imports_run_upwards_in_its_picture(self) -> None:
        picture = re.search(r"none below::\n\n((?:    .+\n)+)", self.page)
        assert picture is not None
        line_of = {name: number for number, line in enumerate(picture[1].splitlines()) for name in line.split()}
        assert line_of.keys() | {"__init__", "__main__", "simulator"} == sources().keys()
        for module, line in line_of.items():
            used = set().union(*map(ours, sources()[module])) - {module, "__init__", "simulator"}
            wrong = {name for name in used if line_of[name] >= line}
            assert not wrong, f"{module} imports {sorted(wrong)}"

    def test_its_table_lists_all_modules(self) -> None:
        table = self.page[self.page.index("The modules\n---") : self.page.index("Imports run one way")]
        assert sorted(re.findall(r"^``(\w+)`` ", table, re.MULTILINE)) == sorted(sources().keys() - {"__main__"})

    @pytest.mark.parametrize("package", sorted(PACKAGE.glob("*/__init__.py")), ids=lambda path: path.parent.name)
    def test_a_package_lists_its_modules(self, package: Path) -> None:
        told = ast.get_docstring(ast.parse(package.read_text("utf-8"))) or ""
        listed = set(re.findall(r"^``(\w+)``  ", told, re.MULTILINE))
        assert {path.stem for path in package.parent.glob("*.py")} - {"__init__"} <= listed
        assert all((package.parent / name).exists() or (package.parent / f"{name}.py").exists() for name in listed)


class TestTheReading:
    """The functions above must themselves see what there is to see."""

    @pytest.mark.parametrize(
        ("text", "module", "found"),
        [
            ("from .state import Picture", "state", True),
            ("from . import state", "state", True),
            ("from . import bert, state as s", "state", True),
            ("import basix_cti.state", "state", True),
            ("from basix_cti.state import Picture", "state", True),
            ("from basix_cti import state", "state", True),
            ("def f():\n    from .state import Picture", "state", True),
            ("if TYPE_CHECKING:\n    from .state import Picture", "state", True),
            ("from .simulator.wire import Wire", "simulator", True),
            ("from . import CTIClient", "__init__", True),
            ("from .values import state", "state", False),
            ("import state", "state", False),
        ],
    )
    def test_ours(self, text: str, module: str, found: bool, tmp_path: Path) -> None:
        (tmp_path / "x.py").write_text(text, "utf-8")
        assert (module in ours(tmp_path / "x.py")) is found

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("import time", {"time"}),
            ("import time as clock", {"time"}),
            ("from time import monotonic", {"time"}),
            ("def f():\n    import time", {"time"}),
            ("import urllib.request", {"urllib.request"}),
            ("from urllib import request", {"urllib.request"}),
            ("import importlib\nimportlib.import_module('time')", {"importlib"}),
            ("__import__('time')", {"importlib"}),
            ("from .time import x", set()),
        ],
    )
    def test_others(self, text: str, found: set[str], tmp_path: Path) -> None:
        (tmp_path / "x.py").write_text(text, "utf-8")
        assert others(tmp_path / "x.py") & (OUTSIDE | {"importlib"}) == found
