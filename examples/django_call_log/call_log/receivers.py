"""What happens at the PBX, written into the database. ``manage.py cti`` has these called, in a thread of its own."""

from typing import Any

from django.dispatch import receiver

from basix_cti import Call, CTIClient
from basix_cti.contrib.django import signals

from .models import LoggedCall


@receiver(
    [
        signals.on_call_ringing,
        signals.on_call_answered,
        signals.on_call_parked,
        signals.on_call_transferred,
        signals.on_call_ended,
    ]
)
def write(call: Call, **kwargs: Any) -> None:
    """Write the row of a call. It may be there: a call has several events, and may have rung before a restart."""
    LoggedCall.objects.update_or_create(
        call_id=call.id,
        defaults={
            "direction": call.direction or "",
            "caller_number": call.caller.number or "",
            "caller_name": str(call.caller),
            "called": (call.target and (call.target.name or call.target.address)) or "",
            "answered_by": str(call.answered_by or ""),
            "state": call.state,
            "outcome": call.outcome or "",
            "offer_time": call.offer_time,
            "hangup_time": call.hangup_time,
            "wait_seconds": call.wait_duration,
            "talk_seconds": call.talk_duration,
        },
    )


@receiver(signals.on_initial_chan_info)
def start_over(client: CTIClient, **kwargs: Any) -> None:
    """After a start: calls that ended while nobody listened are over; how, nobody knows. Those that are up are not."""
    up = client.calls
    LoggedCall.objects.exclude(state="ended").exclude(call_id__in=[call.id for call in up]).update(state="ended")
    for call in up:
        write(call)
