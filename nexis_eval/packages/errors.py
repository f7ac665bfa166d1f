"""What can be wrong with a package that only shows when it is turned into steps."""

from __future__ import annotations

from nexis_eval.build_rules.errors import RuleOptionError
from nexis_eval.config.model import Config, Package
from nexis_eval.toolchain import ToolchainError
from nexis_store.errors import NexisError


class NotLockedError(NexisError):
    """A version or a hash is needed that neither the configuration nor the lock has.

    ``nexis-eval lock`` looks it up and pins it in ``nexis.lock``, and so does every build that may use the network.
    With ``--locked`` or ``--offline`` nothing is looked up: run ``nexis-eval lock`` where there is a network, and
    commit the file.
    """

    code = "E0401"
    exit_code = 2


class PackageError(NexisError):
    """A package's table cannot be turned into a build.

    The message says what is missing or does not fit together. ``nexis-eval options packages`` lists what a package can
    say, ``nexis-eval rules RULE`` what its rule takes.
    """

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
