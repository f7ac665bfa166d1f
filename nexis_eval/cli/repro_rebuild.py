"""Build again what a record describes, from nothing but the record and its sources, and compare.

It happens in an empty store of its own, which is deleted afterwards, so that nothing made earlier can help; --reuse
takes what the store has instead. What cannot be had (a source that is gone, a file of the user's that the record does
not hold) is named.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from nexis_eval.cli.arguments import add_jobs_argument, add_store_argument
from nexis_eval.cli.repro_common import (
    add_report_arguments,
    comparing,
    deliver,
    expect_room_for,
    read_record,
    run_to_the_end,
)
from nexis_eval.execute.workspace import Workspace
from nexis_eval.export import export_tree
from nexis_eval.graph.target import parse_target
from nexis_eval.mirrors import default_mirrors
from nexis_eval.repro.compare import Tree
from nexis_eval.repro.diff import Side, diff_records
from nexis_eval.repro.rebuilding import Rebuilt, rebuild
from nexis_eval.repro.record import BuildRecord
from nexis_eval.repro.report import Status
from nexis_store.digest import TreeDigest
from nexis_store.store import Store, default_store_root

EXAMPLES = """\
examples:
  nexis-eval repro rebuild record.json
  nexis-eval repro rebuild record.json --result images --reuse
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("record", type=Path, metavar="RECORD", help="a file made by 'repro record'")
    add_store_argument(parser)
    add_jobs_argument(parser)
    parser.add_argument("--reuse", action="store_true", help="build in the store, and take what it has already")
    parser.add_argument("--result", type=Path, metavar="DIR", help="copy what was built there")
    parser.add_argument("--everything", action="store_true", help="list what is the same as well")
    add_report_arguments(parser)


@comparing
def run(args: argparse.Namespace) -> int:
    """Rebuild; returns the exit code."""
    from nexis_eval.sandbox.check import available

    record = read_record(args.record, str(args.record))
    expect_room_for(args.output, [args.result])
    available()
    root = args.store or default_store_root()
    root.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        workspace = stack.enter_context(Workspace(root / ".build"))
        store = stack.enter_context(Store.open(root if args.reuse else workspace.path / "store"))
        rebuilt = run_to_the_end(_work(args, record, workspace.path / "files", store))

        def tree(digest: TreeDigest) -> Tree | None:
            return Tree(store.manifest(digest), store.path(digest)) if store.has(digest) else None

        before = Side(str(args.record), record, lambda _: None)
        report = diff_records(before, Side("built again", rebuilt.record, tree), everything=args.everything)
        failed = {subject.name for subject in rebuilt.failures}
        # What a failure kept from being built is no difference: the failure is told instead.
        subjects = [
            each
            for each in report.subjects
            if not (rebuilt.failures and each.status is Status.DIFFERS and not each.differences)
            and each.name not in failed
        ]
        report = replace(
            report, title=f"{record.system} ({record.arch}) built again", subjects=(*subjects, *rebuilt.failures)
        )
        if args.result is not None and not rebuilt.failures:
            for name in record.roots:
                for digest in rebuilt.record.steps[record.graph.targets[parse_target(name)]].outputs.values():
                    for path in export_tree(store, digest, args.result):
                        print(f"wrote {path}", file=sys.stderr)
        return deliver(args, report)


async def _work(args: argparse.Namespace, record: BuildRecord, files: Path, store: Store) -> Rebuilt:
    from nexis_eval.ui.plain import PlainView

    with PlainView(sys.stderr) as view:
        return await rebuild(record, files, store, default_mirrors(record.mirrors), args.jobs, view)
