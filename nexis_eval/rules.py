"""Rules: how a build system is driven, as data. Reads ``rules/build/*.toml`` and renders them into build scripts.

A rule is a file: tool sets, options, environment, and the text of each phase as a Jinja2 template of bash. ``extends``
takes over what another rule has; nothing here knows any build system by name. Rendering is pure.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nexis_eval.config.model import LocalPath, Package
from nexis_eval.platforms import Platform, platform_named
from nexis_eval.rule_parameters import Parameters, flat, pairs, parameters_of
from nexis_store.digest import encode_fields
from nexis_store.errors import NexisError, Place

if TYPE_CHECKING:
    from jinja2 import Environment, Template

RULE_DOMAIN = b"nexis rule\x01"
RENDERING = "1"
"""Raised when the same rule and the same parameters come to give another script: it is part of each call's identity."""

OPTION_TYPES = ("string", "boolean", "integer", "list", "table", "file")
KEYS = frozenset(
    ("summary", "doc", "extends", "abstract", "order", "toolsets", "cross", "cross_toolsets", "options", "env")
) | frozenset(("cross_env", "prelude", "phases"))


class RuleError(NexisError):
    """A file of a rule cannot be understood, or its template fails.

    Rules are TOML files below `rules/build/`; `docs/rules.md` describes their keys.
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

    `nexis-eval rules` lists the rules; a new one is a new file in `rules/build/`.
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


@dataclass(frozen=True, slots=True)
class Option:
    """One option that a rule accepts in ``options``."""

    name: str
    type: str
    doc: str
    default: Any = None
    choices: tuple[str, ...] = ()
    required: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """One build system: a file of ``rules/build/`` with all that it extends worked in."""

    name: str
    summary: str
    doc: str = ""
    extends: str | None = None
    abstract: bool = False
    """Only there to be extended."""
    toolsets: tuple[str, ...] = ()
    cross: bool | str | Mapping[str, str] = True
    """Whether it can build for another architecture; a string is the reason why not, a table the reason for each."""
    cross_toolsets: tuple[str, ...] = ()
    options: Mapping[str, Option] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    cross_env: Mapping[str, str] = field(default_factory=dict)
    prelude: str = ""
    """Shell text ahead of all phases."""
    order: tuple[str, ...] = ()
    phases: Mapping[str, str] = field(default_factory=dict)
    file: str = ""

    def obstacle(self, arch: str) -> str | None:
        """Why it cannot build for ``arch`` on another architecture; ``None`` where it can."""
        reason = self.cross.get(arch, True) if isinstance(self.cross, Mapping) else self.cross
        return None if reason is True else reason or "it cannot do that"


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


# Reading


def load_rules(*directories: Path) -> Mapping[str, Rule]:
    """Read every ``*.toml`` of ``directories``; a later directory replaces a rule of the same name.

    Raises ``RuleError`` with the file (and, for TOML that cannot be parsed, the line).
    """
    tables: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for directory in directories:
        for path in sorted(directory.glob("*.toml")):
            tables[path.stem] = (str(path), _table(path))
    known: dict[str, Rule] = {}
    for name in sorted(tables):
        _resolve(name, tables, known, ())
    return dict(sorted(known.items()))


def _table(path: Path) -> Mapping[str, Any]:
    import tomli

    try:
        table = tomli.loads(path.read_text(encoding="utf-8"))
    except (tomli.TOMLDecodeError, UnicodeDecodeError) as error:
        line = re.search(r"at line (\d+), column (\d+)", str(error))
        place = Place(str(path), int(line[1]), int(line[2])) if line else Place(str(path))
        raise RuleError(f"not TOML: {error}", place=place) from None
    unknown = sorted(set(table) - KEYS)
    if unknown:
        raise RuleError(
            f"unknown key '{unknown[0]}' in a rule", hint=f"keys are: {', '.join(sorted(KEYS))}", place=Place(str(path))
        )
    if not isinstance(table.get("summary"), str):
        raise RuleError("a rule needs a 'summary'", place=Place(str(path)))
    return table


def _resolve(
    name: str, tables: Mapping[str, tuple[str, Mapping[str, Any]]], known: dict[str, Rule], using: tuple[str, ...]
) -> Rule:
    if name in known:
        return known[name]
    file, table = tables[name]
    base = table.get("extends")
    if base is None:
        known[name] = _merge(Rule(name, "", file=file), name, file, table)
        return known[name]
    if base not in tables:
        raise RuleError(f"extends '{base}', which is no rule", place=Place(file))
    if base == name or base in using:
        raise RuleError(f"rules extend each other: {' → '.join((*using, name, base))}", place=Place(file))
    known[name] = _merge(_resolve(base, tables, known, (*using, name)), name, file, table)
    return known[name]


def _merge(base: Rule, name: str, file: str, table: Mapping[str, Any]) -> Rule:
    """``table`` over ``base``: tables key by key, lists of tool sets added, all else replaced."""
    order = tuple(table.get("order", base.order))
    phases = {**base.phases, **table.get("phases", {})}
    for phase in phases:
        if _bare(phase) not in order:
            raise RuleError(f"phase '{phase}' is not in 'order' ({', '.join(order)})", place=Place(file))
    return replace(
        base,
        name=name,
        summary=table["summary"],
        doc=table.get("doc", ""),
        extends=table.get("extends"),
        abstract=table.get("abstract", False),
        toolsets=_union(base.toolsets, table.get("toolsets", ())),
        cross=table.get("cross", base.cross),
        cross_toolsets=_union(base.cross_toolsets, table.get("cross_toolsets", ())),
        options={
            **base.options,
            **{key: _option(key, value, file) for key, value in table.get("options", {}).items()},
        },
        env={**base.env, **table.get("env", {})},
        cross_env={**base.cross_env, **table.get("cross_env", {})},
        prelude=base.prelude + table.get("prelude", ""),
        order=order,
        phases=phases,
        file=file,
    )


def _union(first: Iterable[str], second: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))


def _option(name: str, table: Mapping[str, Any], file: str) -> Option:
    place = Place(file)
    kind = table.get("type", "string")
    if kind not in OPTION_TYPES:
        raise RuleError(f"option '{name}': no type is called '{kind}'", hint=" ".join(OPTION_TYPES), place=place)
    if "doc" not in table:
        raise RuleError(f"option '{name}' needs a 'doc'", place=place)
    option = Option(
        name, kind, table["doc"], table.get("default"), tuple(table.get("choices", ())), table.get("required", False)
    )
    if option.default is not None and not _fits(option, option.default):
        raise RuleError(f"option '{name}': the default is not {_described(option)}", place=place)
    return option


def rule_named(name: str, rules: Mapping[str, Rule]) -> Rule:
    """The rule called ``name``; raises ``UnknownRuleError``."""
    rule = rules.get(name)
    if rule is None:
        usable = [each.name for each in rules.values() if not each.abstract]
        raise UnknownRuleError(f"no rule is called '{name}'", hint=_near(name, usable, "known rules"))
    return rule


# Checking what a package asks for


def _fits(option: Option, value: object) -> bool:
    match option.type:
        case "string":
            return isinstance(value, str) and (not option.choices or value in option.choices)
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


def _described(option: Option) -> str:
    if option.choices:
        return f"one of {', '.join(repr(each) for each in option.choices)}"
    return {
        "string": "a string",
        "boolean": "true or false",
        "integer": "an integer",
        "list": "a list of strings",
        "table": "a table",
        "file": 'a file: { file = "path" }',
    }[option.type]


def _near(word: str, known: Iterable[str], what: str) -> str:
    from difflib import get_close_matches

    names = sorted(known)
    near = get_close_matches(word, names, n=1)
    listed = f"{what}: {', '.join(names) or 'none'}"
    return f"did you mean '{near[0]}'? {listed}" if near else listed


def _check_options(rule: Rule, package: Package) -> None:
    given = package.options
    for name, value in given.items():
        option = rule.options.get(name)
        if option is None:
            raise RuleOptionError(
                f"package '{package.name}': rule '{rule.name}' has no option '{name}'",
                at=("options", name),
                hint=_near(name, rule.options, f"options of '{rule.name}'"),
            )
        if not _fits(option, value):
            raise RuleOptionError(
                f"package '{package.name}': option '{name}' must be {_described(option)}",
                at=("options", name),
                hint=option.doc,
            )
    for option in rule.options.values():
        if option.required and option.name not in given:
            raise RuleOptionError(
                f"package '{package.name}': rule '{rule.name}' needs the option '{option.name}'",
                hint=f"options = {{ {option.name} = … }}: {option.doc}",
            )


def _check_phases(rule: Rule, package: Package) -> None:
    for phase in package.phases:
        if _bare(phase) not in rule.order:
            raise RuleOptionError(
                f"package '{package.name}': rule '{rule.name}' has no phase '{_bare(phase)}'",
                at=("phases", phase),
                hint=_near(_bare(phase), rule.order, f"phases of '{rule.name}'"),
            )


def _check_platform(rule: Rule, context: BuildContext) -> None:
    if rule.abstract:
        raise RuleOptionError(
            f"package '{context.package.name}': the rule '{rule.name}' is only there for other rules to extend",
            hint="'nexis-eval rules' lists those that build something",
        )
    obstacle = rule.obstacle(context.platform.arch) if context.cross else None
    if obstacle is not None:
        raise CrossBuildError(
            f"package '{context.package.name}' cannot be built for {context.platform.arch} on "
            f"{context.build_platform.arch} by rule '{rule.name}': {obstacle}",
            hint=f"leave it out there ([arch.{context.platform.arch}.remove] packages = "
            f"[\"{context.package.name}\"]), or give it a 'prebuilt' archive or 'debian' packages",
        )


def _bare(phase: str) -> str:
    return phase.removeprefix("pre_").removeprefix("post_")


# Rendering


def _quote(value: object) -> str:
    """Quote for the shell: a string as one word, a list as so many words."""
    if isinstance(value, str):
        return shlex.quote(value)
    if isinstance(value, Iterable):
        return " ".join(shlex.quote(str(each)) for each in value)
    return shlex.quote(str(value))


def _matches(value: str, pattern: str) -> bool:
    return re.fullmatch(pattern, value) is not None


@cache
def _environment() -> Environment:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined,
        autoescape=False,
        # Folding constants takes a tenth of the time of compiling, and there are hardly any.
        optimized=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # The default, "{#", is in bash's ${#array[@]}.
        comment_start_string="{##",
        comment_end_string="##}",
    )
    environment.filters["sh"] = _quote
    environment.tests["matching"] = _matches
    return environment


@lru_cache(maxsize=1024)
def _template(text: str) -> Template:
    """Compiled once: a rule's phases are the same text for every package, and compiling costs a hundred renders."""
    return _environment().from_string(text)


def _render(rule: Rule, what: str, template: str, values: Mapping[str, Any]) -> str:
    if "{" not in template and "\r" not in template:
        # Plain text renders as itself, and most of what a rule has is plain text.
        return template
    from jinja2 import TemplateError

    try:
        return _template(template).render(values)
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        where = f", line {line}" if line else ""
        raise RuleError(
            f"rule '{rule.name}': the template of {what}{where} fails: {error}", place=Place(rule.file)
        ) from None


def _function(phase: str, parts: Sequence[str]) -> str:
    body = "\n".join(part.strip("\n") for part in parts if part.strip())
    return f"phase_{phase}() {{\n{body}\n}}\n" if body else ""


def _phase_texts(rule: Rule, values: Mapping[str, Any]) -> dict[str, list[str]]:
    """The parts of each phase in order: the rule's text, or the package's in its stead, and what the package adds."""
    package: Parameters = values["package"]
    own = package.phases

    def added(phase: str) -> str:
        return _render(rule, f"phases.{phase} of package '{package.name}'", own.get(phase, ""), values)

    texts = {}
    for phase in rule.order:
        if phase == "check" and not package.check:
            continue
        main = added(phase) if phase in own else _render(rule, f"phase '{phase}'", rule.phases.get(phase, ""), values)
        before, after = (
            _render(rule, f"phase '{name}'", rule.phases.get(name, ""), values)
            for name in (f"pre_{phase}", f"post_{phase}")
        )
        texts[phase] = [added(f"pre_{phase}"), before, main, after, added(f"post_{phase}")]
    return texts


def _values(rule: Rule, package: Parameters) -> dict[str, Any]:
    """The names that templates can use; ``docs/rules.md`` explains them."""
    platform, build_platform = platform_named(package.arch), platform_named(package.build_arch)
    cross = platform.arch != build_platform.arch
    return {
        "package": package,
        "name": package.name,
        "version": package.version,
        "subdir": package.subdir,
        "build_flags": package.build_flags,
        "configure_flags": package.configure_flags,
        "options": {**{name: option.default for name, option in rule.options.items()}, **package.options},
        "source": package.source,
        "patches": package.patches,
        "outputs": package.outputs,
        "pre_build": package.pre_build or None,
        "post_build": package.post_build or None,
        "cross": cross,
        "platform": platform,
        "build_platform": build_platform,
        "arch": platform.arch,
        "triplet": platform.triplet,
        "tool_prefix": f"{platform.triplet}-" if cross else "",
        "target_prefix": f"/usr/{platform.triplet}" if cross else "/usr",
    }


# Calls: a rule and all that its templates can depend on, as strings


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
            _check_platform(self.rule, context)
        options: Mapping[str, Any] = package.options
        if options or self._required:
            _check_options(self.rule, package)
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
            _check_phases(self.rule, package)
            strings += (*pairs(package.phases), *pairs(package.env), *flat(options))
        return tuple(strings)

    def toolsets(self, context: BuildContext, call: Sequence[str]) -> tuple[str, ...]:
        """The names of the tool sets that a call needs; a template that renders to nothing names none."""
        key = context.platform.arch, context.build_platform.arch
        known = None if context.package.options else self.settled.get(key)
        if known is None:
            names = (*self.rule.toolsets, *(self.rule.cross_toolsets if context.cross else ()))
            values = _values(self.rule, parameters_of(call))
            known = tuple(name for name in (_render(self.rule, "toolsets", each, values) for each in names) if name)
            if not context.package.options and not any(map(_varies, names)):
                self.settled[key] = known
        return known


def _varies(template: str) -> bool:
    """Whether a template uses anything but the rule's options and the platforms."""
    if "{" not in template:
        return False
    from jinja2.meta import find_undeclared_variables

    return not find_undeclared_variables(_environment().parse(template)) <= _SETTLED


_SETTLED = frozenset(("options", "cross", "platform", "build_platform", "arch", "triplet"))


def render_call(rule: Rule, call: Sequence[str]) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The script and the environment of a call; raises ``RuleError`` where a template fails."""
    package = parameters_of(call)
    values = _values(rule, package)
    env = {name: _render(rule, f"env.{name}", text, values) for name, text in rule.env.items()}
    if values["cross"]:
        env |= {name: _render(rule, f"cross_env.{name}", text, values) for name, text in rule.cross_env.items()}
    env |= package.env
    functions = {
        phase: function for phase, parts in _phase_texts(rule, values).items() if (function := _function(phase, parts))
    }
    script = "\n".join(
        (
            _render(rule, "prelude", rule.prelude, values).strip("\n") + "\n",
            *functions.values(),
            "".join(f"run {phase}\n" for phase in functions),
        )
    )
    return script, tuple(sorted((name, value) for name, value in env.items() if value != ""))


def check_own_phases(rule: Rule, call: Sequence[str]) -> None:
    """Render the phases that a package brings itself, for what is wrong with them; raises ``RuleOptionError``."""
    package = parameters_of(call)
    values = _values(rule, package)
    for phase, text in package.phases.items():
        try:
            _render(rule, f"phases.{phase}", text, values)
        except RuleError as error:
            raise RuleOptionError(
                f"package '{package.name}': {error.message}",
                at=("phases", phase),
                hint="{{ … }} and {% … %} are Jinja2's: write {% raw %} and {% endraw %} around text that is to stay",
            ) from None


class Renderer:
    """Renders calls of some rules, which each call names by digest."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self.rules = rules

    def __call__(self, call: tuple[str, ...]) -> tuple[str, tuple[tuple[str, str], ...]]:
        """The script and the environment of a call."""
        return render_call(self.rules[call[0]], call)


def render(rule: Rule, context: BuildContext) -> RenderedBuild:
    """The script, environment and tool sets by which ``rule`` builds a package; raises what the parts of it raise."""
    caller = Caller(rule)
    call = caller.call(context)
    return RenderedBuild(*render_call(rule, call), caller.toolsets(context, call))
