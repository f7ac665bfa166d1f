"""List what can be built: packages, parts of the system, images, tool sets."""

from __future__ import annotations

import argparse
import json
import sys

from nexis_eval.cli.arguments import DEFAULT_TARGET, add_evaluation_arguments, take_targets
from nexis_eval.cli.evaluation import evaluate
from nexis_eval.config.errors import each_error
from nexis_eval.graph.dag import DerivationGraph
from nexis_store.errors import NexisError

EXAMPLES = """\
examples:
  nexis-eval targets
  nexis-eval targets ~/my-system --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_evaluation_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON: names and derivation ids")


def run(args: argparse.Namespace) -> int:
    """Print; returns the exit code."""
    take_targets(args, 0, 0)
    evaluation = evaluate(args)
    if args.json:
        # With an indent, Python's encoder takes longer than recalling the evaluation; these separators do the same.
        ids = {name: identity.hex() for name, identity in evaluation.summary.targets.by_name().items()}
        print("{\n  " + json.dumps(ids, separators=(",\n  ", ": "))[1:-1] + "\n}")
        return 0
    graph = evaluation.graph
    if not graph.targets:
        print("nothing to build: this configuration has no packages", file=sys.stderr)
    targets = graph.targets.by_name()
    width = max(map(len, targets), default=0)
    for name, identity in targets.items():
        head = graph.head(identity)
        print(f"{name.ljust(width)}  {head.label} ({head.platform})")
    if not graph.targets.system:
        _say_why_there_is_no_system(graph)
    return 0


def _say_why_there_is_no_system(graph: DerivationGraph) -> None:
    try:
        graph.lacking()
    except NexisError as error:
        for each in each_error(error):
            print(f"note: no {DEFAULT_TARGET}, as {each.message}", file=sys.stderr)
