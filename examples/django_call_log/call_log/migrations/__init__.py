"""Migrations of the call log."""
