"""The version of the package, also for the key of what it has compiled."""

__version__ = "0.1.0"
