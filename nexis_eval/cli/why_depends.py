"""Say why one target needs another: every shortest path from the one to the other.

Each step says how it is needed: 'builds with' what its build sees, 'runs with' what is needed when it is used, or both.

Exits with 1 if the one does not need the other.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise

from nexis_eval.cli.arguments import add_evaluation_arguments, take_targets
from nexis_eval.cli.evaluation import evaluate, find_target
from nexis_eval.graph.dag import DerivationGraph
from nexis_store.digest import DerivationId

MAX_PATHS = 20
"""As many are shown unless all are asked for: there can be thousands."""


EXAMPLES = """\
examples:
  nexis-eval why-depends images argon2
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_evaluation_arguments(parser, "two targets: the one that needs, and the one that is needed")
    parser.add_argument("--all", action="store_true", help=f"print all paths, not just {MAX_PATHS}")
    parser.add_argument("--json", action="store_true", help="print JSON")


def shortest_paths(
    graph: DerivationGraph, source: DerivationId, needed: DerivationId, limit: int | None = None
) -> list[list[DerivationId]]:
    """Up to ``limit`` shortest paths from ``source`` down to ``needed``; empty when there is none."""
    from itertools import islice

    import networkx

    below = graph.reached([source])
    if needed not in below:
        return []
    edges: networkx.DiGraph[DerivationId] = networkx.DiGraph()
    edges.add_nodes_from(below)
    # In the graph's order: that of a set would tell the paths in another one each time.
    edges.add_edges_from((each, item) for each in graph.derivations if each in below for item in graph.needs(each))
    return list(islice(networkx.all_shortest_paths(edges, source, needed), limit))


def relation(graph: DerivationGraph, user: DerivationId, needed: DerivationId) -> str:
    """How ``user`` needs ``needed``."""
    derivation = graph.derivations[user]
    built_with = any(each.derivation == needed for each in derivation.inputs)
    if needed in derivation.runtime:
        return "builds and runs with" if built_with else "runs with"
    return "builds with"


def run(args: argparse.Namespace) -> int:
    """Print; returns 0 when there is a path, else 1."""
    first, second = take_targets(args, 2, 2)
    graph = evaluate(args).graph
    source, needed = find_target(graph, first), find_target(graph, second)
    paths = shortest_paths(graph, source, needed, None if args.all else MAX_PATHS + 1)
    more = not args.all and len(paths) > MAX_PATHS
    paths = paths[:MAX_PATHS] if more else paths
    if args.json:
        print(
            json.dumps(
                [
                    [
                        {
                            "label": graph.head(each).label,
                            "derivation": str(each),
                            "relation": relation(graph, path[at - 1], each) if at else None,
                        }
                        for at, each in enumerate(path)
                    ]
                    for path in paths
                ],
                indent=2,
            )
        )
        return 0 if paths else 1
    if not paths:
        other = f"; {second} needs {first}" if source in graph.reached([needed]) else ""
        print(f"{first} does not need {second}{other}")
        return 1
    for index, path in enumerate(paths):
        if index:
            print()
        print(graph.head(path[0]).label)
        for depth, (user, item) in enumerate(pairwise(path), start=1):
            print(f"{'  ' * depth}{relation(graph, user, item)} {graph.head(item).label}")
    if more:
        print(f"\nand more ways of the same length: --all prints them all, {MAX_PATHS} are above")
    return 0
