"""List the rules (build systems), or show one with its options."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil

from nexis_eval.build_rules import reference
from nexis_eval.build_rules.model import Rule
from nexis_eval.build_rules.reading import load_rules, rule_named
from nexis_eval.places import RULES

EXAMPLES = """\
examples:
  nexis-eval rules
  nexis-eval rules cmake
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("rule", nargs="?", metavar="RULE", help="the rule to show, with all its options")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--markdown", action="store_true", help="print the page of the documentation")


def _as_json(rule: Rule) -> dict[str, object]:
    return {
        "name": rule.name,
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
    rules = load_rules(RULES / "build")
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
            print(f"{each.name.ljust(width)}  {each.summary}")
        return 0
    rule = rule_named(arguments.rule, rules)
    if arguments.json:
        print(json.dumps(_as_json(rule), indent=2, ensure_ascii=False))
        return 0
    print(reference.plain(rule, min(shutil.get_terminal_size((100, 25)).columns, 120)), end="")
    return 0
