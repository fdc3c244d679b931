"""What Django loads: registers the checks, and what starts a client where that was asked for."""

from django.apps import AppConfig
from django.core.checks import register
from django.core.signals import request_started

from ...errors import ConfigError

__all__ = ["BasixCTIConfig"]


class BasixCTIConfig(AppConfig):
    """The app; it has no models."""

    name = "basix_cti.contrib.django"
    label = "basix_cti"
    verbose_name = "Basix CTI"

    def ready(self) -> None:
        """Connect nothing; that is for ``manage.py cti``, or the first request where START_IN_WORKER is True."""
        from .checks import check_settings
        from .site import site_settings, start_with_first_request

        register(check_settings)
        try:
            wanted = site_settings().start_in_worker
        except ConfigError:
            return  # the checks tell it
        if wanted:
            request_started.connect(start_with_first_request, dispatch_uid="basix_cti")
