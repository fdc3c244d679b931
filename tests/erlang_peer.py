"""Real Erlang/OTP as the other side of the tests: its term codec, and a small PBX on a WebSocket.

Both are escripts under ``tests/erlang`` that run for the length of a ``with`` block and are spoken to line by
line over pipes; the comments at their heads define the lines. Every wait is for a line, under a deadline.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO

__all__ = ["ERLANG_MISSING", "ErlangError", "ErlangPBX", "ErlangTerms"]

_SCRIPTS = Path(__file__).parent / "erlang"
_START_SECONDS = 60.0
_STOP_SECONDS = 15.0


def _erlang_missing() -> str | None:
    if shutil.which("escript") is None:
        return "escript is not on PATH"
    erl = shutil.which("erl")
    if erl is None:
        return "erl is not on PATH"
    probe = "halt(case code:ensure_loaded(crypto) of {module, _} -> 0; _ -> 1 end)."
    try:
        code = subprocess.run(
            [erl, "-noshell", "-eval", probe],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            timeout=_START_SECONDS,
            check=False,
        ).returncode
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"erl does not run: {error}"
    return None if code == 0 else "Erlang's crypto application is missing"


def _environment() -> dict[str, str]:
    return {**os.environ, "ERL_CRASH_DUMP": os.devnull, "ERL_CRASH_DUMP_SECONDS": "0"}


ERLANG_MISSING: str | None = _erlang_missing()
"""Why the tests against Erlang cannot run here, for ``skipif``; None where they can."""


class ErlangError(RuntimeError):
    """An escript answered ``error ...`` to a request, could not be started, or has ended unexpectedly."""


class _Script:
    """A running escript: lines in, lines out, and nothing left behind."""

    def __init__(self, name: str) -> None:
        self._path = _SCRIPTS / name
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._arrival = threading.Condition()
        self._lines: list[str] = []
        self._ended = False

    def start(self) -> None:
        if self._process is not None:
            raise ErlangError(f"{self._path.name} is running already")
        self._lines = []
        self._ended = False
        with contextlib.ExitStack() as undo:
            errors = undo.enter_context(tempfile.TemporaryFile())
            try:
                process = subprocess.Popen(
                    ["escript", str(self._path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=_environment(),
                )
            except OSError as error:
                raise ErlangError(f"{self._path.name} cannot be started: {error}") from error
            undo.pop_all()
        self._errors = errors
        self._process = process
        self._reader = threading.Thread(
            target=self._read, args=(process.stdout,), name=f"read {self._path.name}", daemon=True
        )
        self._reader.start()

    def _read(self, stdout: IO[bytes]) -> None:
        for line in stdout:
            with self._arrival:
                self._lines.append(line.rstrip(b"\n").decode("utf-8", "backslashreplace"))
                self._arrival.notify_all()
        with self._arrival:
            self._ended = True
            self._arrival.notify_all()

    def write(self, line: str) -> None:
        if "\n" in line or "\r" in line:
            raise ValueError("a request is one line")
        if self._process is None or self._process.stdin is None:
            raise ErlangError(f"{self._path.name} is not running")
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self.failure("does not take requests any more") from error

    def take(self, wanted: Callable[[str], bool], description: str, timeout: float) -> str:
        """Remove and return the first line that is `wanted`, waiting for it; the others stay, in order."""
        deadline = time.monotonic() + timeout
        seen = 0
        with self._arrival:
            while True:
                for index in range(seen, len(self._lines)):
                    if wanted(self._lines[index]):
                        return self._lines.pop(index)
                seen = len(self._lines)
                if self._ended:
                    raise self.failure(f"ended before {description}")
                if not self._arrival.wait(deadline - time.monotonic()):
                    others = [line[:200] for line in self._lines]
                    raise TimeoutError(f"no {description} within {timeout} s, only {others}")

    def failure(self, what: str) -> ErlangError:
        text = ""
        if self._errors is not None:
            # pread, because a seek would move the place where the script writes.
            descriptor = self._errors.fileno()
            start = max(0, os.fstat(descriptor).st_size - 2000)
            text = os.pread(descriptor, 2000, start).decode("utf-8", "replace").strip()
        return ErlangError(f"{self._path.name} {what}" + (f": {text}" if text else ""))

    def ask(self, request: str, is_answer: Callable[[str], bool], timeout: float) -> str:
        """Write a request and return its answer. No answer within `timeout` seconds ends the script."""
        self.write(request)
        try:
            return self.take(is_answer, f"answer to {request[:200]!r}", timeout)
        except TimeoutError:
            # An answer that came later would pass for the next request's.
            self.stop(patience=0.0)
            raise

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def stop(self, patience: float = _STOP_SECONDS) -> ErlangError | None:
        """End the script, by force if the end of its stdin does not within `patience` seconds.

        Returns what to raise if it did not end well by itself; None if it did, or was not running.
        """
        process, self._process = self._process, None
        if process is None:
            return None
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        failure = None
        try:
            if process.wait(patience) != 0:
                failure = self.failure(f"ended with status {process.returncode}")
        except subprocess.TimeoutExpired:
            failure = self.failure(f"did not end within {patience} s")
            process.kill()
            process.wait()
        if self._reader is not None:
            self._reader.join()
        if process.stdout is not None:
            process.stdout.close()
        if self._errors is not None:
            self._errors.close()
            self._errors = None
        return failure


class ErlangTerms:
    """Erlang's own ``term_to_binary`` and ``binary_to_term``, for the length of a ``with`` block.

    Methods raise `ErlangError` for what Erlang refuses for another reason than a malformed term,
    `TimeoutError` when no answer comes within `timeout` seconds, which ends the escript, and `ValueError` for
    text of several lines. Leaving the block raises `ErlangError` when the escript has crashed. One thread at
    a time.
    """

    def __init__(self, timeout: float = 60.0) -> None:
        self._timeout = timeout
        self._script = _Script("terms.escript")

    def __enter__(self) -> ErlangTerms:
        self._script.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failure = self._script.stop()
        if failure is not None and error is None:
            raise failure

    def encode(self, expr: str, options: str = "[]") -> bytes:
        """The external term, version byte included, of what an Erlang expression evaluates to.

        Args:
            expr: Erlang source on one line; the final dot may be left out.
            options: the second argument of ``term_to_binary/2``, Erlang source too.
        """
        return bytes.fromhex(self._ask(f"encode {options} || {expr}"))

    def decode_text(self, data: bytes) -> str | None:
        """The term as Erlang's ``~tw`` prints it, strings as numbers; None where Erlang says badarg."""
        return self._ask_about_terms(f"decode {data.hex()}")

    def pretty_text(self, data: bytes) -> str | None:
        """The term as Erlang's ``~0tp`` prints it, with all of Unicode as text; None where Erlang says badarg."""
        return self._ask_about_terms(f"text {data.hex()}")

    def consult(self, path: str) -> bytes:
        """The external term of the list of terms that ``file:consult/1`` reads from a file."""
        return bytes.fromhex(self._ask(f"consult {path}"))

    def recode(self, data: bytes) -> bytes | None:
        """The term as Erlang itself encodes it with minor version 2; None where Erlang says badarg."""
        answer = self._ask_about_terms(f"recode {data.hex()}")
        return None if answer is None else bytes.fromhex(answer)

    def same(self, a: bytes, b: bytes) -> bool | None:
        """Whether both decode to exactly equal terms (``=:=``); None where Erlang says badarg to either."""
        answer = self._ask_about_terms(f"same {a.hex()} {b.hex()}")
        return None if answer is None else answer == "true"

    def release(self) -> int:
        """The number of the OTP release, such as 25."""
        return int(self._ask("release"))

    def _ask_about_terms(self, request: str) -> str | None:
        answer = self._answer(request)
        return None if answer == "error badarg" else self._result(answer, request)

    def _ask(self, request: str) -> str:
        return self._result(self._answer(request), request)

    def _answer(self, request: str) -> str:
        return self._script.ask(request, lambda line: True, self._timeout)

    @staticmethod
    def _result(answer: str, request: str) -> str:
        verdict, _, result = answer.partition(" ")
        if verdict != "ok":
            raise ErlangError(f"{result} from: {request[:200]}")
        return result


class ErlangPBX:
    """A small PBX that speaks WebSocket on 127.0.0.1, for the length of a ``with`` block.

    What clients do is reported in lines, to be waited for with `wait_for`; the other methods steer the PBX
    and return when it has done its part. Those that send something use the newest connection still open, and
    do not wait for the client to read it, up to 64 MiB.

    They raise `ErlangError` when the PBX refuses (``not_connected``, for one) or has ended, `TimeoutError`
    when it does not answer within 30 seconds, which ends it, and `ValueError` for text of several lines.
    Leaving the block raises `ErlangError` when the PBX has crashed. One thread at a time.
    """

    port: int
    """The TCP port; 0 before the ``with`` block."""

    def __init__(self) -> None:
        self.port = 0
        self._script = _Script("pbx.escript")

    def __enter__(self) -> ErlangPBX:
        self._script.start()
        try:
            self.port = int(self.wait_for("listening ", _START_SECONDS).split()[1])
        except BaseException:
            self._script.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failure = self._script.stop()
        if failure is not None and error is None:
            raise failure

    def wait_for(self, prefix: str, timeout: float = 30.0) -> str:
        """The next report line that starts with `prefix`, whole; lines passed over are kept for later calls.

        ``connected GET TARGET``, ``header authorization VALUE``, ``refused REASON``, ``text PAYLOAD``,
        ``binary HEX``, ``closed CODE``, ``closed -``, ``failed CODE REASON``, ``played SESSION``.

        Args:
            prefix: how the line starts.
            timeout: seconds; after that `TimeoutError`, which tells the lines that did come.
        """
        return self._script.take(
            lambda line: line.startswith(prefix) and not _is_answer(line), f"line {prefix!r}", timeout
        )

    def send(self, expr: str) -> None:
        """Send one message: the value of an Erlang expression on one line, wrapped and encoded as set."""
        self._command(f"send {expr}")

    def frame(self, data: bytes) -> None:
        """Send one binary frame with this payload, whether it is a term or not."""
        self._command(f"frame {data.hex()}")

    def raw(self, data: bytes) -> None:
        """Send bytes straight onto the TCP connection, outside any frame."""
        self._command(f"raw {data.hex()}")

    def session(self, name: str) -> None:
        """Send a whole session, ``first`` or ``current``, message by message; ``played NAME`` is reported."""
        self._command(f"session {name}")

    def options(self, text: str = "[{minor_version,1}]") -> None:
        """Set the options of ``term_to_binary/2``, as Erlang source, for all later messages."""
        self._command(f"options {text}")

    def wrap(self, kind: str) -> None:
        """Put later messages, sessions included, into a container of one: ``tuple``, ``list`` or ``none``."""
        self._command(f"wrap {kind}")

    def names(self, kind: str) -> None:
        """Set how later sessions write names of elements and events: ``atom``, ``string`` or ``binary``.

        They are strings until this is called.
        """
        self._command(f"names {kind}")

    def close(self, code: int | None = 1000) -> None:
        """Send a close frame, for None one without a code; the client's answer is ``closed CODE``."""
        self._command("close" if code is None else f"close {code}")

    def drop(self) -> None:
        """End the TCP connection without a close frame; nothing is reported."""
        self._command("drop")

    def quit(self) -> None:
        """End the PBX and with it all connections. Does nothing the second time."""
        if self._script.is_running:
            self._command("quit")
            failure = self._script.stop()
            if failure is not None:
                raise failure

    def _command(self, line: str) -> None:
        answer = self._script.ask(line, _is_answer, 30.0)
        if answer != "ok":
            raise ErlangError(f"{answer.removeprefix('error ')} from: {line[:200]}")


def _is_answer(line: str) -> bool:
    return line == "ok" or line.startswith("error ")
