"""Compare an sdist with what git has: ``check_sdist.py dist/basix_cti-0.1.0.tar.gz``. Status 1 where they differ."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Made by the build, and of use in a clone alone.
GENERATED = ("PKG-INFO", "setup.cfg", "basix_cti.egg-info/")
ONLY_IN_GIT = (".gitattributes", ".gitignore")


def main(sdist: str) -> int:
    """0 if it holds every file that git has, and no other."""
    with tarfile.open(sdist) as archive:
        inside = {member.name.partition("/")[2] for member in archive if member.isfile()}
    inside = {name for name in inside if not name.startswith(GENERATED)}
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    tracked = {name for name in listed.split("\0") if name and (ROOT / name).exists()} - set(ONLY_IN_GIT)
    for name in sorted(tracked - inside):
        print(f"not in {sdist}: {name}; name it in MANIFEST.in", file=sys.stderr)
    for name in sorted(inside - tracked):
        print(f"in {sdist}, but not in git: {name}; exclude it in MANIFEST.in, or add it", file=sys.stderr)
    return int(inside != tracked)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
