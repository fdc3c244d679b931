"""The app: calls in the database, written by receivers of signals."""
