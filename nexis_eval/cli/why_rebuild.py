"""Say why a build would have something to do: what changed since the last build of this system, and what follows.

Root causes are listed apart from what merely depends on them. A dependent is rebuilt only if the output of what it uses
really changes; that cannot be known before it is built, so those are counted as 'at most'.
"""

from __future__ import annotations

import argparse
import json

from nexis_eval.cli.arguments import DEFAULT, add_evaluation_arguments, add_store_argument, take_targets
from nexis_eval.cli.evaluation import default_names, evaluate, named_roots
from nexis_eval.cli.stores import last_record, store_to_ask
from nexis_eval.graph.why import Cause, Reach, causes, consequences
from nexis_eval.schedule.plan import make_plan
from nexis_eval.ui.text import few, plural
from nexis_store.errors import Place

EXAMPLES = """\
examples:
  nexis-eval why-rebuild
  nexis-eval why-rebuild ~/my-system zlib
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_evaluation_arguments(parser, f"what would be built (default: {DEFAULT})")
    add_store_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print; returns the exit code."""
    named = take_targets(args, 0, 1)
    evaluation = evaluate(args)
    graph = evaluation.graph
    names = named or default_names(evaluation)
    roots = named_roots(evaluation, names)
    with store_to_ask(args, evaluation.summary.store_profile) as store:
        before = last_record(store, evaluation.summary, named)
        plan = make_plan(graph, roots, store.realised, store.realisation)
    found = {} if before is None else {each.derivation: each for each in causes(before.graph, graph)}
    wanted = graph.closure(roots)
    found = {each: cause for each, cause in found.items() if each in wanted}
    reach = consequences(graph, found)
    if args.json:
        print(
            json.dumps(
                {
                    "arch": evaluation.summary.arch,
                    "compared_with_last_build": before is not None,
                    "to_do": len(plan.certain),
                    "may_be_cut_off": plan.possible,
                    "causes": [
                        {
                            "derivation": str(each),
                            "label": cause.label,
                            "new": cause.new,
                            "place": str(graph.origins[each]) if each in graph.origins else None,
                            "changes": [
                                {"field": change.field, "before": change.before, "after": change.after}
                                for change in cause.changes
                            ],
                            "dependents": reach[each].dependents,
                            "cut_off_if_unchanged": reach[each].only,
                        }
                        for each, cause in found.items()
                    ],
                },
                indent=2,
                ensure_ascii=False,
            )
        )
        return 0
    if not plan.pending:
        print(f"nothing to rebuild: {few(names, 'target')} for {evaluation.summary.arch} as configured")
        return 0
    if before is None:
        print("this system was not built before in this store: everything that is missing is built")
    elif not found:
        print("no recipe changed; outputs that were deleted from the store are made again")
    for each, cause in found.items():
        print(f"{_headline(cause, graph.origins.get(each))} → {_reach(reach[each])}")
        for change in cause.changes:
            print(f"  {change.describe()}".replace("\n", "\n  "))
    print(
        f"{plural(len(plan.certain), 'step')} to do; "
        f"{plural(plan.possible, 'more step')} at most, cut off where what they use comes out unchanged"
    )
    return 0


def _headline(cause: Cause, place: Place | None) -> str:
    """What changed, and where the configuration asks for it."""
    fields = " and ".join(dict.fromkeys(each.field.removesuffix(" text") for each in cause.changes[:2]))
    more = f" and {len(cause.changes) - 2} more" if len(cause.changes) > 2 else ""
    what = "is new" if cause.new else f"{fields}{more} changed"
    return f"{cause.label}: {what}" + (f" at {place}" if place is not None else "")


def _reach(reach: Reach) -> str:
    text = plural(reach.dependents, "dependent")
    return f"{text}; {reach.only} of them will be cut off if its output is unchanged" if reach.only else text
