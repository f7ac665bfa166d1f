"""Build systems as data: reads ``rules/build/*.toml`` and renders a package's build script from one.

A rule lists phases as Jinja2 text, the tool sets they need, and the options they accept; it may extend another rule.
Nothing here knows the name of a build system: a new one is a new file.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nexis_eval.config.model import LocalPath, Package
from nexis_eval.platforms import Platform
from nexis_store.errors import NexisError, Place

if TYPE_CHECKING:
    from jinja2 import Environment, Template

PHASES = ("unpack", "patch", "configure", "build", "check", "install", "fixup")
STEPS = tuple(f"{when}{phase}" for phase in PHASES for when in ("pre_", "", "post_"))
KINDS: Mapping[str, type | tuple[type, ...]] = {
    "bool": bool,
    "string": str,
    "list": list,
    "int": int,
    "file": LocalPath,
}

PROLOGUE = """\
set -euo pipefail
phase() { echo "@nexis phase $1" >&3; }
trap 'echo "nexis: failed: $BASH_COMMAND" >&2' ERR
export OUT=/out
"""


class RuleError(NexisError):
    """A rule file, or a package's use of it, is wrong."""

    code = "E0406"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Option:
    """An option that a rule accepts in a package's ``options``."""

    kind: str
    default: object
    doc: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One build system."""

    name: str
    summary: str
    toolsets: tuple[str, ...]
    cross: bool | str
    """Whether it can build for another architecture; a text says why not."""
    options: Mapping[str, Option]
    env: Mapping[str, str]
    phases: Mapping[str, str]
    """Step (``build``, ``pre_configure`` …) → Jinja2 text."""
    abstract: bool = False


@dataclass(frozen=True, slots=True)
class BuildContext:
    """What a script is rendered for. All paths are absolute paths inside the sandbox."""

    package: Package
    platform: Platform
    build_platform: Platform
    source: str | None
    patches: tuple[str, ...] = ()
    pre_build: str | None = None
    post_build: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    """Options that name a file: option → path."""

    @property
    def cross(self) -> bool:
        """Whether the result is for another architecture than the one that builds."""
        return self.platform.arch != self.build_platform.arch


@dataclass(frozen=True, slots=True)
class RenderedBuild:
    """A complete script, its environment, and the tool sets it needs."""

    script: str
    env: tuple[tuple[str, str], ...]
    toolsets: tuple[str, ...]


def _option(name: str, table: Mapping[str, Any], file: Path) -> Option:
    if table.get("type") not in KINDS or "doc" not in table:
        raise RuleError(
            f"option '{name}' needs a doc and a type ({', '.join(KINDS)})",
            hint="see docs/rules.md",
            place=Place(str(file)),
        )
    return Option(table["type"], table.get("default"), table["doc"])


def load_rules(*directories: Path) -> Mapping[str, Rule]:
    """Read every rule file of ``directories``; a later directory's rule replaces one of the same name.

    Raises ``RuleError`` with the file for a rule that is not well-formed.
    """
    import tomli

    files: dict[str, Path] = {}
    for directory in directories:
        files.update({path.stem: path for path in sorted(directory.glob("*.toml"))})
    tables: dict[str, dict[str, Any]] = {}
    for name, path in files.items():
        try:
            tables[name] = tomli.loads(path.read_text(encoding="utf-8"))
        except tomli.TOMLDecodeError as error:
            raise RuleError(str(error), hint="correct the rule file", place=Place(str(path))) from None
    rules: dict[str, Rule] = {}
    pending = list(tables)
    while pending:
        name = pending.pop()
        if name in rules:
            continue
        base = tables[name].get("extends")
        if base is not None and base not in rules:
            if base not in tables or _is_cyclic(name, tables):
                raise RuleError(
                    f"rule '{name}' extends '{base}', which "
                    + ("extends it in turn" if base in tables else "does not exist"),
                    hint=f"rules: {', '.join(sorted(tables))}",
                    place=Place(str(files[name])),
                )
            pending.extend((name, base))
            continue
        rules[name] = _rule(name, tables[name], rules.get(base) if base else None, files[name])
    return dict(sorted(rules.items()))


def _is_cyclic(name: str, tables: Mapping[str, Mapping[str, Any]]) -> bool:
    seen: set[str] = set()
    current: str | None = name
    while current is not None and current in tables:
        if current in seen:
            return True
        seen.add(current)
        current = tables[current].get("extends")
    return False


def _rule(name: str, table: Mapping[str, Any], base: Rule | None, file: Path) -> Rule:
    known = {"summary", "abstract", "extends", "toolsets", "cross", "options", "env", "phases"}
    for key in table:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            raise RuleError(
                f"unknown key '{key}'",
                hint=f"did you mean '{near[0]}'?" if near else f"keys: {', '.join(sorted(known))}",
                place=Place(str(file)),
            )
    for step in table.get("phases", {}):
        if step not in STEPS:
            raise RuleError(f"no phase is called '{step}'", hint=f"phases: {', '.join(PHASES)}", place=Place(str(file)))
    options = {each: _option(each, value, file) for each, value in table.get("options", {}).items()}
    return Rule(
        name=name,
        summary=table.get("summary", ""),
        toolsets=tuple(table.get("toolsets", base.toolsets if base else ())),
        cross=table.get("cross", base.cross if base else True),
        options={**(base.options if base else {}), **options},
        env={**(base.env if base else {}), **table.get("env", {})},
        phases={**(base.phases if base else {}), **table.get("phases", {})},
        abstract=table.get("abstract", False),
    )


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
        # The default opening, "{#", stands in every shell expansion of a length.
        comment_start_string="{##",
        comment_end_string="##}",
    )
    environment.filters["sh"] = lambda value: shlex.quote(str(value))
    return environment


@lru_cache(maxsize=512)
def _template(text: str) -> Template:
    return _environment().from_string(text)


def _options(rule: Rule, package: Package) -> dict[str, object]:
    values = {name: option.default for name, option in rule.options.items()}
    for name, value in package.options.items():
        option = rule.options.get(name)
        if option is None:
            near = get_close_matches(name, rule.options, n=1)
            raise RuleError(
                f"package '{package.name}': the rule '{rule.name}' has no option '{name}'",
                hint=f"did you mean '{near[0]}'?" if near else f"options: {', '.join(sorted(rule.options)) or 'none'}",
            )
        given = list(value) if option.kind == "list" and isinstance(value, tuple) else value
        if not isinstance(given, KINDS[option.kind]):
            wanted = '{ file = "path" }' if option.kind == "file" else f"a {option.kind}"
            raise RuleError(
                f"package '{package.name}': option '{name}' of the rule '{rule.name}' must be {wanted}",
                hint=option.doc,
            )
        values[name] = given
    return values


def _values(rule: Rule, context: BuildContext) -> dict[str, object]:
    package, platform = context.package, context.platform
    return {
        "name": package.name,
        "version": package.version,
        "arch": platform.arch,
        "debarch": platform.debian,
        "triplet": platform.triplet,
        "build_triplet": context.build_platform.triplet,
        "kernel_arch": platform.kernel,
        "kernel_image": platform.kernel_image,
        "goarch": platform.go,
        "rust_target": platform.rust,
        "cross": context.cross,
        "tool_prefix": f"{platform.triplet}-" if context.cross else "",
        "target_prefix": f"/usr/{platform.triplet}" if context.cross else "/usr",
        "source": context.source,
        "subdir": package.subdir,
        "patches": context.patches,
        "pre_build": context.pre_build,
        "post_build": context.post_build,
        "build_flags": list(package.build_flags),
        "configure_flags": list(package.configure_flags),
        "options": _options(rule, package),
        "files": dict.fromkeys(rule.options) | dict(context.files),
    }


def _render(text: str, values: Mapping[str, object], what: str) -> str:
    import jinja2

    try:
        return _template(text).render(values)
    except jinja2.TemplateError as error:
        raise RuleError(
            f"{what}: {error}", hint="the text is a Jinja2 template; docs/rules.md lists what it can use"
        ) from None


def render(rule: Rule, context: BuildContext) -> RenderedBuild:
    """The script that builds a package; raises ``RuleError`` for wrong options or templates."""
    package = context.package
    if rule.abstract:
        raise RuleError(f"package '{package.name}': the rule '{rule.name}' is only there for others to extend")
    if context.cross and rule.cross is not True:
        why = f": {rule.cross}" if isinstance(rule.cross, str) else ""
        raise RuleError(
            f"package '{package.name}': the rule '{rule.name}' cannot build for another architecture{why}",
            hint=f"build it on {context.platform.arch}, or leave it out there with [arch.{context.platform.arch}]",
        )
    for step in package.phases:
        if step not in STEPS:
            raise RuleError(
                f"package '{package.name}': no phase is called '{step}'",
                hint=f"phases: {', '.join(PHASES)}, each with pre_ and post_",
            )
    values = _values(rule, context)
    what = f"package '{package.name}'"
    lines = [PROLOGUE]
    for phase in PHASES:
        if phase == "check" and not package.check:
            continue
        texts = []
        for step in (f"pre_{phase}", phase, f"post_{phase}"):
            own = package.phases.get(step)
            if own is not None and step == phase:
                texts.append(_render(own, values, f"{what}, phases.{step}"))
                continue
            texts.append(_render(rule.phases.get(step, ""), values, f"{what}, rule '{rule.name}', {step}"))
            if own is not None:
                texts.append(_render(own, values, f"{what}, phases.{step}"))
        body = "\n".join(text.strip("\n") for text in texts if text.strip())
        if body:
            lines.append(f"phase {phase}\n{body}\n")
    env = {name: _render(text, values, f"{what}, env") for name, text in rule.env.items()}
    toolsets = list(rule.toolsets)
    if context.cross and rule.toolsets != ("core",):
        toolsets.insert(0, f"cross-{context.platform.arch}")
    return RenderedBuild("\n".join(lines), tuple(sorted({**env, **package.env}.items())), tuple(toolsets))
