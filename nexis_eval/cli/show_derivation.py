"""Print the recipe of a target: its builder, script, environment and inputs, and the identity they hash to."""

from __future__ import annotations

import argparse
import json

from nexis_eval.cli.arguments import DEFAULT, add_evaluation_arguments, take_targets
from nexis_eval.cli.evaluation import default_names, evaluate, named_roots
from nexis_eval.drawing.recipe import recipe_lines
from nexis_eval.graph.json import graph_to_json
from nexis_eval.secrets import hidden

EXAMPLES = """\
examples:
  nexis-eval show-derivation zlib
  nexis-eval show-derivation images --recursive --json >images.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_evaluation_arguments(parser, f"what to show (default: {DEFAULT})")
    parser.add_argument("-r", "--recursive", action="store_true", help="and everything it needs, inputs first")
    parser.add_argument("--json", action="store_true", help="print JSON (docs/formats/derivation.md)")


def run(args: argparse.Namespace) -> int:
    """Print; returns the exit code."""
    named = take_targets(args, 0, 1)
    evaluation = evaluate(args)
    graph = evaluation.graph
    roots = named_roots(evaluation, named or default_names(evaluation))
    chosen = graph.closure(roots) if args.recursive else {root: graph.derivations[root] for root in roots}
    if args.json:
        print(hidden(json.dumps(graph_to_json(graph, chosen), indent=2, ensure_ascii=False)))
        return 0
    for index, each in enumerate(chosen):
        if index:
            print()
        print(hidden("\n".join(recipe_lines(graph, each))))
    return 0
