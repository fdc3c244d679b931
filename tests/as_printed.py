"""Run a command of a console block until it has shown enough: what a reader ends with Ctrl-C, this does.

``as_printed.py PROGRAM ARGUMENT...``, where PROGRAM is ``basix-cti`` or ``python``. It takes a free port of loopback in
place of one that is printed. Of a command that did not end well it leaves a line in the file that AS_PRINTED_FAILURES
names.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

# After so many lines of output it is Ctrl-C; 0 waits for the end.
_ENOUGH = {"simulate": 1, "wallboard": 1, "demo": 6, "tail": 40, "monitor": 3}


def command_of(program: str, arguments: list[str]) -> tuple[list[str], int]:
    """What to run, and after how many lines it has shown enough."""
    if program != "basix-cti":
        return [sys.executable, *arguments], 6 if arguments[0].endswith(".py") else 0
    command = arguments[0]
    enough = 1 if "--serve" in arguments else _ENOUGH.get(command, 0)
    if "--once" in arguments or "--svg" in arguments:  # then it ends by itself
        enough = 0
    for option in ("--port", "--serve"):
        if option in arguments:
            arguments[arguments.index(option) + 1] = "0"
    if "--host" in arguments:
        arguments[arguments.index("--host") + 1] = "127.0.0.1"
    if command in ("simulate", "wallboard") and "--port" not in arguments:
        arguments += ["--port", "0"]
    if command == "record" and "--seconds" not in arguments:
        arguments += ["--seconds", "1"]
    return [sys.executable, "-m", "basix_cti", *arguments], enough


def main(program: str, arguments: list[str]) -> int:
    """Its status; 0 where it was ended by Ctrl-C, and had no other reason to end."""
    command, enough = command_of(program, arguments)
    shown = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            shown += 1
            if shown == enough:
                process.send_signal(signal.SIGINT)
            try:
                print(line, end="", flush=True)
            except BrokenPipeError:  # what reads it, such as head, has seen enough
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    interrupted = 0 < enough <= shown and process.returncode == -signal.SIGINT
    if process.returncode != 0 and not interrupted:
        with open(os.environ["AS_PRINTED_FAILURES"], "a", encoding="utf-8") as failures:
            failures.write(f"{program} {' '.join(arguments)}: status {process.returncode}\n")
    return 0 if interrupted else process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
