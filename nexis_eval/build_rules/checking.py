"""Compares what a package asks of its rule with what the rule has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from nexis_eval.build_rules.errors import CrossBuildError, RuleOptionError
from nexis_eval.build_rules.model import Option, Rule
from nexis_eval.config.model import LocalPath, Package
from nexis_eval.platforms import Platform
from nexis_store.suggest import nearest


def _is_of(kind: str, value: object) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "list":
            return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)
        case "table":
            return isinstance(value, Mapping)
        case _:
            return isinstance(value, LocalPath)


def misfit(option: Option, value: object) -> tuple[str, ...] | None:
    """The keys below ``option`` that lead to what it does not take (none: the value itself); ``None`` if it fits."""
    if not _is_of(option.type, value) or (option.choices and value not in option.choices):
        return ()
    if isinstance(value, Mapping):
        return next(((key,) for key, each in value.items() if not _is_one_of(option.values, each)), None)
    return None


def _is_one_of(kinds: Iterable[str], value: object) -> bool:
    return any(_is_of(kind, value) for kind in kinds)


_IN_WORDS = {
    "string": "a string",
    "boolean": "true or false",
    "integer": "an integer",
    "list": "a list of strings",
    "table": "a table",
    "file": 'a file: { file = "path" }',
}


def described(option: Option) -> str:
    """What values ``option`` takes, for people."""
    if option.choices:
        return f"one of {', '.join(repr(each) for each in option.choices)}"
    return _IN_WORDS[option.type]


def near_misses(word: str, known: Iterable[str], what: str) -> str:
    """A hint for an unknown ``word``: the nearest of the ``known`` ones, and all of them (``what`` they are)."""
    names = sorted(known)
    near = nearest(word, names)
    listed = f"{what}: {', '.join(names) or 'none'}"
    return f"did you mean '{near}'? {listed}" if near else listed


def check_options(rule: Rule, package: Package) -> None:
    """Compare a package's ``options`` with the rule's; raises ``RuleOptionError``."""
    given = package.options
    for name, value in given.items():
        option = rule.options.get(name)
        if option is None:
            raise RuleOptionError(
                f"package '{package.name}': rule '{rule.name}' has no option '{name}'",
                at=("options", name),
                hint=near_misses(name, rule.options, f"options of '{rule.name}'"),
            )
        wrong = misfit(option, value)
        if wrong is not None:
            kinds = " or ".join(_IN_WORDS[each] for each in option.values) if wrong else described(option)
            raise RuleOptionError(
                f"package '{package.name}': option '{'.'.join((name, *wrong))}' must be {kinds}",
                at=("options", name, *wrong),
                hint=option.doc,
            )
    for option in rule.options.values():
        if option.required and option.name not in given:
            raise RuleOptionError(
                f"package '{package.name}': rule '{rule.name}' needs the option '{option.name}'",
                hint=f"options = {{ {option.name} = … }}: {option.doc}",
            )


def check_phases(rule: Rule, package: Package) -> None:
    """Compare a package's ``phases`` with the rule's; raises ``RuleOptionError``."""
    for phase in package.phases:
        if bare_phase(phase) not in rule.order:
            raise RuleOptionError(
                f"package '{package.name}': rule '{rule.name}' has no phase '{bare_phase(phase)}'",
                at=("phases", phase),
                hint=near_misses(bare_phase(phase), rule.order, f"phases of '{rule.name}'"),
            )


def check_keys(rule: Rule, package: Package) -> None:
    """See that the rule does something with the keys that are up to it; raises ``RuleOptionError``."""
    texts = (rule.prelude, *rule.phases.values(), *rule.env.values(), *package.phases.values())
    for key in ("build_flags", "configure_flags"):
        if getattr(package, key) and not any(key in text for text in texts):
            raise RuleOptionError(
                f"package '{package.name}': the rule '{rule.name}' does nothing with '{key}'",
                at=(key,),
                hint=f"delete it; 'nexis-eval rules {rule.name}' lists what the rule takes",
            )
    if package.check and not any(text.strip() for text in _check_texts(rule, package)):
        raise RuleOptionError(
            f"package '{package.name}': the rule '{rule.name}' does not know how to run tests",
            at=("check",),
            hint="delete 'check', or say how: phases.check = \"make test\"",
        )


def _check_texts(rule: Rule, package: Package) -> Iterator[str]:
    for name in ("check", "pre_check", "post_check"):
        yield package.phases.get(name, rule.phases.get(name, ""))


def check_platform(rule: Rule, name: str, platform: Platform, build_platform: Platform) -> None:
    """See whether the rule can build for the target at all; raises ``RuleOptionError``, ``CrossBuildError``."""
    if rule.abstract:
        raise RuleOptionError(
            f"package '{name}': the rule '{rule.name}' is only there for other rules to extend",
            hint="'nexis-eval rules' lists those that build something",
        )
    obstacle = rule.obstacle(platform.arch) if platform.arch != build_platform.arch else None
    if obstacle is not None:
        raise CrossBuildError(
            f"package '{name}' cannot be built for {platform.arch} on "
            f"{build_platform.arch} by rule '{rule.name}': {obstacle}",
            hint=f"leave it out there ([arch.{platform.arch}.remove] packages = "
            f"[\"{name}\"]), or give it a 'prebuilt' archive or 'debian' packages",
        )


def bare_phase(phase: str) -> str:
    """The phase that a text belongs to: ``build`` for ``pre_build``."""
    return phase.removeprefix("pre_").removeprefix("post_")
