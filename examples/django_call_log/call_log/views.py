"""The live page. It reads the database, so any number of web workers can serve it."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from .models import LoggedCall

_SHOWN = 50


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """The page, which asks for the rows every two seconds."""
    return render(request, "call_log/page.html", {"calls": LoggedCall.objects.all()[:_SHOWN]})


@require_safe
@never_cache
def rows(request: HttpRequest) -> HttpResponse:
    """The rows alone."""
    return render(request, "call_log/rows.html", {"calls": LoggedCall.objects.all()[:_SHOWN]})
