"""``manage.py cti``: the client of a site as a service in the foreground."""

from __future__ import annotations

import logging
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from .....errors import AuthError, ConfigError, ConnectionReplaced
from ....one_client import interruptible
from ...site import run_forever

__all__ = ["Command"]

_IN_VAIN = 2


class Command(BaseCommand):
    """Exit status: 0 for Ctrl-C, SIGTERM, or ``stop()`` by a hook; 2 where starting again would be in vain."""

    help = (
        "Connects to the PBX of settings.BASIX_CTI, and tells its HANDLER and the receivers of signals what happens "
        "there, until Ctrl-C or SIGTERM. The status is then 0; it is 2 where starting again would be in vain: a "
        "setting is wrong, the PBX refuses the login, or another client has taken the place of this one."
    )
    requires_system_checks = ()  # what is wrong with the settings is told in one line

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the client."""
        log_to_stderr(options["verbosity"])
        try:
            with interruptible():
                run_forever(stop_on_auth_error=True)
        except (ConfigError, AuthError, ConnectionReplaced) as error:
            raise CommandError(str(error), returncode=_IN_VAIN) from None


def log_to_stderr(verbosity: int) -> None:
    """Show what the library logs, unless the site's LOGGING says where that goes.

    Args:
        verbosity: 0 for warnings and errors alone, 2 and more for all.
    """
    log = logging.getLogger("basix_cti")
    if logging.getLogger().handlers or any(not isinstance(each, logging.NullHandler) for each in log.handlers):
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    handler.addFilter(lambda record: not _is_told_at_the_end(record))
    log.addHandler(handler)
    log.setLevel((logging.WARNING, logging.INFO, logging.DEBUG)[min(verbosity, 2)])


def _is_told_at_the_end(record: logging.LogRecord) -> bool:
    return isinstance(record.args, tuple) and any(isinstance(each, AuthError) for each in record.args)
