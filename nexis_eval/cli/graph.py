"""Print the derivation graph of a system, or the part of it below a target."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping

from nexis_eval.cli.evaluation import DEFAULT_TARGET, add_evaluation_arguments, evaluate, find_target, take_targets
from nexis_eval.derivation import Derivation
from nexis_eval.derivation_json import graph_to_json
from nexis_store.digest import DerivationId

PLUMBING = ("fetch", "git", "local", "unpack")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_evaluation_arguments(parser, f"the root of the graph (default: {DEFAULT_TARGET})")
    parser.add_argument(
        "--format", choices=("text", "dot", "json", "mermaid"), default="text", help="how to print it (default: text)"
    )
    parser.add_argument(
        "--all", action="store_true", help="with downloads, unpacking and local files, which are left out otherwise"
    )
    parser.add_argument("--json", action="store_const", const="json", dest="format", help="the same as --format json")


def run(args: argparse.Namespace) -> int:
    """Print; returns the exit code."""
    name = (take_targets(args, 0, 1) or [DEFAULT_TARGET])[0]
    graph = evaluate(args).graph
    root = find_target(graph, name)
    derivations = graph.closure([root])
    if args.format == "json":
        print(json.dumps(graph_to_json(graph, derivations), indent=2, ensure_ascii=False))
        return 0
    edges = visible_edges(derivations, with_plumbing=args.all)
    lines = {"text": _text, "dot": _dot, "mermaid": _mermaid}[args.format](root, derivations, edges)
    print("\n".join(lines))
    return 0


def visible_edges(
    derivations: Mapping[DerivationId, Derivation], *, with_plumbing: bool
) -> dict[DerivationId, list[DerivationId]]:
    """For each node shown, the nodes shown that it uses."""
    shown = {each for each, item in derivations.items() if with_plumbing or item.builder.kind not in PLUMBING}
    return {
        each: [needed for needed in dict.fromkeys(derivations[each].dependencies()) if needed in shown]
        for each in derivations
        if each in shown
    }


def _text(
    root: DerivationId, derivations: Mapping[DerivationId, Derivation], edges: Mapping[DerivationId, list[DerivationId]]
) -> Iterator[str]:
    """A tree; what was shown before is only named again."""
    seen: set[DerivationId] = set()
    pending = [(root, 0)]
    while pending:
        each, depth = pending.pop()
        derivation = derivations[each]
        again = each in seen and bool(edges[each])
        yield f"{'  ' * depth}{derivation.label} ({derivation.platform}){' …' if again else ''}"
        if not again:
            seen.add(each)
            pending.extend((needed, depth + 1) for needed in reversed(edges[each]))


def _dot(
    root: DerivationId, derivations: Mapping[DerivationId, Derivation], edges: Mapping[DerivationId, list[DerivationId]]
) -> Iterator[str]:
    yield "digraph system {"
    yield "  rankdir=LR; node [shape=box, fontname=sans];"
    for each in edges:
        label = derivations[each].label.replace('"', '\\"')
        yield f'  "{str(each)[:12]}" [label="{label}\\n{derivations[each].platform}"];'
    for each, needed in edges.items():
        for item in needed:
            yield f'  "{str(each)[:12]}" -> "{str(item)[:12]}";'
    yield "}"


def _mermaid(
    root: DerivationId, derivations: Mapping[DerivationId, Derivation], edges: Mapping[DerivationId, list[DerivationId]]
) -> Iterator[str]:
    yield "flowchart LR"
    for each in edges:
        yield f'  n{str(each)[:12]}["{derivations[each].label}"]'
    for each, needed in edges.items():
        for item in needed:
            yield f"  n{str(each)[:12]} --> n{str(item)[:12]}"
