"""What can be wrong with a package that only shows when it is turned into steps."""

from __future__ import annotations

from nexis_eval.build_rules.errors import RuleOptionError
from nexis_eval.config.model import Config, Package
from nexis_eval.toolchain import ToolchainError
from nexis_store.errors import NexisError


class NotLockedError(NexisError):
    """A version or a hash is needed that neither the configuration nor the lock has."""

    code = "E0401"
    exit_code = 2


class PackageError(NexisError):
    """A package's table cannot be turned into a build."""

    code = "E0402"
    exit_code = 2


def with_place(error: NexisError, config: Config, package: Package) -> NexisError:
    """``error`` that a package caused, with the place of its cause in the configuration if it has none yet."""
    if error.place is None:
        at: tuple[str, ...] = ("name",)
        if isinstance(error, RuleOptionError):
            at = error.at
        elif isinstance(error, ToolchainError):
            at = ("tools",)
        error.place = config.place(("packages", package.name, *at))
    return error
