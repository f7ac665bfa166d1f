"""Calls: a rule and all that its templates can depend on, as strings. They stand for script and environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nexis_eval.build_rules.checking import check_keys, check_options, check_phases, check_platform
from nexis_eval.build_rules.model import Rule
from nexis_eval.build_rules.parameters import flat, pairs, parameters_of
from nexis_eval.build_rules.rendering import render_call, render_text, values_of, varies
from nexis_eval.config.model import Package
from nexis_eval.platforms import Platform
from nexis_store.digest import encode_fields

RULE_DOMAIN = b"nexis rule\x01"
RENDERING = "1"
"""Raised when the same rule and the same parameters come to give another script: it is part of each call's identity."""


@dataclass(frozen=True, slots=True)
class BuildContext:
    """What a rule is rendered for. The paths are absolute ones inside the sandbox."""

    package: Package
    platform: Platform
    build_platform: Platform
    source: str | None = None
    patches: tuple[str, ...] = ()
    pre_build: str | None = None
    post_build: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    """Options that name a file of the user's → where the sandbox has it."""

    @property
    def cross(self) -> bool:
        """Whether target and build machine differ."""
        return self.platform.arch != self.build_platform.arch


@dataclass(frozen=True, slots=True)
class RenderedBuild:
    """What to run, with which environment, in a root with which tool sets."""

    script: str
    env: tuple[tuple[str, str], ...]
    toolsets: tuple[str, ...]


def rule_digest(rule: Rule) -> str:
    """Names everything of a rule that a script can depend on, in hexadecimal; its name and documentation are not."""
    from blake3 import blake3

    strings = [RENDERING, rule.prelude, str(len(rule.order)), *rule.order]
    for table in (rule.env, rule.cross_env, rule.phases):
        strings += pairs(table)
    strings += (text for key in sorted(rule.options) for text in (key, *flat(rule.options[key].default)))
    return blake3(encode_fields(RULE_DOMAIN, [each.encode() for each in strings])).hexdigest()


class Caller:
    """Makes the calls of one rule; what is the same for all of them is worked out once."""

    def __init__(self, rule: Rule, settled: Mapping[tuple[str, str], tuple[str, ...]] | None = None) -> None:
        self.rule = rule
        self.digest = rule_digest(rule)
        self._required = any(option.required for option in rule.options.values())
        self.settled: dict[tuple[str, str], tuple[str, ...]] = dict(settled or {})
        """By platform and build platform, the tool sets of packages without options, where these are always the same.

        They can be kept, and given when the rule is next used: then nothing has to be rendered.
        """

    def call(self, context: BuildContext) -> tuple[str, ...]:
        """Which rule builds a package, and with what: all that decides script and environment, nothing of the host.

        Two contexts with the same call have the same script. Raises ``RuleOptionError`` for options and phases that the
        rule does not have, ``CrossBuildError`` where it cannot build for the target.
        """
        package, patches = context.package, context.patches
        if self.rule.abstract or context.cross:
            check_platform(self.rule, package.name, context.platform, context.build_platform)
        if package.build_flags or package.configure_flags or package.check:
            check_keys(self.rule, package)
        options: Mapping[str, Any] = package.options
        if options or self._required:
            check_options(self.rule, package)
            options = {**options, **context.files}
        strings = [
            self.digest,
            context.platform.arch,
            context.build_platform.arch,
            package.name,
            package.version,
            context.source or "",
            package.subdir,
            "yes" if package.check else "",
            context.pre_build or "",
            context.post_build or "",
            str(len(package.build_flags)),
            *package.build_flags,
            str(len(package.configure_flags)),
            *package.configure_flags,
            str(len(patches)),
            *patches,
            str(len(package.outputs)),
            *package.outputs,
        ]
        if package.phases or package.env or options:
            check_phases(self.rule, package)
            strings += (*pairs(package.phases), *pairs(package.env), *flat(options))
        return tuple(strings)

    def toolsets(self, context: BuildContext, call: Sequence[str]) -> tuple[str, ...]:
        """The names of the tool sets that a call needs; a template that renders to nothing names none."""
        key = context.platform.arch, context.build_platform.arch
        known = None if context.package.options else self.settled.get(key)
        if known is None:
            own, cross = self.rule.toolsets, self.rule.cross_toolsets if context.cross else ()
            values = values_of(self.rule, parameters_of(call))
            known = tuple(
                name
                for table, texts in (("toolsets", own), ("cross_toolsets", cross))
                for each in texts
                if (name := render_text(self.rule, table, each, values, table))
            )
            if not context.package.options and not any(map(varies, (*own, *cross))):
                self.settled[key] = known
        return known


def render(rule: Rule, context: BuildContext) -> RenderedBuild:
    """The script, environment and tool sets by which ``rule`` builds a package; raises what the parts of it raise."""
    caller = Caller(rule)
    call = caller.call(context)
    return RenderedBuild(*render_call(rule, call), caller.toolsets(context, call))
