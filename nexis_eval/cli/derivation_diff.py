"""Say where two derivations differ: which field, which input, which line of a script.

A and B are each one of
  SYSTEM.toml[#TARGET]   what a configuration evaluates to
  FILE.json[#TARGET]     what 'show-derivation --recursive --json', 'graph --json' or 'repro record' wrote
  last[#TARGET]          what the other one's system was last built from, in this store
The target may be a name or the beginning of a derivation id. Without one it is the images; of a JSON file, the one that
no other in it needs. What differs itself is told first, inputs before their users; what only follows is counted.
"""

from __future__ import annotations

import argparse
import copy
import json
from dataclasses import dataclass
from pathlib import Path

from nexis_eval.cli.arguments import DEFAULT_TARGET, add_store_argument, add_variant_arguments
from nexis_eval.cli.evaluation import evaluate, find_target
from nexis_eval.cli.stores import last_record, store_to_ask
from nexis_eval.evaluation.result import Evaluation
from nexis_eval.graph.dag import DerivationGraph
from nexis_eval.graph.diff import DerivationDiff, Difference, compare
from nexis_eval.graph.json import graph_from_json
from nexis_eval.ui.text import plural
from nexis_store.digest import DerivationId
from nexis_store.errors import NexisError

LAST = "last"

Evaluated = tuple[argparse.Namespace, Evaluation]


class DerivationOperandError(NexisError):
    """What was given to compare names no derivation.

    Each side is a configuration, a JSON file of ``show-derivation --recursive --json``, ``graph --json`` or ``repro
    record``, or ``last``; ``#`` and a name choose a target in it.
    """

    code = "E0006"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: a graph, and the derivation in it that was named."""

    graph: DerivationGraph
    derivation: DerivationId


EXAMPLES = """\
examples:
  nexis-eval derivation diff last system.toml
  nexis-eval derivation diff old.toml#zlib new.toml#zlib
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("before", metavar="A", help="the one before")
    parser.add_argument("after", metavar="B", help="the one after")
    add_variant_arguments(parser)
    add_store_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(locked=True)


def run(args: argparse.Namespace) -> int:
    """Print; returns 0 when both are the same recipe, else 1."""
    evaluations: list[Evaluated] = []
    words = [each.partition("#") for each in (args.before, args.after)]
    if all(name == LAST for name, _, _ in words):
        raise DerivationOperandError(
            "both sides are what was last built",
            hint="name a configuration on one side: its system is looked up in the store",
        )
    sides: dict[int, Side] = {}
    # The configuration first: it says which system's last build is meant.
    for at in sorted((0, 1), key=lambda each: words[each][0] == LAST):
        name, _, target = words[at]
        sides[at] = _side(args, name, target, evaluations)
    before, after = sides[0], sides[1]
    found = compare(before.graph, before.derivation, after.graph, after.derivation)
    print(_json(before, after, found) if args.json else "\n".join(_lines(before, after, found)))
    return 0 if found.same else 1


def _side(args: argparse.Namespace, name: str, target: str, evaluations: list[Evaluated]) -> Side:
    if name == LAST:
        if not evaluations:
            raise DerivationOperandError(
                "'last' needs a configuration on the other side", hint="give a SYSTEM.toml there"
            )
        chosen, evaluation = evaluations[0]
        with store_to_ask(chosen, evaluation.summary.store_profile) as store:
            record = last_record(store, evaluation.summary, [target] if target else [])
        if record is None:
            raise DerivationOperandError(
                f"this store knows no build of '{evaluation.summary.system}' for {evaluation.summary.arch}",
                hint="build it once, or name its store with --store",
            )
        return Side(record.graph, find_target(record.graph, target or DEFAULT_TARGET))
    path = Path(name)
    if path.suffix == ".json":
        graph = _graph_of(path)
        return Side(graph, find_target(graph, target) if target else _top(graph, path))
    chosen = copy.copy(args)
    chosen.file = path / "system.toml" if path.is_dir() else path
    evaluation = evaluate(chosen)
    evaluations.append((chosen, evaluation))
    return Side(evaluation.graph, find_target(evaluation.graph, target or DEFAULT_TARGET))


def _graph_of(path: Path) -> DerivationGraph:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        graph = graph_from_json(value.get("graph", value))
    except OSError as error:
        raise DerivationOperandError(f"cannot read {path}: {error.strerror}", hint="name an existing file") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DerivationOperandError(
            f"{path} holds no derivations", hint="make one with 'nexis-eval show-derivation --recursive --json'"
        ) from error
    for derivation in graph.derivations.values():
        if any(each not in graph.derivations for each in derivation.dependencies()):
            raise DerivationOperandError(
                f"{path} lacks what {derivation.label} needs",
                hint="make it with 'nexis-eval show-derivation --recursive --json'",
            )
    return graph


def _top(graph: DerivationGraph, path: Path) -> DerivationId:
    found = [each for each, users in graph.dependents().items() if not users]
    if len(found) != 1:
        raise DerivationOperandError(
            f"{path} holds {plural(len(found), 'derivation')} that no other needs",
            hint=f"say which one is meant: {path}#TARGET",
        )
    return found[0]


def _lines(before: Side, after: Side, found: DerivationDiff) -> list[str]:
    old, new = before.graph.derivations[before.derivation], after.graph.derivations[after.derivation]
    if found.same:
        return [f"{new.label} ({new.platform}) is the same recipe on both sides: {str(after.derivation)[:12]}"]
    lines = [
        f"- {old.label} ({old.platform})  {str(before.derivation)[:12]}",
        f"+ {new.label} ({new.platform})  {str(after.derivation)[:12]}",
    ]
    for cause in found.causes:
        place = _place(after, cause)
        lines += ["", f"{cause.label} ({place})" if place else cause.label]
        for change in cause.changes:
            lines += [f"  {line}" for line in change.describe().splitlines()]
    if found.follows:
        lines += ["", f"{plural(len(found.follows), 'step')} only because of that: {', '.join(found.follows)}"]
    return lines


def _place(side: Side, cause: Difference) -> str | None:
    place = side.graph.origins.get(cause.pair.after)
    return None if place is None else str(place)


def _json(before: Side, after: Side, found: DerivationDiff) -> str:
    value = {
        "same": found.same,
        "before": str(before.derivation),
        "after": str(after.derivation),
        "causes": [
            {
                "label": cause.label,
                "before": str(cause.pair.before),
                "after": str(cause.pair.after),
                "place": _place(after, cause),
                "changes": [
                    {"field": each.field, "before": each.before, "after": each.after} for each in cause.changes
                ],
            }
            for cause in found.causes
        ],
        "follows": list(found.follows),
    }
    return json.dumps(value, indent=2, ensure_ascii=False)
