"""The Django app: ``INSTALLED_APPS = [..., "basix_cti.contrib.django"]``; ``pip install basix-cti[django]``.

======================  ==================================================================================
module                  is for
======================  ==================================================================================
``signals``             a Django signal for every hook
``site``                this process's client, made from ``settings.BASIX_CTI``
``handler``             from events to signals and to ``HANDLER``, with database connections that work
``checks``              system checks of ``settings.BASIX_CTI``
``apps``                what Django loads
``management``          ``manage.py cti``
======================  ==================================================================================

Nothing connects by itself. ``manage.py cti`` does, in the foreground; and each process that serves requests, with the
first one, where ``BASIX_CTI["START_IN_WORKER"]`` is True.
"""

from .site import get_client, site_handler, start, stop

__all__ = ["get_client", "site_handler", "start", "stop"]
