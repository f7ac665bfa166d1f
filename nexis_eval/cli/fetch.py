"""Bring all sources of a system into the store, so that it can be built where there is no network.

Everything that a build from nothing needs is fetched and verified: sources, prebuilt archives and what stands in for
them, the packages of the toolchain. The sources are kept from garbage collection. Afterwards 'nexis-eval build
--offline' needs no network. With --from they come out of a file that 'nexis-eval bundle' made.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nexis_eval.cli.arguments import DEFAULT, add_evaluation_arguments, add_store_argument, take_targets
from nexis_eval.cli.build import add_log_format, progress_view
from nexis_eval.cli.evaluation import default_names, evaluate, named_roots
from nexis_eval.cli.stores import open_store
from nexis_eval.evaluation.result import Evaluation
from nexis_eval.execute.adopt import adopt_cut_off
from nexis_eval.fetch.client import FetchError
from nexis_eval.platforms import PLATFORMS
from nexis_eval.schedule.plan import make_plan
from nexis_eval.sources import keep, present, root_name, sources_of, take
from nexis_store.digest import DerivationId, TreeDigest
from nexis_store.errors import NexisError
from nexis_store.store import Store

if TYPE_CHECKING:
    from nexis_eval.realise import Outcome


class BundleError(NexisError):
    """A bundle of sources cannot be read or written.

    A bundle is what ``nexis-eval bundle`` wrote, whole. It is written beside its place first, so that directory has to
    take a new file and have room for all sources.
    """

    code = "F0007"
    exit_code = 2


EXAMPLES = """\
examples:
  nexis-eval fetch
  nexis-eval fetch ~/my-system --all-architectures
  nexis-eval fetch --from sources.nexis --offline
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_source_arguments(parser)
    parser.add_argument(
        "--from", dest="bundle", type=Path, metavar="FILE", help="take what this bundle has, before any download"
    )
    parser.add_argument("--offline", action="store_true", help="fail instead of downloading what is missing")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Which sources are meant, and where the store is."""
    add_evaluation_arguments(parser, f"for what of it (default: {DEFAULT})")
    add_store_argument(parser)
    parser.add_argument("--all-targets", action="store_true", help="the sources of every target, not only of some")
    parser.add_argument("--all-architectures", action="store_true", help="for every architecture, not only --arch")
    add_log_format(parser)


def run(args: argparse.Namespace) -> int:
    """Fetch; returns the exit code."""
    evaluations = evaluate_for_sources(args)
    with open_store(args, evaluations[0].summary.store_profile) as store:
        found = fetch_all(args, store, evaluations)
        size = sum(store.info(digest).size_bytes for digest in set(found.values()))
    if args.json:
        print(json.dumps({"sources": len(found), "bytes": size}))
    else:
        print(f"{len(found)} sources, {size / 1e6:,.1f} MB, are in the store: 'nexis-eval build --offline' can work")
    return 0


def evaluate_for_sources(args: argparse.Namespace) -> list[Evaluation]:
    """Evaluate the system for each architecture whose sources ``args`` ask for; ``args.targets`` names them after."""
    bundle = getattr(args, "bundle", None)
    if bundle is not None and not bundle.is_file():
        raise BundleError(f"there is no bundle {bundle}", hint="name a file that 'nexis-eval bundle' made")
    args.targets = take_targets(args, 0, None)
    args.locked = args.locked or getattr(args, "offline", False)
    arches = list(PLATFORMS) if args.all_architectures else [args.arch]
    return [evaluate(argparse.Namespace(**{**vars(args), "arch": arch})) for arch in arches]


def fetch_all(
    args: argparse.Namespace, store: Store, evaluations: Sequence[Evaluation]
) -> dict[DerivationId, TreeDigest]:
    """Bring the sources of ``evaluations`` into ``store`` and keep them; raises ``FetchError`` if any is missing."""
    bundle = getattr(args, "bundle", None)
    result: dict[DerivationId, TreeDigest] = {}
    for evaluation in evaluations:
        arch = evaluation.summary.arch
        graph = evaluation.graph
        roots = list(graph.targets)
        if not args.all_targets:
            roots = named_roots(evaluation, args.targets or default_names(evaluation))
        sources = sources_of(graph, roots)
        if bundle is not None:
            _unbundle(bundle, store, evaluation, sources)
        _download(args, store, evaluation, sources)
        found = present(store, sources)
        keep(store, graph, found, root_name(evaluation.summary.system, arch))
        lacking = [graph.head(each).label for each in sources if each not in found]
        if lacking:
            raise FetchError(
                f"{len(lacking)} of {len(sources)} sources for {arch} could not be fetched: {', '.join(lacking[:10])}",
                hint="the reasons stand above; what was fetched is kept",
            )
        result.update(found)
    return result


def _unbundle(bundle: Path, store: Store, evaluation: Evaluation, sources: Sequence[DerivationId]) -> None:
    from nexis_store.transfer import load

    have = present(store, sources)
    missing = [each for each in sources if each not in have]
    if not missing:
        return
    try:
        with bundle.open("rb") as stream:
            artifacts = load(store, stream)
    except OSError as error:
        raise BundleError(f"{bundle}: {error.strerror}", hint="name a file that 'nexis-eval bundle' made") from None
    taken = take(store, evaluation.graph, missing, artifacts, origin=bundle.name)
    print(f"took {taken} of {len(missing)} missing sources out of {bundle}", file=sys.stderr)


def _download(args: argparse.Namespace, store: Store, evaluation: Evaluation, sources: Sequence[DerivationId]) -> None:
    from nexis_eval.engine import open_engine
    from nexis_eval.mirrors import default_mirrors
    from nexis_eval.realise import Options

    plan = make_plan(evaluation.graph, sources, store.realised, store.realisation)
    adopt_cut_off(store, evaluation.graph, plan)
    if not plan.pending:
        return

    async def work() -> Outcome:
        mirrors = default_mirrors(evaluation.summary.mirrors)
        options = Options(keep_going=True, offline=getattr(args, "offline", False))
        with progress_view(args.log_format) as view:
            async with open_engine(store, mirrors, options, view) as engine:
                return await engine.realise(evaluation.graph, sources, plan)

    asyncio.run(work())
