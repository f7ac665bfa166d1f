"""Reads ``rules/build/*.toml``.

A rule is a file: tool sets, options, environment, and the text of each phase as a Jinja2 template of bash. ``extends``
takes over what another rule has; nothing here knows any build system by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nexis_eval.build_rules.checking import bare_phase, described, misfit, near_misses
from nexis_eval.build_rules.errors import RuleError, UnknownRuleError
from nexis_eval.build_rules.model import TABLE_VALUES, Option, Rule
from nexis_store.errors import Place

OPTION_TYPES = ("string", "boolean", "integer", "list", "table", "file")
VALUE_TYPES = ("string", "boolean", "integer")
"""What the values of a table can be."""
KEYS = frozenset(
    ("summary", "doc", "extends", "abstract", "order", "toolsets", "cross", "cross_toolsets", "options", "env")
) | frozenset(("cross_env", "prelude", "phases"))


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
        if bare_phase(phase) not in order:
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
    values = tuple(table.get("values", TABLE_VALUES))
    if not set(values) <= set(VALUE_TYPES) or ("values" in table and kind != "table"):
        raise RuleError(f"option '{name}': 'values' lists types of a table", hint=" ".join(VALUE_TYPES), place=place)
    option = Option(
        name,
        kind,
        table["doc"],
        table.get("default"),
        tuple(table.get("choices", ())),
        table.get("required", False),
        values,
    )
    if option.default is not None and misfit(option, option.default) is not None:
        raise RuleError(f"option '{name}': the default is not {described(option)}", place=place)
    return option


def rule_named(name: str, rules: Mapping[str, Rule]) -> Rule:
    """The rule called ``name``; raises ``UnknownRuleError``."""
    rule = rules.get(name)
    if rule is None:
        usable = [each.name for each in rules.values() if not each.abstract]
        raise UnknownRuleError(f"no rule is called '{name}'", hint=near_misses(name, usable, "known rules"))
    return rule
