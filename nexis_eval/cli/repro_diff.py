"""Compare A and B: say what differs, where inside, why, and what merely follows.

A and B may each be a record (a file made by 'repro record'), a store (its last builds), a root, generation or artifact
in the store (a name, a digest or its beginning, a path), a directory, a file such as an ISO image, which is opened, or
the URL of a record or file. One of them may be a binary cache ('repro record --cache' makes one): its URL or directory.
Without B, A is compared with the same of another store, or with a binary cache: --against.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from nexis_eval.cli.arguments import add_store_argument
from nexis_eval.cli.repro_common import add_report_arguments, comparing, deliver, expect_room_for
from nexis_eval.cli.repro_operands import Operand, OperandError, Stores, expect_store, resolve, resolve_again
from nexis_eval.repro.cache import Cache
from nexis_eval.repro.challenge import challenge
from nexis_eval.repro.compare import Tree, compare_trees, open_files
from nexis_eval.repro.diff import Side, diff_records, differences_of_view
from nexis_eval.repro.record import BuildRecord
from nexis_eval.repro.report import Report, Status, Subject
from nexis_store.digest import TreeDigest
from nexis_store.store import Store

MAX_DIFFOSCOPE_CHARACTERS = 100_000
"""Of what diffoscope says no more is shown: for an image that it cannot open that is a hexadecimal dump."""


EXAMPLES = """\
examples:
  nexis-eval repro diff a.json b.json -o report.html -o report.xml
  nexis-eval repro diff one.iso other.iso
  nexis-eval repro diff record.json --against https://cache.example.org
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("a", metavar="A", help="a record, store, generation, artifact, directory, file or URL")
    parser.add_argument("b", metavar="B", nargs="?", help="what to compare it with")
    add_store_argument(parser)
    parser.add_argument(
        "--against",
        metavar="PLACE",
        help="another store: look B (or A again) up there; or a binary cache, its URL or directory",
    )
    parser.add_argument("--everything", action="store_true", help="list what is the same as well")
    parser.add_argument(
        "--signers", type=Path, metavar="FILE", help="records must be signed by someone in this allowed_signers file"
    )
    parser.add_argument(
        "--diffoscope", action="store_true", help="add what diffoscope says about differing files, if it is installed"
    )
    add_report_arguments(parser)


@comparing
def run(args: argparse.Namespace) -> int:
    """Compare; returns the exit code."""
    if args.b is None and args.against is None:
        raise OperandError("nothing to compare with", hint="give B, or another store with --against")
    expect_room_for(args.output)
    with ExitStack() as stack:
        stores = Stores(stack, args.store)
        first = resolve(args.a, stores, args.signers)
        cache = stores.cache(args.against) if args.against else None
        if cache is not None and args.b is not None:
            raise OperandError("B and a binary cache are two things to compare A with", hint="leave one of them out")
        if cache is not None:
            second = Operand(args.against, cache=cache)
        else:
            if args.against is not None:
                expect_store(args.against)
            other = Stores(stack, Path(args.against)) if args.against else stores
            if args.b is None:
                second = resolve_again(args.a, first, other, args.against)
            else:
                second = resolve(args.b, other, args.signers)
        report = compare(first, second, everything=args.everything, diffoscope=args.diffoscope)
        return deliver(args, report)


def compare(first: Operand, second: Operand, *, everything: bool, diffoscope: bool) -> Report:
    """Compare two operands of one kind, or either with a binary cache."""
    if second.cache is not None or first.cache is not None:
        return _with_cache(first, second, everything)
    if first.records is not None and second.records is not None:
        return _records(first, second, everything)
    if first.tree is not None and second.tree is not None:
        found = compare_trees(first.tree, second.tree)
        if diffoscope and found and first.tree.root and second.tree.root:
            notes = _diffoscope(first.tree.root, second.tree.root)
        else:
            notes = ()
        status = Status.DIFFERS if found else Status.SAME
        name = second.name if first.name == second.name else f"{first.name} and {second.name}"
        return Report("Two trees compared", first.name, second.name, (Subject(name, "", status, found, notes),))
    if first.file is not None and second.file is not None:
        view = open_files(first.file.name, first.file, second.file)
        notes = _diffoscope(first.file, second.file) if diffoscope and view else ()
        subject = Subject(second.file.name, "", Status.SAME)
        if view is not None:
            subject = replace(subject, status=Status.DIFFERS, differences=differences_of_view(view), notes=notes)
        return Report("Two files compared", first.name, second.name, (subject,))
    raise OperandError(
        f"{first.name} is {first.kind} and {second.name} is {second.kind}", hint="compare things of one kind"
    )


def _with_cache(first: Operand, second: Operand, everything: bool) -> Report:
    mine, cache = (first, second.cache) if second.cache is not None else (second, first.cache)
    assert cache is not None
    if mine.cache is not None:
        raise OperandError(
            f"{first.name} and {second.name} are binary caches, which do not say what there is to compare",
            hint="compare a record, a store or an artifact of a store with each of them",
        )
    if mine.records:
        reports = [(name, challenge(_side(mine, record), cache, everything=everything)) for name, record in
                   sorted(mine.records.items())]  # fmt: skip
        prefixed = len(reports) > 1
        subjects = tuple(
            replace(each, name=f"{name}: {each.name}") if prefixed else each
            for name, report in reports
            for each in report.subjects
        )
        return replace(reports[0][1], subjects=subjects)
    if mine.tree is not None and mine.store is not None:
        return _artifact_with_cache(mine, mine.tree, mine.store, cache)
    raise OperandError(
        f"{mine.name} is {mine.kind}, which no build key tells what to compare with in a binary cache",
        hint="compare a record, a store or an artifact of a store with it",
    )


def _artifact_with_cache(mine: Operand, tree: Tree, store: Store, cache: Cache) -> Report:
    """Every build key under which the artifact is known, asked for in the cache."""
    digest = tree.manifest.digest
    subjects = []
    for key in store.info(digest).realisations:
        known, theirs = store.realisation(key), cache.outputs(key)
        if known is None or theirs is None:
            continue
        for name in [each for each, its in known.outputs.items() if its == digest and each in theirs]:
            manifest = cache.manifest(theirs[name])
            differences = compare_trees(tree, Tree(manifest, fetch=cache.file)) if manifest is not None else ()
            status = Status.SAME if theirs[name] == digest else Status.DIFFERS
            before, after = str(digest), str(theirs[name])
            notes = ("the same build key gave two outputs: this build is not reproducible",)
            subjects.append(
                Subject(mine.name, "", status, differences, () if status is Status.SAME else notes, before, after)
            )
    if not subjects:
        subjects = [Subject(mine.name, "", Status.FAILED, notes=("not built by the cache",))]
    return Report("An artifact and a binary cache compared", mine.name, cache.name, tuple(subjects))


def _records(first: Operand, second: Operand, everything: bool) -> Report:
    assert first.records is not None and second.records is not None
    subjects: list[Subject] = []
    facts: tuple[tuple[str, str], ...] = ()
    pairs = [(name, first.records[name], second.records[name]) for name in first.records if name in second.records]
    alone = first.records.keys() ^ second.records.keys()
    if not pairs and len(first.records) == len(second.records) == 1:
        (one,), (other,) = first.records.values(), second.records.values()
        pairs, alone = [("", one, other)], set()
    for name, before, after in pairs:
        report = diff_records(_side(first, before), _side(second, after), everything=everything)
        facts = report.facts if len(pairs) == 1 else (("builds", str(len(pairs))),)
        prefix = f"{name}: " if len(pairs) > 1 else ""
        subjects += [replace(each, name=prefix + each.name) for each in report.subjects]
    for name in sorted(alone):
        where = first.name if name in first.records else second.name
        subjects.append(Subject(name, "", Status.FAILED, notes=(f"only in {where}",)))
    return Report("Two builds compared", first.name, second.name, tuple(subjects), facts)


def _side(operand: Operand, record: BuildRecord) -> Side:
    store = operand.store

    def tree(digest: TreeDigest) -> Tree | None:
        if store is None or not store.has(digest):
            return None
        return Tree(store.manifest(digest), store.path(digest))

    return Side(operand.name, record, tree)


def _diffoscope(first: Path, second: Path) -> tuple[str, ...]:
    """What diffoscope says, where it is installed."""
    if shutil.which("diffoscope") is None:
        return ("diffoscope is not installed",)
    result = subprocess.run(
        ["diffoscope", "--text", "-", "--no-progress", "--exclude-directory-metadata=yes", first, second],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    told = result.stdout or result.stderr
    if len(told) <= MAX_DIFFOSCOPE_CHARACTERS:
        return (told,)
    return (told[:MAX_DIFFOSCOPE_CHARACTERS], "… what else diffoscope says is left out: run it by itself to see all")
