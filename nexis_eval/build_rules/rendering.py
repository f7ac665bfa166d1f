"""Renders a rule's templates into the script and the environment of a build. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from nexis_eval.build_rules.errors import RuleError, RuleOptionError
from nexis_eval.build_rules.model import Rule
from nexis_eval.build_rules.parameters import Parameters, parameters_of
from nexis_eval.platforms import platform_named
from nexis_eval.quoting import shell, shell_pattern

if TYPE_CHECKING:
    from jinja2 import Template

    from nexis_eval.build_rules.file import RuleFile
    from nexis_eval.config.model import KeyPath
    from nexis_eval.jinja import Environment, TemplateFailure

_SETTLED = frozenset(("options", "cross", "platform", "build_platform", "arch", "triplet"))


@cache
def _environment() -> Environment:
    from nexis_eval.jinja import Environment

    environment = Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        # The default, "{#", is in bash's ${#array[@]}.
        comment_start_string="{##",
        comment_end_string="##}",
    )
    environment.add_filter("sh", shell)
    environment.add_filter("glob", shell_pattern)
    return environment


@lru_cache(maxsize=1024)
def _template(text: str) -> Template:
    """Compiled once: a rule's phases are the same text for every package, and compiling costs a hundred renders."""
    from nexis_eval.jinja import compiled

    return compiled(_environment(), text)


def render_text(rule: Rule, what: str, template: str, values: Mapping[str, Any], *at: str) -> str:
    """Render ``template``, which is ``what`` of ``rule``; raises ``RuleError`` where it fails.

    ``at`` is its key in the file of the rule, if it is the rule's own text.
    """
    if "\r" in template:
        # bash takes a carriage return for a part of the last word.
        template = template.replace("\r\n", "\n").replace("\r", "\n")
    if "{" not in template:
        # Plain text renders as itself, and most of what a rule has is plain text.
        return template
    from nexis_eval.jinja import TemplateFailure, rendered

    try:
        return rendered(_template(template), values, template)
    except TemplateFailure as error:
        raise _failure(rule.name, rule.files, what, template, error, at) from None


def _failure(
    name: str, files: Sequence[str], what: str, template: str, error: TemplateFailure, at: KeyPath
) -> RuleError:
    # Imported on use: most templates are right.
    from nexis_eval.build_rules.file import place_of_template

    place = place_of_template(files, at, template, error.line, error.column) if at else None
    where = f", line {error.line}" if error.line else ""
    return RuleError(f"rule '{name}': the template of {what}{where} fails: {error.message}", place=place)


def check_syntax(file: RuleFile) -> None:
    """Compile the templates of a file; raises ``RuleError`` for the first that is none."""
    table = file.table
    templates: list[tuple[str, KeyPath, str]] = [("prelude", ("prelude",), table.get("prelude", ""))]
    templates += [(f"phase '{name}'", ("phases", name), text) for name, text in table.get("phases", {}).items()]
    for key in ("env", "cross_env"):
        templates += [(f"{key}.{name}", (key, name), text) for name, text in table.get(key, {}).items()]
    for key in ("toolsets", "cross_toolsets"):
        templates += [(key, (key,), text) for text in table.get(key, ())]
    for what, at, text in templates:
        if "{" not in text:
            continue
        from nexis_eval.jinja import TemplateFailure

        try:
            _template(text)
        except TemplateFailure as error:
            raise _failure(file.name, (str(file.path),), what, text, error, at) from None


def _function(phase: str, parts: Sequence[str]) -> str:
    body = "\n".join(part.strip("\n") for part in parts if part.strip())
    return f"phase_{phase}() {{\n{body}\n}}\n" if body else ""


def _phase_texts(rule: Rule, values: Mapping[str, Any]) -> dict[str, list[str]]:
    """The parts of each phase in order: the rule's text, or the package's in its stead, and what the package adds."""
    package: Parameters = values["package"]
    own = package.phases

    def added(phase: str) -> str:
        return render_text(rule, f"phases.{phase} of package '{package.name}'", own.get(phase, ""), values)

    texts = {}
    for phase in rule.order:
        if phase == "check" and not package.check:
            continue
        main = (
            added(phase)
            if phase in own
            else render_text(rule, f"phase '{phase}'", rule.phases.get(phase, ""), values, "phases", phase)
        )
        before, after = (
            render_text(rule, f"phase '{name}'", rule.phases.get(name, ""), values, "phases", name)
            for name in (f"pre_{phase}", f"post_{phase}")
        )
        texts[phase] = [added(f"pre_{phase}"), before, main, after, added(f"post_{phase}")]
    return texts


def values_of(rule: Rule, package: Parameters) -> dict[str, Any]:
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


def varies(template: str) -> bool:
    """Whether a template uses anything but the rule's options and the platforms."""
    if "{" not in template:
        return False
    from jinja2.meta import find_undeclared_variables

    return not find_undeclared_variables(_environment().parse(template)) <= _SETTLED


def render_call(rule: Rule, call: Sequence[str]) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The script and the environment of a call; raises ``RuleError`` where a template fails."""
    package = parameters_of(call)
    values = values_of(rule, package)
    env = {name: render_text(rule, f"env.{name}", text, values, "env", name) for name, text in rule.env.items()}
    if values["cross"]:
        env |= {
            name: render_text(rule, f"cross_env.{name}", text, values, "cross_env", name)
            for name, text in rule.cross_env.items()
        }
    env |= package.env
    functions = {
        phase: function for phase, parts in _phase_texts(rule, values).items() if (function := _function(phase, parts))
    }
    script = "\n".join(
        (
            render_text(rule, "prelude", rule.prelude, values, "prelude").strip("\n") + "\n",
            *functions.values(),
            "".join(f"run {phase}\n" for phase in functions),
        )
    )
    return script, tuple(sorted((name, value) for name, value in env.items() if value != ""))


def check_own_phases(rule: Rule, call: Sequence[str]) -> None:
    """Render the phases that a package brings itself, for what is wrong with them; raises ``RuleOptionError``."""
    package = parameters_of(call)
    values = values_of(rule, package)
    for phase, text in package.phases.items():
        try:
            render_text(rule, f"phases.{phase}", text, values)
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
