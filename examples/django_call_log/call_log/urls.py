"""Addresses of the call log."""

from django.urls import path

from . import views

urlpatterns = [path("", views.page, name="page"), path("rows/", views.rows, name="rows")]
