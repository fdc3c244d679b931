"""The version of basix_cti, and the only place where it stands."""

__version__ = "0.1.0"
