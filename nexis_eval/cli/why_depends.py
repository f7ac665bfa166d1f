"""Say why one target needs another: every shortest path from the one to the other.

Each step says how it is needed: 'builds with' for what a build sees, 'uses' for what is only needed at run time.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise

from nexis_eval.cli.evaluation import add_evaluation_arguments, evaluate, find_target, take_targets
from nexis_eval.graph import DerivationGraph
from nexis_store.digest import DerivationId

MAX_PATHS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_evaluation_arguments(parser, "two targets: the one that needs, and the one that is needed")
    parser.add_argument("--json", action="store_true", help="print JSON")


def shortest_paths(
    graph: DerivationGraph, source: DerivationId, needed: DerivationId, limit: int = MAX_PATHS
) -> list[list[DerivationId]]:
    """Up to ``limit`` shortest paths from ``source`` down to ``needed``; empty when there is none."""
    from itertools import islice

    import networkx

    edges: networkx.DiGraph[DerivationId] = networkx.DiGraph()
    edges.add_nodes_from(graph.derivations)
    edges.add_edges_from(
        (each, item) for each, derivation in graph.derivations.items() for item in derivation.dependencies()
    )
    if not networkx.has_path(edges, source, needed):
        return []
    return list(islice(networkx.all_shortest_paths(edges, source, needed), limit))


def relation(graph: DerivationGraph, user: DerivationId, needed: DerivationId) -> str:
    """How ``user`` needs ``needed``."""
    built_with = any(each.derivation == needed for each in graph.derivations[user].inputs)
    return "builds with" if built_with else "uses"


def run(args: argparse.Namespace) -> int:
    """Print; returns 0 when there is a path, else 1."""
    first, second = take_targets(args, 2, 2)
    graph = evaluate(args).graph
    source, needed = find_target(graph, first), find_target(graph, second)
    paths = shortest_paths(graph, source, needed)
    if args.json:
        print(
            json.dumps(
                [
                    [{"label": graph.derivations[each].label, "derivation": str(each)} for each in path]
                    for path in paths
                ],
                indent=2,
            )
        )
        return 0 if paths else 1
    if not paths:
        print(f"{first} does not need {second}")
        return 1
    for index, path in enumerate(paths):
        if index:
            print()
        print(graph.derivations[path[0]].label)
        for depth, (user, item) in enumerate(pairwise(path), start=1):
            print(f"{'  ' * depth}{relation(graph, user, item)} {graph.derivations[item].label}")
    return 0
