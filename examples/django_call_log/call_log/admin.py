"""The call log in the admin: to look at, not to change."""

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest

from .models import LoggedCall

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[LoggedCall]  # of django-stubs; Django's own takes no parameter
else:
    ModelAdmin = admin.ModelAdmin


@admin.register(LoggedCall)
class LoggedCallAdmin(ModelAdmin):
    """Search and filter calls."""

    list_display = ("offer_time", "direction", "caller_name", "caller_number", "called", "answered_by", "outcome")
    list_filter = ("outcome", "direction", "state")
    search_fields = ("caller_number", "caller_name", "called", "answered_by")
    date_hierarchy = "offer_time"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: LoggedCall | None = None) -> bool:
        return False
