"""Print the recipe of a target: its builder, script, environment and inputs, and the identity they hash to."""

from __future__ import annotations

import argparse
import json

from nexis_eval.cli.evaluation import DEFAULT_TARGET, add_evaluation_arguments, evaluate, find_target, take_targets
from nexis_eval.derivation import Derivation
from nexis_eval.derivation_json import graph_to_json
from nexis_eval.graph import DerivationGraph
from nexis_store.digest import DerivationId


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_evaluation_arguments(parser, f"what to show (default: {DEFAULT_TARGET})")
    parser.add_argument("-r", "--recursive", action="store_true", help="and everything it needs, inputs first")
    parser.add_argument("--json", action="store_true", help="print JSON (docs/formats/derivation.md)")


def run(args: argparse.Namespace) -> int:
    """Print; returns the exit code."""
    name = (take_targets(args, 0, 1) or [DEFAULT_TARGET])[0]
    graph = evaluate(args).graph
    root = find_target(graph, name)
    chosen = graph.closure([root]) if args.recursive else {root: graph.derivations[root]}
    if args.json:
        print(json.dumps(graph_to_json(graph, chosen), indent=2, ensure_ascii=False))
        return 0
    for index, (each, derivation) in enumerate(chosen.items()):
        if index:
            print()
        print("\n".join(_lines(graph, each, derivation)))
    return 0


def _lines(graph: DerivationGraph, each: DerivationId, derivation: Derivation) -> list[str]:
    lines = [f"{derivation.label}  {each}"]
    place = graph.origins.get(each)
    if place is not None:
        lines.append(f"  from        {place}")
    platform = derivation.platform
    if derivation.build_platform != platform:
        platform += f" (built on {derivation.build_platform})"
    lines.append(f"  platform    {platform}")
    lines.append(f"  builder     {derivation.builder.kind}")
    for label, value in derivation.builder.fields():
        if "\n" in value:
            lines.append(f"  {label}")
            lines.extend(f"    | {line}" for line in value.splitlines())
        else:
            lines.append(f"  {label:<11} {value}")
    for needed in derivation.inputs:
        below = f"/{needed.subdir}" if needed.subdir else ""
        source = graph.derivations[needed.derivation]
        lines.append(
            f"  input       {source.label}{below} as {needed.use} at {needed.at}  {str(needed.derivation)[:12]}"
        )
    for runtime in derivation.runtime:
        lines.append(f"  needs       {graph.derivations[runtime].label} when used")
    return lines
