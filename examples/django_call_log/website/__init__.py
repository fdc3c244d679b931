"""The project: settings, addresses, and what a web server loads."""
