"""``manage.py cti``: the client of a site as a service in the foreground."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ....foreground import METRICS, Ended, run
from ...site import one

__all__ = ["Command"]


class Command(BaseCommand):
    """Exit status: 0 for Ctrl-C, SIGTERM, or ``stop()`` by a hook; 2 where starting again would be in vain."""

    help = (
        "Connects to the PBX of settings.BASIX_CTI, and tells its HANDLER and the receivers of signals what happens "
        "there, until Ctrl-C or SIGTERM. The status is then 0; it is 2 where starting again would be in vain: a "
        "setting is wrong, the PBX refuses the login, or another client has taken the place of this one."
    )
    requires_system_checks = ()  # what is wrong with the settings is told in one line

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the command's own."""
        parser.add_argument("--metrics", metavar="HOST:PORT", help=METRICS)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the client."""
        try:
            run(one, verbosity=options["verbosity"], metrics=options["metrics"])
        except Ended as end:
            raise CommandError(str(end), returncode=end.status) from None
