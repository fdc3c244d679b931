"""Build and metadata of basix_cti; tools are configured in pyproject.toml.

``BASIX_CTI_USE_MYPYC=1 pip install .`` compiles the modules that do most of the work; a C compiler is needed.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from setuptools import Extension, find_packages, setup

HERE = Path(__file__).parent

VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "basix_cti" / "version.py").read_text("utf-8"), re.MULTILINE)
assert VERSION is not None, "basix_cti/version.py holds the version"

COMPILED = [
    f"basix_cti/{module}.py"
    for module in (
        "frames",
        "decoder",
        "readers",
        "builder",
        "protocol",
        "state",
        "statistics",
        "calls",
        "call_tracker",
        "telling",
        "dispatcher",
    )
]
USE_MYPYC = os.environ.get("BASIX_CTI_USE_MYPYC", "") not in ("", "0")


def extensions() -> Sequence[Extension]:
    """The compiled modules; none where that was not asked for."""
    if not USE_MYPYC:
        return []
    try:
        from mypyc.build import mypycify
    except ImportError:  # pip asks for setup_requires before mypy is there
        return []
    options = ["--config-file=", "--ignore-missing-imports"]
    modules: Sequence[Any] = mypycify([*options, *COMPILED], opt_level="3", debug_level="0", group_name="basix_cti")
    return modules


SIMULATOR = ["aiohttp>=3.11,<4"]
WEB = ["aiohttp>=3.11,<4"]
CLI = ["rich>=13.7", "shtab>=1.7", 'tomli>=2; python_version < "3.11"']
PROMETHEUS = ["prometheus-client>=0.20"]
DJANGO = ["django>=4.2"]
FLASK = ["flask>=3"]
REDIS = ["redis[hiredis]>=5"]
TESTING = [*SIMULATOR, "pytest>=8.2"]
SERVERS = [*DJANGO, *FLASK, "celery>=5.4", "gunicorn>=23", "psycopg[binary]>=3.1.8"]
TEST = [
    *TESTING,
    *CLI,
    *PROMETHEUS,
    *REDIS,
    *SERVERS,
    *WEB,
    "aiosmtpd>=1.4",
    "cryptography>=42",
    "hypothesis>=6.100",
    "pyte>=0.8.2",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "selenium>=4.20",
    "trustme>=1.2",
]
LINT = ["build>=1.2", "django-stubs>=5.2", "mypy>=1.13", "ruff>=0.8", "tomli>=2", "twine>=6", "types-setuptools"]
# It is no part of "dev": there are wheels for Linux on x86-64 alone, and elsewhere it is hard to build.
FUZZ = ["atheris>=2.3"]
DOCS = [*SIMULATOR, *DJANGO, *FLASK, *PROMETHEUS, *REDIS, "sphinx>=8.1", "furo>=2024.8"]

setup(
    name="basix_cti",
    version=VERSION[1],
    description="Events of a Basix PBX (channels, users, groups, voicemail), told to Python callbacks",
    long_description=(HERE / "README.rst").read_text("utf-8"),
    long_description_content_type="text/x-rst",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=find_packages(include=["basix_cti", "basix_cti.*"]),
    py_modules=["pytest_basix_cti"],
    package_data={"basix_cti": ["py.typed"], "basix_cti.wallboard": ["static/*"]},
    ext_modules=extensions(),
    setup_requires=["mypy>=1.13"] if USE_MYPYC else [],
    install_requires=["websocket-client>=1.9,!=1.9.1"],
    extras_require={
        "cli": CLI,
        "prometheus": PROMETHEUS,
        "redis": REDIS,
        "web": WEB,
        "simulator": SIMULATOR,
        "django": DJANGO,
        "flask": FLASK,
        "testing": TESTING,
        "test": TEST,
        "lint": LINT,
        "docs": DOCS,
        "fuzz": FUZZ,
        "dev": [*TEST, *LINT, *DOCS],
    },
    entry_points={
        "console_scripts": ["basix-cti = basix_cti.cli:main"],
        "pytest11": ["basix_cti = pytest_basix_cti"],
    },
    keywords="basix brastel cti telephony pbx freeswitch erlang bert websocket",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Framework :: Django",
        "Framework :: Django :: 4.2",
        "Framework :: Django :: 5.2",
        "Framework :: Django :: 6.0",
        "Framework :: Flask",
        "Framework :: Pytest",
        "Intended Audience :: Developers",
        "Intended Audience :: Telecommunications Industry",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Communications :: Telephony",
        "Typing :: Typed",
    ],
)
