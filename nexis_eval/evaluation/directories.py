"""Where rules and tool sets are: the product's own directories, and those that ``[rules]`` of a configuration names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from nexis_eval.build_rules.model import Rule
from nexis_eval.build_rules.reading import load_rules, rule_files
from nexis_eval.build_rules.trial import check_rendering, read_tests
from nexis_eval.config.model import Rules
from nexis_eval.graph.dag import DerivationGraph
from nexis_eval.graph.derivation import Script
from nexis_eval.places import RULES
from nexis_eval.toolchain import DEFINITION, PINS, Toolchain, load_toolchain


def rules_of(rules: Rules) -> Mapping[str, Rule]:
    """The product's rules, and those of the user's directories; raises ``RuleError``."""
    return load_rules(RULES / "build", *(each.path for each in rules.paths))


def toolchain_of(rules: Rules) -> Toolchain:
    """The product's tool sets, and those of the user's directories; raises ``ToolchainError``."""
    return load_toolchain(RULES, *(each.path for each in rules.paths))


def check_own(rules: Rules, graph: DerivationGraph) -> None:
    """Run the tests of the user's own rules, and render what ``graph`` calls them with.

    Raises ``RuleError`` and ``RuleTestError`` with the place; building renders a script when its turn comes.
    """
    for rule in rules_of(rules).values():
        if Path(rule.files[-1]).parent != RULES / "build":
            for test in read_tests(rule):
                check_rendering(rule, test)
    for identity in graph.derivations:
        if graph.head(identity).kind == Script.kind:
            # Looking at a step renders its script.
            graph.derivations[identity]


def files_of(rules: Rules) -> Iterator[Path]:
    """What of the user's directories decides an evaluation: they themselves for the names in them, and the files."""
    for each in rules.paths:
        yield each.path
        yield from (*rule_files(each.path), each.path / DEFINITION, each.path / PINS)


def is_in(file: str, rules: Rules) -> bool:
    """Whether ``file`` is a directory of the user's rules, or may be a file of one."""
    path = Path(file)
    return any(each.path in (path, path.parent) for each in rules.paths)
