"""What can go wrong between a tool and the daemon."""

from __future__ import annotations


class InspectError(Exception):
    """The daemon cannot be reached, or refused what was asked for."""


class IncompatibleError(InspectError):
    """The daemon speaks another version of the protocol."""


class UsageError(InspectError):
    """What was asked for cannot be understood."""
