"""A PostgreSQL server for a test: in a folder of its own, on a socket in it, without a TCP port."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

_LIMIT = 60.0


def programs_of_postgresql() -> Path | None:
    """Where its programs are; None where it is not installed."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return folders[-1].parent if folders else None


class PostgreSQL:
    """A server; a context manager that has it running.

    Attributes:
        environment: the variables by which PostgreSQL's library finds it.
    """

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="basix-cti-pg-"))  # a short name: that of a socket is bounded
        self._user: str | None = None
        if os.getuid() == 0:  # which it refuses to run as
            self._user = "postgres"
            entry = pwd.getpwnam(self._user)
            os.chown(self._folder, entry.pw_uid, entry.pw_gid)
        self.environment = {"PGHOST": str(self._folder), "PGUSER": "site", "PGDATABASE": "postgres"}
        self._do("initdb", "--username=site", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._do("pg_ctl", "start", "--wait", "--log", f"{self._folder}/log", "--options", self._options())

    def crash(self) -> None:
        """Have it end as in a crash: connections break, and nothing is put in order."""
        self._do("pg_ctl", "stop", "--wait", "--mode", "immediate")

    def _options(self) -> str:
        return f"-k {self._folder} -c listen_addresses='' -c fsync=off -c shared_buffers=16MB"

    def _do(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), "-D", str(self._folder / "data"), *arguments]
        # Into a file: what it starts would keep a pipe open.
        with tempfile.TemporaryFile("w+") as told:
            done = subprocess.run(
                command, cwd="/", user=self._user, stdin=subprocess.DEVNULL, stdout=told, stderr=told, timeout=_LIMIT
            )
            told.seek(0)
            assert done.returncode == 0, told.read()

    def __enter__(self) -> PostgreSQL:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        if (self._folder / "data" / "postmaster.pid").exists():
            self.crash()
        shutil.rmtree(self._folder)
