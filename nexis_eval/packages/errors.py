"""What can be wrong with a package that only shows when it is turned into steps."""

from __future__ import annotations

from nexis_store.errors import NexisError


class NotLockedError(NexisError):
    """A version or a hash is needed that neither the configuration nor the lock has."""

    code = "E0401"
    exit_code = 2


class PackageError(NexisError):
    """A package's table cannot be turned into a build."""

    code = "E0402"
    exit_code = 2
