"""What Django loads."""

from django.apps import AppConfig


class CallLogConfig(AppConfig):
    """The app."""

    name = "call_log"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect the receivers: nothing else imports them."""
        from . import receivers  # noqa: F401
