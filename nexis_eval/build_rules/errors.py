"""What can be wrong with a rule, or with what a package asks of one."""

from __future__ import annotations

from nexis_store.errors import NexisError


class RuleError(NexisError):
    """A file of a rule cannot be understood, or its template fails.

    Rules are TOML files in `rules/build/` and in the directories of `[rules] paths`; `docs/rules.md` describes their
    keys.
    """

    code = "E0410"
    exit_code = 2


class RuleOptionError(NexisError):
    """A package gives its rule an option or a phase that the rule does not have, or one of the wrong type.

    `nexis-eval rules NAME` and `docs/rules.md` list the options of each rule.
    """

    code = "E0411"
    exit_code = 2

    def __init__(self, message: str, *, at: tuple[str, ...] = ("build_system",), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.at = at
        """The key of the package's table."""


class UnknownRuleError(NexisError):
    """A rule was named that there is no file of.

    `nexis-eval rules` lists the rules; a new one is a new file in a directory of `[rules] paths`.
    """

    code = "E0413"
    exit_code = 2


class CrossBuildError(NexisError):
    """A package is to be built for another architecture by a rule that cannot do that.

    Build on that architecture, use a prebuilt archive, or leave the package out there:
    `[arch.NAME.remove] packages = ["…"]`.
    """

    code = "E0412"
    exit_code = 2


class RuleTestError(NexisError):
    """A test of a rule expects something else than the rule makes of its package.

    `[tests.NAME]` in the file of a rule is a package and what comes of it; `docs/rules.md` describes the keys.
    """

    code = "E0414"
    exit_code = 2
