"""Build again in a sandbox that is as different as a build can notice, and compare with what the store has.

Varied are the clock, time zone, host name, user, umask, locale, processors, directory order, kernel release, file
system, environment, addresses and the content of fresh memory; '--vary help' lists them. With --bisect a difference is
traced to the variation that makes it. Nothing that is built here is recorded in the store.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from nexis_eval.cli.arguments import (
    DEFAULT,
    add_evaluation_arguments,
    add_jobs_argument,
    add_store_argument,
    positive,
    take_targets,
)
from nexis_eval.cli.evaluation import default_names, evaluate, named_roots
from nexis_eval.cli.repro_common import (
    BuildFirstFailedError,
    add_report_arguments,
    comparing,
    deliver,
    expect_room_for,
    realise_what_can_be,
    run_to_the_end,
    varying_tools,
)
from nexis_eval.evaluation.result import Evaluation
from nexis_eval.graph.closures import Closures, Outputs, visible
from nexis_eval.graph.dag import DerivationGraph
from nexis_eval.graph.derivation import Script
from nexis_eval.mirrors import default_mirrors
from nexis_eval.repro.check import Baseline, CheckOptions, Trees, check
from nexis_eval.repro.compare import Tree
from nexis_eval.repro.rebuild import Laboratory
from nexis_eval.repro.recipe import ScriptRecipe, script_steps
from nexis_eval.repro.report import Report, Status, Subject
from nexis_eval.repro.surroundings import Surroundings
from nexis_eval.repro.vary import VARIATIONS, Machine, Setup, Tools, conditions, describe, parse_names
from nexis_eval.sandbox.errors import SandboxError
from nexis_store.digest import DerivationId
from nexis_store.errors import NexisError
from nexis_store.store import Store, default_store_root


class NothingToCheckError(NexisError):
    """What is to be checked is downloaded, unpacked or merged, but not built.

    There is nothing to build again: downloads are verified by their hashes, and the rest is done by the engine itself,
    which 'nexis-eval repro record' on two machines compares.
    """

    code = "R0008"
    exit_code = 2


EXAMPLES = """\
examples:
  nexis-eval repro check zlib
  nexis-eval repro check ~/my-system --all --rounds 2 -o report.html
  nexis-eval repro check zlib --vary time,cpus --bisect
  nexis-eval repro check --vary help
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_evaluation_arguments(parser, f"what to check of it (default: {DEFAULT})")
    add_store_argument(parser)
    add_jobs_argument(parser)
    parser.add_argument("--all", action="store_true", help="also every build that the targets need")
    parser.add_argument(
        "--rounds", type=positive, default=1, metavar="N", help="build N times more, each time varied anew"
    )
    parser.add_argument(
        "--vary", metavar="NAME,…", help="vary only these, or with a leading '-' all but these; 'help' lists them"
    )
    parser.add_argument("--bisect", action="store_true", help="find the variations that make the difference")
    parser.add_argument(
        "--disorderfs",
        action="store_true",
        help="vary the order of directories by disorderfs, too: statically linked programs notice (needs /dev/fuse)",
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep both sides of what differs there")
    add_report_arguments(parser)


@comparing
def run(args: argparse.Namespace) -> int:
    """Check; returns the exit code."""
    if args.vary == "help":
        for each in VARIATIONS:
            note = " (dynamically linked programs only)" if each.needs_shim else ""
            print(f"{each.name:12} {each.summary}{note}")
        return 0
    vary = parse_names(args.vary)
    expect_room_for(args.output, [args.keep])
    disorderfs = _disorderfs() if args.disorderfs else None
    named = take_targets(args, 0, None)
    evaluation = evaluate(args)
    names = named or default_names(evaluation)
    graph = evaluation.graph
    from nexis_eval.sandbox.check import available

    available()
    steps = script_steps(graph, named_roots(evaluation, names), whole=args.all)
    if not steps:
        raise NothingToCheckError(
            f"{', '.join(names)}: no script takes part, only downloads and unpacking, which hashes prove",
            hint="check something that is built",
        )
    with Store.open(args.store or default_store_root()) as store:
        mirrors = default_mirrors(evaluation.summary.mirrors)
        inputs = [item for each in steps for item in visible(graph.derivations, graph.derivations[each])]
        outputs, failed = realise_what_can_be(store, graph, [*dict.fromkeys((*inputs, *steps))], mirrors, args.jobs)
        lost = lost_steps(graph, steps, outputs, failed)
        if len(lost) == len(steps):
            raise BuildFirstFailedError(failed)
        tools = replace(varying_tools(store, mirrors, args.jobs), disorderfs=disorderfs)
        options = CheckOptions(vary, args.rounds, args.bisect, _say)
        checked = [each for each in steps if each not in lost]
        results = run_to_the_end(_check_all(args, store, evaluation, checked, outputs, tools, options))
        found = dict(zip(checked, results, strict=True)) | lost
        subjects = tuple(found[each] for each in steps)
    facts = (
        ("checked", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, nexis-eval {version('nexisos')}"),
        ("system", evaluation.summary.system),
        ("architecture", evaluation.summary.arch),
        ("rounds", str(args.rounds)),
        ("varied", describe(tools.possible(vary))),
        ("by disorderfs", "order, below /build and /out" if disorderfs and "order" in vary else ""),
    )
    title = f"Reproducibility of {evaluation.summary.system} ({evaluation.summary.arch})"
    return deliver(args, Report(title, "the build in the store", "built again", subjects, facts))


def lost_steps(
    graph: DerivationGraph,
    steps: Sequence[DerivationId],
    outputs: Mapping[DerivationId, Outputs],
    failed: Sequence[str],
) -> dict[DerivationId, Subject]:
    """The steps that cannot be built in the first place, since something ``failed``: each is told in the report."""
    found = {}
    for each in steps if failed else ():
        derivation = graph.derivations[each]
        if all(item in outputs for item in (each, *visible(graph.derivations, derivation))):
            continue
        why = "" if derivation.label in failed else f": {', '.join(failed)} failed"
        note = f"it cannot be built in the first place{why}"
        found[each] = Subject(derivation.label, derivation.platform, Status.FAILED, notes=(note,))
    return found


def _disorderfs() -> Path:
    found = shutil.which("disorderfs")
    if found is None:
        raise SandboxError(
            "disorderfs is not installed", hint="install Debian's package disorderfs, or leave --disorderfs out"
        )
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        raise SandboxError(
            "disorderfs needs /dev/fuse, which is not there or not for you",
            hint="'sudo modprobe fuse', or leave --disorderfs out",
        )
    return Path(found)


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


async def _check_all(
    args: argparse.Namespace,
    store: Store,
    evaluation: Evaluation,
    steps: Sequence[DerivationId],
    outputs: Mapping[DerivationId, Outputs],
    tools: Tools,
    options: CheckOptions,
) -> list[Subject]:
    from nexis_eval.execute.runner import SandboxRunner

    runner = SandboxRunner()
    subjects = []
    closures = Closures(evaluation.graph.derivations, outputs)
    try:
        with Laboratory(store.root / ".build", runner, tools, args.jobs) as laboratory:
            for each in steps:
                derivation = evaluation.graph.derivations[each]
                assert isinstance(derivation.builder, Script)
                recipe = ScriptRecipe(derivation, derivation.builder, store, closures)
                baseline = _baseline(store, recipe, each, outputs[each], args.jobs)
                chosen = options
                if args.keep is not None:
                    chosen = replace(options, on_difference=_keeper(args.keep / derivation.label))
                subject = await check(laboratory, recipe, derivation.platform, chosen, baseline)
                note = "" if subject.status is Status.SAME else f": {subject.status}"
                _say(f"{derivation.label}: done{note}")
                subjects.append(subject)
    finally:
        await runner.close()
    return subjects


def _baseline(store: Store, recipe: ScriptRecipe, each: DerivationId, outputs: Outputs, jobs: int) -> Baseline:
    """What the store has, with the surroundings it was built in as far as they are known."""
    trees = {name: Tree(store.manifest(digest), store.path(digest)) for name, digest in outputs.items()}
    known = store.realised(each)
    clock = None
    if known is not None and known.started_ns:
        start = known.started_ns / 1e9
        clock = (start, start + known.duration_ns / 1e9)
    natural: Surroundings = conditions(Setup(), recipe.identity, jobs, Tools(), Machine(), 0).surroundings
    return Baseline(trees, replace(natural, clock=clock))


def _keeper(directory: Path) -> Callable[[Trees, Trees], None]:
    """Copies both sides of a difference below ``directory``: ``before`` and ``after``, an output in each."""

    def keep(before: Trees, after: Trees) -> None:
        for side, trees in (("before", before), ("after", after)):
            for output, tree in trees.items():
                if tree.root is not None:
                    shutil.copytree(tree.root, directory / side / output, symlinks=True, dirs_exist_ok=True)

    return keep
