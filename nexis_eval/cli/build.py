"""Build a system, or the named targets of it, and print where the results are.

Only what is missing is done. A step whose inputs came out as before is not run again, however its recipe was reached.
Without a target the images are built: kernel, root file system, ISO and a script to try them; or, where the
configuration has no kernel, all its packages.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nexis_eval.cli.arguments import (
    DEFAULT,
    DEFAULT_TARGET,
    add_evaluation_arguments,
    add_jobs_argument,
    add_store_argument,
    selection,
    take_targets,
)
from nexis_eval.cli.evaluation import default_names, evaluate, named_roots
from nexis_eval.cli.limits import LIMIT_HELP, limit, limits, size
from nexis_eval.cli.stores import last_record, open_store, store_to_ask
from nexis_eval.cli.writing import OutputError, expect_room_for
from nexis_eval.evaluation.result import Evaluation
from nexis_eval.execute.adopt import adopt_cut_off
from nexis_eval.graph.target import SystemPart
from nexis_eval.schedule.plan import Plan, done_plan, make_plan
from nexis_eval.ui import text
from nexis_store.cli.streams import unfiltered
from nexis_store.digest import DerivationId
from nexis_store.store import Store

if TYPE_CHECKING:
    from nexis_eval.image.secrets import Filling
    from nexis_eval.ui.json import JsonView
    from nexis_eval.ui.plain import PlainView
    from nexis_eval.ui.raw import RawView
    from nexis_eval.ui.trace import Trace
    from nexis_eval.ui.tty import TerminalView

    View = JsonView | PlainView | RawView | TerminalView

MAX_CAUSES = 5


EXAMPLES = """\
examples:
  nexis-eval build
  nexis-eval build ~/my-system --output ~/my-images
  nexis-eval build system.toml zlib libpng --arch aarch64
  nexis-eval build --dry-run
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_evaluation_arguments(parser, f"what to build of it (default: {DEFAULT}; 'nexis-eval targets' lists all)")
    add_store_argument(parser)
    add_jobs_argument(parser)
    parser.add_argument("-k", "--keep-going", action="store_true", help="after a failure, build all that can be built")
    parser.add_argument("--offline", action="store_true", help="use no network: 'nexis-eval fetch' brings sources in")
    parser.add_argument("--keep-failed", action="store_true", help="keep the directory of a failed build for a look")
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what would be done, and why; do nothing")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="copy the result there")
    parser.add_argument(
        "--max-memory",
        type=size,
        metavar="SIZE",
        help="what all builds together may use: 800M, 12G (default: 90%% of what is free)",
    )
    parser.add_argument("--limit", type=limit, action="append", default=[], metavar="NAME=VALUE", help=LIMIT_HELP)
    add_log_format(parser)
    parser.add_argument(
        "--trace", type=Path, metavar="FILE", help="write what ran when, for chrome://tracing or Perfetto"
    )
    ready_made = parser.add_mutually_exclusive_group()
    ready_made.add_argument(
        "--no-prebuilt",
        dest="prebuilt",
        action="store_const",
        const=['build.prebuilt="never"'],
        default=[],
        help="build from source what could come ready-made",
    )
    ready_made.add_argument(
        "--require-prebuilt",
        dest="prebuilt",
        action="store_const",
        const=['build.prebuilt="required"'],
        help="fail where a ready-made archive cannot be had, instead of building from source",
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON on stdout")


def add_log_format(parser: argparse.ArgumentParser) -> None:
    """How progress is shown."""
    parser.add_argument(
        "--log-format",
        choices=("auto", "plain", "raw", "json"),
        default="auto",
        help="progress on stderr: live on a terminal (auto), lines, lines with all that builds print, or JSON lines",
    )


def run(args: argparse.Namespace) -> int:
    """Build; returns the exit code."""
    clock = time.monotonic_ns()
    named = take_targets(args, 0, None)
    args.locked = args.locked or args.offline
    args.overrides = [*args.overrides, *args.prebuilt]
    evaluation = evaluate(args)
    names = named or default_names(evaluation)
    roots, profile = named_roots(evaluation, names), evaluation.summary.store_profile
    with store_to_ask(args, profile) if args.dry_run else open_store(args, profile) as store:
        plan = done_plan(roots, store.realised) or make_plan(evaluation.graph, roots, store.realised, store.realisation)
        if args.dry_run:
            _print_plan(store, evaluation, plan, named, args.json)
            return 0
        expect_room_for((), (args.output,))
        adopt_cut_off(store, evaluation.graph, plan)
        if not plan.idle and (code := _realise(args, store, evaluation, named, roots, plan)):
            return code
        if not plan.idle or plan.cut_off:
            _remember(store, evaluation, named, roots)
        if plan.idle and not args.json:
            took = text.duration(time.monotonic_ns() - clock)
            what = text.few(names, "target")
            print(f"nothing to do: {what} for {evaluation.summary.arch} as configured ({took})", file=sys.stderr)
        _deliver(args, store, evaluation, names, roots)
    return 0


def _realise(
    args: argparse.Namespace,
    store: Store,
    evaluation: Evaluation,
    named: Sequence[str],
    roots: Sequence[DerivationId],
    plan: Plan,
) -> int:
    """Run the plan; returns the exit code."""
    from nexis_eval.cli.stopping import run_stoppable
    from nexis_eval.engine import open_engine
    from nexis_eval.mirrors import default_mirrors
    from nexis_eval.realise import Options, Outcome
    from nexis_eval.sandbox.check import available
    from nexis_eval.ui.trace import Trace

    available()
    for line in _causes(store, evaluation, plan, named):
        print(line, file=sys.stderr)
    options = Options(
        jobs=args.jobs,
        keep_going=args.keep_going,
        keep_failed=args.keep_failed,
        offline=args.offline,
        max_memory_bytes=args.max_memory,
        limits=limits(args.limit, args.max_memory),
        selection=selection(args),
    )

    async def work() -> Outcome:
        with progress_view(args.log_format) as view:
            trace = Trace(view)
            try:
                async with open_engine(store, default_mirrors(evaluation.summary.mirrors), options, trace) as engine:
                    return await engine.realise(evaluation.graph, roots, plan)
            finally:
                if args.trace is not None:
                    _save(trace, args.trace)

    return run_stoppable(work()).exit_code


def _save(trace: Trace, path: Path) -> None:
    try:
        trace.save(path)
    except OSError as error:
        print(f"note: the trace could not be written to {path}: {error.strerror}", file=sys.stderr)
    else:
        print(f"wrote {path}: open it in chrome://tracing or ui.perfetto.dev", file=sys.stderr)


def progress_view(log_format: str) -> View:
    """What shows the progress of a run on stderr: ``auto``, ``plain``, ``raw`` or ``json``."""
    if log_format == "raw":
        from nexis_eval.ui.raw import RawView

        return RawView(unfiltered(sys.stderr))
    if log_format == "json":
        from nexis_eval.ui.json import JsonView

        return JsonView(unfiltered(sys.stderr))
    # A terminal that cannot move its cursor gets lines, and so does whoever says that by TERM.
    if log_format == "auto" and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        from nexis_eval.ui.tty import TerminalView

        return TerminalView(unfiltered(sys.stderr))
    from nexis_eval.ui.plain import PlainView

    return PlainView(sys.stderr)


def _causes(store: Store, evaluation: Evaluation, plan: Plan, named: Sequence[str]) -> Iterator[str]:
    """Why there is something to do, compared with the last build of this system: root causes only."""
    from nexis_eval.graph.why import causes

    before = last_record(store, evaluation.summary, named)
    if before is None:
        return
    found = [cause for cause in causes(before.graph, evaluation.graph) if cause.derivation in plan.pending]
    for cause in found[:MAX_CAUSES]:
        place = evaluation.graph.origins.get(cause.derivation)
        where = f" ({place})" if place else ""
        what = "is new" if cause.new else "; ".join(change.describe() for change in cause.changes[:MAX_CAUSES])
        yield f"because {cause.label}{where}: {what}" if not cause.new else f"because {cause.label} is new{where}"
    if len(found) > MAX_CAUSES:
        yield f"and {len(found) - MAX_CAUSES} more causes; 'nexis-eval why-rebuild' lists them all"


def _remember(store: Store, evaluation: Evaluation, named: Sequence[str], roots: Sequence[DerivationId]) -> None:
    """Keep a record of the build, and through its references everything that took part: from a collection, too."""
    if not named or DEFAULT_TARGET in named:
        _keep_record(store, evaluation, roots)
        return
    for name, root in zip(named, roots, strict=True):
        _keep_record(store, evaluation, [root], name)


def _keep_record(store: Store, evaluation: Evaluation, roots: Sequence[DerivationId], target: str = "") -> None:
    from nexis_eval.graph.dag import DerivationGraph
    from nexis_eval.record import Record, keep

    derivations = evaluation.graph.closure(roots)
    outputs = {}
    for each in derivations:
        known = store.realised(each)
        if known is not None:
            outputs[each] = known.outputs
    graph = DerivationGraph(derivations, evaluation.graph.targets.within(derivations))
    keep(store, Record(graph, outputs), evaluation.summary.system, evaluation.summary.arch, target)


def _deliver(
    args: argparse.Namespace, store: Store, evaluation: Evaluation, names: Sequence[str], roots: Sequence[DerivationId]
) -> None:
    """Say where the results are, and copy them where they were asked for."""
    results = {}
    secrets = _secrets(args, evaluation, roots) if args.output is not None else None
    for name, root in zip(names, roots, strict=True):
        known = store.realised(root)
        assert known is not None
        results[name] = known.outputs
        if args.output is not None:
            from nexis_eval.export import export_tree

            try:
                for digest in known.outputs.values():
                    for path in export_tree(store, digest, args.output, secrets):
                        print(f"wrote {path}", file=sys.stderr)
            except OSError as error:
                place = error.filename2 or error.filename or args.output
                raise OutputError(f"{place} cannot be written: {error.strerror}") from None
    if args.json:
        value = {
            name: {output: {"digest": str(digest), "path": str(store.path(digest))} for output, digest in item.items()}
            for name, item in results.items()
        }
        print(json.dumps({"arch": evaluation.summary.arch, "results": value}, indent=2))
        return
    for item in results.values():
        for digest in item.values():
            print(args.output if args.output is not None else store.path(digest))


BOOTED = (SystemPart.INITRAMFS, SystemPart.SYSTEM, SystemPart.ISO, SystemPart.IMAGES)
"""The targets that have the place for secrets."""


def _secrets(args: argparse.Namespace, evaluation: Evaluation, roots: Sequence[DerivationId]) -> Filling | None:
    """What the copies of images get that no store holds, as the configuration has it now."""
    if not {evaluation.summary.targets.system.get(part) for part in BOOTED}.intersection(roots):
        return None
    from nexis_eval.cli.loading import load_config_with_origins
    from nexis_eval.config.passwords import passwords
    from nexis_eval.image.secrets import filling

    return filling(passwords(load_config_with_origins(args)[0]))


def _print_plan(store: Store, evaluation: Evaluation, plan: Plan, named: Sequence[str], as_json: bool) -> None:
    if as_json:
        steps = [
            {
                "derivation": str(each),
                "label": derivation.label,
                "kind": derivation.builder.kind,
                "certain": each in plan.certain,
            }
            for each, derivation in plan.pending.items()
        ]
        copies = [
            {
                "derivation": str(each),
                "label": evaluation.graph.head(each).label,
                "source": plan.elsewhere[each].source.name,
            }
            for each in plan.elsewhere
            if each in plan.read
        ]
        value = {"arch": evaluation.summary.arch, "done": len(plan.done), "steps": steps, "copies": copies}
        print(json.dumps(value, indent=2))
        return
    for line in _causes(store, evaluation, plan, named):
        print(line)
    for each, offer in plan.elsewhere.items():
        if each in plan.read:
            print(f"{'copy':8} {evaluation.graph.head(each).label} from {offer.source.name}")
    for each, derivation in plan.pending.items():
        doubt = "" if each in plan.certain else "  (unless its inputs come out unchanged)"
        print(f"{derivation.builder.verb:8} {derivation.label}{doubt}")
    if not plan.pending:
        print(f"{text.plural(len(plan.read), 'result')} to copy" if plan.read else "nothing to do")
        return
    more = f"; up to {plan.possible} more, depending on what comes out" if plan.possible else ""
    print(f"{text.plural(len(plan.certain), 'step')} to run{more}")
