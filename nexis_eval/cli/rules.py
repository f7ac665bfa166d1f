"""List the rules (build systems), or show one with its options."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from nexis_eval.build_rules import reference
from nexis_eval.build_rules.model import Rule
from nexis_eval.build_rules.reading import load_rules, rule_named
from nexis_eval.cli.arguments import system_file
from nexis_eval.config.load import load_tables
from nexis_eval.config.origin import shown_path
from nexis_eval.places import RULES

EXAMPLES = """\
examples:
  nexis-eval rules
  nexis-eval rules cmake
  nexis-eval rules --file ~/my-system
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("rule", nargs="?", metavar="RULE", help="the rule to show, with all its options")
    parser.add_argument(
        "--file",
        type=system_file,
        metavar="SYSTEM.toml",
        help="the configuration whose own rules count, or its directory (default: ./system.toml, if there is one)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--markdown", action="store_true", help="print the page of the documentation")


def _rules(file: Path | None) -> Mapping[str, Rule]:
    """The product's rules, and those of a configuration, whatever else may be wrong with that."""
    if file is None:
        file = Path("system.toml")
        if not file.exists():
            return load_rules(RULES / "build")
    own = load_tables(file, "rules")["rules"].get("paths", ())
    return load_rules(RULES / "build", *(each.path for each in own))  # type: ignore[attr-defined]


def _origin(rule: Rule) -> str | None:
    """Where a rule of the user's own is, and what it does to one of the product's; ``None`` for the product's."""
    file, product = Path(rule.files[-1]), RULES / "build" / f"{rule.name}.toml"
    if file.parent == product.parent:
        return None
    if str(product) in rule.files:
        return f"{shown_path(file)}, which extends the product's"
    return f"{shown_path(file)}, in place of the product's" if product.exists() else shown_path(file)


def _as_json(rule: Rule) -> dict[str, object]:
    return {
        "name": rule.name,
        "file": rule.files[-1],
        "roles": rule.roles,
        "summary": rule.summary,
        "doc": rule.doc.strip(),
        "extends": rule.extends,
        "cross": rule.cross,
        "toolsets": rule.toolsets,
        "phases": rule.order,
        "options": [dataclasses.asdict(each) for each in rule.options.values()],
    }


def run(arguments: argparse.Namespace) -> int:
    """Print what was asked for; raises ``UnknownRuleError``."""
    rules = load_rules(RULES / "build") if arguments.markdown else _rules(arguments.file)
    usable = [each for each in rules.values() if not each.abstract]
    if arguments.markdown:
        print(reference.markdown(rules), end="")
        return 0
    if arguments.rule is None:
        if arguments.json:
            print(json.dumps([_as_json(each) for each in usable], indent=2, ensure_ascii=False))
            return 0
        width = max(len(each.name) for each in usable)
        for each in usable:
            origin = _origin(each)
            print(f"{each.name.ljust(width)}  {each.summary}{f' ({origin})' if origin else ''}")
        return 0
    rule = rule_named(arguments.rule, rules)
    if arguments.json:
        print(json.dumps(_as_json(rule), indent=2, ensure_ascii=False))
        return 0
    print(reference.plain(rule, min(shutil.get_terminal_size((100, 25)).columns, 120), _origin(rule)), end="")
    return 0
