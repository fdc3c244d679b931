"""``python -m fuzz.guided TARGET SECONDS SEED``: one target under atheris, which ends the process. For ``__main__``."""

from __future__ import annotations

import importlib
import logging
import random
import sys
from typing import Any

# By its name, because it need not be installed where types are checked.
atheris: Any = importlib.import_module("atheris")

with atheris.instrument_imports(include=["basix_cti"], enable_loader_override=False):
    from .mutate import CHANGES
    from .targets import CORPUS, OUT, TARGETS

_MAX_LENGTH = {"etf": 4096, "session": 16_384}
_MEGABYTES = 1024
_SECONDS_FOR_ONE = 20


def main(name: str, seconds: str, seed: str) -> None:
    """Begin with the corpus, and keep what reaches new code in ``.fuzz/``.

    Args:
        name: of the target.
        seconds: how long, a whole number; 0 to do no more than read the corpus.
        seed: a whole number.
    """
    logging.disable(logging.CRITICAL)  # what hooks are told is kept by the target
    kept = OUT / name
    kept.mkdir(parents=True, exist_ok=True)

    def change(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.5:
            return bytes(atheris.Mutate(data, max_size))
        return CHANGES[name](data, rng)[:max_size]

    options = [
        *(f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={_MAX_LENGTH[name]}"),
        *(f"-rss_limit_mb={_MEGABYTES}", f"-timeout={_SECONDS_FOR_ONE}", f"-artifact_prefix={OUT / name}-"),
        *("-print_final_stats=1", "-verbosity=1", str(kept), str(CORPUS / name)),
    ]
    atheris.Setup([sys.argv[0], *options], TARGETS[name], custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
