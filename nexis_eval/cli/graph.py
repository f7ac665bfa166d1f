"""Print the derivation graph of a system, or a part of it.

Without --from it is what the images need, or all packages where there is no kernel; with --to, only what leads there.
--depth counts steps from --from, or where only --to is given, from there upwards: 'graph --to zlib --depth 1' says who
uses zlib directly.
"""

from __future__ import annotations

import argparse
import json

from nexis_eval.cli.arguments import DEFAULT, TargetCountError, add_evaluation_arguments, take_targets
from nexis_eval.cli.evaluation import default_names, evaluate, find_target, named_roots
from nexis_eval.drawing.selection import Drawing, select
from nexis_eval.graph.dag import DerivationGraph
from nexis_eval.graph.json import graph_to_json
from nexis_eval.secrets import hidden
from nexis_eval.ui.text import few
from nexis_store.errors import NexisError


class NoWayError(NexisError):
    """The graph was asked for the ways from one step to another, and there are none.

    The ways lead from what needs something to what is needed: ``--from images --to zlib``, not the other way round.
    """

    code = "E0007"
    exit_code = 2


class ReducedRecipesError(NexisError):
    """Recipes were to be printed without some of their inputs; a transitive reduction is for drawings.

    Leave ``--reduce`` out, or choose another ``--format`` than ``json``.
    """

    code = "E0008"
    exit_code = 2


EXAMPLES = """\
examples:
  nexis-eval graph
  nexis-eval graph --to zlib --depth 1
  nexis-eval graph --format html >graph.html
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_evaluation_arguments(parser, f"the root of the graph, the same as --from (default: {DEFAULT})")
    parser.add_argument("--from", dest="root", metavar="TARGET", help="only this, and what it needs")
    parser.add_argument("--to", metavar="TARGET", help="only what needs this, directly or not")
    parser.add_argument("--depth", type=_steps, metavar="N", help="at most so many steps")
    parser.add_argument(
        "--reduce", action="store_true", help="leave out an edge where a longer way leads to the same step"
    )
    parser.add_argument(
        "--format",
        choices=("text", "dot", "json", "html", "mermaid"),
        default="text",
        help="how to print it (default: text); html is one page to look around in",
    )
    parser.add_argument(
        "--all", action="store_true", help="with downloads, unpacking and local files, which drawings leave out"
    )
    parser.add_argument("--json", action="store_const", const="json", dest="format", help="the same as --format json")


def _steps(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of steps: write 0, 1, 2 …")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Print; returns the exit code."""
    given = take_targets(args, 0, 1)
    if given and args.root:
        raise TargetCountError(f"'{given[0]}' and --from {args.root} both name the root", hint="leave one of them out")
    named = [args.root] if args.root else given
    if args.reduce and args.format == "json":
        raise ReducedRecipesError("JSON holds whole recipes", hint="use --reduce with another format, or leave it out")
    evaluation = evaluate(args)
    graph = evaluation.graph
    names = named or default_names(evaluation)
    drawing = select(
        graph,
        named_roots(evaluation, names),
        to=find_target(graph, args.to) if args.to else None,
        depth=args.depth,
        upwards=not named,
        plumbing=args.all or args.format == "json",
        reduce=args.reduce,
    )
    if not drawing.edges:
        raise NoWayError(
            f"{few(names, 'target')} {'does' if len(names) == 1 else 'do'} not need {args.to}",
            hint="name what needs it with --from; 'nexis-eval targets' lists what there is",
        )
    print(
        _printed(
            graph,
            drawing,
            args.format,
            f"{few(names, 'package')} of {evaluation.summary.system} ({evaluation.summary.arch})",
        )
    )
    return 0


def _printed(graph: DerivationGraph, drawing: Drawing, form: str, title: str) -> str:
    if form == "json":
        chosen = {each: graph.derivations[each] for each in drawing.edges}
        return hidden(json.dumps(graph_to_json(graph, chosen), indent=2, ensure_ascii=False))
    if form == "html":
        from nexis_eval.drawing.html import to_html

        return to_html(drawing, title)
    from nexis_eval.drawing.text import to_dot, to_mermaid, to_text

    return "\n".join({"text": to_text, "dot": to_dot, "mermaid": to_mermaid}[form](drawing))
