"""Print the log of the last build of a target, whether it succeeded or failed.

What a build prints may steer a terminal: there, control sequences are left out and long lines are cut. A program gets
every byte. Of a log of more than 16 MiB the middle was not kept.

With --follow, print what a build that runs now, in whichever terminal, writes to its log, until it ends; where it has
not begun yet, wait for it. The exit code then is 0 if it succeeded and 1 if not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

from nexis_eval.cli.arguments import add_evaluation_arguments, add_store_argument, selection, take_targets
from nexis_eval.cli.evaluation import evaluate, find_target
from nexis_eval.cli.stores import store_to_ask
from nexis_eval.execute.following import follow, running_log
from nexis_eval.graph.closures import Closures, visible
from nexis_eval.graph.derivation import Choice, Derivation
from nexis_eval.schedule.plan import make_plan, resolve_inputs
from nexis_store.digest import DerivationId
from nexis_store.errors import NexisError
from nexis_store.names import printable
from nexis_store.store import Store


class NoLogError(NexisError):
    """There is no log of what was asked for.

    Logs are kept by build key: what was built from another recipe, or in another store, has its log there. Only what a
    script makes has one.
    """

    code = "E0004"
    exit_code = 2


_LONGEST = 1 << 16

EXAMPLES = """\
examples:
  nexis-eval log zlib
  nexis-eval log ~/my-system zlib --follow
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_evaluation_arguments(parser, "the target whose log is wanted")
    add_store_argument(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="of a build that runs: print it as it comes")


def run(args: argparse.Namespace) -> int:
    """Print; returns the exit code."""
    (name,) = take_targets(args, 1, 1)
    evaluation = evaluate(args)
    graph = evaluation.graph
    each = find_target(graph, name)
    while isinstance(graph.derivations[each].builder, Choice):
        each = graph.derivations[each].inputs[-1].derivation
    derivation = graph.derivations[each]
    with store_to_ask(args, evaluation.summary.store_profile) as store:
        if args.follow and _follow(store, derivation, each):
            return 0 if store.realised(each) is not None else 1
        known = store.realised(each)
        key = known.key if known is not None else None
        if key is None:
            needed = [*visible(graph.derivations, derivation), *derivation.runtime]
            plan = make_plan(graph, needed, store.realised, store.realisation)
            if not plan.pending:
                key = resolve_inputs(derivation, Closures(graph.derivations, plan.done))
        log = store.log(key) if key is not None else None
        running = log is None and running_log(store, derivation.name, each) is not None
    if log is None:
        called = " ".join((*selection(args), name))
        if not derivation.builder.runs:
            raise NoLogError(
                f"there is no log of {derivation.label}: it is not made by a script",
                hint="'nexis-eval show-derivation' says how it is made",
            )
        if running:
            raise NoLogError(
                f"there is no log of {derivation.label} yet: it is being built now",
                hint=f"'nexis-eval log {called} --follow' reads along",
            )
        raise NoLogError(
            f"there is no log of {derivation.label}: it was not built yet",
            hint=f"'nexis-eval build {called}' builds it",
        )
    _print((log,))
    return 0


def _print(pieces: Iterable[bytes]) -> bool:
    """Print a log as it comes: every byte to a program, harmless lines to a person; returns whether there was any."""
    person, rest, any_piece = sys.stdout.isatty(), b"", False
    for piece in pieces:
        any_piece = True
        if not person:
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            continue
        whole, line_break, rest = (rest + piece).rpartition(b"\n")
        # A line that does not end is told in parts.
        if len(rest) > _LONGEST:
            whole, rest = whole + line_break + rest, b""
        if whole:
            print(printable(whole.decode(errors="replace"), colours=True), flush=True)
    if rest:
        print(printable(rest.decode(errors="replace"), colours=True))
    return any_piece


def _follow(store: Store, derivation: Derivation, each: DerivationId) -> bool:
    """Print the log of a running build; says whether there was anything to follow."""

    def waiting() -> None:
        print(f"{derivation.label} has not begun; waiting for it", file=sys.stderr)

    return _print(follow(store, derivation.name, each, waiting))
