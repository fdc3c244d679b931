"""One row for each call."""

from django.db import models


class LoggedCall(models.Model):
    """A call, as it is or as it was."""

    call_id = models.CharField(max_length=255, unique=True)
    direction = models.CharField(max_length=10, blank=True)
    caller_number = models.CharField(max_length=255, blank=True)
    caller_name = models.CharField(max_length=255, blank=True)
    called = models.CharField(max_length=255, blank=True)
    answered_by = models.CharField(max_length=255, blank=True)
    state = models.CharField(max_length=20, db_index=True)
    outcome = models.CharField(max_length=20, blank=True)
    offer_time = models.DateTimeField(null=True, db_index=True)
    hangup_time = models.DateTimeField(null=True, blank=True)
    wait_seconds = models.FloatField(null=True, blank=True)
    talk_seconds = models.FloatField(null=True, blank=True)

    class Meta:
        ordering = ("-offer_time", "-id")

    def __str__(self) -> str:
        return f"{self.caller_name} to {self.called}: {self.outcome or self.state}"
