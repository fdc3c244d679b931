"""``python -m basix_cti`` is ``basix-cti``."""

import sys

from .cli import main

sys.exit(main())
