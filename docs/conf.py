"""Sphinx configuration: ``sphinx-build -W -n -b html docs docs/_build/html``."""

import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

VERSION = re.search(r'^__version__ = "(.+)"$', (ROOT / "basix_cti" / "version.py").read_text("utf-8"), re.MULTILINE)
assert VERSION is not None, "basix_cti/version.py holds the version"

project = "basix_cti"
author = "the authors of basix_cti"
release = version = VERSION[1]

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
highlight_language = "none"  # literal blocks behind "::" are no Python
html_theme = "furo"
html_title = f"basix_cti {release}"
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
maximum_signature_line_length = 90
napoleon_numpy_docstring = False
napoleon_use_ivar = True

nitpicky = True
nitpick_ignore = [  # of the standard library, of Django and of Flask, whose documentation is not asked over the network
    ("py:exc", "ImproperlyConfigured"),
    ("py:class", "collections.abc.Callable"),
    ("py:class", "collections.abc.Collection"),
    ("py:class", "collections.abc.Generator"),
    ("py:class", "collections.abc.Iterable"),
    ("py:class", "collections.abc.Mapping"),
    ("py:class", "collections.abc.Sequence"),
    ("py:class", "datetime.datetime"),
    ("py:class", "flask.app.Flask"),
    ("py:class", "os.PathLike"),
    ("py:class", "pathlib.Path"),
    ("py:class", "ssl.SSLContext"),
    ("py:class", "threading.Event"),
    ("py:class", "prometheus_client.registry.CollectorRegistry"),
    ("py:class", "CollectorRegistry"),
]
# What a decorator takes is a type variable of its own.
nitpick_ignore_regex = [("py:class", r"basix_cti\.contrib\.flask\._Of\w+")]


_COLON = "\ue000"


def _untyped(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Keep napoleon from seeing types where there are none: in ``a, b: text``, and in a property's ``text: text``."""
    attributes = False
    for number, line in enumerate(lines):
        if line and not line.startswith(" "):
            attributes = line == "Attributes:"
        if what == "property":
            lines[number] = line.replace(": ", f"{_COLON} ")
        elif attributes and (match := re.match(r"( +\w+(?:, \w+)+)(?=: )", line)):
            lines[number] = match[1].replace(", ", ",\u200b") + line[match.end() :]


def _colons(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    lines[:] = [line.replace(_COLON, ":") for line in lines]


def _factories(
    app: Sphinx, what: str, name: str, obj: object, options: object, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """A dataclass shows ``<factory>`` for a default that is made anew each time, which is no Python."""
    return signature and signature.replace("<factory>", "..."), returned


def _public(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element) -> nodes.Element | None:
    """``basix_cti.elements.Channel.key`` is documented under the name by which it is imported."""
    target = re.fullmatch(r"(basix_cti|basix_cti\.simulator)\.[a-z_]+\.([A-Z].*)", node["reftarget"])
    if target is None or node["refdomain"] != "py":
        return None
    domain = env.domains.python_domain
    name = f"{target[1]}.{target[2]}"
    return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], name, node, content)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _untyped, priority=400)  # before napoleon
    app.connect("autodoc-process-docstring", _colons, priority=600)  # behind it
    app.connect("autodoc-process-signature", _factories)
    app.connect("missing-reference", _public)
