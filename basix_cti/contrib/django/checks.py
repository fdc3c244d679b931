"""System checks of ``settings.BASIX_CTI``: ``basix_cti.E001`` and so on. They open no connection.

==================  ====================================================================================
id                  tells
==================  ====================================================================================
``basix_cti.E001``  ``BASIX_CTI`` is no dictionary
``basix_cti.E002``  a name that is no setting; the message has the nearest one that is
``basix_cti.E003``  a setting that is wrong, or two that do not go together
``basix_cti.E004``  ``HANDLER`` cannot be imported, or is no ``CTIHandler``
``basix_cti.W001``  server, domain or token are missing; a warning, because where a site is built, migrated
                    or tested, there may be no secrets. ``manage.py cti`` ends with it
==================  ====================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Warning

from ...errors import ConfigError
from .site import handler_class, patience, site_settings

__all__ = ["check_settings"]


def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """All that is wrong with ``settings.BASIX_CTI``."""
    try:
        settings = site_settings()
    except ConfigError as error:
        return [Error(str(error), id="basix_cti.E001")]
    found: list[CheckMessage] = [Error(str(error), id="basix_cti.E002") for error in settings.unknown()]
    if not any(message.id == "basix_cti.E002" for message in found):
        try:
            settings.check()
        except ConfigError as error:
            kind, number = (Warning, "W001") if error.missing else (Error, "E003")
            found.append(kind(str(error), id=f"basix_cti.{number}"))
    try:
        patience()
    except ConfigError as error:
        found.append(Error(str(error), id="basix_cti.E003"))
    try:
        handler_class()
    except ConfigError as error:
        found.append(Error(str(error), id="basix_cti.E004"))
    return found
