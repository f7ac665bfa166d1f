"""Reads directories of rules.

A rule is a file: tool sets, options, environment, and the text of each phase as a Jinja2 template of bash. ``extends``
takes over what another rule has. Nothing here knows any build system by name: what the engine needs a rule for of its
own accord is a role, which a rule declares.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nexis_eval.build_rules.checking import bare_phase, described, misfit, near_misses
from nexis_eval.build_rules.errors import RuleError, UnknownRuleError
from nexis_eval.build_rules.file import RuleFile, read_rule_file
from nexis_eval.build_rules.model import TABLE_VALUES, Option, Role, Rule
from nexis_eval.build_rules.rendering import check_syntax
from nexis_eval.config.origin import shown_path
from nexis_eval.platforms import PLATFORMS
from nexis_store.errors import Place
from nexis_store.suggest import did_you_mean

TOOLSETS = "toolchain.toml"
"""The file of a directory that defines tool sets (``nexis_eval.toolchain``) and is no rule."""
OPTION_TYPES = ("string", "boolean", "integer", "list", "table", "file")
VALUE_TYPES = ("string", "boolean", "integer")
"""What the values of a table can be."""
KEYS = frozenset(
    ("summary", "doc", "extends", "abstract", "role", "order", "toolsets", "cross", "cross_toolsets", "options")
) | frozenset(("env", "cross_env", "prelude", "phases", "tests"))
_OPTION_KEYS = frozenset(("type", "doc", "default", "choices", "required", "values"))
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
_PHASE = re.compile(r"[a-z][a-z0-9_]{0,99}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")


def load_rules(product: Path, *own: Path) -> Mapping[str, Rule]:
    """Read every rule of the directories; a later one replaces a rule of the same name, or extends it.

    The templates of the user's ``own`` are compiled, for what is wrong with them. Raises ``RuleError`` with the place.
    """
    layers: dict[str, list[RuleFile]] = {}
    holders: dict[Role, str] = {}
    for directory in (product, *own):
        roles: dict[Role, RuleFile] = {}
        for file in _files_of(directory):
            _check(file)
            if directory is not product:
                check_syntax(file)
            layers.setdefault(file.name, []).append(file)
            role = file.table.get("role")
            if role is not None:
                other = roles.setdefault(Role(role), file)
                if other is not file:
                    file.fail(f"the rule '{other.name}' of this directory has the role '{role}' as well", "role")
        holders.update((role, file.name) for role, file in roles.items())
    reader = _Reader(layers)
    for name in layers:
        reader.rule(name, len(layers[name]) - 1, ())
    rules = {name: reader.rules[name, len(layers[name]) - 1] for name in sorted(layers)}
    for role, name in holders.items():
        rules[name] = replace(rules[name], roles=(*rules[name].roles, role))
    return rules


def rule_files(directory: Path) -> list[Path]:
    """The files of a directory that are rules; raises ``RuleError``."""
    try:
        names = sorted(os.listdir(directory))  # noqa: PTH208 - names are wanted
    except OSError as error:
        raise RuleError(f"cannot read the directory: {error.strerror}", place=Place(shown_path(directory))) from None
    return [directory / name for name in names if name.endswith(".toml") and name != TOOLSETS and name[0] != "."]


def _files_of(directory: Path) -> Iterator[RuleFile]:
    for path in rule_files(directory):
        if not _NAME.fullmatch(path.stem):
            raise RuleError(
                f"'{path.stem}' is not the name of a rule",
                hint="lower-case letters, digits, _ . - and .toml after them; each *.toml of the directory is a rule",
                place=Place(shown_path(path)),
            )
        yield read_rule_file(path)


def _check(file: RuleFile) -> None:
    """See that every value is what it must be."""
    table = file.table
    file.only(table, KEYS, "a rule")
    for key in ("summary", "doc", "extends", "prelude", "role"):
        file.value(table, str, key)
    if not table.get("summary"):
        file.fail("a rule needs a 'summary'", "summary", hint='summary = "what it builds."')
    roles = [*map(str, Role)]
    if table.get("role", roles[0]) not in roles:
        known = f"roles are: {', '.join(roles)}"
        file.fail(f"no role is called '{table['role']}'", "role", hint=did_you_mean(table["role"], roles, known))
    file.value(table, bool, "abstract")
    for key in ("order", "toolsets", "cross_toolsets"):
        file.texts(table, key)
    for index, phase in enumerate(table.get("order", ())):
        if not _PHASE.fullmatch(phase) or bare_phase(phase) != phase:
            file.fail(f"'{phase}' is not the name of a phase", "order", index, hint="lower-case letters, digits, _")
    for key in ("env", "cross_env"):
        for name in file.text_table(table, key):
            if not _VARIABLE.fullmatch(name):
                file.fail(f"'{name}' is not the name of a variable", key, name, on_key=True)
    file.text_table(table, "phases")
    file.value(table, dict, "tests")
    for name in file.value(table, dict, "options") or {}:
        _check_option(file, name)
    _check_cross(file)


def _check_cross(file: RuleFile) -> None:
    cross = file.table.get("cross", True)
    if isinstance(cross, dict):
        for arch, reason in cross.items():
            if arch not in PLATFORMS:
                hint = did_you_mean(arch, PLATFORMS, f"one of {', '.join(PLATFORMS)}")
                file.fail(f"unknown architecture '{arch}'", "cross", arch, hint=hint, on_key=True)
            if reason is not True and type(reason) is not str:
                file.fail(f"'cross.{arch}' must be true, or a string that says why not", "cross", arch)
    elif not isinstance(cross, bool | str):
        file.fail("'cross' must be true, or a string that says why not, or a table of such", "cross")


def _check_option(file: RuleFile, name: str) -> None:
    options = file.table["options"]
    table = file.value(options, dict, "options", name)
    file.only(table, _OPTION_KEYS, f"option '{name}'", "options", name)
    for key, kind in (("type", str), ("doc", str), ("required", bool)):
        file.value(table, kind, "options", name, key)
    for key in ("choices", "values"):
        file.texts(table, "options", name, key)
    kind = table.get("type", "string")
    if kind not in OPTION_TYPES:
        hint = did_you_mean(kind, OPTION_TYPES, f"one of {', '.join(OPTION_TYPES)}")
        file.fail(f"option '{name}': no type is called '{kind}'", "options", name, "type", hint=hint)
    if "doc" not in table:
        file.fail(f"option '{name}' needs a 'doc'", "options", name, hint='doc = "what it is for."')
    if not set(table.get("values", ())) <= set(VALUE_TYPES) or ("values" in table and kind != "table"):
        hint = f'some of {", ".join(VALUE_TYPES)}, with type = "table"'
        file.fail(f"option '{name}': 'values' lists types of a table", "options", name, "values", hint=hint)
    option = _option(name, table)
    if option.default is not None:
        wrong = misfit(option, option.default)
        if wrong is not None:
            message = f"option '{name}': the default is not {described(option)}"
            file.fail(message, "options", name, "default", *wrong)


class _Reader:
    """Works what rules extend into them. ``layers`` are the files of each name, the product's first."""

    def __init__(self, layers: Mapping[str, list[RuleFile]]) -> None:
        self.layers = layers
        self.rules: dict[tuple[str, int], Rule] = {}

    def rule(self, name: str, layer: int, using: tuple[tuple[str, int], ...]) -> Rule:
        here = name, layer
        if here in self.rules:
            return self.rules[here]
        file = self.layers[name][layer]
        base = file.table.get("extends")
        if base is None:
            self.rules[here] = _merge(Rule(name, ""), file)
            return self.rules[here]
        # A rule that extends its own name extends the one that it replaces.
        below = (base, layer - 1) if base == name else (base, len(self.layers.get(base, ())) - 1)
        if base not in self.layers:
            known = f"rules are: {', '.join(sorted(self.layers))}"
            file.fail(f"extends '{base}', which is no rule", "extends", hint=did_you_mean(base, self.layers, known))
        if below[1] < 0 or below in using:
            chain = " → ".join((*(each for each, _ in using), name, base))
            hint = "take one 'extends' out"
            if below[1] < 0:
                hint = "a rule extends its own name where it replaces one of that name, and there is none"
            file.fail(f"rules extend each other: {chain}", "extends", hint=hint)
        self.rules[here] = _merge(self.rule(*below, (*using, here)), file)
        return self.rules[here]


def _merge(base: Rule, file: RuleFile) -> Rule:
    """What ``file`` says over ``base``: tables key by key, lists of tool sets added, all else replaced."""
    table = file.table
    order = tuple(table.get("order", base.order))
    phases = {**base.phases, **table.get("phases", {})}
    for phase in phases:
        if bare_phase(phase) not in order:
            hint = near_misses(bare_phase(phase), order, "phases")
            file.fail(
                f"phase '{phase}' is not in 'order' ({', '.join(order)})", "phases", phase, hint=hint, on_key=True
            )
    return replace(
        base,
        name=file.name,
        summary=table["summary"],
        doc=table.get("doc", ""),
        extends=table.get("extends"),
        abstract=table.get("abstract", False),
        toolsets=_union(base.toolsets, table.get("toolsets", ())),
        cross=table.get("cross", base.cross),
        cross_toolsets=_union(base.cross_toolsets, table.get("cross_toolsets", ())),
        options={**base.options, **{key: _option(key, value) for key, value in table.get("options", {}).items()}},
        env={**base.env, **table.get("env", {})},
        cross_env={**base.cross_env, **table.get("cross_env", {})},
        prelude=base.prelude + table.get("prelude", ""),
        order=order,
        phases=phases,
        files=(*base.files, str(file.path)),
    )


def _union(first: Iterable[str], second: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))


def _option(name: str, table: Mapping[str, Any]) -> Option:
    return Option(
        name,
        table.get("type", "string"),
        table.get("doc", ""),
        table.get("default"),
        tuple(table.get("choices", ())),
        table.get("required", False),
        tuple(table.get("values", TABLE_VALUES)),
    )


def rule_named(name: str, rules: Mapping[str, Rule]) -> Rule:
    """The rule called ``name``; raises ``UnknownRuleError``."""
    rule = rules.get(name)
    if rule is None:
        usable = [each.name for each in rules.values() if not each.abstract]
        raise UnknownRuleError(f"no rule is called '{name}'", hint=near_misses(name, usable, "known rules"))
    return rule


def rule_for(role: Role, rules: Mapping[str, Rule]) -> Rule:
    """The rule that has a role; raises ``UnknownRuleError``."""
    for rule in rules.values():
        if role in rule.roles:
            return rule
    raise UnknownRuleError(f"no rule has the role '{role}'", hint=f'declare it in the file of a rule: role = "{role}"')
