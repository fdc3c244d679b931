"""``python -m fuzz``: the rounds one after the other, and the report."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import re
import subprocess
import sys

import basix_cti

from . import compared
from .targets import OUT, TARGETS

_NAMES = (*TARGETS, "compared")
_LATE = 120
_SHOWN = 20


def guided(name: str, seconds: int, seed: int) -> int:
    """Run a target under atheris, in a process of its own, because atheris ends it; how many bugs were found."""
    log = OUT / f"{name}.log"
    before = set(OUT.glob(f"{name}-*"))
    command = [sys.executable, "-m", "fuzz.guided", name, str(seconds), str(seed)]
    with log.open("wb") as file:
        try:
            status = subprocess.run(command, stdout=file, stderr=file, timeout=seconds + _LATE, check=False).returncode
        except subprocess.TimeoutExpired:
            status = -1
    text = log.read_text("utf-8", "replace")
    runs = re.findall(r"^stat::number_of_executed_units: *([0-9]+)", text, re.MULTILINE)
    reached = re.findall(r" cov: ([0-9]+) .* corp: ([0-9]+)/", text)
    if status == 0 and runs and reached:
        places, kept = reached[-1]
        print(f"{name:9} {runs[-1]} inputs in {seconds} s, {places} places in the code reached, by {kept} of them")
        return 0
    found = ", ".join(str(path) for path in sorted(set(OUT.glob(f"{name}-*")) - before)) or "none was written"
    reason = re.findall(r"^(?:[\w.]*(?:Error|Found|Exception)\b.*|.*ERROR: libFuzzer.*)$", text, re.MULTILINE)
    print(f"{name:9} WRONG: {reason[0] if reason else f'ended with status {status}'}; input: {found}; see {log}")
    return 1


def against_erlang(seconds: int, seed: int) -> int:
    """Compare the decoder with Erlang's; how many inputs the two see differently."""
    differences: list[str] = []

    def found(data: bytes, difference: str) -> None:
        path = OUT / f"compared-{hashlib.sha256(data).hexdigest()[:16]}"
        path.write_bytes(data)
        differences.append(f"{difference}; input: {path}")

    count, taken = compared.run(seconds, seed, found)
    print(f"compared  {count} inputs with Erlang's binary_to_term in {seconds} s, {taken} of them a term for both")
    for line in differences[:_SHOWN]:
        print(f"compared  WRONG: {line}")
    return len(differences)


def main() -> int:
    """Run as told on the command line; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Fuzz the decoder and the parser.")
    parser.add_argument("--seconds", type=int, default=60, help="how long, for all rounds together (60)")
    parser.add_argument("--seed", type=int, default=1, help="of the changes (1)")
    parser.add_argument("rounds", nargs="*", metavar="ROUND", help=f"{', '.join(_NAMES)} (all)")
    options = parser.parse_args()
    unknown = set(options.rounds) - set(_NAMES)
    if unknown or options.seconds < 0 or options.seed < 1:
        parser.error(f"rounds are {', '.join(_NAMES)}; --seconds is at least 0, --seed at least 1")
    rounds = options.rounds or _NAMES
    if importlib.util.find_spec("atheris") is None and set(rounds) & set(TARGETS):
        print("atheris is not installed: pip install '.[fuzz]' (Linux on x86-64); without it, name the round compared")
        return 2
    OUT.mkdir(exist_ok=True)
    print(f"fuzzing the {'compiled' if basix_cti.compiled else 'plain'} modules, seed {options.seed}")
    each = options.seconds // len(rounds)
    bugs = 0
    for name in rounds:
        # libFuzzer takes 0 for no end.
        bugs += against_erlang(each, options.seed) if name == "compared" else guided(name, max(1, each), options.seed)
    print(f"{bugs} wrong" if bugs else "nothing but DecodeError, and no difference from Erlang that is not documented")
    return 1 if bugs else 0


if __name__ == "__main__":
    sys.exit(main())
